"""UFPNet estimates kernels and restores with them; its published checkpoints load."""

import math

import pytest
import torch
from activations import leaky
from torch import nn

from basis_blur.archs import ARCHS
from basis_blur.archs.latent_kernel_arch import LatentKernelNet
from basis_blur.archs.ufpnet_arch import RESTORERS, UFPNet
from basis_blur.foundation.errors import InputError
from basis_blur.weights.checkpoints import load_network, save_network

ESTIMATOR = {'kernel_size': 3, 'estimator_width': 4, 'flow_hidden': 4, 'flow_blocks': 2}
NAFNET = {'width': 4, 'enc_blocks': (1, 2), 'dec_blocks': (1, 1), 'attention_levels': (0, 1)}
SMALL = {
    'nafnet': NAFNET,
    'mimo_unet': {'restorer': 'mimo_unet', 'restorer_options': {'width': 4, 'num_res': 1}},
    'mprnet': {
        'restorer': 'mprnet',
        'restorer_options': {'width': 4, 'unet_step': 2, 'full_size_step': 2, 'num_cab': 1},
    },
}


def small(restorer='nafnet', **hyper_parameters):
    net = UFPNet(**{**ESTIMATOR, **SMALL[restorer], **hyper_parameters})
    for key, parameter in net.named_parameters():
        if key.endswith(('beta', 'gamma')) and 'flow' not in key:
            nn.init.normal_(parameter)
    return net.eval()


def test_number_of_parameters():
    with torch.device('meta'):
        assert sum(parameter.numel() for parameter in UFPNet().parameters()) == 80_343_663  # 80.34 M in [F23]


@pytest.mark.parametrize('size', [(1, 1), (5, 8), (17, 12)])
@pytest.mark.parametrize('restorer', RESTORERS)
def test_any_photo_size_comes_back_with_its_kernels(restorer, size):
    image, pixel_kernels, sigma = small(restorer)(torch.rand(2, 3, *size))
    assert image.shape == (2, 3, *size)
    assert pixel_kernels.shape == (2, 9, *size)
    assert sigma.shape == (2, 1, *size)
    assert 0 <= image.min() <= image.max() <= 1
    torch.testing.assert_close(pixel_kernels.sum(1), torch.ones(2, *size))


def test_kernels_and_sigma_are_those_of_the_estimator():
    net, photo = small(), torch.rand(1, 3, 8, 8)
    result, expected = net(photo), net.latent_kernels(photo)
    assert torch.equal(result.pixel_kernels, expected.pixel_kernels)
    assert torch.equal(result.sigma, expected.sigma)
    assert torch.equal(result.image, net.restorer(photo, expected.raw).clamp(0, 1))


def test_noise_is_drawn_in_training_only():
    net, photo = small(), torch.rand(1, 3, 8, 8)
    noise = torch.randn(1, 9, 8, 8)
    assert torch.equal(net(photo).image, net(photo).image)
    assert torch.equal(net(photo, noise).image, net(photo, noise).image)
    assert not torch.equal(net(photo, noise).image, net(photo).image)
    net.train()
    assert not torch.equal(net(photo).image, net(photo).image)


def test_training_does_not_clamp():
    net, photo = small(), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        net.restorer.ending.bias.fill_(3)
    assert net(photo).image.max() == 1
    image = net.train()(photo).image
    assert image.min() > 1
    image.sum().backward()
    assert net.restorer.ending.bias.grad.all()


@pytest.mark.parametrize('restorer', RESTORERS)
def test_every_parameter_but_those_of_the_flow_receives_a_gradient(restorer):
    net = leaky(small(restorer)).train()
    result = net(torch.rand(2, 3, 32, 32))
    images = [result.image] if isinstance(result.image, torch.Tensor) else list(result.image)
    sum(image.square().sum() for image in images).backward()
    silent = {name for name, each in net.named_parameters() if each.grad is None or not each.grad.any()}
    assert silent == {name for name, each in net.named_parameters() if not each.requires_grad}
    assert {name.rsplit('.', 2)[0] for name in silent if '.flow.' not in name} <= {'restorer.kernel_down'}
    assert not net.latent_kernels.flow.training


def test_without_attention_it_is_the_restorer_alone():
    net, photo = small(kernel_attention=False), torch.rand(1, 3, 9, 7)
    result = net(photo)
    assert torch.equal(result.image, net.restorer(photo).clamp(0, 1))
    assert result.pixel_kernels is None
    assert result.sigma is None
    RESTORERS['nafnet'](**NAFNET).load_state_dict(net.state_dict())
    with pytest.raises(ValueError, match='without kernel_attention'):
        net(photo, torch.zeros(1, 9, 9, 7))


@pytest.mark.parametrize('kind', [{'kernel_size': 3}, {'kernel_size': 9, 'estimator': 'correlation'}])
def test_the_weights_of_a_kernel_estimator_are_a_part_of_ours(kind):
    net = small(**kind)
    estimator = LatentKernelNet(width=4, flow_hidden=4, flow_blocks=2, **kind).eval()
    result = net.load_state_dict(estimator.state_dict(), strict=False)
    assert not result.unexpected_keys
    photo = torch.rand(1, 3, 8, 8)
    assert torch.equal(net(photo).pixel_kernels, estimator(photo).pixel_kernels)


