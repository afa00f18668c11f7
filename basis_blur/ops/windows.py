"""Large photos in windows: where they lie, and how overlapping tiles fade into each other.

Near its sides a tile lacks what lies around it. So tiles overlap, and the quarter of an overlap next to the side of a
tile does not count in that tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

Window = tuple[slice, slice]  # rows and columns of a photo


def tile_starts(side: int, tile: int | None, overlap: int) -> list[tuple[int, int]]:
    """Cut a side into equal pieces of at most `tile` pixels that overlap by at least `overlap`: (start, stop)."""
    if tile is None or side <= tile:
        return [(0, side)]
    number = math.ceil((side - overlap) / (tile - overlap))
    return [(start, start + tile) for start in torch.linspace(0, side - tile, number).round().long().tolist()]


def tile_windows(size: Sequence[int], tile: int | None, overlap: int) -> list[Window]:
    """Cut a photo (H, W) into tiles as `tile_starts` cuts a side."""
    rows, columns = (tile_starts(side, tile, overlap) for side in size)
    return [(slice(*row), slice(*column)) for row, column in product(rows, columns)]


def fade(window: Window, size: Sequence[int], overlap: int) -> Tensor:
    """Return the weights of a tile, (h, w): 1 inside, falling to 0 in the middle half of each overlap."""
    down, right = (_fade_side(part, side, overlap) for part, side in zip(window, size, strict=True))
    return down[:, None] * right


def _fade_side(window: slice, side: int, overlap: int) -> Tensor:
    size, margin = window.stop - window.start, overlap // 4
    distance = torch.arange(size, dtype=torch.float64) + 1 - margin
    ramp, length = torch.ones(size, dtype=torch.float64), overlap - 2 * margin + 1
    if window.start > 0:
        ramp = torch.minimum(ramp, distance / length)
    if window.stop < side:
        ramp = torch.minimum(ramp, distance.flip(0) / length)
    return ramp.clamp_min(0)


class Feathered:
    """A photo that is put together from tiles.

    Args:
        like: (N, C, H, W); size, dtype and device of the photo.
        overlap: overlap of the tiles, pixels.
    """

    def __init__(self, like: Tensor, overlap: int):
        self.overlap = overlap
        self._total = torch.zeros_like(like)
        self._weights = like.new_zeros(1, 1, *like.shape[-2:])

    def add(self, window: Window, tile: Tensor) -> None:
        """Add a tile (N, C, h, w)."""
        weights = fade(window, self._total.shape[-2:], self.overlap).to(self._total)
        self._total[(..., *window)] += weights * tile.to(self._total)
        self._weights[(..., *window)] += weights

    def result(self) -> Tensor:
        """Return the photo; nothing can be added afterwards."""
        return self._total.div_(self._weights)


def spread_windows(size: Sequence[int], side: int, most: int) -> list[Window]:
    """Return at most `most` square windows, evenly spread over a photo (H, W), or one window if they would cover it."""
    if size[0] * size[1] <= most * side**2:
        return [(slice(0, size[0]), slice(0, size[1]))]
    side = min(side, *size)
    rows = max(1, min(math.isqrt(most * size[0] // size[1]), math.ceil(size[0] / side)))
    columns = max(1, min(most // rows, math.ceil(size[1] / side)))
    starts = [
        [(length - side) // 2] if number == 1 else torch.linspace(0, length - side, number).round().long().tolist()
        for length, number in zip(size, (rows, columns), strict=True)
    ]
    return [(slice(y, y + side), slice(x, x + side)) for y, x in product(*starts)]


def tiles_with_halo(size: Sequence[int], tile: int, halo: int) -> Iterator[tuple[Window, Window]]:
    """Cut a photo (H, W) into tiles side by side; yield each with the window that reaches `halo` pixels further."""
    cuts = [[(start, min(start + tile, side)) for start in range(0, side, tile)] for side in size]
    for row, column in product(*cuts):
        rows, columns = (
            slice(max(0, start - halo), min(side, stop + halo))
            for (start, stop), side in zip((row, column), size, strict=True)
        )
        yield (slice(*row), slice(*column)), (rows, columns)


def inside(core: Window, around: Window, scale: int = 1) -> Window:
    """Return where a tile lies in the window around it, in pixels of maps that are `scale` times smaller."""
    rows, columns = (
        slice((part.start - outer.start) // scale, (part.stop - outer.start) // scale)
        for part, outer in zip(core, around, strict=True)
    )
    return rows, columns


def fullest_window(amounts: Tensor, rows: int, columns: int) -> tuple[int, int]:
    """Return the top row and left column of the window of a map with the largest sum.

    Args:
        amounts: (H, W); the map, >= 0.
        rows, columns: size of the window, at least 1 and at most that of the map.
    """
    sums = F.pad(amounts, (1, 0, 1, 0)).double().cumsum(-1).cumsum(-2)
    held = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    top, left = divmod(int(held.flatten().argmax()), held.shape[-1])
    return top, left
