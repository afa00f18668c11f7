"""A BasisKPN on a large photo, in tiles.

Its kernel head takes means over the whole photo. So the encoder runs over all tiles first, which gives the means and
with them the kernels; then the mixing of each tile is found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import SIZE_MULTIPLE, BasisKPN, reflect_to_multiple
from basis_blur.archs.network_facts import facts_of
from basis_blur.archs.shared_means import shared_means, takes_means
from basis_blur.field.blur_field import pack
from basis_blur.ops.memory import LEAST_TILE
from basis_blur.ops.windows import Window, inside, spread_windows, tiles_with_halo

# Numbers in the features at full size, `num_feat` a pixel, with which a photo is still worked on as a whole; about ten
# such maps are in memory at once.
WHOLE_FEATURES = 1 << 26
TILE_FEATURES = 1 << 25  # numbers in the features of a tile with its surroundings
# Width of the surroundings of a tile, pixels, a multiple of 32. What lies beyond reaches neither a feature of the
# encoder nor, but for what 1/16 of the size carries, the mixing.
HALO = 96
DEEP = 4  # level of the encoder, at 1/16 of the size, from which on the mixing head works on the photo as a whole
SAMPLE_WINDOWS = 4  # rows and columns of windows whose means a group normalisation uses


def blur_tile(net: Any, size: Sequence[int]) -> int | None:
    """Return the side of the tiles in which a network estimates the blur of a photo (H, W); None for the whole."""
    if not facts_of(net).in_tiles or net.hyper_parameters['num_feat'] * size[0] * size[1] <= WHOLE_FEATURES:
        return None
    return first_blur_tile(net)


def first_blur_tile(net: Any) -> int:
    """Return the side of tiles, without what is around them, for a moderate use of memory."""
    side = math.isqrt(TILE_FEATURES // net.hyper_parameters['num_feat'])
    return max(2 * LEAST_TILE, (side - 2 * HALO) // SIZE_MULTIPLE * SIZE_MULTIPLE)


def blur_of_tiles(net: Any, light: Tensor, tile: int, mixing: Tensor) -> Tensor:
    """Find what `net.predict(light)` returns, (kernels, mixing), in the memory of a tile and of the result.

    The result is the same up to rounding, since a tile is seen with all around it that influences it. With group
    normalisation it differs as the statistics of windows spread over the photo differ from those of the photo.

    Args:
        net: network in evaluation mode.
        light: (1, C, H, W).
        tile: side of the tiles, pixels; rounded down to a multiple of 32.
        mixing: (1, B, H, W); tensor that the mixing is written to; packed if it is int16 (see `CompactField`).

    Returns:
        The kernels, (1, B, K, K).
    """
    photo = reflect_to_multiple(light - 0.5, SIZE_MULTIPLE)
    parts = _Parts(net, net.stem_for(light))
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
        whole = _joined(features, cores, size, 2 ** (DEEP + 1)), _joined(deep, cores, size, 2**DEEP)
        del features, deep
        below = net.mixing_head.ups[0](*whole)
        del whole
        for core, around in tiles:
            place = tuple(slice(part.start // 2**DEEP, part.stop // 2**DEEP) for part in around)
            logits = parts.mix(photo[(..., *around)], below[(..., *place)])
            target = mixing[(..., *core)]
            found = logits[(..., *inside(core, around))][..., : target.shape[-2], : target.shape[-1]].softmax(1)
            target.copy_(pack(found) if target.dtype == torch.int16 else found)
    return kernels


class _Parts:
    """The parts of `BasisKPN.predict`, to be run one by one."""

    def __init__(self, net: BasisKPN, stem: nn.Module):
        self.net = net
        self.stem = stem

    def encode(self, photo: Tensor) -> list[Tensor]:
        """Return the skips, those at full size first, and after them the features."""
        skips = self.skips(photo, len(self.net.encoder))
        return [*skips, self.net.bottleneck(self.net.pool(skips[-1]))]

    def skips(self, photo: Tensor, levels: int) -> list[Tensor]:
        """Return the skips of the first levels, those at full size first."""
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
        """Run all parts that normalise, so that `shared_means` sees the means of these photos."""
        *skips, features = self.encode(photo)
        self.net.mixing_head(features, skips[::-1])


def _joined(maps: list[Tensor], cores: list[Window], size: Sequence[int], scale: int) -> Tensor:
    whole = maps[0].new_empty(*maps[0].shape[:2], *(side // scale for side in size))
    for each, core in zip(maps, cores, strict=True):
        rows, columns = (slice(part.start // scale, part.stop // scale) for part in core)
        whole[..., rows, columns] = each
    return whole


def _on_grid(window: Window) -> Window:
    shifts = [part.start % SIZE_MULTIPLE for part in window]
    rows, columns = (slice(part.start - shift, part.stop - shift) for part, shift in zip(window, shifts, strict=True))
    return rows, columns
