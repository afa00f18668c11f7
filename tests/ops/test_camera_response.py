import pytest
import torch

from basis_blur.ops.camera_response import (
    camera_response,
    camera_response_derivative,
    to_linear,
    to_srgb,
)


def test_response_is_the_identity_in_the_dark_and_white_in_the_light():
    light = torch.tensor([0.0, 0.3, 0.5, 3.0, 1e6])
    expected = torch.tensor([0.0, 0.3, 0.5, 1.0, 1.0])
    torch.testing.assert_close(camera_response(light), expected, rtol=0, atol=1e-9)


def test_response_matches_its_formula():
    light = torch.linspace(0, 1.3, 50)
    formula = light - torch.log(1 + torch.exp(50 * (light - 1))) / 50
    torch.testing.assert_close(camera_response(light), formula, rtol=1e-13, atol=1e-13)


def test_derivative_is_that_of_the_response():
    light = torch.tensor([0.0, 0.5, 0.97, 1.0, 1.02, 2.0, 1e4], requires_grad=True)
    (slope,) = torch.autograd.grad(camera_response(light).sum(), light)
    torch.testing.assert_close(slope, camera_response_derivative(light.detach()), rtol=1e-9, atol=1e-12)


def test_arguments_are_not_modified():
    light = torch.tensor([-0.5, 0.5, 2.0])
    before = light.clone()
    for function in (camera_response, camera_response_derivative, to_linear, to_srgb):
        function(light)
    torch.testing.assert_close(light, before, rtol=0, atol=0)


@pytest.mark.parametrize('gamma', [1.0, 2.2])
def test_gamma_goes_there_and_back(gamma):
    srgb = torch.rand(100)
    torch.testing.assert_close(to_srgb(to_linear(srgb, gamma), gamma), srgb, rtol=1e-12, atol=0)


def test_mid_gray_is_darker_in_linear_light():
    torch.testing.assert_close(to_linear(torch.tensor(0.5)), torch.tensor(0.5**2.2), rtol=1e-12, atol=0)


def test_a_floor_keeps_the_gradient_finite_in_the_dark():
    light = torch.zeros(3, requires_grad=True)
    (slope,) = torch.autograd.grad(to_srgb(light, floor=1e-6).sum(), light)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize('function', [to_linear, to_srgb])
def test_a_gamma_of_nothing_is_refused(function):
    with pytest.raises(ValueError, match='gamma is 0'):
        function(torch.rand(2), 0)


def test_a_sharpness_of_nothing_is_refused():
    with pytest.raises(ValueError, match='sharpness is -1'):
        camera_response(torch.rand(2), -1)
