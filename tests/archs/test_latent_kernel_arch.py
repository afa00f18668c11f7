"""The estimator of kernel codes, and the way from a code to the kernel of a pixel."""

import csv

import pytest
import torch

from basis_blur.archs.kernel_flow_arch import KernelFlow
from basis_blur.archs.latent_kernel_arch import (
    KernelEstimator,
    LatentKernelNet,
    decoded,
    perturbed,
    standardised,
    to_pixel_kernels,
)


def make_net(**changes):
    torch.manual_seed(0)
    return LatentKernelNet(**{'kernel_size': 5, 'width': 4, 'flow_blocks': 2, 'flow_hidden': 6, **changes})


def test_the_weights_have_the_names_and_shapes_of_the_published_ones(shared_data):
    table = shared_data.parent / 'spec' / 'ufpnet_w64_k19_state_dict.tsv'
    with open(table) as file:
        rows = {
            row[0]: row[1] for row in csv.reader(file, delimiter='\t') if row[0].startswith(('kernel_extra', 'flow'))
        }
    with torch.device('meta'):
        own = LatentKernelNet().state_dict()
    assert {key: 'x'.join(map(str, value.shape)) or '1' for key, value in own.items()} == rows


@pytest.mark.parametrize('size', [(8, 12), (7, 9), (1, 2)])
def test_every_pixel_of_any_photo_gets_a_kernel(size):
    kernels = make_net().eval()(torch.rand(2, 3, *size))
    assert kernels.code.shape == kernels.raw.shape == kernels.pixel_kernels.shape == (2, 25, *size)
    assert kernels.sigma.shape == (2, 1, *size)
    assert 0 < kernels.sigma.min() < kernels.sigma.max() < 1
    assert kernels.pixel_kernels.min() >= 0
    assert kernels.pixel_kernels.is_contiguous()
    torch.testing.assert_close(kernels.pixel_kernels.sum(1), torch.ones(2, *size))


def test_a_code_has_mean_0_and_variance_1_at_every_pixel():
    code = make_net().eval()(torch.rand(1, 3, 8, 8)).code
    torch.testing.assert_close(code.var(1), torch.ones(1, 8, 8))
    torch.testing.assert_close(code.mean(1), torch.zeros(1, 8, 8), atol=1e-12, rtol=0)
    assert torch.equal(standardised(torch.full((1, 9, 2, 2), 0.25)), torch.zeros(1, 9, 2, 2))


def test_noise_leaves_a_standard_normal_code_standard_normal():
    code, noise = torch.randn(2, 1, 10000, 1, 1)
    sigma = torch.full((1, 1, 1, 1), 0.6)
    torch.testing.assert_close(perturbed(code, sigma, noise), 0.8 * code + 0.6 * noise)
    torch.testing.assert_close(perturbed(code, sigma, None), 0.8 * code)
    sure = torch.ones(1, 1, 1, 1, requires_grad=True)
    perturbed(code, sure, noise).sum().backward()
    assert sure.grad.isfinite().all()


def test_the_kernels_are_the_flows_turned():
    net = make_net().eval()
    kernels = net(torch.rand(1, 3, 4, 6), noise := torch.randn(1, 25, 4, 6))
    code = perturbed(kernels.code, kernels.sigma, noise)
    raw = net.flow.decode_raw(code[0, :, 2, 3][None])
    torch.testing.assert_close(kernels.raw[0, :, 2, 3], raw[0])
    expected = net.flow.decode(code[0, :, 2, 3][None])[0].flip(-2, -1)
    torch.testing.assert_close(kernels.pixel_kernels[0, :, 2, 3].view(5, 5), expected)


