"""estimate_blur hands light to the network and its field back, and changes neither photo nor network."""

import pytest
import torch
from torch import nn

from basis_blur.archs.network_facts import PHOTO, RESTORER, NetworkFacts
from basis_blur.estimation.by_network import estimate_blur, estimate_blur_at_half_size
from basis_blur.estimation.estimators import NetworkEstimator
from basis_blur.field.blur_field import BlurField
from basis_blur.field.removal import ESTIMATED_BLUR, Removal
from basis_blur.foundation.errors import InputError


class Listener(nn.Module):
    """Remembers the light it was given; answers with two kernels, mixed by the brightness of its input."""

    def __init__(self, in_channels=3, dtype=torch.float64):
        super().__init__()
        self.hyper_parameters = {'in_channels': in_channels, 'kernel_size': 5}
        self.strength = nn.Parameter(torch.ones((), dtype=dtype))
        self.part = nn.Dropout(0.5)

    def forward(self, light):
        self.heard, self.mode = light, self.part.training
        kernels = torch.zeros(len(light), 2, 5, 5, dtype=light.dtype)
        kernels[:, 0, 2, 2], kernels[:, 1] = 1, 1 / 25
        bright = light.mean(1, keepdim=True) * self.strength
        return BlurField.unchecked(kernels, torch.cat([bright, 1 - bright], 1))


@pytest.mark.parametrize('gamma', [1.0, 2.2])
def test_the_network_sees_linear_light(gamma):
    net, photo = Listener(), torch.rand(2, 3, 6, 7)
    estimate_blur(net, photo, gamma=gamma)
    torch.testing.assert_close(net.heard, photo**gamma)


def test_a_gray_photo_is_repeated_for_a_colour_network():
    net, photo = Listener(), torch.rand(1, 1, 6, 7)
    estimate_blur(net, photo)
    torch.testing.assert_close(net.heard, (photo**2.2).repeat(1, 3, 1, 1))


@pytest.mark.parametrize('channels', [1, 3])
def test_a_network_for_gray_and_colour_alike_sees_the_photo_as_it_is(channels):
    net, photo = Listener(), torch.rand(1, channels, 6, 7)
    del net.hyper_parameters['in_channels']
    estimate_blur(net, photo)
    torch.testing.assert_close(net.heard, photo**2.2)


def test_a_gray_network_sees_the_luminance_and_white_stays_white():
    net, photo = Listener(in_channels=1), torch.rand(1, 3, 6, 7)
    estimate_blur(net, photo)
    red, green, blue = (photo**2.2).unbind(1)
    torch.testing.assert_close(net.heard[:, 0], 0.2126 * red + 0.7152 * green + 0.0722 * blue)
    estimate_blur(net, torch.ones(1, 3, 6, 7))
    torch.testing.assert_close(net.heard, torch.ones(1, 1, 6, 7))


def test_every_part_of_the_network_keeps_its_mode_and_none_trains_meanwhile():
    net = Listener().train()
    net.part.eval()
    estimate_blur(net, torch.rand(1, 3, 6, 7))
    assert (net.training, net.part.training, net.mode) == (True, False, False)
    net.part.train()
    estimate_blur(net, torch.rand(1, 3, 6, 7))
    assert (net.part.training, net.mode) == (True, False)


def test_the_mode_is_restored_when_the_network_fails():
    net = Listener().train()
    net.strength = None
    net.register_parameter('other', nn.Parameter(torch.ones(())))
    with pytest.raises(TypeError):
        estimate_blur(net, torch.rand(1, 3, 6, 7))
    assert net.training


def test_the_field_has_the_settings_of_the_network_that_estimated_it():
    net, removal = Listener(), Removal(iterations=8, strength=0.9)
    for estimate, photo in (
        (estimate_blur, torch.rand(1, 3, 6, 7)),
        (estimate_blur_at_half_size, torch.rand(1, 3, 16, 17)),
    ):
        assert estimate(net, photo).removal == ESTIMATED_BLUR
    net.facts = NetworkFacts('estimator', 'light', 'field', kernel_size=5, removal=removal)
    assert estimate_blur(net, torch.rand(1, 3, 6, 7)).removal == removal


def test_the_field_has_no_gradient_but_can_be_optimised():
    field = estimate_blur(Listener(), torch.rand(1, 3, 6, 7))
    assert not field.mixing.requires_grad
    assert (field.mixing * torch.ones(1, requires_grad=True)).sum().backward() is None


def test_the_field_has_the_dtype_of_the_photo_whatever_that_of_the_network():
    photo = torch.rand(1, 3, 6, 7)
    net = Listener(dtype=torch.float32)
    assert estimate_blur(net, photo).mixing.dtype == torch.float64
    assert net.heard.dtype == torch.float32


def test_the_photo_is_not_modified():
    photo = torch.rand(1, 3, 6, 7)
    before = photo.clone()
    estimate_blur(Listener(), photo)
    assert torch.equal(photo, before)


@pytest.mark.parametrize(
    ('photo', 'words'),
    [
        (torch.rand(3, 6, 7), r'shape \(3, 6, 7\)'),
        (torch.rand(1, 4, 6, 7), r'shape \(1, 4, 6, 7\)'),
        (torch.zeros(1, 3, 6, 7, dtype=torch.uint8), 'uint8'),
        (torch.rand(0, 3, 6, 7), 'empty'),
        (torch.full((1, 3, 6, 7), 1.5), r'to 1\.5'),
        (torch.full((1, 3, 6, 7), -0.25), r'from -0\.25'),
        (torch.rand(1, 3, 6, 7).index_fill(3, torch.tensor([2]), float('nan')), 'nan'),
    ],
    ids=['no batch', 'four channels', 'bytes', 'empty', 'too bright', 'negative', 'NaN'],
)
def test_a_photo_that_is_none_is_refused(photo, words):
    with pytest.raises(ValueError, match=words):
        estimate_blur(Listener(), photo)


def test_a_photo_as_large_as_the_kernel_is_accepted_and_a_smaller_one_refused():
    estimate_blur(Listener(), torch.rand(1, 3, 5, 5))
    with pytest.raises(InputError, match=r'7x4 pixels .* at least 5'):
        estimate_blur(Listener(), torch.rand(1, 3, 4, 7))


@pytest.mark.parametrize(
    'look', [estimate_blur, estimate_blur_at_half_size, lambda net, photo: NetworkEstimator(net)(photo, 2.2)]
)
@pytest.mark.parametrize('photo', [torch.rand(1, 3, 40, 40), torch.rand(1, 3, 2, 2), 'photo.png'])
def test_a_network_of_another_kind_is_told_before_anything_is_done(look, photo):
    """A UFPNet has kernels too, but restores photos: it must not run first, nor the photo be blamed."""
    net = Listener()
    net.facts = NetworkFacts(RESTORER, PHOTO, PHOTO, kernel_size=19)
    with pytest.raises(ValueError, match='net is a Listener, which returns photo and no blur fields; give'):
        look(net, photo)
    assert not hasattr(net, 'heard')
