"""Doubts come up where they should and nowhere else; a blur larger than the kernels is found at half size."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from basis_blur.estimation.by_network import estimate_blur, estimate_blur_at_half_size
from basis_blur.estimation.trust import (
    doubts_of_estimate,
    doubts_of_restoration,
    estimate_blur_at_best_size,
    share_beyond_kernels,
)
from basis_blur.field.blur_field import BlurField
from basis_blur.field.removal import ESTIMATED_BLUR
from basis_blur.foundation.errors import InputError
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.camera_response import to_linear, to_srgb
from basis_blur.restoration.deblur import deblur

SIZE = 9


class Oracle(nn.Module):
    """Answers with two kernels, the first in the left half of what it sees; whatever that is."""

    def __init__(self, *kernels):
        super().__init__()
        self.hyper_parameters = {'kernel_size': SIZE}
        self.answers = list(kernels)
        self.strength = nn.Parameter(torch.ones(()))

    def forward(self, light):
        self.heard = light
        kernels = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        mixing = torch.zeros(1, 2, *light.shape[-2:])
        mixing[:, 0, :, : light.shape[-1] // 2] = 1
        mixing[:, 1] = 1 - mixing[:, 0]
        return BlurField(kernels[None], mixing)


def line(*taps, size=SIZE):
    """A kernel of equal light at some (row, column)."""
    kernel = torch.zeros(size, size, dtype=torch.float64)
    for tap in taps:
        kernel[tap] = 1 / len(taps)
    return kernel


POINT = line((4, 4))
SHORT = line((4, 3), (4, 4), (5, 5))
LONG = line(*((4, column) for column in range(SIZE)))
TALL = line(*((row, 4) for row in range(1, 8)))


def uniform(kernel, height=64, width=80):
    return BlurField(kernel[None, None], torch.ones(1, 1, height, width))


def rectangles(height=72, width=88, count=60, channels=3):
    """A scene of flat patches, as photos have edges and quiet places."""
    scene = torch.full((1, channels, height, width), 0.5)
    for _ in range(count):
        top, left = torch.randint(height - 8, ()), torch.randint(width - 8, ())
        rows, columns = torch.randint(6, 20, (2,))
        scene[..., top : top + rows, left : left + columns] = 0.1 + 0.8 * torch.rand(channels, 1, 1)
    return scene


def photo_through(field, scene, noise=0.002):
    photo = to_srgb(BasisBlur(field)(to_linear(scene)).clamp(0, 1))
    return (photo + noise * torch.randn_like(photo)).clamp(0, 1)


def codes(doubts):
    return [doubt.code for doubt in doubts]


# ------------------------------------------------------------------------------------------------------- at half size


def test_kernels_of_half_size_come_back_twice_as_large_and_not_turned():
    slanted = line((4, 4), (2, 5), (3, 7))
    field = estimate_blur_at_half_size(Oracle(torch.stack([slanted, POINT])), torch.rand(1, 3, 21, 30))
    kernels = field.kernels[0]
    assert kernels.shape == (2, 2 * SIZE - 1, 2 * SIZE - 1)
    torch.testing.assert_close(kernels.sum((-2, -1)), torch.ones(2))
    # Every second tap is one of the small kernel, and light lies at twice the distance from the middle.
    torch.testing.assert_close(kernels[0, ::2, ::2], slanted / 4)
    torch.testing.assert_close(kernels[1, 7:10, 7:10], torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16)
    offset = torch.arange(-8.0, 9)
    centre = [(kernels[0].sum(1 - dim) * offset).sum() for dim in (0, 1)]
    torch.testing.assert_close(torch.stack(centre), 2 * torch.tensor([-1.0, 4 / 3]))


def test_the_mixing_of_half_size_lies_where_the_photo_does():
    field = estimate_blur_at_half_size(Oracle(torch.stack([SHORT, POINT])), torch.rand(1, 3, 21, 32))
    assert field.image_size == (21, 32)
    torch.testing.assert_close(field.mixing.sum(1), torch.ones(1, 21, 32))
    torch.testing.assert_close(field.mixing[0, 0, 0, 14:18], torch.tensor([1, 0.75, 0.25, 0]))


def test_the_network_sees_means_of_light_at_half_size():
    net, photo = Oracle(torch.stack([SHORT, POINT])), torch.rand(1, 3, 19, 20)
    estimate_blur_at_half_size(net, photo)
    expected = F.avg_pool2d((photo**2.2)[..., :18, :], 2)
    torch.testing.assert_close(net.heard[..., :9, :], expected)
    torch.testing.assert_close(net.heard[..., 9, 0], (photo**2.2)[..., 18, :2].mean(-1))


def test_a_photo_blurred_by_the_enlarged_kernel_is_explained_by_the_field_of_half_size():
    slanted = line((4, 4), (3, 5), (2, 7))
    field = estimate_blur_at_half_size(Oracle(torch.stack([slanted, slanted])), torch.rand(1, 3, 64, 80))
    scene = rectangles(80, 96)
    photo = photo_through(field, scene, noise=0)
    # The same light, seen at half size, is blurred by the small kernel.
    small, sharp = (F.avg_pool2d(each, 2) for each in (to_linear(photo), to_linear(scene)))
    again = BasisBlur(uniform(slanted, 32, 40))(sharp)
    turned = BasisBlur(uniform(slanted.rot90(2), 32, 40))(sharp)
    assert (again - small).square().mean() < (turned - small).square().mean() / 5


def test_photos_that_cannot_hold_the_enlarged_kernels_are_refused_at_half_size_and_done_at_full():
    net, photo = Oracle(torch.stack([LONG, LONG])), torch.rand(1, 3, 16, 40)
    with pytest.raises(InputError, match='at least 17'):
        estimate_blur_at_half_size(net, photo)
    field, at_half_size = estimate_blur_at_best_size(net, photo)
    assert (field.kernel_size, at_half_size) == (SIZE, False)


@pytest.mark.parametrize(
    ('full', 'half', 'expected'),
    [
        (SHORT, SHORT, False),
        (LONG, SHORT, True),  # the rim is reached
        (POINT, LONG, True),  # the network returns small kernels for a blur it cannot hold
        (POINT, line((4, 4), (4, 6)), False),  # an eighth of the light is outside, as noise makes it
    ],
)
def test_half_size_is_taken_where_the_blur_does_not_fit(full, half, expected):
    net = Oracle(torch.stack([full, full]), torch.stack([half, half]))
    field, at_half_size = estimate_blur_at_best_size(net, torch.rand(1, 3, 20, 24))
    assert at_half_size is expected
    assert field.kernel_size == (2 * SIZE - 1 if expected else SIZE)


# -------------------------------------------------------------------------------------------------------------- doubts


def test_a_blurred_photo_of_something_raises_no_doubts():
    field = uniform(SHORT)
    photo = photo_through(field, rectangles())
    assert doubts_of_estimate(photo, field) == []
    assert doubts_of_restoration(photo, deblur(photo, field), field) == []


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('noise', [0, 0.005, 0.04])
def test_a_flat_photo_is_doubted_whatever_its_noise(channels, noise):
    shading = torch.linspace(0.4, 0.6, 320).expand(1, channels, 240, 320)
    photo = (shading + noise * torch.randn(1, channels, 240, 320)).clamp(0, 1)
    assert codes(doubts_of_estimate(photo, uniform(SHORT, 240, 320))) == ['flat']


@pytest.mark.parametrize('noise', [0.005, 0.04])
def test_a_noisy_photo_of_something_is_not_flat(noise):
    field = uniform(SHORT, 240, 320)
    photo = photo_through(field, rectangles(248, 328, count=400), noise)
    assert doubts_of_estimate(photo, field) == []


def test_black_is_flat():
    assert codes(doubts_of_estimate(torch.zeros(1, 3, 64, 80), uniform(SHORT))) == ['flat']


@pytest.mark.parametrize(('columns', 'expected'), [(4, []), (12, ['large'])])
def test_kernels_that_reach_their_rim_are_doubted_from_a_tenth_of_the_photo(columns, expected):
    mixing = torch.zeros(1, 2, 64, 80)
    mixing[:, 0, :, :columns], mixing[:, 1, :, columns:] = 1, 1
    field = BlurField(torch.stack([LONG, SHORT])[None], mixing)
    assert share_beyond_kernels(field) == pytest.approx(columns / 80, abs=0.03)
    assert share_beyond_kernels(field.to_pixel_field()) == share_beyond_kernels(field)
    doubts = doubts_of_estimate(rectangles(64, 80), field)
    assert codes(doubts) == expected
    assert all('9x9 pixels' in str(doubt) for doubt in doubts)


def test_a_blur_that_does_not_explain_the_photo_is_doubted():
    true = uniform(TALL)
    photo = photo_through(true, rectangles())
    assert doubts_of_restoration(photo, deblur(photo, true), true) == []
    wrong = uniform(line((4, 1), (4, 7)))
    doubts = doubts_of_restoration(photo, deblur(photo, wrong), wrong)
    assert codes(doubts) == ['residual']


@pytest.mark.parametrize(('offset', 'expected'), [(0.03, []), (0.05, ['residual'])])
def test_an_estimated_blur_may_leave_more_than_a_given_one(offset, expected):
    dark, field = rectangles(64, 80) * 0.5, uniform(SHORT)
    photo = photo_through(field, F.pad(dark, [4] * 4), noise=0) + offset
    assert codes(doubts_of_restoration(photo, dark, field)) == ['residual']
    assert codes(doubts_of_restoration(photo, dark, field.with_removal(ESTIMATED_BLUR))) == expected


def test_clipped_light_and_the_border_are_no_residual():
    field = uniform(SHORT)
    photo = rectangles(64, 80)
    again = photo_through(field, F.pad(photo, [4] * 4), noise=0)
    again[..., 20:40, 20:40] = 1  # of a scene that is brighter than white
    again[..., :4, :] = again[..., -4:, :] = 0
    again[..., :4] = again[..., -4:] = 0
    assert doubts_of_restoration(again, photo, field) == []


def with_lamps(scene):
    scene = scene.clone()
    for row in range(16, 64, 12):
        scene[..., row : row + 3, 20:70] = 1.6  # light of 2.8 times white
    return scene


def test_a_photo_may_be_brighter_where_the_light_of_lamps_reaches():
    field, scene = uniform(TALL), with_lamps(rectangles())
    restored = field.inside(scene.clamp(0, 1))
    assert doubts_of_restoration(photo_through(field, scene), restored, field) == []


def test_a_photo_is_not_darker_where_the_light_of_lamps_reaches():
    field, scene = uniform(TALL), rectangles()
    restored = field.inside(with_lamps(scene).clamp(0, 1))
    assert codes(doubts_of_restoration(photo_through(field, scene), restored, field)) == ['residual']


def test_one_photo_is_judged_at_a_time():
    with pytest.raises(ValueError, match='one by one'):
        doubts_of_estimate(torch.rand(2, 3, 64, 80), uniform(SHORT))
    with pytest.raises(ValueError, match='one photo and its field'):
        doubts_of_restoration(torch.rand(1, 3, 64, 81), torch.rand(1, 3, 64, 81), uniform(SHORT))


def test_full_size_alone_is_as_before():
    field = estimate_blur(Oracle(torch.stack([SHORT, POINT])), torch.rand(1, 3, 20, 24))
    torch.testing.assert_close(field.kernels[0], torch.stack([SHORT, POINT]))
