"""The kernel as the streaks of small lights show it, after Hu, Cho, Wang, Yang 2014.

A lamp, or its glint, is a point much brighter than what is around it, so its blurred picture is the kernel. The search
of `schedule` fails on such photos: they are dark elsewhere, and the edges of clipped places tell nothing of the kernel.

    marks       small bright places on dark ground: isolated parts of the light minus its morphological opening
    kernel      the aligned mean of the largest group of marks that are alike
    test        the photo is restored with the kernel, and with it mirrored or turned; with a right kernel, much less is
                left unexplained. Marks that are alike because the scene repeats, as windows and letters do, fail the
                test, and so do streaks that equal their mirror image.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.estimation.estimate import Progress
from basis_blur.estimation.shake.fields import uniform_field
from basis_blur.estimation.shake.kernels import (
    aligned_mean,
    best_shift,
    centred,
    cleaned,
    likenesses,
    normalised,
    odd_size,
    on_canvas,
    parts_of,
    resized,
    spread,
)
from basis_blur.estimation.shake.residual import share_of_wrong
from basis_blur.estimation.shake.search import (
    FAILED,
    ShakeEstimate,
    Tried,
    estimate_shake,
    gray_light,
    removal_for,
)
from basis_blur.foundation.errors import InputError

SIDE = 65  # side of the patch that holds a mark, pixels
WHOLE = 1_200_000  # largest number of pixels of a photo that is looked at in full size
WIDTH = 9  # side of the square of the opening, pixels; the line of a streak is narrower
# Least light of a peak above its ground: the first, or the second times the third, a quantile over the photo.
LEAST_HEIGHT, HEIGHT_SHARE, HEIGHT_QUANTILE = 0.05, 0.5, 0.995
LIT = 0.3  # least light of a pixel of a mark, as a share of the light of its peak
NEAR, FAR = 2, 6  # distances from a mark, pixels, between which the ground has to be dark
MOST_LIGHT_AROUND = 0.02  # largest share of the pixels there that are lit
SHORTEST = 5  # least length of the longer side of a mark, pixels
MOST_MARKS = 64  # largest number of marks, the brightest ones
CLIPPED = 0.9  # quantile of a mark's light at which it is cut off, since lamps are clipped more or less
ALIKE = 0.75  # least likeness of two marks of a group
LEAST_MARKS, LEAST_AGREEMENT = 3, 0.75  # least number of marks in a group, and their least mean likeness
LEAST_SPREAD = 2.0  # least extent of the kernel, pixels
FAINT, SMALL = 0.25, 0.15  # shares by which the mean of the marks is `cleaned`
# Largest median of the light of a photo whose lights are looked at. Night photos with streaks have 0.001 to 0.05; by
# day, marks that are alike are parts of the scene.
MOST_LIGHT = 0.1
MOST_OF_WRONG = 0.5  # largest `share_of_wrong` of a right kernel
LIKE_STREAKS = 0.7  # likeness to the streaks from which on the kernel of a search that began with them is taken


@dataclass(frozen=True)
class Streaks:
    """The kernel that the lights of a photo show.

    Args:
        kernel: (K, K); the aligned mean of the streaks.
        number: number of streaks that are alike.
        agreement: likeness of the streaks, the largest normalised correlation, mean over pairs.
    """

    kernel: Tensor
    number: int
    agreement: float


def estimate_by_streaks(photo: Tensor, gamma: float, progress: Progress | None = None) -> ShakeEstimate | None:
    """Return the blur that the light streaks of a photo show, or None where there are none to trust.

    The search over the photo starts from their kernel. What it finds is returned if it is like the streaks, and else
    the kernel of the streaks. A photo that is too small or too dark to be searched has no streaks, nor has one that is
    not dark for the most part.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        gamma: exponent of the photo.
        progress: function that is called during the work.

    Raises:
        ValueError: the photo is not as described.
    """
    try:
        light = gray_light(photo, gamma)
    except InputError:  # it is too small, or has no contrast in linear light
        return None
    streaks = light_streaks(light) if light.median() <= MOST_LIGHT else None
    if streaks is None or streaks.kernel.shape[-1] > min(light.shape[-2:]) // 2:
        return None
    share = share_of_wrong(light, streaks.kernel)
    if share > MOST_OF_WRONG:
        return None
    note = f'the blur was read from {streaks.number} streaks of light.'
    found = estimate_shake(photo, gamma, streaks.kernel[None], progress=progress)
    if found.agreement >= FAILED and best_shift(found.kernel, streaks.kernel)[2] >= LIKE_STREAKS:
        return dataclasses.replace(found, notes=(*found.notes, note))
    return ShakeEstimate(
        uniform_field(streaks.kernel, photo),
        'shake',
        removal_for(photo, gamma),
        confidence=streaks.agreement,
        notes=(note,),
        kernel=streaks.kernel,
        agreement=streaks.agreement,
        tried=(Tried('streaks', streaks.kernel), *found.tried),
        share_of_wrong=share,
    )


@torch.no_grad()
def light_streaks(light: Tensor) -> Streaks | None:
    """Return the kernel that isolated small lights of a photo show, or None if no group of them agrees.

    Args:
        light: (1, 1, H, W); gray linear light.
    """
    reduction = 1
    while light.shape[-2] * light.shape[-1] > WHOLE * reduction**2:
        reduction += 1
    small = light if reduction == 1 else F.avg_pool2d(light, reduction)
    marks = isolated_marks(small)
    if len(marks) < LEAST_MARKS:
        return None
    alike = torch.tensor(likenesses(marks))
    of_group = alike > ALIKE
    medoid = int((alike * of_group).sum(1).argmax())
    group = marks[of_group[medoid].to(marks.device)]
    mean, agreement = aligned_mean(group)
    if len(group) < LEAST_MARKS or agreement < LEAST_AGREEMENT or spread(mean) < LEAST_SPREAD:
        return None
    kernel = centred(cleaned(mean[None], FAINT, SMALL))
    if reduction > 1:
        kernel = centred(resized(kernel, odd_size(SIDE * reduction)))
    return Streaks(fitting(kernel[0]), len(group), agreement)


def fitting(kernel: Tensor) -> Tensor:
    """Return a kernel (K, K) on as few pixels as hold it with a margin of a quarter of its reach and a pixel."""
    offset = torch.arange(kernel.shape[-1], device=kernel.device) - kernel.shape[-1] // 2
    lit = (kernel > 0).nonzero()
    reach = int(offset[lit].abs().max())
    size = min(kernel.shape[-1], odd_size(2.5 * reach + 3))
    return on_canvas(kernel[None], size)[0]


def isolated_marks(light: Tensor) -> Tensor:
    """Return patches (M, 65, 65) of marks on dark ground, each with sum 1.

    Args:
        light: (1, 1, H, W); gray linear light.
    """
    half, reach = SIDE // 2, WIDTH // 2
    if min(light.shape[-2:]) <= SIDE:
        return light.new_zeros(0, SIDE, SIDE)
    ground = F.max_pool2d(-F.max_pool2d(-light, WIDTH, 1, reach), WIDTH, 1, reach)
    above = light - ground
    flat = above.flatten()
    height = flat[:: max(1, len(flat) // 1_000_000)].quantile(HEIGHT_QUANTILE).item()
    least = max(LEAST_HEIGHT, HEIGHT_SHARE * height)
    inside = above[0, 0, half:-half, half:-half]
    peaks = (F.max_pool2d(above, WIDTH, 1, reach) == above)[0, 0, half:-half, half:-half] & (inside >= least)
    order = inside[peaks].argsort(descending=True, stable=True)
    places = _apart(peaks.nonzero()[order].tolist())
    if not places:
        return light.new_zeros(0, SIDE, SIDE)
    patches = torch.stack([above[0, 0, y : y + SIDE, x : x + SIDE] for y, x in places])
    lit = patches >= LIT * patches[:, half, half, None, None]
    parts = parts_of(lit)
    own = lit & (parts == parts[:, half, half, None, None])
    near, far = (F.max_pool2d(own[:, None].to(light), 2 * r + 1, 1, r)[:, 0] > 0 for r in (NEAR, FAR))
    around = far & ~near
    light_around = (lit & around).sum((1, 2)) / around.sum((1, 2)).clamp_min(1)
    high, wide = own.any(2).sum(1), own.any(1).sum(1)
    rim = own[:, 0].any(1) | own[:, -1].any(1) | own[:, :, 0].any(1) | own[:, :, -1].any(1)
    good = (light_around <= MOST_LIGHT_AROUND) & (torch.maximum(high, wide) >= SHORTEST) & ~rim
    marks = []
    for patch, mark in zip(patches[good], near[good], strict=True):
        marks.append((patch * mark).clamp(0, patch[mark].quantile(CLIPPED)))
    return centred(normalised(torch.stack(marks))) if marks else light.new_zeros(0, SIDE, SIDE)


def _apart(places: list[list[int]]) -> list[list[int]]:
    """Return the places, brightest first, without those closer than a quarter patch to a brighter one; 64 at most."""
    kept: list[list[int]] = []
    for y, x in places:
        if all(max(abs(y - a), abs(x - b)) > SIDE // 4 for a, b in kept):
            kept.append([y, x])
        if len(kept) == MOST_MARKS:
            break
    return kept
