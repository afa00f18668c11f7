import pytest
import torch
from torch import nn

from basis_blur.deblurring.restoring import restore


class Brighter(nn.Module):
    """Adds 0.25, and tells the sizes that it saw."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.seen = []

    def forward(self, photo):
        self.seen.append(tuple(photo.shape[-2:]))
        return [self.gain * photo + 0.25, photo]


class Blurrer(nn.Module):
    """The mean over 5x5 pixels, with a border of zeros: a tile is wrong in its outer 2 pixels."""

    def __init__(self):
        super().__init__()
        self.pool = nn.Conv2d(3, 3, 5, padding=2, groups=3, bias=False)
        nn.init.constant_(self.pool.weight, 1 / 25)

    def forward(self, photo):
        return self.pool(photo)


def test_tiles_that_agree_make_the_whole_photo_with_its_border():
    photo, net = 0.5 * torch.rand(1, 3, 37, 50), Brighter()
    together = restore(net, photo, tile=16, overlap=5)
    torch.testing.assert_close(together, photo + 0.25, rtol=1e-12, atol=1e-12)
    assert set(net.seen) == {(16, 16)}


def test_seams_fade_where_tiles_disagree():
    photo, net = torch.full((1, 3, 40, 40), 0.5), Blurrer()
    whole, tiles = restore(net, photo), restore(net, photo, tile=24, overlap=8)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert (whole[inner] - 0.5).abs().max() < 1e-12
    # A tile alone would be at 0.5 * 15 / 25 in its outermost row.
    assert (tiles[inner] - 0.5).abs().max() < 0.5 * 10 / 25 * 0.3


def test_gray_comes_back_gray_and_the_net_keeps_its_mode():
    net = Brighter().train()
    found = restore(net, torch.full((1, 1, 8, 8), 0.5))
    torch.testing.assert_close(found, torch.full((1, 1, 8, 8), 0.75))
    assert net.training


def test_the_result_stays_in_range_and_progress_is_told():
    calls = []
    found = restore(Brighter(), torch.ones(1, 3, 20, 10), tile=10, overlap=0, callback=lambda *c: calls.append(c))
    assert found.max() == 1
    assert calls == [(1, 2), (2, 2)]


def test_tiles_must_be_larger_than_their_overlap():
    with pytest.raises(ValueError, match='overlap by 16'):
        restore(Brighter(), torch.rand(1, 3, 40, 40), tile=16, overlap=16)
