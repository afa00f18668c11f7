"""What one kernel leaves unexplained of a photo: the residual of the photo restored with it and blurred again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from basis_blur.estimation.estimate import CHOOSING, Progress
from basis_blur.estimation.shake.search import uniform_field
from basis_blur.estimation.trust import reblur_residual
from basis_blur.ops.windows import Window
from basis_blur.restoration.deblur import deblur_iterates
from basis_blur.restoration.settings import Removal


@torch.no_grad()
def unexplained(
    photo: Tensor,
    kernel: Tensor,
    gamma: float,
    removal: Removal,
    windows: Sequence[Window],
    progress: Progress | None = None,
) -> float:
    """Return the root mean square, over windows of a photo, of what `reblur_residual` finds in each, sRGB-like.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        kernel: (K, K); of all places.
        gamma: exponent of the photo.
        removal: settings by which each window is restored; its strength and fusion are not used.
        windows: rows and columns of each window.
        progress: called after each window.
    """
    squares = []
    for number, (rows, columns) in enumerate(windows, 1):
        part = photo[..., rows, columns]
        blur = uniform_field(kernel, part)
        restored = deblur_iterates(part, blur, (removal.iterations,), gamma, least_tv_weight=removal.least_tv_weight)
        squares.append(reblur_residual(part, restored, blur, gamma) ** 2)
        if progress is not None:
            progress(CHOOSING, number, len(windows))
    return (sum(squares) / len(squares)) ** 0.5
