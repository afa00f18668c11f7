"""BasisKPN predicts a valid blur field for a photo of any size, and is the network of [C21]."""

import pytest
import torch
from torch import nn

from basis_blur.archs import ARCHS
from basis_blur.archs.basis_kpn_arch import BasisKPN, reflect_to_multiple
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import options_of, read_options


def small(**hyper_parameters):
    return BasisKPN(**{'num_feat': 2, 'num_kernels': 3, **hyper_parameters}).eval()


def lively(net):
    """Give a fresh network, whose output hardly depends on its input, weights that pass signals on."""
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    return net


def parameter_count(**hyper_parameters):
    with torch.device('meta'):
        return sum(parameter.numel() for parameter in BasisKPN(**hyper_parameters).parameters())


@pytest.mark.parametrize(
    ('hyper_parameters', 'count'),
    [
        ({}, 79_828_658),
        ({'gray_stem': True}, 79_829_298),  # what the published list holds, with both of its entrances
        ({'gray_stem': True, 'kernel_size': 65}, 79_956_530),
        ({'num_feat': 16}, 4_998_098),
    ],
)
def test_number_of_parameters(hyper_parameters, count):
    assert parameter_count(**hyper_parameters) == count


@pytest.mark.parametrize('size', [(1, 1), (2, 33), (31, 64), (32, 32), (70, 45)])
@pytest.mark.parametrize('norm', ['none', 'group'])
def test_any_image_size_gets_a_valid_field(size, norm):
    net = lively(small(norm=norm))
    field = net(torch.rand(2, 3, *size))
    assert field.image_size == size
    BlurField(field.kernels, field.mixing)


@pytest.mark.parametrize('kernel_size', [33, 65])
@pytest.mark.parametrize('in_channels', [3, 1])
def test_sizes_follow_the_hyper_parameters(kernel_size, in_channels):
    field = small(kernel_size=kernel_size, in_channels=in_channels)(torch.rand(1, in_channels, 32, 32))
    assert field.kernels.shape == (1, 3, kernel_size, kernel_size)
    assert field.mixing.shape == (1, 3, 32, 32)


def test_the_network_takes_one_half_off_the_light():
    net, heard = small(), []
    net.stem.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
    light = torch.rand(1, 3, 32, 32)
    net(light)
    torch.testing.assert_close(heard[0], light - 0.5)


def test_a_photo_is_continued_by_its_reflection():
    row = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    assert reflect_to_multiple(row, 8).tolist() == [[[[1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0]] * 8]]
    assert torch.equal(reflect_to_multiple(row.mT, 8), reflect_to_multiple(row, 8).mT)


def test_reflecting_a_photo_beforehand_changes_nothing():
    net, light = lively(small()), torch.rand(1, 3, 40, 50)
    field, padded = net(light), net(reflect_to_multiple(light, 32))
    torch.testing.assert_close(field.kernels, padded.kernels)
    torch.testing.assert_close(field.mixing, padded.mixing[..., :40, :50])


def test_kernels_see_the_whole_photo_and_mixing_sees_its_neighbourhood():
    net, light = lively(small()), torch.rand(1, 3, 32, 32, requires_grad=True)
    field = net(light)
    for answer in (field.kernels[0, 0, 16, 16], field.mixing[0, 0, 16, 16]):
        (slope,) = torch.autograd.grad(answer, light, retain_graph=True)
        assert (slope != 0).float().mean() > 0.9


def test_photos_of_a_batch_do_not_mix():
    net, light = lively(small(norm='group')), torch.rand(2, 3, 32, 40)
    torch.testing.assert_close(net(light).mixing[1:], net(light[1:]).mixing)
    torch.testing.assert_close(net(light).kernels[1:], net(light[1:]).kernels)


def test_evaluation_is_deterministic():
    net, light = lively(small()), torch.rand(1, 3, 40, 40)
    assert torch.equal(net(light).mixing, net(light).mixing)


