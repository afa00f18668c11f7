"""An IterateFusion measures its photo and iterates, and is trusted by that much."""

import pytest
import torch
from fusions import SIZES, arbitrary

from basis_blur.archs.iterate_fusion_arch import FIRST_STEP, MEASURES, WINDOW, IterateFusion, measures
from basis_blur.restoration.fusion import fuse

FIRST, CHANGE, _, _, FINE, _, SLOPES, SLOPES_LATE, TWIST = range(9)
ALIKE, BRIGHTNESS, RATIO = slice(19, 22), 22, 23


def trusting():
    """A network without blocks, none of whose weights is 0, that decides how far it is trusted."""
    return arbitrary(blocks=0, deep_blocks=0, trust_width=5).eval()


@pytest.fixture
def stack():
    return torch.rand(2, 9, 21, 30)


@pytest.mark.parametrize('chosen', [0, 1, 2])
def test_the_shares_are_of_the_photo_the_first_step_and_the_network(stack, chosen):
    net = trusting()
    with torch.no_grad():
        net.trust.out.bias.copy_(1000 * torch.eye(3)[chosen])
    photo, first, second = stack.split(3, 1)
    step = photo + FIRST_STEP * ((first + second) / 2 - photo)
    expected = (photo, step, net.combined(stack, net.features(stack), None))[chosen]
    torch.testing.assert_close(net(stack), expected)


def test_an_old_network_is_trusted_wholly_and_a_fresh_one_for_the_most_part(stack):
    assert IterateFusion(**SIZES).measured(stack) is None
    net = IterateFusion(**SIZES, trust_width=5).double()
    shares = net.trust(net.measured(stack))
    assert shares.shape == (2, 3, 24, 32)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 24, 32))
    assert shares[:, 2].min() > 0.9


def test_tiles_make_no_difference():
    net = trusting()
    torch.nn.init.normal_(net.trust.hidden.weight)
    torch.nn.init.normal_(net.trust.out.weight)
    photo, iterates = torch.rand(1, 3, 280, 20) * torch.linspace(0, 1, 280)[:, None], torch.rand(1, 6, 280, 20)
    shares = net.trust(net.measured(torch.cat([photo, iterates], 1)))
    assert (shares.amax(2) - shares.amin(2)).max() > 0.01
    torch.testing.assert_close(fuse(net, photo, iterates, tile=16), fuse(net, photo, iterates))


def test_nothing_reaches_further_than_it_says():
    net = trusting()
    assert net.reach == 8 * (WINDOW // 2 + 2)
    stack = torch.rand(1, 9, 2 * net.reach + 24, 8)
    other = stack.clone()
    other[..., net.reach + 8 : net.reach + 16, :] += 0.5
    rows = (net(other) - net(stack)).abs().amax((0, 1, 3)).nonzero()
    assert rows.min() >= 8
    assert rows.max() < 2 * net.reach + 16


def test_what_is_measured_of_known_images():
    ramp = torch.linspace(0, 1.27, 128)[:, None].expand(1, 3, 128, 128)
    found = measures(torch.cat([ramp, ramp + 0.1, ramp + 0.2], 1))
    assert found.shape == (1, MEASURES, 16, 16)
    middle = found[0, :, 4, 4]
    torch.testing.assert_close(middle[[FIRST, CHANGE]], torch.tensor([0.01, 0.04]).log10(), atol=1e-4, rtol=0)
    torch.testing.assert_close(middle[BRIGHTNESS], ramp.mean())  # all of the 16 cells are within 13 of that
    torch.testing.assert_close(middle[[SLOPES, SLOPES_LATE]], torch.tensor([0.5e-4] * 2).log10(), atol=0.02, rtol=0)
    assert middle[TWIST] < -7.9  # nothing but what is added to each
    assert middle[FINE] < -6.5  # the two rows at the borders, which are continued
    assert middle[RATIO].abs() < 1e-6


def test_slopes_of_a_blurred_photo_are_alike_and_those_of_noise_are_not():
    noise = torch.rand(1, 3, 130, 130)
    soft = torch.nn.functional.avg_pool2d(noise, 3, 1)
    alike = [measures(photo[..., :128, :128].repeat(1, 3, 1, 1))[0, ALIKE, 8, 8] for photo in (noise, soft)]
    assert alike[0][0] < -0.4  # of white noise -1/2: neighbouring slopes share a pixel
    assert alike[1][0] > -0.1


def test_measures_of_a_batch_do_not_mix_and_gray_is_measured_as_it_is():
    stack = torch.rand(2, 9, 16, 24)
    torch.testing.assert_close(measures(stack)[1:], measures(stack[1:]))
    gray = stack[:, ::3].repeat_interleave(3, 1)
    torch.testing.assert_close(measures(gray.unflatten(1, (3, 3)).flip(2).flatten(1, 2)), measures(gray))
