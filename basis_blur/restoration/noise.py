"""The noise level of a photo, estimated from the photo itself.

The second difference in both directions,  [1 -2 1; -2 4 -2; 1 -2 1],  does not see smooth shading or straight edges,
and a blurred photo has little else (Immerkaer, "Fast noise variance estimation", CVIU, 1996). Of what is left the
median tells the noise; texture, which is rarer than noise, hardly moves it.
"""

from __future__ import annotations

import torch
from torch import Tensor

KERNEL_NORM = 6.0  # the standard deviation that unit noise has after it
MEDIAN_OF_NORMAL = 0.6745  # of the absolute value
DARK, BRIGHT = 0.02, 0.98  # noise is cut off beyond these


@torch.no_grad()
def estimate_noise(photo: Tensor) -> Tensor:
    """Return the standard deviation of the noise of each photo of a batch, (N,).

    Pixels that are nearly black or white do not count, for noise is clipped there. A photo without any others, or
    too small to tell, counts as free of noise.

    Args:
        photo: (N, C, H, W); sRGB-like in [0, 1].
    """
    if min(photo.shape[-2:]) < 3:
        return photo.new_zeros(len(photo))
    difference = photo.diff(n=2, dim=-2).diff(n=2, dim=-1).flatten(2)
    centre = photo[..., 1:-1, 1:-1].flatten(2)
    counts = (centre > DARK) & (centre < BRIGHT)
    levels = []
    for values, kept in zip(difference, counts, strict=True):
        values = values[kept].abs()
        levels.append(values.median() / (KERNEL_NORM * MEDIAN_OF_NORMAL) if len(values) else values.new_zeros(()))
    return torch.stack(levels)
