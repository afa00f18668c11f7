"""An IterateFusion leaves no grid of its cells and no tint, and stays in the range of the photo and its iterates."""

import pytest
import torch
from fusions import arbitrary

from basis_blur.archs.iterate_fusion_arch import CELL, SLACK, without_grid


def grid_power(image):
    """The power of an image (H, W), sides multiples of 4, at the frequencies i/4, j/4 but 0, 0."""
    cells = image.unflatten(-1, (-1, CELL)).unflatten(-3, (-1, CELL)).mean((-4, -2))
    return (cells - cells.mean()).square().mean()


@pytest.mark.parametrize('is_bare', [False, True])
def test_a_flat_photo_has_power_at_the_frequencies_of_a_bare_shuffle_only(is_bare, monkeypatch):
    if is_bare:
        monkeypatch.setattr('basis_blur.archs.iterate_fusion_arch.without_grid', lambda maps: maps)
    net = arbitrary()
    photo = torch.full((1, 3, 160, 160), 0.4)
    stack = torch.cat([photo, photo + 0.1, photo - 0.2], 1)
    inner = net(stack)[0, :, net.reach : -net.reach, net.reach : -net.reach].mean(0)
    assert (inner - photo.mean()).abs().mean() > 0.01
    power = grid_power(inner)
    assert (power > 1e-5) if is_bare else (power < 1e-20)


def test_what_repeats_from_cell_to_cell_becomes_its_mean():
    pattern = torch.rand(2, 3, CELL, CELL)
    found = without_grid(pattern.repeat(1, 1, 5, 7))
    torch.testing.assert_close(found, pattern.mean((-2, -1), keepdim=True).expand_as(found))


def test_a_slope_stays_a_slope():
    rows, columns = torch.arange(64.0)[:, None], torch.arange(80.0)
    slope = (0.3 * rows - 0.2 * columns)[None, None]
    inner = (..., slice(16, -16), slice(16, -16))
    torch.testing.assert_close(without_grid(slope)[inner], slope[inner])


def test_what_is_alone_is_hardly_changed():
    impulse = torch.zeros(1, 1, 40, 40)
    impulse[..., 17, 22] = 1
    found = without_grid(impulse)
    assert 0.95 < found[..., 17, 22] < 1
    assert (found - impulse).abs().max() < 0.05


def test_gray_stays_gray():
    net = arbitrary()
    gray = torch.rand(1, 3, 1, 20, 24).expand(-1, -1, 3, -1, -1).flatten(1, 2)
    found = net(gray)
    assert (found - gray[:, :3]).abs().max() > 0.01
    torch.testing.assert_close(found, found.mean(1, keepdim=True).expand_as(found), rtol=0, atol=1e-14)


def test_the_result_stays_in_the_range_of_photo_and_iterates():
    net = arbitrary(std=0.3).eval()
    stack = torch.rand(1, 9, 40, 32)
    images = stack.unflatten(1, (3, 3))
    low, high = images.amin(1) - SLACK, images.amax(1) + SLACK
    found = net(stack)
    assert ((found >= low - 1e-12) & (found <= high + 1e-12)).all()
    free = net.train()(stack)
    assert ((free < low - 0.1) | (free > high + 0.1)).any()
