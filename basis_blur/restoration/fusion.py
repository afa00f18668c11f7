"""Make one photo of several iterates of Richardson-Lucy by a network, tile by tile."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from basis_blur.archs.iterate_fusion_arch import SIZE_MULTIPLE, IterateFusion
from basis_blur.archs.modes import evaluation_mode
from basis_blur.ops.memory import with_smaller_tiles
from basis_blur.ops.windows import inside, tiles_with_halo

FUSION_TILE = 1536  # side of the tiles of an IterateFusion, pixels


@torch.no_grad()
def fuse(
    net: IterateFusion,
    photo: Tensor,
    iterates: Tensor,
    tile: int = FUSION_TILE,
    callback: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the photo that a network makes of a blurred photo and its iterates.

    The network sees each tile with as much around it as influences it, so tiles make no difference beyond rounding.

    Args:
        net: network, which runs in evaluation mode; afterwards it is in the mode it was in before.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1].
        iterates: (N, the same times the number of `net.iterations`, H, W); see `deblur_iterates`.
        tile: largest side of a tile, pixels, rounded down to a multiple of 8.
        callback: function that is called after each tile with its number, from 1, and the number of tiles.

    Raises:
        InputError: memory does not suffice for small tiles.
    """

    def work(side: int | None) -> Tensor:
        result = torch.empty_like(photo)
        whole = max(SIZE_MULTIPLE, (side or tile) // SIZE_MULTIPLE * SIZE_MULTIPLE)
        tiles = list(tiles_with_halo(photo.shape[-2:], whole, net.reach))
        for number, (core, around) in enumerate(tiles, 1):
            found = net.fused(photo[(..., *around)], iterates[(..., *around)])
            result[(..., *core)] = found[(..., *inside(core, around))]
            if callback is not None:
                callback(number, len(tiles))
        return result

    with evaluation_mode(net):
        return with_smaller_tiles(work, tile, tile, 'fusing the iterates')
