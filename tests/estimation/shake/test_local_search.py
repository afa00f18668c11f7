"""The search in windows: each place gets the kernel that explains it, and the network what none explains."""

import pytest
import torch
import torch.nn.functional as F

import basis_blur as bb
from basis_blur.estimation.shake import local
from basis_blur.estimation.shake.fields import blended, uniform_field
from basis_blur.estimation.shake.kernels import best_shift
from basis_blur.estimation.shake.local import Judged, estimate_places, judge, move_onto, moved, windows_of
from basis_blur.field.blur_field import BlurField

SIZE = 13


def stroke(points):
    kernel = torch.zeros(SIZE, SIZE, dtype=torch.float32)
    for row, column in points:
        kernel[row, column] += 1
    return kernel / kernel.sum()


HOOK = stroke([(row, 3) for row in range(3, 10)] + [(9, column) for column in range(4, 7)])
RAMP = stroke([(8 - column // 3, column) for column in range(2, 11)])


def blocks(height, width):
    """Return a sharp photo of rectangles, (1, 1, height, width)."""
    scene = torch.full((1, 1, height, width), 0.4, dtype=torch.float32)
    for _ in range(height * width // 150):
        top, left = (int(torch.randint(0, side - 4, ())) for side in (height, width))
        high, wide = torch.randint(4, 22, (2,)).tolist()
        scene[..., top : top + high, left : left + wide] = torch.rand(()) * 0.8 + 0.05
    return scene


def two_blurs(height, width, left=HOOK, right=RAMP):
    """Return a photo whose left half is blurred by one kernel and whose right half by another."""
    scene = blocks(height + SIZE - 1, width + SIZE - 1)
    half = (torch.arange(width) < width // 2).float().expand(1, 1, height, width)
    field = BlurField.unchecked(torch.stack([left, right])[None], torch.cat([half, 1 - half], 1))
    return bb.to_srgb(bb.BasisBlur(field)(bb.to_linear(scene, 2.2)).clamp(0, 1), 2.2)


def test_each_half_of_a_photo_gets_its_own_kernel(monkeypatch):
    photo, told = two_blurs(110, 220), []
    windows = [(slice(0, 110), slice(0, 120)), (slice(0, 110), slice(100, 220))]
    monkeypatch.setattr(local, 'windows_of', lambda *_: windows)
    blob = torch.exp(-((torch.arange(SIZE) - 6.0) ** 2) / 8)
    seen = uniform_field((blob[:, None] * blob) / blob.sum() ** 2, photo)
    found = estimate_places(photo, 2.2, seen, lambda *step: told.append(step))
    kernels = found.field.kernels_at(torch.tensor([[55, 30], [55, 190]]))[0]
    for kernel, own, other in ((kernels[0], HOOK, RAMP), (kernels[1], RAMP, HOOK)):
        assert best_shift(kernel, own)[2] > max(0.85, 0.1 + best_shift(kernel, other)[2])
    assert (found.believed, found.windows) == (2, 2)
    torch.testing.assert_close(found.field.mixing.sum(1), torch.ones(1, 110, 220, dtype=torch.float32))
    assert found.weight.shape == (1, 1, 110, 220)
    assert 0.4 < found.weight[..., 20:-20].mean() <= found.weight.max() <= local.MOST_WEIGHT
    assert told == [('searching place by place', 1, 2), ('searching place by place', 2, 2)]


def test_a_photo_that_is_nearly_sharp_has_no_places():
    photo = blocks(90, 120)
    point = torch.zeros(5, 5)
    point[2, 2] = 1
    assert estimate_places(photo, 2.2, uniform_field(point, photo)) is None


def test_a_kernel_leaves_more_where_an_object_moves_on_its_own():
    near = judge(bb.to_linear(two_blurs(100, 220), 2.2), HOOK).near
    assert near.shape == (100, 220)
    assert near[:, :90].mean() < 0.75 < near[:, 130:].mean()


def test_a_window_that_is_not_sure_takes_the_kernel_of_a_neighbour_that_is(monkeypatch):
    windows = [(slice(0, 20), slice(left, left + 20)) for left in (0, 15, 30)]
    light, near = torch.rand(1, 1, 20, 50), torch.ones(20, 20)

    def judged(kernel, share):
        return Judged(kernel, share, near, torch.rand(1, 1, 20, 20))

    monkeypatch.setattr(local, 'judge', lambda _, kernel: judged(kernel, 0.4 if kernel is HOOK else 0.9))
    starts, own = [HOOK, HOOK, HOOK], [judged(HOOK, 0.3), judged(RAMP, 0.7), None]
    found = local._with_neighbours(light, windows, starts, own)
    assert [each and each.share for each in found] == [0.3, 0.4, None]  # the third does not meet the first
    assert found[1].kernel is HOOK


@pytest.mark.parametrize('size', [(64, 64), (150, 400), (720, 1280), (480, 3000), (3000, 4000)])
def test_windows_cover_the_photo_and_are_few(size):
    windows = windows_of(size, 33)
    covered = torch.zeros(size)
    for window in windows:
        covered[window] = 1
    assert covered.min() == 1
    assert len(windows) <= max(local.MOST_WINDOWS, 2 * size[1] // size[0])


def test_a_kernel_moves_by_parts_of_a_pixel():
    place = torch.arange(SIZE, dtype=torch.float32)
    before, after = ((kernel.sum(1) @ place, kernel.sum(0) @ place) for kernel in (HOOK, moved(HOOK, 0.3, -1.25)))
    assert (after[0] - before[0]).item() == pytest.approx(0.3, abs=1e-4)
    assert (after[1] - before[1]).item() == pytest.approx(-1.25, abs=1e-4)


def test_photos_are_moved_onto_each_other():
    rows, columns = torch.arange(60.0)[:, None], torch.arange(70.0)
    photo, target = (
        torch.sin((rows - down) / 4) * torch.cos((columns - right) / 5 + (rows - down) / 11)
        for down, right in ((0.0, 0.0), (0.6, -1.3))
    )
    found = move_onto(photo[None, None], target[None, None])
    torch.testing.assert_close(found, torch.tensor([0.6, -1.3], dtype=torch.float64), atol=0.03, rtol=0)
    assert move_onto(torch.ones(1, 1, 60, 70), torch.ones(1, 1, 60, 70)) is None
    for high in (1, 2, 10):  # windows may overlap by a pixel or two
        assert move_onto(photo[None, None, :high], target[None, None, :high]) is None


def test_kernels_of_windows_are_moved_so_that_their_photos_agree():
    photo = F.avg_pool2d(blocks(64, 104), 5, 1)
    windows = [(slice(0, 60), slice(0, 60)), (slice(0, 60), slice(38, 98))]
    restored = [photo[..., :60, :60], photo[..., :60, 39:99]]  # the second is a pixel to the left
    (down, right), (other_down, other_right) = local._moves(windows, restored)
    assert abs(down - other_down) < 0.1
    assert 0.8 < right - other_right < 1.05  # moving a kernel to the left moves the photo to the right


def test_fields_are_blended_by_a_weight():
    one = uniform_field(HOOK, torch.rand(1, 3, 12, 16))
    mixing = torch.rand(1, 2, 12, 16).softmax(1)
    other = BlurField(torch.rand(1, 2, 25).softmax(2).view(1, 2, 5, 5).float(), mixing.float())
    weight = torch.rand(1, 1, 12, 16).float()
    found, points = blended(one, other, weight), torch.tensor([[3, 4], [11, 0]])
    shares = weight[0, 0, points[:, 0], points[:, 1]][None, :, None, None]
    expected = shares * one.kernels_at(points) + (1 - shares) * F.pad(other.kernels_at(points), [4] * 4)
    torch.testing.assert_close(found.kernels_at(points), expected)


def test_a_photo_that_would_take_long_has_no_places(monkeypatch):
    monkeypatch.setattr(local, 'MOST_PIXELS', 90 * 120 - 1)
    assert estimate_places(blocks(90, 120), 2.2, uniform_field(HOOK, blocks(90, 120))) is None
