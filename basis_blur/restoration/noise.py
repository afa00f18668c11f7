"""The noise level of a photo, estimated from the photo itself.

The second difference in both directions,  [1 -2 1; -2 4 -2; 1 -2 1],  is 0 on smooth shading and on straight edges
(Immerkaer, "Fast noise variance estimation", CVIU, 1996), but grass and other texture looks like noise to it. So a
level is measured in each block, by the median, and the photo's is the one that a tenth of the blocks stay below.

JPEG leaves no fine noise, but errors that are as large. It codes squares of 8 x 8 pixels one by one, and the errors of
two squares are independent. So the step from one square to the next is larger than the steps within them, and its
square is larger by twice the variance of the errors.
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

SQUARE = 8  # side of the squares that JPEG codes, pixels
LEAST_JPEG = 96  # smallest side of a photo in which these squares are looked for
MOST_JPEG = 1024  # largest side of the window in its middle in which they are
MOST_STEP = 4.0  # upper bound of a step, as a multiple of their mean; beyond it are edges of the scene
# Ratio of the steps between squares to the usual ones, from which on a photo was a JPEG; others have 1 to 1.07.
GRID_SHOWS = 1.12
MOST_CHANCE = 5.0  # standard errors by which these steps have to be the larger, lest a pattern is taken for squares
TINY = 1e-9  # lower bound of divisors


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


@torch.no_grad()
def estimate_jpeg_error(photo: Tensor) -> Tensor:
    """Return the standard deviation of the errors that JPEG made in each photo of a batch, (N,); 0 where none shows.

    The grid may begin anywhere, as in a photo that was cropped; it does not show in one that was made smaller later.
    For blurred photos of quality 60 to 95 the result was mostly 0.8 to 1.6 times the truth, and down to 0.3 in
    saturated ones.

    Args:
        photo: (N, C, H, W); sRGB-like in [0, 1].
    """
    photo = in_full_precision(photo)
    if min(photo.shape[-2:]) < LEAST_JPEG:
        return photo.new_zeros(len(photo))
    top, left = (max(0, (side - MOST_JPEG) // 2) for side in photo.shape[-2:])
    middle = photo[..., top : top + MOST_JPEG, left : left + MOST_JPEG]
    return torch.stack([_size_of_steps(one) for one in middle])


def _size_of_steps(photo: Tensor) -> Tensor:
    """Return the standard deviation of what makes steps on a grid of `SQUARE` pixels; (C, H, W)."""
    variance, shows = photo.new_zeros(()), False
    for turned in (photo, photo.mT):
        step = turned.diff(dim=-1)
        step = (step[..., 1:-1] - (step[..., :-2] + step[..., 2:]) / 2).abs_()
        step = step.clamp_(max=MOST_STEP * step.mean().item())
        lines = step.mean((0, 1))
        periods = lines[: len(lines) // SQUARE * SQUARE].view(-1, SQUARE)
        means = periods.mean(0)
        usual, phase = means.median(), means.argmax()
        # A scene has large steps at some lines, and JPEG at all that are 8 pixels apart.
        excess = periods[:, phase] / periods.mean(1).clamp_min(TINY) - 1
        sure = excess.mean() > MOST_CHANCE * excess.std() / len(excess) ** 0.5
        shows = shows or bool(sure and means[phase] > GRID_SHOWS * usual)
        variance = variance + (means[phase] ** 2 - usual**2) / 2
    # A mean absolute value of a normal number is sqrt(2 / pi) of its standard deviation; a step less the mean of its
    # neighbours has 2.5 times the variance of one pixel.
    return (variance * math.pi / 2 / 2.5).sqrt() if shows else torch.zeros_like(variance)
