"""From small to full size: scene, edges and kernel in turn, on photos whose size grows by sqrt 2 from level to level.

At a level of scale s = 2^(-l / 2) the kernel has about s K pixels. A round makes the scene of few edges of the present
kernel (`sparse_scene`), takes the edges that tell the kernel (`edges`), fits the kernel to them (`kernel_fit`), and
cleans it. The weight lambda of an edge falls by a tenth each round, and goes on falling from level to level.

Where the photo of a level has more than a megapixel, only the square window with the most texture is searched, which
bounds the work: one camera blurs all places alike, and a part with edges in every direction tells the kernel as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.estimation.shake.edges import telling_edges
from basis_blur.estimation.shake.extension import differences, extended, inner_ramp
from basis_blur.estimation.shake.kernel_fit import fit_kernels
from basis_blur.estimation.shake.kernels import centred, cleaned, odd_size, resized
from basis_blur.estimation.shake.sparse_scene import SparseScene
from basis_blur.ops.windows import fullest_window
from basis_blur.restoration.noise import estimate_noise

WHOLE = 1_000_000  # largest number of pixels of a photo that is searched as a whole
WINDOW = 450_000  # number of pixels of the window that is searched of a larger one
LEAST_SIDES = 4  # least side of that window, as a multiple of the kernel's
LEAST_WEIGHT, WEIGHT_DECAY = 1e-4, 1.1  # lower bound of lambda, and its divisor from one round to the next
LEAST_KNOWN = 0.7  # share of the photo that is left without clipped places, below which they are not left out
LEAST_NOISE = 5e-4  # lower bound of the noise, standard deviation in light
# Shares by which a kernel is `cleaned`: of a pixel in the brightest one, and of a part in all the light.
FAINT, SMALL = 0.02, 0.1
SMALLEST = 11  # least side of the kernel at the coarsest level, pixels


@dataclass(frozen=True)
class Variant:
    """One way to search.

    Args:
        by_count: whether edges are taken by their number (`edges`), and not by their height over the noise.
        weight: lambda at the beginning; squared linear light.
        rounds: number of rounds at each level.
    """

    by_count: bool = False
    weight: float = 4e-3
    rounds: int = 5

    @property
    def name(self) -> str:
        """Return the name of the variant, for a person."""
        return 'edges by count' if self.by_count else 'edges by noise'

    def after(self, levels: int) -> Variant:
        """Return the settings of a search that goes on after a number of levels: lambda has fallen by then."""
        weight = max(self.weight / WEIGHT_DECAY ** (self.rounds * levels), LEAST_WEIGHT)
        return dataclasses.replace(self, weight=weight)


def levels_of(size: int) -> int:
    """Return the number of levels above full size, for kernels of `size` pixels; the coarsest has this number."""
    level = 0
    while odd_size(size * 2 ** (-(level + 1) / 2)) >= SMALLEST:
        level += 1
    return level


def search(
    light: Tensor,
    start: Tensor,
    variant: Variant,
    first: int | None = None,
    last: int = 0,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """Return the kernels (N, K, K) of a photo, found from N starts.

    Args:
        light: (1, 1, H, W); gray linear light, larger than K.
        start: (N, K, K).
        variant: settings of the search, see `Variant`.
        first: level to begin with; by default that at which the kernel has about 11 pixels.
        last: level to end with; 0 is full size. The kernels have the size of that level.
        watch: function that is called after each level with its number, the kernels and the scenes.
        known: (1, 1, H, W); 0 where the photo is clipped, else 1. Pixels near clipped places are left out, unless that
            would leave less than 0.7 of the photo.
    """
    size = start.shape[-1]
    noise = max(estimate_noise(light).item(), LEAST_NOISE)
    kernels, weight = start, variant.weight
    first = levels_of(size) if first is None else first
    for level in range(first, last - 1, -1):
        scale = 2 ** (-level / 2)
        of_level = size if level == 0 else odd_size(size * scale)
        kernels = resized(kernels, of_level)
        whole = reduced(light, scale, 2 * of_level)
        window = best_window(whole, of_level)
        photo = whole[(..., *window)]
        periodic = extended(photo, 2 * of_level)
        scenes = SparseScene(periodic)
        ramp = inner_ramp((photo.shape[-2], photo.shape[-1]), of_level, periodic)
        if known is not None:
            ramp = ramp * _reachless(reduced(known, scale, 2 * of_level)[(..., *window)], of_level, ramp)
        photo_edges = torch.cat(differences(periodic), 1) * ramp
        for number in range(variant.rounds):
            found = scenes.find(kernels, weight)
            edges = telling_edges(found, ramp, of_level, None if variant.by_count else noise * scale, number)
            kernels = cleaned(fit_kernels(edges, photo_edges, kernels), FAINT, SMALL)
            weight = max(weight / WEIGHT_DECAY, LEAST_WEIGHT)
        kernels = centred(cleaned(kernels, FAINT, SMALL))
        if watch is not None:
            watch(level, kernels, found[..., : photo.shape[-2], : photo.shape[-1]])
    return kernels


def reduced(light: Tensor, scale: float, least: int = 1) -> Tensor:
    """Return a photo at a smaller size, without aliasing; no side becomes shorter than `least` pixels."""
    if scale == 1:
        return light
    size = [max(least, round(side * scale)) for side in light.shape[-2:]]
    return F.interpolate(light, size=size, mode='bilinear', antialias=True, align_corners=False)


def _reachless(known: Tensor, kernel_size: int, ramp: Tensor) -> Tensor:
    """Return 0 within a quarter kernel of clipped places and 1 elsewhere, (h, w) as `ramp`; 1 where little is left."""
    clipped = F.max_pool2d((known < 0.99).to(known), 2 * (kernel_size // 4) + 1, 1, kernel_size // 4)[0, 0]
    free = F.pad(1 - clipped, (0, ramp.shape[1] - clipped.shape[1], 0, ramp.shape[0] - clipped.shape[0]))
    return free if (free * ramp).sum() >= LEAST_KNOWN * ramp.sum() else torch.ones_like(ramp)


def best_window(light: Tensor, kernel_size: int) -> tuple[slice, slice]:
    """Return the part of a photo that is searched: the whole, or the window of a large one with the most texture.

    Texture is the sum of squared differences of means of 4 x 4 pixels, without places that may be clipped.

    Args:
        light: (1, 1, H, W).
        kernel_size: K; the window has at least 4 K pixels a side.
    """
    height, width = light.shape[-2:]
    if height * width <= WHOLE:
        return slice(0, height), slice(0, width)
    side = max(int(WINDOW**0.5), LEAST_SIDES * kernel_size)
    high, wide = min(side, height), min(side, width)
    cell = 4
    coarse = F.avg_pool2d(light, cell)
    texture = F.pad(coarse.diff(dim=-1).square(), (0, 1)) + F.pad(coarse.diff(dim=-2).square(), (0, 0, 0, 1))
    texture = texture * (coarse < 0.9)
    rows, columns = max(1, high // cell), max(1, wide // cell)
    rows, columns = min(rows, texture.shape[-2]), min(columns, texture.shape[-1])
    top, left = fullest_window(texture[0, 0], rows, columns)
    top, left = min(top * cell, height - high), min(left * cell, width - wide)
    return slice(top, top + high), slice(left, left + wide)