def test_names_are_the_same_within_another_module():
    net, other = nn.ModuleDict({'net': small()}), nn.ModuleDict({'net': small()})
    other.load_state_dict(net.state_dict())
    assert {'net.intro.weight', 'net.kernel_extra.Conv_mid.body.0.bias', 'net.flow.alpha'} <= net.state_dict().keys()
    photo = torch.rand(1, 3, 8, 8)
    assert torch.equal(other['net'](photo).image, net['net'](photo).image)


def test_unknown_weights_are_reported():
    state = small().state_dict()
    state['stranger.weight'] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r'stranger\.weight'):
        small().load_state_dict(state)


@pytest.mark.parametrize('restorer', RESTORERS)
def test_a_saved_network_restores_the_same(tmp_path, restorer):
    net, photo = small(restorer, local_size=4) if restorer == 'nafnet' else small(restorer), torch.rand(1, 3, 8, 12)
    save_network(net, tmp_path / 'net.safetensors')
    again = load_network(tmp_path / 'net.safetensors', expect='UFPNet')
    assert again.hyper_parameters == net.hyper_parameters
    assert torch.equal(again(photo).image, net(photo).image)
    assert not any(parameter.requires_grad for parameter in again.latent_kernels.flow.parameters())


@pytest.mark.parametrize(
    'hyper_parameters',
    [{}, {'attention_levels': (1,)}, {'uncertainty': False, 'in_channels': 1}, {'flow_prior': False}],
)
def test_a_checkpoint_without_hyper_parameters_shows_them_by_its_shapes(tmp_path, hyper_parameters):
    net = small(**hyper_parameters)
    torch.save({'params': net.state_dict()}, tmp_path / 'net_g.pth')
    again = load_network(tmp_path / 'net_g.pth')
    photo = torch.rand(1, net.hyper_parameters['in_channels'], 8, 8)
    assert isinstance(again, UFPNet)
    assert torch.equal(again(photo).image, net(photo).image)


@pytest.mark.parametrize('arch', ['NAFNet', 'LatentKernelNet'])
def test_checkpoints_of_the_parts_are_told_apart(tmp_path, arch):
    net = ARCHS[arch](**NAFNET) if arch == 'NAFNet' else LatentKernelNet(kernel_size=5, width=4, flow_hidden=3)
    torch.save({'params': net.state_dict()}, tmp_path / 'net_g.pth')
    again = load_network(tmp_path / 'net_g.pth')
    assert type(again) is type(net)
    assert again.hyper_parameters == net.hyper_parameters | {
        key: again.hyper_parameters[key] for key in ('attention_levels',) if key in again.hyper_parameters
    }


def published_keys(shared_data):
    path = shared_data.parent / 'spec' / 'ufpnet_w64_k19_state_dict.tsv'
    lines = [line.split('\t') for line in path.read_text().splitlines()[1:]]
    return {key: tuple(map(int, shape.split('x'))) for key, shape in lines}


def test_the_names_and_shapes_are_the_published_ones(shared_data):
    with torch.device('meta'):
        state = UFPNet().state_dict()
    assert {key: tuple(value.shape) or (1,) for key, value in state.items()} == published_keys(shared_data)


def test_a_published_checkpoint_loads_strictly_and_restores(shared_data, tmp_path):
    torch.set_default_dtype(torch.float32)
    state = {
        key: torch.full(shape, 0.9) if key.endswith(('running_var', 'base_dist_var')) else torch.randn(shape) * 0.01
        for key, shape in published_keys(shared_data).items()
    }
    constants = {'flow.kernel_size': 19.0, 'flow.alpha': 1e-6, 'flow.normalization': 0.2}
    state |= {key: torch.tensor([value]) for key, value in constants.items()}
    torch.save({'params': state}, tmp_path / 'ufpnet.pth')
    net = load_network(tmp_path / 'ufpnet.pth')
    assert net.hyper_parameters == UFPNet(width=64, enc_blocks=(1, 1, 1, 28)).hyper_parameters
    with torch.no_grad():
        result = net(torch.rand(1, 3, 20, 33))
    assert result.image.shape == (1, 3, 20, 33)
    assert all(each.isfinite().all() for each in result)
    loaded = net.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert math.isclose(sum(value.numel() for value in net.parameters()), 80.34e6, rel_tol=0.005)

    del state['kernel_down.3.bias']
    torch.save({'params': state}, tmp_path / 'ufpnet.pth')
    with pytest.raises(InputError, match=r'lacks kernel_down\.3\.bias'):
        load_network(tmp_path / 'ufpnet.pth')


@pytest.mark.parametrize(
    ('hyper_parameters', 'words'),
    [
        ({'restorer': 'nafnot'}, "restorer is 'nafnot'"),
        ({'restorer_options': {'width': 4}}, 'restorer_options are for other restorers'),
        ({'restorer': 'mprnet', 'width': 8}, "width are hyper-parameters of nafnet, and restorer is 'mprnet'"),
        (
            {'restorer': 'mimo_unet', 'restorer_options': {'n_feat': 8}},
            'restorer_options has the unknown n_feat; mimo_unet takes width, num_res, multi_scale',
        ),
        ({'kernel_size': 4}, 'kernel_size is 4'),
    ],
)
def test_hyper_parameters_that_have_no_meaning_are_refused(hyper_parameters, words):
    with pytest.raises(ValueError, match=words):
        UFPNet(**hyper_parameters)