def test_every_parameter_receives_a_gradient():
    net = lively(small(norm='group', kernel_size=65)).train()
    field = net(torch.rand(1, 3, 32, 32))
    ((field.kernels**2).sum() + (field.mixing**2).sum()).backward()
    assert [name for name, each in net.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_under_half_precision_the_field_is_float32_and_its_sums_are_one():
    net = lively(small()).float()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        field = net(torch.rand(1, 3, 32, 32, dtype=torch.float32))
    assert field.kernels.dtype == field.mixing.dtype == torch.float32
    assert (field.kernels.sum((-2, -1)) - 1).abs().max() < 1e-5
    assert (field.mixing.sum(1) - 1).abs().max() < 1e-5


def test_channels_last_gives_the_same_field():
    net, light = lively(small()), torch.rand(1, 3, 40, 40)
    expected = net(light)
    field = net.to(memory_format=torch.channels_last)(light.to(memory_format=torch.channels_last))
    torch.testing.assert_close(field.mixing, expected.mixing)
    torch.testing.assert_close(field.kernels, expected.kernels)


@pytest.mark.parametrize('norm', ['none', 'group'])
def test_a_fresh_network_passes_signals_on_and_starts_nearly_uniform(norm):
    net, sizes = BasisKPN(num_feat=8, num_kernels=5, norm=norm), {}
    for name, layer in [('features', net.bottleneck), ('mixing', net.mixing_head), ('kernels', net.kernel_head)]:
        layer.register_forward_hook(lambda module, inputs, output, name=name: sizes.update({name: output.std().item()}))
    field = net(torch.rand(2, 3, 64, 64))
    assert 0.1 < sizes['features'] < 3
    assert 0.01 < sizes['mixing'] < 0.3
    assert 0.01 < sizes['kernels'] < 0.3
    assert field.kernels.max() < 5 / 33**2
    assert field.mixing.max() < 0.6


def test_hyper_parameters_build_the_same_network_again():
    net = small(in_channels=1, kernel_size=65, norm='group')
    again = ARCHS['BasisKPN'](**net.hyper_parameters)
    again.load_state_dict(net.state_dict())
    assert again.hyper_parameters == net.hyper_parameters
    net.hyper_parameters['num_feat'] = 7
    assert net.hyper_parameters['num_feat'] == 2


def test_a_gray_stem_takes_gray_light_beside_colour():
    net = lively(small(gray_stem=True))
    colour, gray = net(torch.rand(1, 3, 32, 32)), net(torch.rand(1, 1, 32, 32))
    assert colour.image_size == gray.image_size
    net.stem.conv.weight.data.zero_()
    assert torch.equal(net(torch.rand(1, 3, 32, 32)).mixing, net(torch.rand(1, 3, 32, 32)).mixing)
    assert not torch.equal(net(torch.rand(1, 1, 32, 32)).mixing, net(torch.rand(1, 1, 32, 32)).mixing)


@pytest.mark.parametrize('shape', [(1, 1, 32, 32), (3, 32, 32), (1, 4, 32, 32)])
def test_light_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match='expected .N, C, H, W. with C = 3'):
        small()(torch.rand(shape))


@pytest.mark.parametrize(
    'wrong',
    [
        {'in_channels': 4},
        {'num_feat': 0},
        {'num_kernels': 0},
        {'kernel_size': 31},
        {'norm': 'batch'},
        {'in_channels': 1, 'gray_stem': True},
    ],
    ids=str,
)
def test_hyper_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        BasisKPN(**wrong)


def test_options_are_read_from_its_signature():
    known = options_of(BasisKPN)
    assert read_options({'num_feat': 16}, known, 'network_g')['kernel_size'] == 33
    with pytest.raises(InputError, match='"kernel_size" is 35.*33, 65'):
        read_options({'kernel_size': 35}, known, 'network_g')


def test_it_can_be_exported():
    class Tensors(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, light):
            return self.net.predict(light)

    net, light = lively(small()), torch.rand(1, 3, 40, 70)
    exported = torch.export.export(Tensors(net), (light,)).module()
    light = torch.rand(1, 3, 40, 70)
    torch.testing.assert_close(exported(light), net.predict(light))