def test_with_a_stride_the_middle_of_each_cell_has_the_kernel_of_its_code():
    net = make_net(stride=3).eval()
    kernels = net(torch.rand(2, 3, 9, 11), noise := torch.randn(2, 25, 3, 4))
    assert kernels.code.shape == (2, 25, 3, 4)
    assert kernels.raw.shape == kernels.pixel_kernels.shape == (2, 25, 9, 11)
    torch.testing.assert_close(kernels.pixel_kernels.sum(1), torch.ones(2, 9, 11))
    sigma = kernels.sigma[..., ::3, ::3]
    assert torch.equal(kernels.sigma, sigma.repeat_interleave(3, -2).repeat_interleave(3, -1)[..., :11])
    code = perturbed(kernels.code, sigma, noise)
    torch.testing.assert_close(kernels.raw[1, :, 7, 1::3].mT, net.flow.decode_raw(code[1, :, 2].mT))


def test_without_flow_and_with_a_stride_the_kernels_between_the_middles_are_interpolated():
    net, photo = make_net(stride=3, flow_prior=False, uncertainty=False), torch.rand(1, 3, 9, 12)
    shares, _ = net.kernel_extra.shares(photo)
    raw = net(photo).raw
    torch.testing.assert_close(raw[..., 1::3, 1::3], shares)
    torch.testing.assert_close(raw[..., 1, 2], (2 * shares[..., 0, 0] + shares[..., 0, 1]) / 3)


def make_windows(**changes):
    torch.manual_seed(0)
    net = LatentKernelNet(
        **{'kernel_size': 9, 'width': 4, 'flow_blocks': 2, 'flow_hidden': 6, 'estimator': 'correlation', **changes}
    )
    torch.nn.init.normal_(net.kernel_extra.mean.weight)  # codes of windows differ at once
    return net.eval()


@pytest.mark.parametrize('changes', [{}, {'flow_prior': False}, {'uncertainty': False}])
def test_with_correlations_pixels_mix_the_kernels_of_windows(changes):
    net, photo = make_windows(**changes), torch.rand(2, 3, 200, 300)
    kernels, field = net(photo), net(photo, as_field=True)
    assert kernels.code.shape == (2, 81, 2, 3)
    assert kernels.raw.shape == (2, 81, 200, 300)
    assert kernels.sigma.shape == (2, 1, 200, 300)
    mixed = torch.einsum('nbk,nbhw->nkhw', field.kernels.flatten(2), field.mixing)
    torch.testing.assert_close(kernels.pixel_kernels, mixed)
    # At a corner, a pixel has the kernel of its window alone.
    torch.testing.assert_close(kernels.pixel_kernels[..., 0, 0], field.kernels[:, 0].flatten(1))
    torch.testing.assert_close(kernels.sigma[0, 0, -1, -1], kernels.cell_sigma[0, 0, -1, -1])
    assert (field.kernels[0, 0] - field.kernels[0, 1]).abs().max() > 1e-6  # far beyond the tolerances above


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (2, 2), (30, 3)])
def test_with_correlations_photos_may_be_tiny(size):
    kernels = make_windows()(torch.rand(1, 3, *size)).pixel_kernels
    assert kernels.shape == (1, 81, *size)
    torch.testing.assert_close(kernels.sum(1), torch.ones(1, *size))


def test_with_correlations_the_kernels_of_the_windows_are_the_flows_turned():
    net = make_windows()
    photo, noise = torch.rand(1, 3, 40, 30), torch.randn(1, 81, 1, 1)
    kernels = net(photo, noise)
    code = perturbed(kernels.code, kernels.cell_sigma, noise)
    expected = net.flow.decode(code.flatten(1)).flip(-2, -1)
    torch.testing.assert_close(net(photo, noise, as_field=True).kernels[:, 0], expected)


