"""The shake search in windows of a photo, for scenes in which objects move on their own.

    1. windows     overlapping squares, each searched for one kernel, from the mean of those that a network sees in it
    2. belief      b_w tells how far the kernel of window w is believed, by its share: what it leaves of the window
                   unexplained, over what its mirror image and its turn by 90 degrees leave (`share_of_wrong`). b_w is 1
                   up to a share of `SURE`, and falls to 0 at `WRONG`
    3. neighbours  a window whose kernel has a share above `SURE` takes that of a neighbour, if it has a smaller one
    4. one place   kernels are moved so that the restored photos of windows lie on each other where these overlap
    5. weight      W tells how far each pixel i is restored by these kernels; the network restores the rest:

        W(i) = 0.7 sum_w f_w(i) b_w c_w(i) / sum_w f_w(i)

f_w is 1 inside window w and fades out where windows overlap. c_w(i) is the belief at one pixel, by the share of the
residuals near it: 1 up to `NEAR`, and 0 from `FAR` on. It is small where an object moves on its own, and at flat
places, which tell no kernel from another; there the network's photo is as good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.estimation.estimate import SEARCHING_PLACES, Progress
from basis_blur.estimation.shake.fields import uniform_field
from basis_blur.estimation.shake.kernels import centred, cleaned, spread
from basis_blur.estimation.shake.residual import ITERATIONS, wrong_kernels
from basis_blur.estimation.shake.search import FAINT_START, SMALL_START, find_kernel, gray_light, has_no_contrast
from basis_blur.estimation.trust import reblur_squares
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.camera_response import to_srgb
from basis_blur.ops.windows import Window, fade, tile_windows
from basis_blur.restoration.deblur import deblur_iterates

SIDE, SHARE_OF_SIDE = 400, 0.6  # side of a window, pixels; and the largest, over the shorter side of the photo
LEAST_SIDES = 4  # least side of a window, over that of the kernels
OVERLAP = 0.25  # least overlap of windows, over their side
MOST_WINDOWS = 12  # largest number of windows; those of a large photo are larger
MOST_PIXELS = 2_500_000  # largest number of pixels of a photo that is searched so, which bounds the time
POLISH_ROUNDS = 6  # rounds of the polish of a window's kernel
LEAST_AGREEMENT = 0.83  # agreement of the variants below which a window's kernel is not believed
LEAST_EXTENT = 1.25  # extent of the kernels that the network sees, pixels, below which a window is left to it
LEAST_SHARE, MOST_SHARE = 0.75, 2.0  # least and largest extent of a believed kernel, over that which the network sees
SURE, WRONG = 0.5, 0.75  # share_of_wrong up to which a kernel is believed, and from which on it is not
# The same limits for the share near a pixel, which is noisier.
NEAR, FAR = 0.75, 1.0
# Largest weight of a pixel. Both restored photos err, in different ways, so that their mean is better than each.
MOST_WEIGHT = 0.7
REMOVAL_ITERATIONS = 10  # number of iterations of Richardson-Lucy by which the windows' kernels are removed
REACH = 1.5  # side of the square in which the residuals near a pixel are averaged, over that of the kernels
BETTER = 0.85  # share_of_wrong of a neighbour's kernel over that of the window's own, below which it is taken
STEPS, MOST_MOVE = 4, 2.0  # steps by which two restored photos are moved onto each other; largest move, pixels
ANCHOR = 0.1  # weight with which a window stays where it is, over that of an overlap


@dataclass(frozen=True, eq=False)
class Places:
    """The kernels of the windows that are believed, and where they hold.

    Args:
        field: the kernels, at every pixel of the photo; outside their windows, the nearest.
        weight: (1, 1, H, W), from 0 to `MOST_WEIGHT`; W, the share that the photo restored by them has of each pixel.
        believed, windows: number of windows whose kernel is believed, and of all.
    """

    field: BlurField
    weight: Tensor
    believed: int
    windows: int


class Judged(NamedTuple):
    """What a kernel (K, K) leaves of a window.

    Args:
        kernel: the kernel.
        share: share_of_wrong of the window.
        near: (h, w); share_of_wrong near each pixel.
        restored: (1, 1, h, w); the window restored, sRGB-like.
    """

    kernel: Tensor
    share: float
    near: Tensor
    restored: Tensor

    @property
    def belief(self) -> float:
        """Return the belief b in the kernel, from 0 to 1."""
        return min(1.0, max(0.0, (WRONG - self.share) / (WRONG - SURE)))


@torch.no_grad()
def estimate_places(photo: Tensor, gamma: float, seen: BlurField, progress: Progress | None = None) -> Places | None:
    """Search for the kernels of the windows of a photo.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        gamma: exponent of the photo.
        seen: field of the photo, as a network sees it.
        progress: function that is called after each window.

    Returns:
        The kernels that are believed; None where there are none, or the photo has more than 2.5 million pixels.
    """
    if photo.shape[-2] * photo.shape[-1] > MOST_PIXELS:
        return None
    light = gray_light(photo, gamma)
    windows = windows_of((light.shape[-2], light.shape[-1]), seen.kernel_size)
    starts = [_start(seen, window) for window in windows]
    judged: list[Judged | None] = []
    for number, (window, start) in enumerate(zip(windows, starts, strict=True), 1):
        judged.append(_searched(light[(..., *window)], start))
        if progress is not None:
            progress(SEARCHING_PLACES, number, len(windows))
    judged = _with_neighbours(light, windows, starts, judged)
    believed = {number: each for number, each in enumerate(judged) if each is not None and each.belief > 0}
    if not believed:
        return None
    kept, found = list(believed), list(believed.values())
    moves = _moves([windows[number] for number in kept], [each.restored for each in found])
    kernels = torch.stack([moved(each.kernel, *move) for each, move in zip(found, moves, strict=True)])
    return _put_together(light, windows, kept, found, kernels)


def windows_of(size: tuple[int, int], kernel_size: int) -> list[Window]:
    """Return the windows of a photo (H, W) that are searched for kernels of `kernel_size` pixels, row by row."""
    short = min(size)
    side = min(short, max(LEAST_SIDES * kernel_size, min(SIDE, int(SHARE_OF_SIDE * short))))
    while True:
        windows = tile_windows(size, side, int(OVERLAP * side))
        if len(windows) <= MOST_WINDOWS or side == short:
            return windows
        side = min(short, side + side // 10)


def moved(kernel: Tensor, down: float, right: float) -> Tensor:
    """Return a kernel (K, K) moved by parts of a pixel; the light of a pixel is shared by the four that it meets."""
    border = int(MOST_MOVE) + 2
    light = _sampled(F.pad(kernel, [border] * 4), down, right, border)
    return light / light.sum()


def _start(seen: BlurField, window: Window) -> Tensor:
    rows, columns = (torch.linspace(part.start, part.stop - 1, 7).round().long() for part in window)
    kernels = seen.kernels_at(torch.cartesian_prod(rows, columns).to(seen.device))[0]
    return centred(cleaned(kernels.float().mean(0, keepdim=True), FAINT_START, SMALL_START))[0]


def _searched(light: Tensor, start: Tensor) -> Judged | None:
    """Return the kernel of a window, or None where it is nearly sharp, flat, or the search fails."""
    extent = spread(start)
    if extent < LEAST_EXTENT or has_no_contrast(light):
        return None
    found = find_kernel(light, start, POLISH_ROUNDS, judge)
    if found.agreement < LEAST_AGREEMENT or not LEAST_SHARE * extent <= spread(found.kernel) <= MOST_SHARE * extent:
        return None
    at_full_size = found.judgement.near.shape == light.shape[-2:]
    return found.judgement if at_full_size else judge(light, found.kernel)


def judge(light: Tensor, kernel: Tensor) -> Judged:
    """Return what a kernel (K, K) leaves of a window (1, 1, h, w) of gray linear light."""
    part = to_srgb(light.clamp(0, 1), GAMMA)
    restored, squares = [], []
    for each in (kernel, *wrong_kernels(kernel)):
        field = uniform_field(each, part)
        restored.append(deblur_iterates(part, field, (ITERATIONS,), GAMMA))
        squares.append(reblur_squares(part, restored[-1], field, GAMMA)[0])
    means = [each.mean().item() for each in squares]
    share = (means[0] / max(min(means[1:]), 1e-18)) ** 0.5
    radius = kernel.shape[-1] // 2
    side = int(REACH * kernel.shape[-1]) // 2 * 2 + 1
    near = [F.avg_pool2d(F.pad(each, [side // 2] * 4, mode='replicate'), side, 1) for each in squares]
    ratio = (near[0] / torch.minimum(near[1], near[2]).clamp_min(1e-18)).sqrt_()
    return Judged(kernel, share, F.pad(ratio, [radius] * 4, mode='replicate')[0, 0], restored[0])


def _with_neighbours(
    light: Tensor, windows: list[Window], starts: list[Tensor], judged: list[Judged | None]
) -> list[Judged | None]:
    """Return the kernels of windows, those that are not sure replaced by the best of their neighbours."""
    found = list(judged)
    for number, own in enumerate(judged):
        if spread(starts[number]) < LEAST_EXTENT or (own is not None and own.share <= SURE):
            continue
        near = [
            other.kernel
            for window, other in zip(windows, judged, strict=True)
            if other is not None and other.share <= SURE and _overlap(windows[number], window) is not None
        ]
        part = light[(..., *windows[number])]
        best = min((judge(part, kernel) for kernel in near), key=lambda each: each.share, default=None)
        if best is not None and (own is None or best.share < BETTER * own.share):
            found[number] = best
    return found


def _overlap(one: Window, other: Window) -> Window | None:
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _inside(part: Window, window: Window) -> Window:
    rows, columns = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, window, strict=True))
    return rows, columns


def _moves(windows: list[Window], restored: list[Tensor]) -> list[tuple[float, float]]:
    """Return how far to move each kernel, (down, right) in pixels, for windows' restored photos to lie on each other.

    A kernel that is moved moves the restored photo the other way. With d_vw the move that brings photo v onto photo w
    in their overlap, the photos' moves m minimise  sum_vw (m_v - m_w - d_vw)^2 + a sum_v m_v^2.
    """
    number = len(windows)
    matrix = ANCHOR * torch.eye(number, dtype=torch.float64)
    right_side = torch.zeros(number, 2, dtype=torch.float64)
    for v in range(number):
        for w in range(v):
            common = _overlap(windows[v], windows[w])
            if common is None:
                continue
            step = move_onto(*(restored[n][(..., *_inside(common, windows[n]))] for n in (v, w)))
            if step is None:
                continue
            matrix[v, v] += 1
            matrix[w, w] += 1
            matrix[v, w] -= 1
            matrix[w, v] -= 1
            right_side[v] += step
            right_side[w] -= step
    moves = torch.linalg.solve(matrix, right_side).clamp_(-MOST_MOVE, MOST_MOVE)
    return [(-down, -right) for down, right in moves.tolist()]


def move_onto(photo: Tensor, target: Tensor) -> Tensor | None:
    """Return the move (down, right), in pixels, that brings a photo (1, 1, h, w) onto another, float64.

    Steps of least squares on their slopes  [Lucas, Kanade 1981].

    Returns:
        The move, (2,); None where it is larger than 2 pixels, or where the photos are smaller than 19 pixels a side or
        have no slopes to tell it.
    """
    border = int(MOST_MOVE) + 2
    if min(photo.shape[-2:]) <= 4 * border + 2:
        return None
    photo, target = (F.avg_pool2d(each.double(), 3, 1) for each in (photo, target))
    move = torch.zeros(2, dtype=torch.float64)
    inner = target[..., border:-border, border:-border]
    for _ in range(STEPS):
        y, x = move.tolist()
        now = _sampled(photo, y, x, border)
        down = _sampled(photo, y - 0.5, x, border) - _sampled(photo, y + 0.5, x, border)
        right = _sampled(photo, y, x - 0.5, border) - _sampled(photo, y, x + 0.5, border)
        slopes = torch.stack([down.flatten(), right.flatten()])
        normal = slopes @ slopes.T
        if torch.linalg.eigvalsh(normal)[0] < 1e-6 * inner.numel():
            return None
        move = move - torch.linalg.solve(normal, slopes @ (inner - now).flatten()).cpu()
        if move.abs().max() > MOST_MOVE:
            return None
    return move


def _sampled(picture: Tensor, down: float, right: float, border: int) -> Tensor:
    """Return a picture (..., h, w) moved by (down, right) pixels, without `border` pixels at its sides; linear."""
    height, width = (side - 2 * border for side in picture.shape[-2:])
    top, left = border - down, border - right
    y, x = math.floor(top), math.floor(left)
    total = picture.new_zeros(*picture.shape[:-2], height, width)
    for row, share in ((y, 1 - (top - y)), (y + 1, top - y)):
        for column, part in ((x, 1 - (left - x)), (x + 1, left - x)):
            total += share * part * picture[..., row : row + height, column : column + width]
    return total


def _put_together(
    light: Tensor, windows: list[Window], kept: list[int], found: list[Judged], kernels: Tensor
) -> Places:
    """Return the field of the kept windows' kernels, and its weight."""
    size = (light.shape[-2], light.shape[-1])
    overlap = int(OVERLAP * (windows[0][0].stop - windows[0][0].start))
    weight, covered = light.new_zeros(size), light.new_zeros(size)
    for window in windows:
        covered[window] += fade(window, size, overlap).to(light)
    mixing = torch.stack([_reach(windows[number], size, overlap, light) for number in kept])
    mixing /= mixing.sum(0)
    for number, each in zip(kept, found, strict=True):
        window = windows[number]
        certain = ((FAR - each.near) / (FAR - NEAR)).clamp(0, 1)
        weight[window] += each.belief * certain * fade(window, size, overlap).to(light)
    weight = (MOST_WEIGHT * weight / covered.clamp_min(1e-6)).clamp(0, MOST_WEIGHT)
    return Places(BlurField.unchecked(kernels[None], mixing[None]), weight[None, None], len(kept), len(windows))


def _reach(window: Window, size: tuple[int, int], overlap: int, like: Tensor) -> Tensor:
    """Return how much a window counts at each pixel: 1 inside, little outside, and less far away."""
    faded = torch.zeros(size, dtype=like.dtype, device=like.device)
    faded[window] = fade(window, size, overlap).to(like)
    down, right = (
        torch.maximum(part.start - place, place - (part.stop - 1)).clamp_min(0)
        for part, place in zip(window, (torch.arange(side, device=like.device) for side in size), strict=True)
    )
    distance = (down[:, None].square() + right.square()).to(like).sqrt_()
    return faded + 1e-3 / (1 + (distance / overlap).pow(4))
