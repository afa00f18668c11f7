"""Forward differences and their transpose, for total variation.

    (D u)[0] = u[y+1, x] - u[y, x],     (D u)[1] = u[y, x+1] - u[y, x],     0 past the last row or column.

The transpose is minus the divergence that belongs to this border rule.
"""

from __future__ import annotations

import torch
from torch import Tensor

from basis_blur.ops.linear_operator import LinearOperator


class Gradient(LinearOperator):
    """Differences along rows and columns: (N, C, H, W) to (N, 2C, H, W), vertical ones first.

    Args:
        shape: (N, C, H, W) of the images.
    """

    def __init__(self, shape: tuple[int, int, int, int]):
        number, channels, height, width = shape
        super().__init__((number, channels, height, width), (number, 2 * channels, height, width))

    def _apply(self, x: Tensor) -> Tensor:
        return torch.cat([forward_difference(x, -2), forward_difference(x, -1)], 1)

    def _apply_transpose(self, y: Tensor) -> Tensor:
        vertical, horizontal = y.chunk(2, 1)
        return forward_difference_transpose(vertical, -2) + forward_difference_transpose(horizontal, -1)


def forward_difference(x: Tensor, dim: int) -> Tensor:
    """Return x[i + 1] - x[i] along `dim`, 0 at the last index; same shape."""
    return torch.cat([x.diff(dim=dim), torch.zeros_like(x.narrow(dim, 0, 1))], dim)


def forward_difference_transpose(y: Tensor, dim: int) -> Tensor:
    """Return the transpose of `forward_difference`: y[i - 1] - y[i], where the last y does not count."""
    inner = y.shape[dim] - 1
    if inner == 0:
        return torch.zeros_like(y)
    first, counted, last = y.narrow(dim, 0, 1), y.narrow(dim, 0, inner), y.narrow(dim, inner - 1, 1)
    return torch.cat([first.neg(), counted.diff(dim=dim).neg_(), last], dim)
