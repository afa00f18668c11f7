"""Gradients of the restored photo, against differences."""

import pytest
import torch
from tolerances import difference_step

from basis_blur.archs import ARCHS
from basis_blur.deblurring.differentiable import Deblur, deblur_iterates_with_gradients, deblur_with_gradients
from basis_blur.estimation.by_network import estimate_blur
from basis_blur.field.blur_field import BlurField
from basis_blur.restoration.deblur import deblur, deblur_iterates

NAMES = ['photo', 'kernels', 'mixing']
STEP = 1e-8  # shorter than the way to the next kink: a pixel at a limit, a step that is cut


def make_inputs(number=1, brightest=0.8):
    photo = 0.3 + (brightest - 0.3) * torch.rand(number, 3, 7, 6)
    kernels = torch.randn(number, 2, 9).softmax(-1).reshape(number, 2, 3, 3)
    return [photo.clamp_max(0.995), kernels, torch.randn(number, 2, 7, 6).softmax(1)]


def restored(photo, kernels, mixing, *settings):
    return deblur_with_gradients(photo, BlurField.unchecked(kernels, mixing), *settings)


def slope_error(inputs, wanted, settings):
    """Return how far the gradient with respect to one input is from the difference along a random direction."""
    variable, step = inputs[wanted], STEP * torch.randn_like(inputs[wanted])
    towards = torch.randn_like(inputs[0])

    def result(value):
        return (restored(*inputs[:wanted], value, *inputs[wanted + 1 :], *settings) * towards).sum()

    variable = variable.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(result(variable), variable)
    difference = (result(inputs[wanted] + step) - result(inputs[wanted] - step)) / 2
    return abs((gradient * step).sum() - difference) / difference.abs()


@pytest.mark.parametrize('brightest', [0.8, 1.5], ids=['', 'saturated'])
@pytest.mark.parametrize('gamma', [1.0, 2.2])
@pytest.mark.parametrize('wanted', range(3), ids=NAMES)
def test_gradients_are_those_of_differences(wanted, gamma, brightest):
    inputs = make_inputs(brightest=brightest)
    assert slope_error(inputs, wanted, (gamma, 4, 0.003)) < 1e-5


def test_gradients_survive_the_stop_rule():
    made = []
    inputs = make_inputs()
    deblur(inputs[0], BlurField(*inputs[1:]), 1.0, 200, 0.003, callback=made.append)
    assert 2 < len(made) < 200
    assert slope_error(inputs, 1, (1.0, 200, 0.003)) < 1e-5


@pytest.mark.parametrize(('brightest', 'kept'), [(0.8, (1, 2, 4)), (1.5, (2, 4)), (0.8, (2, 300, 400))])
def test_gradients_flow_through_every_iterate(brightest, kept):
    inputs = make_inputs(brightest=brightest)
    plain = deblur_iterates(inputs[0], BlurField(*inputs[1:]), kept, 1.8, 0.003)
    found = [each.clone().requires_grad_() for each in inputs]
    iterates = deblur_iterates_with_gradients(found[0], BlurField.unchecked(*found[1:]), kept, 1.8, 0.003)
    assert torch.equal(iterates, plain)
    towards = torch.randn_like(plain)
    together = torch.autograd.grad((iterates * towards).sum(), found)
    apart = [torch.zeros_like(each) for each in inputs]
    for iteration, weight in zip(kept, towards.split(3, 1), strict=True):
        one = [each.clone().requires_grad_() for each in inputs]
        sharp = restored(*one, 1.8, iteration, 0.003)
        for total, part in zip(apart, torch.autograd.grad((sharp * weight).sum(), one), strict=True):
            total += part
    torch.testing.assert_close(list(together), apart, rtol=1e-9, atol=1e-12)


def test_a_batch_has_the_gradients_of_its_photos():
    inputs = [each.requires_grad_() for each in make_inputs(number=2)]
    together = torch.autograd.grad(restored(*inputs).square().sum(), inputs)
    for n in range(2):
        alone = [each[n : n + 1].detach().requires_grad_() for each in inputs]
        expected = torch.autograd.grad(restored(*alone).square().sum(), alone)
        for found, one in zip(together, expected, strict=True):
            torch.testing.assert_close(found[n : n + 1], one)


@pytest.mark.parametrize('level', [0.0, 0.5, 1.0])
def test_gradients_of_a_flat_photo_are_finite(level):
    inputs = make_inputs()
    inputs[0] = torch.full_like(inputs[0], level)
    inputs[0][..., :2, :] = 0
    inputs = [each.requires_grad_() for each in inputs]
    for gradient in torch.autograd.grad(restored(*inputs).sum(), inputs):
        assert gradient.isfinite().all()


def test_the_module_is_deblur_of_the_estimate_and_trains_its_network():
    net = ARCHS['BasisKPN'](num_feat=2, num_kernels=2).double()
    module = Deblur(net, gamma=1.8, iterations=3).eval()
    photo = torch.rand(1, 3, 40, 36).requires_grad_()
    sharp = module(photo)
    plain = photo.detach()
    assert torch.equal(sharp, deblur(plain, estimate_blur(net, plain, 1.8), 1.8, 3, strength=module.strength))
    sharp.square().mean().backward()
    assert photo.grad.abs().max() > 0
    for name, parameter in net.named_parameters():
        assert 0 < parameter.grad.abs().max() < float('inf'), name
    assert list(module.state_dict()) == [f'net.{name}' for name in net.state_dict()]
    assert not deblur(plain, estimate_blur(net, plain)).requires_grad


@pytest.mark.parametrize('channels', [3, 1])
def test_with_a_fusion_the_module_is_deblur_with_it_and_trains_both_networks(channels):
    net = ARCHS['BasisKPN'](num_feat=2, num_kernels=2).double()
    fusion = ARCHS['IterateFusion']((1, 3), width=4, deep_width=4, blocks=2, deep_blocks=1).double()
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    module = Deblur(net, gamma=1.8, fusion=fusion).eval()
    photo = torch.rand(1, channels, 40, 36)
    sharp = module(photo)
    with torch.no_grad():
        assert torch.equal(sharp, deblur(photo, estimate_blur(net, photo, 1.8), 1.8, fusion=fusion))
    assert not torch.equal(sharp, Deblur(net, gamma=1.8).eval()(photo))
    sharp.square().mean().backward()
    for name, parameter in module.named_parameters():
        assert 0 < parameter.grad.abs().max() < float('inf'), name
    with pytest.raises(ValueError, match='iterations is 3, but the fusion is made for'):
        Deblur(net, iterations=3, fusion=fusion)


def test_a_step_of_the_network_down_the_gradient_brings_the_photo_as_much_closer_as_it_promises():
    net = ARCHS['BasisKPN'](num_feat=2, num_kernels=2).double()
    module = Deblur(net, iterations=2)
    sharp, photo = torch.rand(2, 1, 3, 36, 36)

    def error():
        return (module(photo) - sharp).square().mean()

    before = error()
    gradients = torch.autograd.grad(before, list(net.parameters()))
    steepness = torch.cat([each.flatten() for each in gradients]).norm()
    step = difference_step() / steepness
    with torch.no_grad():
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            parameter -= step * gradient
        gained = before - error()
    assert gained.item() == pytest.approx((step * steepness**2).item(), rel=0.05)
