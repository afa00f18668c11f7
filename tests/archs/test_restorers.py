"""What holds for every restoring network; NAFNet has its own tests beside these."""

import pytest
import torch
from activations import leaky
from torch import nn

from basis_blur.archs import ARCHS
from basis_blur.archs.deblurgan_arch import DeblurGANGenerator
from basis_blur.archs.deblurgan_v2_arch import DeblurGANv2Generator
from basis_blur.archs.dmphn_arch import DMPHN, _cut
from basis_blur.archs.dmphn_arch import _joined as _joined_parts
from basis_blur.archs.mimo_unet_arch import ImagesBySize, MIMOUNet
from basis_blur.archs.mprnet_arch import ImagesByStage, MPRNet, _halves, _joined
from basis_blur.foundation.options import options_of, read_options
from basis_blur.weights.checkpoints import load_network, save_network

SMALL = {
    'NAFNet': {'width': 4, 'enc_blocks': (1, 2), 'dec_blocks': (1, 1), 'attention_levels': (0, 1)},
    'MIMOUNet': {'width': 4, 'num_res': 1},
    'MPRNet': {'width': 4, 'unet_step': 2, 'full_size_step': 2, 'num_cab': 1},
    'DeblurGANGenerator': {'width': 2, 'num_blocks': 2},
    'DeblurGANv2Generator': {'backbone': 'mobilenet', 'width': 2},
    'DMPHN': {'width': 2, 'levels': 3, 'stacks': 2},
}
WITH_ATTENTION = ('NAFNet', 'MIMOUNet', 'MPRNet')


def small(name, **hyper_parameters):
    net = ARCHS[name](**SMALL[name], **hyper_parameters)
    for key, parameter in net.named_parameters():
        if key.endswith(('beta', 'gamma')):
            nn.init.normal_(parameter)
    return leaky(net).eval()


def with_kernels(name):
    return small(name, kernel_size=3)


@pytest.mark.parametrize(
    ('arch', 'hyper_parameters', 'count'),
    [
        (MIMOUNet, {}, 16_107_651),  # MIMO-UNet+, 16.1 M in [F23]
        (MIMOUNet, {'num_res': 8}, 6_807_171),  # 6.8 M in [Cho21]
        (MPRNet, {}, 20_127_127),  # 20.1 M in [F23]
        (DeblurGANGenerator, {}, 11_378_179),  # 11.4 M
        (DeblurGANv2Generator, {}, 35_840_099),  # 60.9 M in the paper, with the end of the classifier
        (DeblurGANv2Generator, {'backbone': 'mobilenet', 'width': 32}, 2_106_627),  # 3.3 M, the same
        (DMPHN, {}, 7_232_524),  # 29 MB in the paper
        (DMPHN, {'levels': 3, 'stacks': 4}, 21_697_572),  # 86.8 MB in the paper, 21.7 M in [F23]
    ],
)
def test_number_of_parameters(arch, hyper_parameters, count):
    with torch.device('meta'):
        assert sum(parameter.numel() for parameter in arch(**hyper_parameters).parameters()) == count


@pytest.mark.parametrize('size', [(1, 1), (2, 9), (8, 8), (13, 20)])
@pytest.mark.parametrize('name', SMALL)
def test_any_photo_size_comes_back(name, size):
    image = small(name)(torch.rand(2, 3, *size))
    assert image.shape == (2, 3, *size)
    assert image.isfinite().all()


@pytest.mark.parametrize('name', [name for name in SMALL if name != 'DeblurGANv2Generator'])
def test_gray_photos_come_back(name):
    image = small(name, in_channels=1)(torch.rand(2, 1, 13, 20))
    assert image.shape == (2, 1, 13, 20)
    assert image.isfinite().all()


