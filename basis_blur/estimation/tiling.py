"""Large photos in tiles: where the tiles lie, how they fade into each other, and how a network works on them.

A tile alone is not what it is as a part of the photo, for three reasons, and each has its remedy here:

    what lies around it is missing      tiles overlap; of the overlap the outer quarters do not count
    a network takes means of the photo  `shared_means`: they are taken once, from windows of all the photo
    BasisKPN has one kernel head        `blur_of_tiles`: the encoder's means of all tiles first, then the mixing of each

Memory that runs out on a device is met with tiles of half the size, see `with_smaller_tiles`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import TypeVar

import torch
from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import SIZE_MULTIPLE, BasisKPN, reflect_to_multiple
from basis_blur.archs.nafnet_arch import SpatialMean
from basis_blur.foundation.errors import InputError
from basis_blur.field.blur_field import pack

Result = TypeVar('Result')
Window = tuple[slice, slice]

LEAST_TILE = 128  # pixels; smaller tiles would be little but overlap
# BasisKPN. Its features at full size hold `num_feat` numbers a pixel, and about ten such maps are in memory at once.
WHOLE_FEATURES = 1 << 26  # numbers of such a map; photos with more are worked on in tiles
TILE_FEATURES = 1 << 25
HALO = 96  # pixels, a multiple of 32, beyond which nothing reaches a feature of the encoder, nor the mixing from 1/16
DEEP = 4  # the level of the encoder, at 1/16, from which on the photo is worked on as a whole
# Restoring networks.
WHOLE_NUMBERS = 1 << 30
SAMPLE_WINDOWS = 4  # a side; of the windows from which means are taken


def with_smaller_tiles(work: Callable[[int | None], Result], tile: int | None, first: int, purpose: str) -> Result:
    """Return `work(tile)`; where the memory of a device does not suffice, warn and do it in tiles half as large.

    Args:
        work: does it with tiles of some side, or as a whole for None.
        tile: to begin with.
        first: side of the first tiles to be tried in place of the whole.
        purpose: what is done, for messages.

    Raises:
        InputError: tiles of `LEAST_TILE` pixels need too much memory.
    """
    while True:
        try:
            return work(tile)
        except torch.OutOfMemoryError as error:
            reason = str(error).splitlines()[0] if str(error) else 'out of memory'
        # Here, and not above: the exception holds on to all that the failed work had in memory.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        smaller = first if tile is None else tile // 2
        if smaller < LEAST_TILE:
            raise InputError(
                f'the device has too little memory for {purpose}, even in tiles of {tile} pixels ({reason}); '
                'give a smaller photo, or --device cpu.'
            )
        before = 'the whole photo' if tile is None else f'tiles of {tile} pixels'
        warnings.warn(
            f'{purpose}: the device has too little memory for {before}; going on in tiles of {smaller} pixels.',
            stacklevel=2,
        )
        tile = smaller


def tile_starts(side: int, tile: int | None, overlap: int) -> list[tuple[int, int]]:
    """Cut a side into equal pieces of at most `tile` pixels that overlap by at least `overlap`: (start, stop)."""
    if tile is None or side <= tile:
        return [(0, side)]
    number = math.ceil((side - overlap) / (tile - overlap))
    return [(start, start + tile) for start in torch.linspace(0, side - tile, number).round().long().tolist()]


def tile_windows(size: tuple[int, int], tile: int | None, overlap: int) -> list[Window]:
    """Cut a photo (H, W) into tiles as `tile_starts` cuts a side."""
    rows, columns = (tile_starts(side, tile, overlap) for side in size)
    return [(slice(*row), slice(*column)) for row, column in product(rows, columns)]


def fade(window: Window, size: tuple[int, int], overlap: int) -> Tensor:
    """Return the weights of a tile, (h, w): 1 inside, falling towards neighbours in the middle half of the overlap."""
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
        overlap: of the tiles, pixels.
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


def spread_windows(size: tuple[int, int], side: int, most: int) -> list[Window]:
    """Return at most `most` square windows, evenly spread over a photo (H, W); all of it if it is so small."""
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


# ---------------------------------------------------------------------------------------------- means of the photo


def takes_means(net: nn.Module) -> bool:
    """Tell whether a network normalises or weighs its features by means over the whole photo."""
    return any(_takes_means(module) for module in net.modules())


@contextmanager
def shared_means(modules: list[nn.Module]) -> Iterator[None]:
    """Let every group normalisation and channel attention take its means once, from what it is first given.

    That is a batch of windows of the photo, which count together. For all that follows these means hold.
    """
    changed = [module for root in modules for module in root.modules() if _takes_means(module)]
    for module in changed:
        module.forward = (_GroupNormOnce if isinstance(module, nn.GroupNorm) else _MeanOnce)(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _takes_means(module: nn.Module) -> bool:
    return isinstance(module, nn.GroupNorm) or (isinstance(module, SpatialMean) and module.window is None)


class _GroupNormOnce:
    def __init__(self, module: nn.GroupNorm):
        self.module = module
        self.change: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.change is None:
            groups, each = self.module.num_groups, x.shape[1] // self.module.num_groups
            var, mean = torch.var_mean(x.unflatten(1, (groups, each)), (0, 2, 3, 4), correction=0)
            scale = self.module.weight * (var + self.module.eps).rsqrt().repeat_interleave(each)
            shift = self.module.bias - mean.repeat_interleave(each) * scale
            self.change = scale[:, None, None], shift[:, None, None]
        scale, shift = self.change
        return torch.addcmul(shift, x, scale)


class _MeanOnce:
    def __init__(self, module: nn.Module):
        self.mean: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.mean is None:
            self.mean = x.mean((0, 2, 3), keepdim=True)
        return self.mean


# -------------------------------------------------------------------------------------------------------- BasisKPN


def blur_tile(net: nn.Module, size: tuple[int, int]) -> int | None:
    """Return the side of the tiles in which a network estimates the blur of a photo (H, W); None for the whole."""
    if not isinstance(net, BasisKPN) or net.hyper_parameters['num_feat'] * size[0] * size[1] <= WHOLE_FEATURES:
        return None
    return first_blur_tile(net)


def first_blur_tile(net: BasisKPN) -> int:
    """Return the side of tiles, without what is around them, for a moderate use of memory."""
    side = math.isqrt(TILE_FEATURES // net.hyper_parameters['num_feat'])
    return max(2 * LEAST_TILE, (side - 2 * HALO) // SIZE_MULTIPLE * SIZE_MULTIPLE)


def blur_of_tiles(net: BasisKPN, light: Tensor, tile: int, mixing: Tensor) -> Tensor:
    """Find what `net.predict(light)` returns, (kernels, mixing), in the memory of a tile and of the result.

    The same to rounding, for a tile sees all around it that reaches it. With group normalisation it is the same up to
    the difference of the photo's statistics from those of windows spread over it.

    Args:
        net: in evaluation mode.
        light: (1, C, H, W).
        tile: side of the tiles, pixels; rounded down to a multiple of 32.
        mixing: (1, B, H, W); where the mixing is written; packed, if this is int16 (see `CompactField`).

    Returns:
        The kernels, (1, B, K, K).
    """
    photo = reflect_to_multiple(light - 0.5, SIZE_MULTIPLE)
    parts = _Parts(net, net._stem_for(light))
    tiles = list(tiles_with_halo(photo.shape[-2:], max(SIZE_MULTIPLE, tile // SIZE_MULTIPLE * SIZE_MULTIPLE), HALO))
    with shared_means([parts.stem, net.encoder, net.bottleneck, net.mixing_head]):
        if takes_means(net):
            side = math.isqrt(WHOLE_FEATURES // net.hyper_parameters['num_feat']) // SAMPLE_WINDOWS
            side = max(2 * SIZE_MULTIPLE, side // SIZE_MULTIPLE * SIZE_MULTIPLE)
            side = min(side, *photo.shape[-2:])
            windows = [_on_grid(window) for window in spread_windows(photo.shape[-2:], side, SAMPLE_WINDOWS**2)]
            parts.run(torch.cat([photo[(..., *window)] for window in windows]))

        sums: list[Tensor] = []
        deep, features = [], []
        for core, around in tiles:
            maps = parts.encode(photo[(..., *around)])
            maps = [each[(..., *inside(core, around, 2**level))] for level, each in enumerate(maps)]
            totals = [each.sum((-2, -1), keepdim=True, dtype=torch.float64) for each in maps]
            sums = [a + b for a, b in zip(sums, totals, strict=True)] if sums else totals
            deep.append(maps[DEEP].clone())
            features.append(maps[-1].clone())
            del maps
        pixels = photo.shape[-2] * photo.shape[-1]
        means = [(each * (4**level / pixels)).to(light) for level, each in enumerate(sums)]
        logits = net.kernel_head(means[-1], means[-2::-1])
        kernels = logits.flatten(2).softmax(2).view(logits.shape)

        cores = [core for core, _ in tiles]
        size = photo.shape[-2:]
        features, deep = _joined(features, cores, size, 2 ** (DEEP + 1)), _joined(deep, cores, size, 2**DEEP)
        below = net.mixing_head.ups[0](features, deep)
        del features, deep
        for core, around in tiles:
            place = tuple(slice(part.start // 2**DEEP, part.stop // 2**DEEP) for part in around)
            logits = parts.mix(photo[(..., *around)], below[(..., *place)])
            target = mixing[(..., *core)]
            found = logits[(..., *inside(core, around))][..., : target.shape[-2], : target.shape[-1]].softmax(1)
            target.copy_(pack(found) if target.dtype == torch.int16 else found)
    return kernels


class _Parts:
    """What `BasisKPN.predict` does, in pieces."""

    def __init__(self, net: BasisKPN, stem: nn.Module):
        self.net = net
        self.stem = stem

    def encode(self, photo: Tensor) -> list[Tensor]:
        """Return the skips, those at full size first, and the features."""
        skips = self.skips(photo, len(self.net.encoder))
        return [*skips, self.net.bottleneck(self.net.pool(skips[-1]))]

    def skips(self, photo: Tensor, levels: int) -> list[Tensor]:
        skips = []
        x = self.stem(photo)
        for level, block in enumerate(self.net.encoder[:levels]):
            skips.append(block(self.net.pool(x) if level else x))
            x = skips[-1]
        return skips

    def mix(self, photo: Tensor, below: Tensor) -> Tensor:
        """Return the logits of the mixing from what the first block of the mixing head made of the whole photo."""
        skips = self.skips(photo, DEEP)
        x = below
        for up in self.net.mixing_head.ups[1:]:
            x = up(x, skips.pop())
        return self.net.mixing_head.tail(x)

    def run(self, photo: Tensor) -> None:
        *skips, features = self.encode(photo)
        self.net.mixing_head(features, skips[::-1])


def tiles_with_halo(size: tuple[int, int], tile: int, halo: int) -> Iterator[tuple[Window, Window]]:
    """Cut a photo (H, W) into tiles side by side; each with the window that reaches `halo` pixels further."""
    cuts = [[(start, min(start + tile, side)) for start in range(0, side, tile)] for side in size]
    for core in product(*cuts):
        around = [
            slice(max(0, start - halo), min(side, stop + halo)) for (start, stop), side in zip(core, size, strict=True)
        ]
        yield tuple(slice(*part) for part in core), tuple(around)


def inside(core: Window, around: Window, scale: int = 1) -> Window:
    """Return where a tile lies in the window around it, in maps that are `scale` times smaller."""
    return tuple(
        slice((part.start - outer.start) // scale, (part.stop - outer.start) // scale)
        for part, outer in zip(core, around, strict=True)
    )


def _joined(maps: list[Tensor], cores: list[Window], size: tuple[int, int], scale: int) -> Tensor:
    whole = maps[0].new_empty(*maps[0].shape[:2], *(side // scale for side in size))
    for each, core in zip(maps, cores, strict=True):
        whole[(..., *(slice(part.start // scale, part.stop // scale) for part in core))] = each
    return whole


def _on_grid(window: Window) -> Window:
    shifts = [part.start % SIZE_MULTIPLE for part in window]
    return tuple(slice(part.start - shift, part.stop - shift) for part, shift in zip(window, shifts, strict=True))


# ------------------------------------------------------------------------------------------------ restoring networks


def restoring_tile(net: nn.Module, size: tuple[int, int]) -> int | None:
    """Return the side of the tiles in which a network restores a photo (H, W); None for the whole.

    Of a network without `hyper_parameters` nothing is known, and it is given the whole.
    """
    numbers = _numbers_of_pixel(net)
    return None if numbers * size[0] * size[1] <= WHOLE_NUMBERS else first_restoring_tile(net)


def first_restoring_tile(net: nn.Module) -> int:
    """Return the side of tiles for a moderate use of memory."""
    side = math.isqrt(3 * WHOLE_NUMBERS // 4 // max(1, _numbers_of_pixel(net)))
    return min(1024, max(2 * LEAST_TILE, side // SIZE_MULTIPLE * SIZE_MULTIPLE))


def _numbers_of_pixel(net: nn.Module) -> int:
    """About how many numbers a network holds at once for each pixel of a photo; 0 where it does not tell."""
    facts = getattr(net, 'hyper_parameters', {})
    kernel_size = facts.get('kernel_size') if facts.get('kernel_attention', True) else None
    return 8 * (kernel_size or 0) ** 2 + 16 * facts.get('width', 0)
