"""NAFNet restores photos of any size, sees the kernels it is given, and is the network of the paper."""

import pytest
import torch
from torch import nn

from basis_blur.archs.nafnet_arch import NAFNet, box_mean


def small(**hyper_parameters):
    return lively(NAFNet(**{'width': 4, 'enc_blocks': (1, 1, 2), 'dec_blocks': (1, 1, 1), **hyper_parameters})).eval()


def lively(net):
    """Give a fresh network, whose blocks are the identity, blocks that do something."""
    for name, parameter in net.named_parameters():
        if name.endswith(('beta', 'gamma')):
            nn.init.normal_(parameter)
    return net


def test_number_of_parameters():
    with torch.device('meta'):
        count = sum(parameter.numel() for parameter in NAFNet().parameters())
    assert count == 67_888_835  # 67.8 M in [F23], 67.89 M in [Chen22]


@pytest.mark.parametrize('size', [(1, 1), (2, 9), (8, 8), (13, 20)])
@pytest.mark.parametrize('kernel_size', [None, 3])
@pytest.mark.parametrize('local_size', [None, 6])
def test_any_photo_size_comes_back(size, kernel_size, local_size):
    net = small(kernel_size=kernel_size, local_size=local_size)
    kernels = () if kernel_size is None else (torch.rand(2, 9, *size),)
    image = net(torch.rand(2, 3, *size), *kernels)
    assert image.shape == (2, 3, *size)
    assert image.isfinite().all()


def test_a_network_whose_last_layer_is_zero_returns_the_photo():
    net, photo = small(), torch.rand(1, 3, 10, 11)
    for parameter in net.ending.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(net(photo), photo)


def test_training_does_not_change_the_answer_and_nothing_is_drawn():
    net, photo = small(), torch.rand(1, 3, 9, 9)
    assert torch.equal(net(photo), net(photo))
    torch.testing.assert_close(net.train()(photo), net.eval()(photo))


@pytest.mark.parametrize('hyper_parameters', [{}, {'kernel_size': 3}, {'kernel_size': 3, 'attention_levels': (0, 2)}])
def test_every_parameter_that_is_trained_receives_a_gradient(hyper_parameters):
    net = small(**hyper_parameters).train()
    kernels = (torch.rand(1, 9, 16, 16),) if hyper_parameters else ()
    net(torch.rand(1, 3, 16, 16), *kernels).square().sum().backward()
    silent = [name for name, each in net.named_parameters() if each.grad is None or not each.grad.any()]
    frozen = [name for name, each in net.named_parameters() if not each.requires_grad]
    assert silent == frozen
    assert all(name.startswith('kernel_down.2') for name in frozen)


def test_the_image_depends_on_the_kernels_at_their_pixels():
    net = small(kernel_size=3, enc_blocks=(1,), dec_blocks=(0,), middle_blocks=0, attention_levels=(0,))
    nn.init.zeros_(net.encoders[0][0].sca[1].weight)  # the mean over the photo
    photo, kernels = torch.rand(1, 3, 40, 40), torch.rand(1, 9, 40, 40)
    other = kernels.clone()
    other[..., 20, 30] += 1
    change = (net(photo, other) - net(photo, kernels)).abs().sum(1)[0]
    assert change[20, 30] > 0
    assert change[:, :20].max() == 0


def test_the_first_branch_alone_looks_through_the_attention():
    block = lively(NAFNet(width=4, enc_blocks=(1,), dec_blocks=(0,), middle_blocks=0, kernel_size=3,
                          attention_levels=(0,))).encoders[0][0]  # fmt: skip
    x, kernels = torch.rand(1, 4, 5, 7), torch.rand(1, 9, 5, 7)
    seen = block.kernel_atttion(x, kernels)
    first, second = block.conv2(block.conv1(block.norm1(seen))).chunk(2, 1)
    weighed = first * second * block.sca(first * second)
    y = x + block.beta * block.conv3(weighed)  # not seen + ...: the skip connection passes the attention by
    first, second = block.conv4(block.norm2(y)).chunk(2, 1)
    torch.testing.assert_close(block(x, kernels), y + block.gamma * block.conv5(first * second))
    assert not torch.allclose(seen, x)


