"""The noise level of a photo, estimated from the photo itself.

The second difference in both directions,  [1 -2 1; -2 4 -2; 1 -2 1],  is 0 on smooth shading and on straight edges
(Immerkaer, "Fast noise variance estimation", CVIU, 1996), but grass and other texture looks like noise to it. So a
level is measured in each block, by the median, and the photo's is the one that a tenth of the blocks stay below.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from basis_blur.ops.photo import in_full_precision

KERNEL_NORM = 6.0  # standard deviation of the second difference of noise of 1
MEDIAN_OF_NORMAL = 0.6745  # median of the absolute value of a standard normal number
DARK, BRIGHT = 0.02, 0.98  # values, sRGB-like, beyond which noise may be clipped
BLOCK = 32  # side of a block, pixels
BLOCKS = 1024  # largest number of blocks of each colour, spread over the photo
QUIET = 0.1  # quantile of the blocks' levels that is taken for the photo's
QUIET_LEVEL = 0.95  # that quantile over the true level, where the noise is the same everywhere


@torch.no_grad()
def estimate_noise(photo: Tensor) -> Tensor:
    """Return the standard deviation of the noise of each photo of a batch, (N,).

    Pixels that are nearly black or white do not count, since noise is clipped there, nor do blocks of which half or
    more are such. A photo with no other blocks, or with a side of less than 3 pixels, counts as free of noise.

    Args:
        photo: (N, C, H, W); sRGB-like in [0, 1].
    """
    photo = in_full_precision(photo)
    if min(photo.shape[-2:]) < 3:
        return photo.new_zeros(len(photo))
    return torch.stack([_quiet_level(_differences(one)) for one in photo])


def _differences(photo: Tensor) -> Tensor:
    """Return the absolute second differences in blocks spread over a photo (C, H, W): (blocks, pixels).

    They are NaN where the pixel may be clipped. A photo smaller than a block is one block; of a larger one, what fills
    no block is left out.
    """
    height, width = photo.shape[-2] - 2, photo.shape[-1] - 2
    distance = max(BLOCK, math.isqrt(height * width // BLOCKS))
    for dim in (1, 2):  # a difference reaches one pixel further on either side
        photo = photo.unfold(dim, min(BLOCK, photo.shape[dim] - 2) + 2, distance)
    difference = photo.diff(n=2, dim=-2).diff(n=2, dim=-1).abs_()
    centre = photo[..., 1:-1, 1:-1]
    difference.masked_fill_((centre <= DARK) | (centre >= BRIGHT), math.nan)
    return difference.flatten(3).flatten(0, 2)


def _quiet_level(blocks: Tensor) -> Tensor:
    counts = blocks.isfinite().sum(1) > blocks.shape[1] / 2
    if not counts.any():
        return blocks.new_zeros(())
    level = blocks[counts].nanmedian(1).values.quantile(QUIET) / (KERNEL_NORM * MEDIAN_OF_NORMAL)
    return level / QUIET_LEVEL if len(blocks) > 1 / QUIET else level