def test_what_an_estimator_cannot_do_is_refused():
    with pytest.raises(ValueError, match="estimator is 'vit', expected one of unet, correlation"):
        make_net(estimator='vit')
    with pytest.raises(ValueError, match='stride is 2, but the estimator "correlation" has windows'):
        make_windows(stride=2)
    for name, value in {'in_channels': 2, 'kernel_size': 7, 'width': 3}.items():
        with pytest.raises(ValueError, match=f'{name} is {value}'):
            make_windows(**{name: value})
    with pytest.raises(ValueError, match='as_field needs the estimator "correlation"'):
        make_net()(torch.rand(1, 3, 8, 8), as_field=True)
    with pytest.raises(ValueError, match=r'the photo has shape \(1, 1, 8, 8\), expected \(N, 3, H, W\)'):
        make_windows()(torch.rand(1, 1, 8, 8))


def test_negative_raw_values_are_cut_before_the_sum():
    raw = torch.tensor([-0.2, 0.5, 0.0, 1.5]).view(1, 4, 1, 1)
    torch.testing.assert_close(to_pixel_kernels(raw).flatten(), torch.tensor([0.75, 0.0, 0.25, 0.0]))


def test_chunks_change_neither_kernels_nor_gradients():
    flow = KernelFlow(kernel_size=3, num_blocks=2, hidden=4).requires_grad_(False).eval()
    code, sigma, noise = torch.randn(2, 9, 4, 5), torch.rand(2, 1, 4, 5), torch.randn(2, 9, 4, 5)
    results = []
    for chunk in (3, 1000):
        inputs = code.clone().requires_grad_(), sigma.clone().requires_grad_()
        kernels = to_pixel_kernels(decoded(*inputs, flow, noise, chunk))
        results.append((kernels, *torch.autograd.grad(kernels.square().sum(), inputs)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-12)


def test_photos_of_a_batch_do_not_mix():
    net, photos = make_net().eval(), torch.rand(2, 3, 6, 7)
    torch.testing.assert_close(net(photos).pixel_kernels[1:], net(photos[1:]).pixel_kernels)


def test_evaluation_is_deterministic_and_training_draws_noise():
    net, photo = make_net(), torch.rand(1, 3, 8, 8)
    net.eval()
    assert torch.equal(net(photo).raw, net(photo).raw)
    net.train()
    first, second = net(photo), net(photo)
    assert torch.equal(first.code, second.code)
    assert not torch.equal(first.raw, second.raw)


def test_without_uncertainty_there_is_no_noise():
    net, photo = make_net(uncertainty=False).train(), torch.rand(1, 3, 8, 8)
    first, second = net(photo), net(photo)
    assert torch.equal(first.raw, second.raw)
    assert not first.sigma.any()


def test_without_the_flow_the_kernels_are_the_softmax():
    net, photo = make_net(flow_prior=False, uncertainty=False), torch.rand(1, 3, 8, 8)
    shares, _ = net.kernel_extra.shares(photo)
    torch.testing.assert_close(net(photo).raw, shares)
    torch.testing.assert_close(net(photo).pixel_kernels, shares.flip(1))
    assert not any(key.startswith('flow') for key in net.state_dict())


def test_the_flow_is_frozen_and_stays_in_evaluation():
    net = make_net().train()
    assert not net.flow.training
    assert net.kernel_extra.training
    before = {key: value.clone() for key, value in net.flow.state_dict().items()}
    net(torch.rand(1, 3, 8, 8)).pixel_kernels.square().sum().backward()
    assert all(parameter.grad is None for parameter in net.flow.parameters())
    assert all(parameter.grad is not None for parameter in net.kernel_extra.parameters())
    torch.testing.assert_close(dict(net.flow.state_dict()), before, rtol=0, atol=0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match='kernel_size is 8, expected an odd number'):
        KernelEstimator(kernel_size=8)
    with pytest.raises(ValueError, match=r'the photo has shape \(1, 1, 8, 8\), expected \(N, 3, H, W\)'):
        make_net()(torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r'the noise has shape \(1, 25, 8, 7\), expected \(1, 25, 8, 8\)'):
        make_net()(torch.rand(1, 3, 8, 8), torch.randn(1, 25, 8, 7))
