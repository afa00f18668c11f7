"""Colours under alpha 0, which nobody sees and which must not leak into those that are seen.

A cut-out holds black, white or any colour around its figure. Blur is estimated and removed from neighbourhoods, so
those colours would leak into the figure. Instead, what is seen is continued:

    p_0 = pixels, w_0 = 1 where alpha > 0, else 0;   p_{l+1}, w_{l+1} = 2 x 2 means of w_l p_l, and their weights
    from the coarsest level on, what has no weight at level l is taken from level l+1      (pull and push)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def with_visible_continued(pixels: Tensor, alpha: Tensor | None) -> Tensor:
    """Return a photo with the colours under alpha 0 replaced by smooth continuations of those around them.

    Args:
        pixels: (N, C, H, W).
        alpha: (1 or N, 1, H, W) in [0, 1], or None. Nothing changes where it is None, all 0 or all above 0.
    """
    if alpha is None:
        return pixels
    seen = (alpha > 0).to(pixels).expand(len(pixels), -1, -1, -1)
    if seen.all() or not seen.any():
        return pixels
    return torch.where(seen > 0, pixels, _continued(pixels * seen, seen))


def with_hidden_as_before(pixels: Tensor, before: Tensor, alpha: Tensor | None) -> Tensor:
    """Return a restored photo with the colours under alpha 0 as they were, since nobody asked to change them.

    Args:
        pixels: (N, C, H, W), restored.
        before: (N, C, H, W), the blurred photo.
        alpha: (1 or N, 1, H, W), or None for no change.
    """
    return pixels if alpha is None else torch.where(alpha.to(pixels) > 0, pixels, before.to(pixels))


def _continued(sums: Tensor, weights: Tensor) -> Tensor:
    """Return colours for every pixel, from sums (N, C, H, W) of seen colours and their weights (N, 1, H, W)."""
    means = sums / weights.clamp_min(torch.finfo(sums.dtype).tiny)
    if (weights > 0).all() or sums.shape[-2:] == (1, 1):
        return means
    below = [F.avg_pool2d(each, 2, ceil_mode=True, count_include_pad=False) for each in (sums, weights)]
    coarse = F.interpolate(_continued(*below), sums.shape[-2:], mode='bilinear', align_corners=False)
    return torch.where(weights > 0, means, coarse)
