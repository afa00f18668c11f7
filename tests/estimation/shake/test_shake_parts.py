"""Each part of the shake search does what its formula says."""

import math

import pytest
import torch
import torch.nn.functional as F

from basis_blur.estimation.shake.edges import telling_edges
from basis_blur.estimation.shake.extension import (
    difference_power,
    differences,
    divergence,
    extended,
    inner_ramp,
    spectrum_of,
)
from basis_blur.estimation.shake.kernel_fit import Normal, correlations, descend, fit_kernels
from basis_blur.estimation.shake.kernels import (
    aligned_mean,
    best_shift,
    centred,
    cleaned,
    on_canvas,
    radius,
    resized,
    shifted,
    spread,
)
from basis_blur.estimation.shake.schedule import best_window, levels_of
from basis_blur.estimation.shake.sparse_scene import SparseScene
from basis_blur.ops.convolution import fast_fft_size


def hook(size=9):
    """A kernel that equals neither its mirror image nor its transpose."""
    kernel = torch.zeros(1, size, size)
    middle = size // 2
    kernel[0, middle - 2 : middle + 3, middle - 1] = 1
    kernel[0, middle + 2, middle - 1 : middle + 3] = torch.tensor([1.0, 2.0, 3.0, 2.0])
    return kernel / kernel.sum()


@pytest.mark.parametrize(('least', 'expected'), [(1, 1), (7, 8), (11, 12), (13, 15), (121, 125), (128, 128)])
def test_fast_sizes_have_no_prime_factor_beyond_five(least, expected):
    assert fast_fft_size(least) == expected


def test_an_extended_photo_holds_the_photo_and_has_no_jump():
    photo = torch.linspace(0, 1, 20).expand(1, 1, 13, 20) + torch.linspace(0, 2, 13)[:, None]
    periodic = extended(photo, 10)
    assert torch.equal(periodic[..., :13, :20], photo)
    assert periodic.shape[-2] >= 23
    assert periodic.shape[-1] >= 30
    down, right = differences(periodic)
    assert down.abs().max() < 3 * 2 / 12
    assert right.abs().max() < 3 * 2 / 12


def test_the_divergence_is_the_transpose_of_the_differences():
    x, y, z = torch.rand(3, 1, 1, 6, 8)
    down, right = differences(x)
    torch.testing.assert_close((down * y + right * z).sum(), (x * divergence(y, z)).sum())


def test_the_power_of_differences_is_that_of_their_transpose_after_them():
    x = torch.rand(1, 1, 6, 9)
    found = torch.fft.irfft2(difference_power(x) * torch.fft.rfft2(x), s=(6, 9))
    torch.testing.assert_close(found, divergence(*differences(x)))


def test_a_spectrum_convolves_by_the_kernel_and_not_by_its_mirror_image():
    impulse = torch.zeros(1, 1, 16, 18)
    impulse[..., 7, 8] = 1
    kernel = hook()
    found = torch.fft.irfft2(spectrum_of(kernel, (16, 18)) * torch.fft.rfft2(impulse), s=(16, 18))
    torch.testing.assert_close(found[0, 0, 3:12, 4:13], kernel[0], atol=1e-12, rtol=0)


def test_a_weightless_edge_gives_the_photo_back_and_a_heavy_one_a_flat_scene():
    photo = torch.rand(1, 1, 16, 16)
    point = torch.zeros(1, 3, 3)
    point[0, 1, 1] = 1
    same = SparseScene(photo).find(point, 1e-12)
    torch.testing.assert_close(same, photo, atol=1e-4, rtol=0)
    faint = photo / 20  # its differences are below the root of 1e3 / 1e5
    flat = SparseScene(faint).find(point, 1e3)
    assert flat.std() < 1e-3
    torch.testing.assert_close(flat.mean(), faint.mean())


def test_the_correlations_are_the_sums_they_stand_for():
    edges, photo_edges = torch.zeros(2, 1, 2, 20, 20)
    edges[..., 6:12, 6:12] = torch.randn(2, 6, 6)
    photo_edges[..., 6:12, 6:12] = torch.randn(2, 6, 6)
    own, other = correlations(edges, photo_edges, 3)
    assert own.shape == (1, 5, 5)
    assert other.shape == (1, 3, 3)
    for down, right in [(0, 0), (1, 0), (-1, 1)]:
        moved = edges.roll((down, right), (-2, -1))
        torch.testing.assert_close(own[0, 2 + down, 2 + right], (edges * moved).sum())
        torch.testing.assert_close(other[0, 1 + down, 1 + right], (photo_edges * moved).sum())


def test_the_normal_operator_convolves_by_the_autocorrelation():
    own = torch.zeros(1, 5, 5)
    own[0, 2, 2], own[0, 2, 3], own[0, 2, 1] = 2.0, 0.5, 0.5
    kernel = torch.arange(9.0).view(1, 3, 3)
    expected = 2 * kernel + 0.5 * (F.pad(kernel, (1, 0))[..., :3] + F.pad(kernel, (0, 1))[..., 1:])
    torch.testing.assert_close(Normal(own, torch.tensor(1.0))(kernel), expected)


def test_descent_ends_at_the_minimum_over_nonnegative_numbers():
    diagonal, target = torch.tensor([[1.0, 4.0, 0.5]]), torch.tensor([[2.0, -1.0, 1.0]])
    found = descend(lambda x: diagonal * x, target, torch.ones(1, 3), torch.tensor(4.0), 300)
    torch.testing.assert_close(found, torch.tensor([[2.0, 0.0, 2.0]]), atol=1e-8, rtol=0)


