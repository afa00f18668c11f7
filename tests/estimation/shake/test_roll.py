"""A camera that rolls while it shifts."""

import math

import pytest
import torch

from basis_blur.estimation.shake import roll
from basis_blur.estimation.shake.kernel_fit import correlations, middle_of
from basis_blur.estimation.shake.kernels import normalised
from basis_blur.estimation.shake.roll import Poses, Roll, Rolled, begin, kernels_of, roll_seen
from basis_blur.field import other_forms
from basis_blur.field.other_forms import field_of_window_kernels

SIZE = (60, 80)  # whose half diagonal is 50 pixels


def one_pose(angle: float, kernel_size: int = 9) -> Poses:
    """The camera turned by one angle of three and did not shift."""
    weights = torch.zeros(3, kernel_size, kernel_size)
    weights[2, kernel_size // 2, kernel_size // 2] = 1
    return Poses(weights, torch.tensor([-angle, 0.0, angle]))


def test_a_turn_moves_the_right_side_down_and_the_lower_side_left():
    points = torch.tensor([[0.0, 0.0], [0.0, 25.0], [25.0, 0.0]])
    middle, right, low = kernels_of(one_pose(4.0), points, SIZE)
    assert len(middle) == 13  # two pixels further on each side
    assert middle[6, 6] == 1
    assert right[8, 6] == 1  # half of the way to the corner: two pixels down
    assert low[6, 4] == 1


def test_scenes_are_turned_as_kernels_say():
    image = torch.zeros(1, 1, 61, 81)
    image[0, 0, 30, 70] = 1  # 30 pixels to the right of the middle
    turned = roll._turned(image, math.hypot(61, 81) / 2 / 30)
    assert turned[0, 0, 31, 70] > 0.95  # a pixel down
    torch.testing.assert_close(roll._turned(image, 0.0), image)


def test_extents_of_kernels_tell_how_the_camera_turned():
    angles = torch.tensor([-3.0, 0.0, 3.0])
    weights = torch.zeros(3, 21, 21)
    weights[0, 6, 10] = weights[2, 14, 10] = weights[1, 10, 8] = weights[1, 10, 12] = 0.25
    size = (120, 160)
    places = roll.middles(size, 24, weights)
    kernels = kernels_of(Poses(weights, angles), places, size)
    kernels = kernels.view(1, 24, 24, *kernels.shape[-2:])
    seen = roll_seen(field_of_window_kernels(kernels, size))
    # Shares of a pixel between its neighbours add up to a quarter of a square pixel; a place of between is a mean.
    torch.testing.assert_close(seen.shift, torch.tensor([[8.0, 0.0], [0.0, 2.0]]), atol=0.5, rtol=0)
    torch.testing.assert_close(seen.both, torch.tensor([6.0, 0.0]), atol=0.5, rtol=0)
    assert seen.turn == pytest.approx(4.5, abs=0.5)


def test_a_search_begins_with_the_turns_that_belong_to_shifts():
    kernel = normalised(torch.ones(1, 9, 9))[0]
    poses = begin(kernel, Roll(4 * torch.eye(2), torch.tensor([2.0, 0.0]), 2.0))
    assert poses.weights.sum() == pytest.approx(1.0)
    assert poses.angles[len(poses.angles) // 2] == 0
    turn = (poses.weights * poses.angles[:, None, None]).sum(0) / poses.weights.sum(0)
    assert (turn[1:] > turn[:-1]).all()  # further down, further clockwise
    torch.testing.assert_close(turn[:, 1:], turn[:, :-1])


def test_turned_correlations_are_those_of_each_pair_of_angles():
    edges, photo = torch.rand(3, 2, 20, 24), torch.rand(1, 2, 20, 24)
    normal = roll._TurnedNormal(edges, photo, 5)
    weights = torch.rand(3, 5, 5)
    spectra = torch.fft.rfft2(edges)
    canvas = torch.zeros(3, 20, 24)
    canvas[:, :5, :5] = weights
    shifted = torch.fft.rfft2(canvas.roll((-2, -2), (1, 2)))
    blurred = torch.fft.irfft2((shifted[:, None] * spectra).sum(0, keepdim=True), s=(20, 24))
    scale = edges[1].square().sum()
    expected = torch.cat([correlations(each[None], blurred, 5)[1] for each in edges]) / scale
    torch.testing.assert_close(normal(weights), expected)
    torch.testing.assert_close(normal.target[:1] * scale, correlations(edges[:1], photo, 5)[1])
    torch.testing.assert_close(middle_of(edges[:, 0], 5).shape, torch.Size([3, 5, 5]))


def test_a_field_without_turns_is_the_kernel_of_the_middle():
    poses = one_pose(4.0)
    like = torch.zeros(1, *SIZE)
    field = Rolled(poses, SIZE).field(like, factor=0.0)
    torch.testing.assert_close(field.kernels, poses.weights.sum(0).expand_as(field.kernels))
    assert field.kernel_size == 9
    there, back = (Rolled(poses, SIZE).field(like, factor) for factor in (1.0, -1.0))
    torch.testing.assert_close(there.kernels, back.kernels.flip(-2, -1))


def test_a_photo_looked_at_at_half_size_has_kernels_twice_as_large():
    rolled = Rolled(one_pose(4.0), (30, 40))
    assert rolled.field(torch.zeros(1, *SIZE), factor=0.0).kernel_size == 17


def test_a_large_photo_has_the_same_field_in_fewer_bits(monkeypatch):
    rolled = Rolled(one_pose(4.0), SIZE)
    whole = rolled.field(torch.zeros(1, *SIZE))
    monkeypatch.setattr(other_forms, 'WHOLE_PIXELS', 100)
    compact = rolled.field(torch.zeros(1, *SIZE))
    assert compact.packed.dtype == torch.int16
    torch.testing.assert_close(compact.mixing, whole.mixing, atol=1e-4, rtol=0)
    torch.testing.assert_close(compact.kernels, whole.kernels)
