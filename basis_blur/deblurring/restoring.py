"""Restore photos by a network, such as UFPNet, tile by tile where they are large."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import SIZE_MULTIPLE
from basis_blur.archs.modes import evaluation_mode
from basis_blur.archs.network_facts import hyper_parameters_of
from basis_blur.archs.shared_means import shared_means, takes_means
from basis_blur.foundation.errors import kind_of
from basis_blur.foundation.numbers import check_number
from basis_blur.ops.memory import LEAST_TILE, with_smaller_tiles
from basis_blur.ops.photo import check_photo
from basis_blur.ops.windows import Feathered, Window, spread_windows, tile_windows

KEPT_KERNELS = 256  # number of kernels along the longer side of a large photo that are kept, or up to twice as many
OVERLAP, LARGE_OVERLAP = 32, 128  # overlap of small and of large tiles, pixels
# Numbers that a network may hold at once, at 4 bytes each; a photo that needs more is restored in tiles.
WHOLE_NUMBERS = 1 << 30


@torch.no_grad()
def restore(
    net: nn.Module,
    photo: Tensor,
    tile: int | None = None,
    overlap: int | None = None,
    callback: Callable[[int, int], None] | None = None,
    watch: Callable[[Window, Any], None] | None = None,
) -> Tensor:
    """Restore a photo with a network that maps photos to photos, such as UFPNet.

    A photo larger than `tile` is restored in tiles, each with its own estimate of kernels, which fade into each other
    where they overlap; memory then depends on the tile alone. If the network takes means over a photo, all tiles use
    the means of the same windows of the photo. The network runs in evaluation mode; afterwards it is in the mode it
    was in before.

    Args:
        net: network that takes (N, 3, h, w), sRGB-like in [0, 1], and returns such a photo, a result with `.image`, or
            a list of photos whose first is the restored one.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1]; gray is repeated, and the colours of the result averaged.
        tile: largest side of a tile, pixels; by default the photo is restored as a whole where that takes a few GB, by
            an estimate from the network's hyper-parameters, and in tiles of a moderate size otherwise.
        overlap: overlap of neighbouring tiles, pixels; by default a quarter of their side, within 32 to 128.
        callback: function that is called after each tile with its number, from 1, and the number of tiles.
        watch: function that is called after each tile with its place, (rows, columns) as slices, and what the network
            returned. If memory does not suffice, the work begins again with smaller tiles, and so do these calls.

    Returns:
        The restored photo in [0, 1], in the shape of `photo`.

    Raises:
        ValueError: the photo is not as described, `net` restores no photos, or `tile` is not larger than `overlap`.
        InputError: memory does not suffice for small tiles.

    Example:
        >>> net = bb.load_network('ufpnet')
        >>> bb.restore(net, torch.rand(1, 3, 48, 64)).shape
        torch.Size([1, 3, 48, 64])
    """
    if not isinstance(net, nn.Module):
        remedy = f' by load_network("{net}")' if isinstance(net, str) else ''
        raise ValueError(f'net is {kind_of(net)}, expected a network that restores photos; load one{remedy}.')
    check_photo(photo)
    if tile is not None:
        check_number('tile', tile, least=1, whole=True, remedy='it is a side in pixels.')
    if tile is not None and not 0 <= _overlap_of(tile, overlap) < tile:
        overlap = _overlap_of(tile, overlap)
        raise ValueError(f'tiles of {tile} pixels overlap by {overlap}, expected less than their size, and >= 0.')
    first = next(net.parameters(), photo)
    colour = photo.to(first).expand(-1, 3, -1, -1)
    size = photo.shape[-2:]

    def work(side: int | None) -> Tensor:
        whole = Feathered(colour, 0 if side is None else _overlap_of(side, overlap))
        windows = tile_windows(size, side, whole.overlap)
        with shared_means([net] if len(windows) > 1 else []):
            if len(windows) > 1 and takes_means(net):
                samples = spread_windows(size, (side or max(size)) // 2, 4)
                net(torch.cat([colour[(..., *window)] for window in samples]))
            for number, window in enumerate(windows, 1):
                result = net(colour[(..., *window)])
                whole.add(window, _restored_photo(net, result, colour[(..., *window)].shape))
                if watch is not None:
                    watch(window, result)
                if callback is not None:
                    callback(number, len(windows))
        return whole.result().clamp_(0, 1)

    with evaluation_mode(net):
        tile = tile or restoring_tile(net, size)
        result = with_smaller_tiles(work, tile, first_restoring_tile(net), 'restoring')
    return (result if photo.shape[1] == 3 else result.mean(1, keepdim=True)).to(photo)


def _overlap_of(tile: int, overlap: int | None) -> int:
    return max(OVERLAP, min(LARGE_OVERLAP, tile // 4)) if overlap is None else overlap


def _restored_photo(net: nn.Module, result: Any, photo_shape: tuple[int, ...]) -> Tensor:
    image = getattr(result, 'image', result)
    if isinstance(image, (list, tuple)) and image and not hasattr(image, '_fields'):
        image = image[0]
    if not isinstance(image, Tensor) or image.shape != (*photo_shape[:1], 3, *photo_shape[-2:]):
        found = f'a tensor {tuple(image.shape)}' if isinstance(image, Tensor) else kind_of(image)
        raise ValueError(
            f'net is {kind_of(net)}, which returns {found} and not a photo; give a restoring network, such as '
            'load_network("ufpnet").'
        )
    return image


class SampledKernels:
    """The kernels of some pixels of a photo, on a grid, and the uncertainty of every pixel.

    A restoring network has a kernel for each pixel; those of a large photo would fill the memory.

    Args:
        size: (H, W) of the photo.
    """

    device = torch.device('cpu')

    def __init__(self, size: Sequence[int]):
        self.image_size = size[0], size[1]
        self.step = max(1, max(size) // KEPT_KERNELS)
        self.kernels: Any = None  # (1, K*K, h, w), of every `step`-th row and column
        self.sigma: Any = None  # (1, 1, H, W)

    def __len__(self) -> int:
        return 1

    def look(self, window: tuple[slice, slice], result: Any) -> None:
        """Keep what is needed of a tile; `restore` calls it with the place of the tile and the network's result."""
        if result.pixel_kernels is None:
            return
        if self.kernels is None:
            shape = [len(range(0, side, self.step)) for side in self.image_size]
            self.kernels = result.pixel_kernels.new_zeros(1, result.pixel_kernels.shape[1], *shape, device='cpu')
            self.sigma = result.sigma.new_zeros(1, 1, *self.image_size, device='cpu')
        first = [-part.start % self.step for part in window]
        kept = result.pixel_kernels[..., first[0] :: self.step, first[1] :: self.step]
        row, column = ((part.start + shift) // self.step for part, shift in zip(window, first, strict=True))
        self.kernels[..., row : row + kept.shape[-2], column : column + kept.shape[-1]] = kept.cpu()
        self.sigma[(..., *window)] = result.sigma.cpu()

    def kernels_at(self, points: Tensor) -> Tensor:
        """Return the kept kernels next to some pixels, (1, M, K, K).

        Args:
            points: (M, 2); rows and columns of the pixels.
        """
        rows, columns = (points // self.step).unbind(1)
        kernels = self.kernels[:, :, rows, columns].mT
        size = math.isqrt(kernels.shape[-1])
        return kernels.unflatten(-1, (size, size))


def restoring_tile(net: nn.Module, size: Sequence[int]) -> int | None:
    """Return the side of the tiles in which a network restores a photo of `size` (H, W); None for the whole photo.

    A network without `hyper_parameters` does not tell how much memory it needs, and gets the whole photo.
    """
    numbers = _numbers_of_pixel(net)
    return None if numbers * size[0] * size[1] <= WHOLE_NUMBERS else first_restoring_tile(net)


def first_restoring_tile(net: nn.Module) -> int:
    """Return the side of the tiles that are tried first, pixels: a moderate use of memory."""
    side = math.isqrt(3 * WHOLE_NUMBERS // 4 // max(1, _numbers_of_pixel(net)))
    return min(1024, max(2 * LEAST_TILE, side // SIZE_MULTIPLE * SIZE_MULTIPLE))


def _numbers_of_pixel(net: nn.Module) -> int:
    """Return about how many numbers a network holds at once for each pixel of a photo; 0 if it does not tell."""
    told = hyper_parameters_of(net)
    kernel_size = told.get('kernel_size') if told.get('kernel_attention', True) else None
    return 8 * (kernel_size or 0) ** 2 + 16 * told.get('width', 0)