def test_the_fit_finds_the_kernel_that_blurred_edges_of_a_scene():
    edges = torch.zeros(1, 2, 64, 64)
    edges[..., 20:44, 20:44] = torch.randn(2, 24, 24) * (torch.rand(2, 24, 24) < 0.1)
    kernel = hook()
    blurred = torch.fft.irfft2(spectrum_of(kernel, (64, 64)) * torch.fft.rfft2(edges), s=(64, 64))
    found = fit_kernels(edges, blurred, torch.full_like(kernel, 1 / 81))
    found = found / found.sum()
    down, right, alike = best_shift(found[0], kernel[0])
    assert (down, right) == (0, 0)
    assert alike > 0.99
    assert best_shift(found[0], kernel[0].flip(0, 1))[2] < 0.9


def test_edges_by_noise_are_those_above_a_multiple_of_it():
    scene = torch.zeros(1, 1, 20, 20)
    scene[..., 10:] = 0.5
    scene[..., 5:, :] += 0.05
    edges = telling_edges(scene, torch.ones(20, 20), 3, 0.002, 0)
    assert edges[0, 1].count_nonzero() == 40  # the column of 0.5, and the jump back over the rim
    # 0.05 is below 60 times the noise; of both rows of it, the two pixels that lie on such a column are left.
    assert edges[0, 0].count_nonzero() == 4


def test_edges_by_count_are_enough_in_every_direction():
    scene = torch.rand(1, 1, 40, 40)
    edges = telling_edges(scene, torch.ones(40, 40), 5, None, 0)[0]
    lit = edges.square().sum(0) > 0
    turn = (torch.atan2(edges[0], edges[1]).remainder(math.pi) / (math.pi / 4)).round().remainder(4)
    counts = [int((lit & (turn == each)).sum()) for each in range(4)]
    assert min(counts) >= 12
    assert sum(counts) < 40 * 40


def test_the_ramp_is_empty_near_the_sides_and_on_what_was_added():
    ramp = inner_ramp((20, 24), 4, torch.zeros(1, 1, 30, 32))
    assert ramp[20:].abs().max() == 0
    assert ramp[:, 24:].abs().max() == 0
    assert ramp[:3].abs().max() == 0
    assert ramp[10, 10] == 1


# ------------------------------------------------------------------------------------------------------------ kernels


def test_small_parts_and_faint_pixels_are_cleaned_away():
    kernel = hook(15)
    dirty = kernel.clone()
    dirty[0, 8, 8], dirty[0, 13, 1] = 0.01 * kernel.max(), 0.2 * kernel.max()
    assert kernel[0, 8, 8] == 0
    torch.testing.assert_close(cleaned(dirty / dirty.sum(), 0.02, 0.1), kernel)


def test_parts_that_touch_at_a_corner_are_one():
    kernel = torch.zeros(1, 5, 5)
    kernel[0, 1, 1], kernel[0, 2, 2] = 0.95, 0.05
    torch.testing.assert_close(cleaned(kernel, 0.02, 0.1), kernel)


def test_a_kernel_without_light_becomes_a_point():
    assert cleaned(torch.zeros(1, 3, 3), 0.02, 0.1)[0, 1, 1] == 1


def test_centring_undoes_a_shift():
    kernel = centred(hook(15))
    torch.testing.assert_close(centred(shifted(kernel[0], 3, -2)[None]), kernel)


def test_the_best_shift_is_that_by_which_a_kernel_was_moved():
    kernel = hook(15)[0]
    assert best_shift(kernel, shifted(kernel, 2, -3))[:2] == (2, -3)
    assert best_shift(kernel, shifted(kernel, 2, -3))[2] == pytest.approx(1)


def test_the_mean_of_shifted_copies_is_the_kernel_and_they_agree():
    kernel = hook(15)[0]
    mean, agreement = aligned_mean(torch.stack([kernel, shifted(kernel, 1, 1), shifted(kernel, -2, 0)]))
    torch.testing.assert_close(mean, centred(kernel[None])[0])
    assert agreement == pytest.approx(1)


def test_spread_and_radius_of_a_line():
    line = torch.zeros(15, 15)
    line[7, 3:12] = 1 / 9
    assert spread(line) == pytest.approx(math.sqrt((81 - 1) / 12))
    assert radius(line, 0.9) == pytest.approx(4)


def test_resizing_and_canvas_keep_the_middle():
    point = torch.zeros(1, 9, 9)
    point[0, 4, 4] = 1
    assert resized(point, 5)[0].argmax() == 12
    assert on_canvas(point, 15)[0, 7, 7] == 1
    assert on_canvas(point, 5)[0, 2, 2] == 1


@pytest.mark.parametrize(('size', 'levels'), [(33, 3), (65, 5), (129, 7)])
def test_the_coarsest_kernel_has_about_eleven_pixels(size, levels):
    assert levels_of(size) == levels


def test_of_a_large_photo_the_window_with_the_texture_is_searched():
    photo = torch.zeros(1, 1, 1000, 1600)
    photo[..., 600:900, 1200:1500] = torch.rand(300, 300)
    rows, columns = best_window(photo, 33)
    assert rows.start <= 600
    assert rows.stop >= 900
    assert columns.start <= 1200
    assert columns.stop >= 1500
    assert (rows.stop - rows.start) * (columns.stop - columns.start) <= 500_000
