"""Whatever a fusion network does, its photo stays near the range of the photo and its iterates."""

import pytest
import torch

from basis_blur.archs.iterate_fusion_arch import SLACK, IterateFusion
from basis_blur.restoration.fusion import fuse


@pytest.mark.parametrize('bias', [-0.6, 0.6])
@pytest.mark.parametrize('channels', [1, 3])
def test_a_network_that_errs_makes_no_hole(bias, channels):
    net = IterateFusion((1, 2), width=4, deep_width=4, blocks=0, deep_blocks=0).eval()
    torch.nn.init.constant_(net.tail.bias, bias)
    photo, iterates = torch.rand(1, channels, 24, 40), torch.rand(1, 2 * channels, 24, 40)
    images = torch.stack([photo, *iterates.split(channels, 1)])
    fused = fuse(net, photo, iterates, tile=16)
    assert (fused >= images.amin(0) - SLACK - 1e-12).all()
    assert (fused <= images.amax(0) + SLACK + 1e-12).all()
    bound = images.amin(0) - SLACK if bias < 0 else images.amax(0) + SLACK
    assert torch.isclose(fused, bound.clamp(0, 1)).any()  # the network would go further


def test_what_lies_within_the_range_is_left_alone():
    net = IterateFusion((1, 2), width=4, deep_width=4, blocks=0, deep_blocks=0).eval()
    photo, iterates = torch.full((1, 3, 16, 16), 0.3), torch.rand(1, 6, 16, 16) * 0.1 + 0.6
    found = fuse(net, photo, iterates)
    assert found.min() > 0.3
    assert found.max() < 0.7
    torch.testing.assert_close(found, net(torch.cat([photo, iterates], 1)))
