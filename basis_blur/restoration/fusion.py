"""One photo of several iterates of Richardson-Lucy, by a network, in tiles that see all that reaches them."""

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
    """Return what a network makes of a photo and of its iterates, in tiles that see all that reaches them.

    Args:
        net: runs in evaluation mode and is afterwards in its mode of before.
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