def test_a_window_over_the_whole_photo_is_the_mean_of_the_photo():
    torch.manual_seed(0)
    everywhere = small(local_size=64)
    plain = small()
    plain.load_state_dict(everywhere.state_dict())
    photo = torch.rand(1, 3, 24, 64)
    torch.testing.assert_close(everywhere(photo), plain(photo))


def test_a_window_hides_what_is_far_away_in_evaluation_only():
    net = small(local_size=8)
    photo = torch.rand(1, 3, 8, 160)
    other = photo.clone()
    other[..., 150:] = 0
    assert torch.equal(net(photo)[..., :8], net(other)[..., :8])
    assert not torch.equal(net.train()(photo)[..., :8], net(other)[..., :8])


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 9])
def test_the_window_of_a_pixel_is_shifted_into_the_image(size):
    x = torch.rand(2, 5, 7)
    means = box_mean(x, size).expand_as(x)
    for row in range(5):
        for column in range(7):
            top, left = (
                min(max(0, place - (size - 1) // 2), max(0, length - size)) for place, length in ((row, 5), (column, 7))
            )
            window = x[:, top : top + size, left : left + size]
            torch.testing.assert_close(means[:, row, column], window.mean((1, 2)))


def test_half_precision_windows_do_not_lose_the_sum():
    x = torch.ones(1, 1, 3000, dtype=torch.bfloat16)
    assert torch.equal(box_mean(x, 100), x)


def test_photos_of_a_batch_do_not_mix():
    net, photo = small(), torch.rand(2, 3, 12, 9)
    torch.testing.assert_close(net(photo)[1:], net(photo[1:]))


def test_hyper_parameters_build_the_same_network_again():
    net = small(kernel_size=5, attention_levels=(1,), local_size=20)
    NAFNet(**net.hyper_parameters).load_state_dict(net.state_dict())


@pytest.mark.parametrize(
    ('hyper_parameters', 'words'),
    [
        ({'in_channels': 2}, 'in_channels is 2'),
        ({'width': 0}, 'width is 0'),
        ({'enc_blocks': (1, 1)}, 'enc_blocks has 2 levels and dec_blocks 3'),
        ({'middle_blocks': -1}, 'middle_blocks -1'),
        ({'kernel_size': 4}, 'kernel_size is 4'),
        ({'kernel_size': 3, 'attention_levels': (3,)}, r'attention_levels are \(3,\), expected some of 0 to 2'),
        ({'kernel_size': 3, 'attention_levels': ()}, r'attention_levels are \(\)'),
        ({'kernel_size': 3, 'enc_blocks': (1, 0, 1)}, r'attention_levels has \[1\]'),
        ({'local_size': 0}, 'local_size is 0'),
    ],
)
def test_hyper_parameters_outside_their_range_are_refused(hyper_parameters, words):
    with pytest.raises(ValueError, match=words):
        small(**hyper_parameters)


@pytest.mark.parametrize(
    ('kernel_size', 'arguments', 'words'),
    [
        (None, [torch.zeros(1, 1, 8, 8)], r'photo has shape \(1, 1, 8, 8\), expected \(N, 3, H, W\)'),
        (None, [torch.zeros(1, 3, 8, 8), torch.zeros(1, 9, 8, 8)], 'has no kernel attention'),
        (3, [torch.zeros(1, 3, 8, 8)], r'raw_kernels are missing, expected \(1, 9, 8, 8\)'),
        (3, [torch.zeros(1, 3, 8, 8), torch.zeros(1, 9, 8, 9)], r'of shape \(1, 9, 8, 9\), expected \(1, 9, 8, 8\)'),
    ],
)
def test_inputs_of_other_shapes_are_refused(kernel_size, arguments, words):
    with pytest.raises(ValueError, match=words):
        small(kernel_size=kernel_size)(*arguments)
