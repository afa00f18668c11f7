"""Streaks of small lights show the kernel, the right way round; marks that repeat for another reason do not."""

import pytest
import torch

import basis_blur as bb
from basis_blur.estimation.choice import BestEstimator, ShakeEstimator
from basis_blur.estimation.estimators import NetworkEstimator
from basis_blur.estimation.shake.kernels import best_shift, centred, on_canvas
from basis_blur.estimation.shake.residual import share_of_wrong
from basis_blur.estimation.shake.search import gray_light
from basis_blur.estimation.shake.streaks import (
    MOST_OF_WRONG,
    estimate_by_streaks,
    isolated_marks,
    light_streaks,
)
from basis_blur.ops.camera_response import to_srgb

HIGH, WIDE, SIZE = 200, 230, 21


def hook():
    """A kernel of 21 pixels that equals neither its mirror images nor itself turned."""
    kernel = torch.zeros(SIZE, SIZE)
    kernel[3:17, 8] = 1
    kernel[16, 8:15] = 1
    kernel[13:17, 14] = 1
    return centred((kernel / kernel.sum())[None])[0]


def night(kernel, seed=0):
    """A dark scene of faint boxes with lamps far brighter than white, blurred by a kernel and clipped."""
    generator = torch.Generator().manual_seed(seed)
    border = kernel.shape[-1] - 1
    light = torch.full((1, 3, HIGH + border, WIDE + border), 0.004)
    for _ in range(60):
        top, left = (int(torch.randint(side - 8, (), generator=generator)) for side in light.shape[-2:])
        high, wide = torch.randint(6, 40, (2,), generator=generator).tolist()
        light[..., top : top + high, left : left + wide] = 0.03 * torch.rand(3, 1, 1, generator=generator)
    for y in range(35, HIGH, 45):
        for x in range(40, WIDE, 50):
            light[..., y : y + 2, x : x + 2] = 12.0
    field = bb.BlurField(kernel[None, None], torch.ones(1, 1, HIGH, WIDE))
    photo = to_srgb(bb.BasisBlur(field)(light).clamp(0, 1))
    return (photo + 0.002 * torch.randn(photo.shape, generator=generator)).clamp(0, 1)


@pytest.fixture(scope='module')
def photo():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    made = night(hook())
    torch.set_default_dtype(before)
    return made


class Blind(torch.nn.Module):
    """A network that sees no blur anywhere."""

    hyper_parameters = {'kernel_size': 17, 'in_channels': 3}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        point = torch.zeros(1, 1, 17, 17)
        point[..., 8, 8] = 1
        self.kernels = torch.nn.Parameter(point)

    def forward(self, light):
        return bb.BlurField.unchecked(self.kernels, light.new_ones(1, 1, *light.shape[-2:]))


def likeness(kernel, other):
    size = max(kernel.shape[-1], other.shape[-1])
    return best_shift(*(on_canvas(each[None].float(), size)[0] for each in (kernel, other)))[2]


def test_lamps_show_the_kernel_the_right_way_round(photo):
    streaks = light_streaks(gray_light(photo, 2.2))
    assert streaks.number >= 6
    right = likeness(streaks.kernel, hook())  # lamps are wider than a pixel, and so are their streaks
    assert right > 0.65
    for wrong in (hook().flip(0), hook().flip(1), hook().T, hook().rot90(2, (0, 1))):
        assert likeness(streaks.kernel, wrong) < right - 0.1


def test_the_right_kernel_leaves_less_unexplained_than_its_mirror_image(photo):
    light = gray_light(photo, 2.2)
    assert share_of_wrong(light, hook().float()) < MOST_OF_WRONG
    assert share_of_wrong(light, hook().float().flip(1).contiguous()) > MOST_OF_WRONG


def test_a_night_photo_gets_the_kernel_of_its_lamps_where_the_network_sees_none(photo):
    estimate = BestEstimator(NetworkEstimator(Blind(), 'full'))(photo, 2.2)
    assert estimate.source == 'shake'
    assert 'streaks' in estimate.notes[-1]
    assert likeness(estimate.kernel, hook()) > 0.65


def test_the_lamps_of_a_bright_photo_tell_nothing(photo):
    by_day = photo.clamp_min(0.45)  # light of 0.17
    assert light_streaks(gray_light(by_day, 2.2)) is not None
    assert estimate_by_streaks(by_day, 2.2) is None


def test_a_photo_without_contrast_in_linear_light_is_left_as_it_is():
    rows, columns = torch.arange(150), torch.arange(160)
    dark = torch.zeros(1, 3, 150, 160) + 0.008 * ((rows[:, None] // 12 + columns // 12) % 2)
    assert estimate_by_streaks(dark, 2.2) is None
    assert BestEstimator(NetworkEstimator(Blind(), 'full'))(dark, 2.2).source == 'none'


def test_a_search_that_fails_asks_the_lamps(photo, monkeypatch):
    monkeypatch.setattr('basis_blur.estimation.choice.FAILED', 2.0)
    assert 'streaks' in ShakeEstimator(Blind())(photo, 2.2).notes[-1]


def test_small_things_of_a_sharp_photo_are_no_streaks():
    """Hooks that are painted on a sharp scene of boxes are alike, but do not explain the rest of the scene."""
    generator = torch.Generator().manual_seed(5)
    light = torch.full((1, 3, HIGH, WIDE), 0.05)
    for _ in range(150):
        top, left = (int(torch.randint(side - 8, (), generator=generator)) for side in light.shape[-2:])
        light[..., top : top + 12, left : left + 9] = 0.25 * torch.rand(3, 1, 1, generator=generator)
    drawn = (hook() > 0).float()
    for y in range(15, HIGH - 40, 45):
        for x in range(15, WIDE - 40, 50):
            place = (..., slice(y - 5, y + SIZE + 5), slice(x - 5, x + SIZE + 5))
            light[place] = 0.02
            light[..., y : y + SIZE, x : x + SIZE] += drawn
    photo = to_srgb(light.clamp(0, 1))
    assert light_streaks(gray_light(photo, 2.2)) is not None  # they look like streaks
    assert estimate_by_streaks(photo, 2.2) is None


def test_a_photo_without_lights_has_no_marks():
    assert len(isolated_marks(torch.full((1, 1, 100, 120), 0.2))) == 0
    assert len(isolated_marks(torch.rand(1, 1, 40, 50))) == 0
    assert light_streaks(torch.rand(1, 1, 100, 120) * 0.1) is None
