"""The restoration of [C21] as printed: its equations, step by step."""

import pytest
import torch

from basis_blur.field.blur_field import BlurField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.camera_response import camera_response, camera_response_derivative
from basis_blur.restoration import as_printed
from basis_blur.restoration.as_printed import deblur_as_printed
from basis_blur.restoration.deblur import deblur_iterates


def uniform_field(kernel, size):
    return BlurField(kernel[None, None], torch.ones(1, 1, *size))


def sheared():
    kernel = torch.zeros(5, 5)
    kernel[0, 3], kernel[2, 2], kernel[3, 0] = 0.5, 0.2, 0.3
    return kernel


def blurred(field, scene, gamma=1.0):
    light = (BasisBlur(field) @ ReflectPad(field))(scene**gamma)
    return camera_response(light).clamp(0, 1) ** (1 / gamma)


def test_one_step_is_the_equation():
    field, photo = uniform_field(sheared(), (9, 12)), 0.1 + 0.6 * torch.rand(1, 3, 9, 12)
    blur = BasisBlur(field) @ ReflectPad(field)
    seen = blur(photo)
    slope = camera_response_derivative(seen)
    right, below = (photo.diff(dim=dim) for dim in (-1, -2))
    length = torch.zeros_like(photo)
    length[..., :, :-1] += right**2
    length[..., :-1, :] += below**2
    length = length.sqrt()
    length[length == 0] = 1
    flow = [torch.zeros_like(photo), torch.zeros_like(photo)]
    flow[0][..., :, :-1] = right / length[..., :, :-1]
    flow[1][..., :-1, :] = below / length[..., :-1, :]
    gradient = -(flow[0] - flow[0].roll(1, -1)) - (flow[1] - flow[1].roll(1, -2))
    ratio = photo * slope / camera_response(seen) + 1 - slope
    turned = uniform_field(sheared().flip(0, 1), (9, 12))  # the transposed blur, which continues by reflection too
    expected = photo * (BasisBlur(turned) @ ReflectPad(turned))(ratio) / (1 + 0.1 * gradient)
    found = deblur_as_printed(photo, field, (1,), 1.0, tv_weight=0.1)
    torch.testing.assert_close(found, expected.clamp(0, 1), rtol=1e-5, atol=1e-7)


def test_it_recovers_a_scene_without_noise():
    field = uniform_field(sheared(), (24, 24))
    scene = torch.rand(1, 1, 24, 24).mul(0.7).add(0.1)
    photo = blurred(field, scene)
    errors = [
        (deblur_as_printed(photo, field, (number,), 1.0, tv_weight=0.0) - scene).square().mean() for number in (1, 30)
    ]
    assert errors[1] < 0.7 * errors[0] < 0.7 * (photo - scene).square().mean()


def test_what_lies_around_a_lamp_is_spoilt_less_where_it_does_not_hear_of_it(monkeypatch):
    field = uniform_field(sheared(), (24, 24))
    scene = torch.full((1, 1, 24, 24), 0.2)
    scene[..., 11:14, 11:14] = 40.0
    photo = blurred(field, scene)
    split = deblur_as_printed(photo, field, (30,), 1.0)
    monkeypatch.setattr(as_printed, 'saturated_photos', lambda light: torch.tensor(False))
    whole = deblur_as_printed(photo, field, (30,), 1.0)
    dark = scene < 1
    errors = [(found - scene).abs()[dark].mean() for found in (split, whole)]
    assert errors[0] < 0.8 * errors[1]
    assert (split[~dark] > 0.9).all()


def test_it_ends_where_the_reblur_loss_stalls():
    still = torch.zeros(3, 3)
    still[1, 1] = 1
    numbers = []
    photo = 0.2 + 0.5 * torch.rand(2, 3, 8, 8)
    field = BlurField(still.expand(2, 1, 3, 3), torch.ones(2, 1, 8, 8))
    found = deblur_as_printed(photo, field, (30,), 2.2, callback=numbers.append)
    assert numbers == [1, 1]
    torch.testing.assert_close(found, photo, rtol=0, atol=0.01)


def test_it_is_called_as_the_default_is():
    field, photo = uniform_field(sheared(), (12, 12)), torch.rand(1, 3, 12, 12)
    arguments = {'tv_weight': 0.002, 'least_tv_weight': 0.0, 'callback': None}
    assert deblur_as_printed(photo, field, (1, 2), 2.2, **arguments).shape == (1, 6, 12, 12)
    assert deblur_iterates(photo, field, (1, 2), 2.2, **arguments).shape == (1, 6, 12, 12)


def test_gamma_is_that_of_the_photo():
    field, photo = uniform_field(sheared(), (12, 12)), 0.1 + 0.8 * torch.rand(1, 1, 12, 12)
    linear = deblur_as_printed(photo**2.2, field, (1,), 1.0, tv_weight=0.0)
    torch.testing.assert_close(deblur_as_printed(photo, field, (1,), 2.2, tv_weight=0.0) ** 2.2, linear)


@pytest.mark.parametrize('weight', [-0.1, 0.25, float('nan')])
def test_weights_that_could_divide_by_zero_are_refused(weight):
    with pytest.raises(ValueError, match='tv_weight is'):
        deblur_as_printed(torch.rand(1, 3, 8, 8), uniform_field(sheared(), (8, 8)), tv_weight=weight)


def test_a_field_of_another_size_is_refused():
    with pytest.raises(ValueError, match='expected the same N, H and W'):
        deblur_as_printed(torch.rand(1, 3, 8, 9), uniform_field(sheared(), (8, 8)))


def test_the_number_of_iterations_is_the_papers():
    assert as_printed.REMOVAL.iterations == 30
    assert as_printed.REMOVAL.strength == 1.0


def test_away_from_the_border_the_transposed_blur_is_the_adjoint():
    kernels, mixing = torch.rand(1, 2, 5, 5), torch.rand(1, 2, 16, 18)
    field = BlurField(kernels / kernels.sum((-2, -1), keepdim=True), mixing / mixing.sum(1, keepdim=True))
    inside = torch.zeros(1, 1, 16, 18)
    inside[..., 4:-4, 4:-4] = 1
    x, y = torch.rand(1, 1, 16, 18) * inside, torch.rand(1, 1, 16, 18) * inside
    solver = as_printed._Solver(y, field, 1.0, 0.0)
    torch.testing.assert_close((solver.blur(x) * y).sum(), (x * solver._transposed(y)).sum())
