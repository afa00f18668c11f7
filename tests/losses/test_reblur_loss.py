"""ReblurLoss asks whether the sharp scene, blurred with a field, is the photo."""

import pytest
import torch

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.options import options_of, read_options
from basis_blur.losses.reblur_loss import ReblurLoss
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.camera_response import DARKEST, camera_response, photo_of


def random_field(photos=2, basis=3, size=5, height=6, width=7, dtype=None):
    kernels = torch.rand(photos, basis, size, size, dtype=dtype)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True)
    return BlurField(kernels, torch.randn(photos, basis, height, width, dtype=dtype).softmax(1))


def scene_for(field, brightest=1.0):
    return brightest * torch.rand(len(field), 3, *field.scene_size, dtype=field.kernels.dtype)


@pytest.mark.parametrize('gamma', [1.0, 2.2])
@pytest.mark.parametrize('brightest', [0.9, 3.0])
def test_the_true_field_has_no_loss(gamma, brightest):
    field = random_field()
    scene = scene_for(field, brightest)
    photo = camera_response(BasisBlur(field)(scene)) ** (1 / gamma)
    loss = ReblurLoss(gamma=gamma)(field, scene, photo, torch.ones(2, 1, 6, 7))
    assert loss.item() < 1e-28


def test_the_error_of_a_delta_is_the_weighted_squared_difference_of_photos():
    kernels = torch.zeros(1, 1, 3, 3)
    kernels[..., 1, 1] = 1
    field = BlurField(kernels, torch.ones(1, 1, 1, 2))
    scene, photo = torch.full((1, 3, 3, 4), 0.25), torch.full((1, 3, 1, 2), 0.3)
    weight = torch.tensor([1.0, 10.0]).view(1, 1, 1, 2)
    loss = ReblurLoss(gamma=2.0)(field, scene, photo, weight)
    assert loss.item() == pytest.approx(11 * 3 * (0.5 - 0.3) ** 2)


def test_saturated_light_is_white_and_only_without_saturation_brighter():
    kernels = torch.zeros(1, 1, 3, 3)
    kernels[..., 1, 1] = 1
    field = BlurField(kernels, torch.ones(1, 1, 2, 2))
    scene, white = torch.full((1, 3, 4, 4), 4.0), torch.ones(1, 3, 2, 2)
    weight = torch.ones(1, 1, 2, 2)
    assert ReblurLoss()(field, scene, white, weight).item() < 1e-20
    plain = ReblurLoss(gamma=2.0, saturation=False)(field, scene, white, weight)
    assert plain.item() == pytest.approx(4 * 3 * (2 - 1) ** 2)


def test_loss_is_the_mean_over_photos_and_loss_weight_is_applied_once():
    field = random_field(photos=3)
    scene, photo, weight = scene_for(field), torch.rand(3, 3, 6, 7), torch.rand(3, 1, 6, 7)
    loss = ReblurLoss()
    apart = [loss(field[i], scene[i : i + 1], photo[i : i + 1], weight[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss(field, scene, photo, weight), sum(apart) / 3)
    torch.testing.assert_close(ReblurLoss(loss_weight=3.0)(field, scene, photo, weight), sum(apart))


def test_gradients_are_those_of_finite_differences():
    field = random_field(photos=1, basis=2, size=3, height=3, width=4)
    scene, photo, weight = scene_for(field, 1.3), torch.rand(1, 3, 3, 4), torch.rand(1, 1, 3, 4)

    def loss(kernels, mixing, scene):
        return ReblurLoss()(BlurField.unchecked(kernels, mixing), scene, photo, weight)

    inputs = [each.clone().requires_grad_() for each in (field.kernels, field.mixing, scene)]
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize('saturation', [True, False])
@pytest.mark.parametrize('darkness', [0.0, 1e-12, -1e-12])
def test_gradient_is_finite_in_the_dark(darkness, saturation):
    field = random_field()
    scene = torch.full((2, 3, *field.scene_size), darkness, requires_grad=True)
    mixing = field.mixing.requires_grad_()
    loss = ReblurLoss(saturation=saturation)
    loss(field, scene, torch.rand(2, 3, 6, 7), torch.ones(2, 1, 6, 7)).backward()
    assert scene.grad.isfinite().all()
    assert mixing.grad.isfinite().all()
    assert scene.grad.abs().sum() > 0, 'darkness where the photo is bright must be pushed up'


def test_the_line_in_the_dark_meets_the_power_and_stays_within_half_a_gray_level():
    light = torch.linspace(0, 3 * DARKEST**2.2, 1001)
    line, power = photo_of(light, 2.2), light ** (1 / 2.2)
    assert (line.diff() > 0).all()
    assert line[0] == 0
    torch.testing.assert_close(line[light > DARKEST**2.2], power[light > DARKEST**2.2], rtol=1e-14, atol=0)
    assert (power - line).min() >= 0
    assert (power - line).max() < 0.5 / 255


def test_half_precision_around_it_does_not_touch_the_loss():
    field = random_field(dtype=torch.float32)
    scene, photo = scene_for(field), torch.rand(2, 3, 6, 7, dtype=torch.float32)
    weight = torch.ones(2, 1, 6, 7, dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = ReblurLoss()(field, scene, photo, weight)
    torch.testing.assert_close(inside, ReblurLoss()(field, scene, photo, weight), rtol=1e-6, atol=0)


def test_sizes_that_do_not_fit_are_refused():
    field = random_field()
    scene, photo, weight = scene_for(field), torch.rand(2, 3, 6, 7), torch.ones(2, 1, 6, 7)
    with pytest.raises(ValueError, match='weight has shape'):
        ReblurLoss()(field, scene, photo, weight[:, 0])
    with pytest.raises(ValueError, match=r'blurred_srgb has shape \(2, 1, 6, 7\), expected \(2, 3, 6, 7\)'):
        ReblurLoss()(field, scene, photo[:, :1], weight)
    with pytest.raises(ValueError, match='BasisBlur was given'):
        ReblurLoss()(field, photo, photo, weight)
    with pytest.raises(ValueError, match='gamma is 0.45, expected >= 1'):
        ReblurLoss(gamma=0.45)


def test_options_are_read_from_its_signature():
    assert read_options({'gamma': 1}, options_of(ReblurLoss), 'train: reblur_opt')['saturation'] is True
