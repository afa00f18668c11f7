import pytest
import torch

from basis_blur.field.blur_field import BlurField
from basis_blur.ops.boundary import ReflectPad, ReplicatePad, ZeroPad


def field_of(width, kernel_size=5):
    kernels = torch.full((1, 1, kernel_size, kernel_size), 1 / kernel_size**2)
    return BlurField(kernels, torch.ones(1, 1, width, width))


@pytest.mark.parametrize(
    ('border', 'row'),
    [
        (ZeroPad, [0, 0, 1, 2, 3, 4, 0, 0]),
        (ReplicatePad, [1, 1, 1, 2, 3, 4, 4, 4]),
        (ReflectPad, [3, 2, 1, 2, 3, 4, 3, 2]),
    ],
)
def test_border_rule_written_out(border, row):
    pad = border(field_of(4))
    image = torch.arange(1.0, 5).expand(1, 1, 4, 4)
    torch.testing.assert_close(pad(image)[0, 0, 3], torch.tensor(row, dtype=torch.float64), rtol=0, atol=0)
    torch.testing.assert_close(pad(image.mT.contiguous()), pad(image).mT, rtol=0, atol=0)


@pytest.mark.parametrize('border', [ZeroPad, ReplicatePad, ReflectPad])
def test_the_photo_stays_in_the_middle(border):
    image = torch.rand(1, 3, 6, 6)
    torch.testing.assert_close(border(field_of(6))(image)[..., 2:-2, 2:-2], image, rtol=0, atol=0)


def test_a_photo_too_small_to_mirror_is_refused():
    with pytest.raises(ValueError, match='use ReplicatePad'):
        ReflectPad(field_of(2))
