import pytest
import torch

from basis_blur.restoration import noise as noises
from basis_blur.restoration.noise import estimate_jpeg_error, estimate_noise


@pytest.mark.parametrize('level', [0.002, 0.01, 0.05])
def test_noise_on_a_shaded_photo_is_measured(level):
    shading = torch.linspace(0.2, 0.8, 120).expand(2, 3, 100, 120)
    noisy = shading + level * torch.randn(2, 3, 100, 120)
    torch.testing.assert_close(estimate_noise(noisy), torch.full((2,), level), rtol=0.05, atol=0)


def test_texture_in_a_part_of_the_photo_is_not_noise():
    photo = 0.5 + 0.01 * torch.randn(1, 3, 200, 200)
    photo[..., 80:] += 0.1 * torch.rand(200, 120)
    assert estimate_noise(photo).item() == pytest.approx(0.01, rel=0.1)


def test_blocks_of_a_large_photo_are_a_sample():
    level = 0.01 * (1 + torch.arange(1500) // 750)  # the right half is twice as noisy
    photo = 0.5 + level * torch.randn(1, 1, 1600, 1500)
    assert estimate_noise(photo).item() == pytest.approx(0.01, rel=0.1)


def test_straight_edges_and_clipped_places_are_not_noise():
    photo = torch.full((1, 3, 60, 60), 0.3)
    photo[..., 30:] = 0.7
    photo[..., :10, :] = 1.0
    assert estimate_noise(photo) == 0


def test_a_photo_too_small_or_all_black_counts_as_clean():
    assert estimate_noise(torch.rand(1, 3, 2, 50)) == 0
    assert estimate_noise(torch.zeros(1, 3, 50, 50)) == 0


def test_blocks_of_a_large_photo_are_those_of_its_differences():
    photo = torch.rand(1, 2, 70, 100)
    photo[..., :40] = photo[..., :40].clamp(0.4, 0.6)
    difference = photo.diff(n=2, dim=-2).diff(n=2, dim=-1).abs()
    centre = photo[..., 1:-1, 1:-1]
    difference[(centre <= noises.DARK) | (centre >= noises.BRIGHT)] = torch.nan
    expected = difference[0].unfold(1, 32, 32).unfold(2, 32, 32).flatten(3).flatten(0, 2)
    torch.testing.assert_close(noises._differences(photo[0]), expected, rtol=0, atol=0, equal_nan=True)


def squares(height, width, first=0):
    """Errors that are alike in each square of 8 x 8 pixels, with a standard deviation of 1."""
    errors = torch.randn(1, 3, height // 8 + 2, width // 8 + 2).repeat_interleave(8, -1).repeat_interleave(8, -2)
    return errors[..., first : first + height, first : first + width]


@pytest.mark.parametrize('first', [0, 3])
def test_the_errors_of_jpeg_are_told_from_the_steps_between_its_squares(first):
    photo = torch.linspace(0.2, 0.8, 200).expand(1, 3, 160, 200) + 0.002 * torch.randn(1, 3, 160, 200)
    photo = photo + 0.01 * squares(160, 200, first)
    assert estimate_jpeg_error(photo).item() == pytest.approx(0.01, rel=0.25)
    assert estimate_noise(photo) < 0.004


def test_noise_and_texture_and_shading_are_not_errors_of_jpeg():
    photo = torch.linspace(0.2, 0.8, 200).expand(1, 3, 160, 200) + 0.01 * torch.randn(1, 3, 160, 200)
    assert estimate_jpeg_error(photo) == 0
    photo[..., 90:] += 0.1 * torch.rand(110)
    assert estimate_jpeg_error(photo) == 0
    assert estimate_jpeg_error((photo * 255).round() / 255) == 0
    assert estimate_jpeg_error(torch.full((2, 1, 100, 100), 0.5)).tolist() == [0, 0]
    assert estimate_jpeg_error(photo[..., :50, :50] + 0.01 * squares(50, 50)) == 0  # too small to tell
