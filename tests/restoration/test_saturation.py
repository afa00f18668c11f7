import math

import pytest
import torch
from tolerances import rounding

from basis_blur.field.blur_field import BlurField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.restoration.saturation import bright_scene, saturated_photos, unreached


def test_one_saturated_pixel_of_one_colour_marks_its_photo_and_no_other():
    light = torch.full((3, 3, 6, 7), 0.98)
    light[1, 2, 4, 5] = 0.99
    assert saturated_photos(light).flatten().tolist() == [False, True, False]


def test_the_scene_is_split_at_the_threshold_and_smoothly():
    light = torch.tensor([0.0, 0.79, 0.99, 1.19, 5.0])
    found = bright_scene(light)
    assert found[2] == 0.5
    torch.testing.assert_close(found + found.flip(0), torch.ones(5), rtol=0, atol=1e-7)
    assert found[1].item() == pytest.approx(1 / (1 + math.exp(4)), rel=rounding(conditioning=100))


def test_what_a_bright_point_reaches_is_its_kernel_in_its_colour():
    kernel = torch.tensor([[0.0, 0.75, 0.0], [0.0, 0.15, 0.1], [0.0, 0.0, 0.0]])
    field = BlurField(kernel[None, None], torch.ones(1, 1, 5, 5))
    scene = torch.full((1, 3, 7, 7), 0.5)
    scene[0, 1, 3, 3] = 2
    expected = torch.ones(1, 3, 5, 5)
    expected[0, 1, 1, 2], expected[0, 1, 2, 2], expected[0, 1, 2, 3] = 0, 0, 1 / 3  # shares of 0.15 and more; 0.1
    torch.testing.assert_close(unreached(scene, BasisBlur(field)), expected, rtol=0, atol=1e-12)