@pytest.mark.parametrize('size', [(1, 1), (13, 20)])
@pytest.mark.parametrize('name', WITH_ATTENTION)
def test_any_photo_size_comes_back_with_kernels(name, size):
    assert with_kernels(name)(torch.rand(2, 3, *size), torch.rand(2, 9, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize('name', SMALL)
def test_evaluation_is_deterministic(name):
    net, photo = small(name), torch.rand(1, 3, 9, 10)
    assert torch.equal(net(photo), net(photo))


@pytest.mark.parametrize('name', SMALL)
def test_photos_of_a_batch_do_not_mix(name):
    net, photo = small(name), torch.rand(3, 3, 16, 24)
    torch.testing.assert_close(net(photo)[1:], net(photo[1:]))


@pytest.mark.parametrize('name', [name for name in SMALL if name != 'DMPHN'])
def test_networks_that_end_in_zeros_return_the_photo(name):
    net, photo = small(name), torch.rand(1, 3, 9, 10)
    last = {'MIMOUNet': 'ends', 'DeblurGANGenerator': 'layers'}.get(name, 'ending')
    for parameter in getattr(net, last).parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(net(photo), photo)


@pytest.mark.parametrize('name', WITH_ATTENTION)
def test_other_kernels_make_another_image(name):
    net, photo, kernels = with_kernels(name), torch.rand(1, 3, 16, 16), torch.rand(1, 9, 16, 16)
    assert not torch.allclose(net(photo, kernels), net(photo, kernels.flip(1)), rtol=1e-6, atol=0)


@pytest.mark.parametrize('name', WITH_ATTENTION)
def test_the_skip_connection_passes_the_attention_by(name):
    net, photo, kernels = with_kernels(name), torch.rand(1, 3, 16, 16), torch.rand(1, 9, 16, 16)
    branches = {
        'NAFNet': lambda: [block.conv3 for level in net.encoders for block in level],
        'MIMOUNet': lambda: [level[0].convs[-1] for level in net.encoders],
        'MPRNet': lambda: [net.full_size.blocks[0].layers[-1]],
    }[name]()
    for layer in branches:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    assert torch.equal(net(photo, kernels), net(photo, kernels.flip(1)))


@pytest.mark.parametrize('name', WITH_ATTENTION)
def test_kernels_are_asked_for_if_and_only_if_they_are_used(name):
    photo, kernels = torch.rand(1, 3, 8, 8), torch.rand(1, 9, 8, 8)
    with pytest.raises(ValueError, match='raw_kernels are missing'):
        with_kernels(name)(photo)
    with pytest.raises(ValueError, match='has no kernel attention'):
        small(name)(photo, kernels)


@pytest.mark.parametrize('name', SMALL)
def test_photos_of_other_channels_are_refused(name):
    with pytest.raises(ValueError, match=r'photo has shape \(1, 4, 8, 8\), expected \(N, 3, H, W\)'):
        small(name)(torch.rand(1, 4, 8, 8))


@pytest.mark.parametrize(
    ('name', 'attention'), [*((name, False) for name in SMALL), *((name, True) for name in WITH_ATTENTION)]
)
def test_every_parameter_that_is_trained_receives_a_gradient(name, attention):
    net = (with_kernels(name) if attention else small(name)).train()
    kernels = (torch.rand(2, 9, 32, 32),) if attention else ()
    result = net(torch.rand(2, 3, 32, 32), *kernels)
    images = [result] if isinstance(result, torch.Tensor) else list(result)
    sum(image.square().sum() for image in images).backward()
    silent = [
        key for key, each in net.named_parameters() if each.requires_grad and (each.grad is None or not each.grad.any())
    ]
    assert silent == []


@pytest.mark.parametrize('name', SMALL)
def test_a_saved_network_restores_the_same(tmp_path, name):
    net, photo = small(name), torch.rand(1, 3, 8, 12)
    save_network(net, tmp_path / 'net.safetensors')
    again = load_network(tmp_path / 'net.safetensors', expect=name)
    assert again.hyper_parameters == net.hyper_parameters
    assert torch.equal(leaky(again)(photo), net(photo))


@pytest.mark.parametrize('name', [name for name in SMALL if name != 'DeblurGANv2Generator'])  # it has features of 2 x 2
def test_half_precision_gives_nearly_the_same_image_in_float32(name):
    net, photo = small(name).float(), torch.rand(1, 3, 16, 16, dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        image = net(photo)
    assert image.dtype == torch.float32
    assert (image - net(photo)).abs().max() < 0.1 * (net(photo) - photo).abs().max()


@pytest.mark.parametrize('name', SMALL)
def test_option_files_build_the_network(name):
    section = {key: list(value) if isinstance(value, tuple) else value for key, value in SMALL[name].items()}
    ARCHS[name](**read_options(section, options_of(ARCHS[name]), 'network_g'))


def test_mimo_unet_trains_on_three_sizes_and_the_first_is_the_image():
    net, photo = small('MIMOUNet'), torch.rand(1, 3, 10, 13)
    image = net(photo)
    images = net.train()(photo)
    assert isinstance(images, ImagesBySize)
    assert torch.equal(images[0], image)
    assert [each.shape[-2:] for each in images] == [(10, 13), (5, 7), (3, 4)]
    assert isinstance(small('MIMOUNet', multi_scale=False).train()(photo), torch.Tensor)


def test_mprnet_trains_on_three_stages_and_the_first_is_the_image():
    net, photo = small('MPRNet'), torch.rand(1, 3, 10, 13)
    image = net(photo)
    images = net.train()(photo)
    assert isinstance(images, ImagesByStage)
    assert torch.equal(images[0], image)
    assert [each.shape for each in images] == [photo.shape] * 3
    assert isinstance(small('MPRNet', multi_stage=False).train()(photo), torch.Tensor)


def test_the_images_of_a_smaller_size_and_of_an_earlier_stage_begin_at_the_photo():
    photo = torch.rand(1, 3, 16, 16)
    mimo, mpr = small('MIMOUNet').train(), small('MPRNet').train()
    for parameter in (*mimo.ends.parameters(), *mpr.sams.parameters()):
        nn.init.zeros_(parameter)
    _, second, first = mpr(photo)
    assert torch.equal(second, photo)
    assert torch.equal(first, photo)
    for image in mimo(photo)[1:]:
        step = 16 // image.shape[-1]
        assert torch.equal(image, photo[..., ::step, ::step])


@pytest.mark.parametrize('dim', [-1, -2])
def test_halves_of_photos_are_joined_as_they_were_cut(dim):
    x = torch.rand(3, 2, 4, 6)
    assert torch.equal(_joined(_halves(x, dim), dim), x)
    assert torch.equal(_halves(x, dim)[2], x[1].chunk(2, dim)[0])


def test_the_first_stage_of_mprnet_sees_a_quarter_and_the_last_sees_all():
    net, photo = small('MPRNet').train(), torch.rand(1, 3, 16, 16)
    other = photo.clone()
    other[..., 12:, 12:] = 0
    before, after = net(photo), net(other)
    # Stage 1 encodes quarters and decodes halves; the lower half does not reach the upper one.
    assert torch.equal(before.first[..., :8, :], after.first[..., :8, :])
    assert not torch.equal(before.third[..., :8, :], after.third[..., :8, :])


@pytest.mark.parametrize('grid', [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_the_parts_of_dmphn_are_joined_as_they_were_cut(grid):
    x = torch.rand(3, 2, 8, 12)
    parts = _cut(x, grid)
    assert torch.equal(_joined_parts(parts, grid), x)
    assert torch.equal(parts[-1], x[-1, :, -8 // grid[0] :, -12 // grid[1] :])


@pytest.mark.parametrize('dropout', [0.0, 0.5])
def test_dropout_is_for_training_only(dropout):
    net, photo = small('DeblurGANGenerator', dropout=dropout), torch.rand(1, 3, 16, 16)
    assert torch.equal(net(photo), net(photo))
    assert torch.equal(net.train()(photo), net(photo)) == (dropout == 0)


@pytest.mark.parametrize(
    ('name', 'hyper_parameters', 'words'),
    [
        ('MIMOUNet', {'width': 3}, 'width is 3, expected an even number'),
        ('MIMOUNet', {'num_res': 0}, 'num_res is 0'),
        ('MIMOUNet', {'kernel_size': 2}, 'kernel_size is 2'),
        ('MIMOUNet', {'in_channels': 2}, 'in_channels is 2'),
        ('MPRNet', {'width': 0}, 'width is 0'),
        ('MPRNet', {'unet_step': -1}, 'unet_step is -1'),
        ('MPRNet', {'kernel_size': 2}, 'kernel_size is 2'),
        ('DeblurGANGenerator', {'dropout': 1.0}, r'dropout is 1\.0'),
        ('DeblurGANGenerator', {'num_blocks': -1}, 'num_blocks is -1'),
        ('DeblurGANGenerator', {'width': 0}, 'width is 0'),
        ('DeblurGANv2Generator', {'backbone': 'vgg'}, "backbone is 'vgg', expected inception or mobilenet"),
        ('DeblurGANv2Generator', {'width': 0}, 'width is 0'),
        ('DeblurGANv2Generator', {'blocks': (1,)}, r'blocks is \(1,\), expected two numbers'),
        ('DMPHN', {'width': 0}, 'width is 0'),
        ('DMPHN', {'levels': 7}, 'levels is 7, expected 1 to 6'),
        ('DMPHN', {'stacks': 0}, 'stacks is 0'),
        ('DMPHN', {'in_channels': 2}, 'in_channels is 2'),
    ],
)
def test_hyper_parameters_outside_their_range_are_refused(name, hyper_parameters, words):
    with pytest.raises(ValueError, match=words):
        ARCHS[name](**hyper_parameters)
