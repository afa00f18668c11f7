"""One kernel for all of a photo: convolution by FFT in tiles, on a CPU.

    out[i] = sum_s k[s] u[i + reach - s],         u = 0 outside,         s in [0, K-1] x [0, K-1]

If `u` is a scene, `out` its image and the reach K - 1, this is H of one kernel; if `u` is an image, `out` a scene, the
reach 0 and the kernels are flipped, it is H^T. Each tile of the result is computed from the part of `u` that reaches it
(overlap-save), so that each place is written once. A tile is one colour of a part of the photo, and so small that all
its steps stay in the cache.
"""

from __future__ import annotations

import functools
import math
from itertools import product

import torch
from torch import Tensor

from basis_blur.ops.threads import share

# Terms of the largest side of a transform, LARGEST + LARGEST_IN_BORDERS (K - 1) pixels; a tile is K - 1 smaller.
LARGEST, LARGEST_IN_BORDERS = 384, 4
MULTIPLE = 8  # pixels that divide the side of a transform; transforms of odd sides take three times as long
SPARSE = 32  # distance of the pixels that are looked at first to see whether any is not zero


def convolve(u: Tensor, kernels: Tensor, reach: int, out: Tensor) -> Tensor:
    """Write the convolution of each photo with its kernel to `out`, and return it.

    Args:
        u: (N, C, h, w).
        kernels: (N, K, K), of the dtype of `u`.
        reach: place of u[0, 0] in the result, pixels; see the formula.
        out: (N, C, H, W), of the dtype of `u`.
    """
    border = kernels.shape[-1] - 1
    cuts, size = zip(*(_cut(length, border) for length in out.shape[-2:]), strict=True)
    spectra = torch.fft.rfft2(kernels, s=size)

    def work(tile: tuple[int, int, slice, slice]) -> None:
        photo, channel, *core = tile
        place = out[photo, channel, core[0], core[1]]
        # The part of `u` that the tile sees, and where in the convolution of that part the tile begins.
        seen = [slice(max(0, part.start + reach - border), part.stop + reach) for part in core]
        begins = [part.start + reach - around.start for part, around in zip(core, seen, strict=True)]
        light = u[photo, channel, seen[0], seen[1]]
        if not any_not_zero(light):
            place.zero_()
            return
        spectrum = torch.fft.rfft2(light, s=size).mul_(spectra[photo])
        rows, columns = (slice(begin, begin + side) for begin, side in zip(begins, place.shape, strict=True))
        place.copy_(torch.fft.irfft(torch.fft.ifft(spectrum, dim=0)[rows], n=size[1])[:, columns])

    share(work, list(product(range(len(out)), range(out.shape[1]), *cuts)))
    return out


@functools.lru_cache(maxsize=64)
def _cut(length: int, border: int) -> tuple[list[slice], int]:
    """Return the cores of tiles along one side, and the side of their transforms.

    Of all sides of transforms, it is the one with the smallest sum over the tiles.
    """
    most = LARGEST + LARGEST_IN_BORDERS * border
    sizes = [size for size in range(MULTIPLE, most + 1, MULTIPLE) if size > border and size == fast_fft_size(size)]
    parts, size = min(
        ((math.ceil(length / (size - border)), size) for size in sizes), key=lambda found: (found[0] * found[1], found)
    )
    side = math.ceil(length / parts)
    return [slice(at, min(at + side, length)) for at in range(0, length, side)], size


def any_not_zero(values: Tensor) -> bool:
    """Return whether any of the values (..., H, W) is not zero; most often a few pixels show it."""
    return bool(values[..., ::SPARSE, ::SPARSE].any() or values.any())


def equal_part(length: int, target: int) -> int:
    """Return the size of a part of `length` that is cut into equal parts of about `target`."""
    return math.ceil(length / max(1, round(length / target)))


def fast_fft_size(size: int, multiple: int = 1) -> int:
    """Return the smallest multiple >= `size` without prime factors above 5, for which FFTs are fast.

    Args:
        size: least size, pixels.
        multiple: number that divides the result, without prime factors above 5. Of plain sizes, the odd ones take twice
            the time of their even neighbours, and those that 4 divides take least.
    """
    size = math.ceil(size / multiple) * multiple
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += multiple
