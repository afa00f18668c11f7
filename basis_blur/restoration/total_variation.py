"""Total variation, the prior that keeps edges and flattens noise.

    TV(u) = sum |grad u|,     its gradient is  D' (w D u),   w = 1 / sqrt(|D u|^2 + edge^2)        [C21, Eq. 14]

where D u are the forward differences of u, down and right. |D u| is taken over all colours together, so that an edge
lies at the same place in all of them. `edge` makes TV smooth: differences well below it cost by their square, as noise.

With w held fixed, 1/2 <u, D' w D u> plus a constant lies above TV and touches it at u; its curvature bounds that of TV
and is used for the length of a step.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from basis_blur.foundation.numbers import check_number
from basis_blur.ops.rows import by_rows

EDGE = 0.01  # difference of linear light below which TV is about quadratic
LARGEST_CURVATURE = 8.0  # largest eigenvalue of D'D
ALL = slice(None)  # all rows


class Slope(NamedTuple):
    """The slope of TV in some rows of photos.

    Args:
        gradient: D' (w D u), (N, C, rows, W).
        weights: w, (N, 1, rows, W); 1 / edge in flat places, small on edges.
    """

    gradient: Tensor
    weights: Tensor


def tv_slope(light: Tensor, edge: float = EDGE, factor: float = 1.0, rows: slice = ALL) -> Slope:
    """Return the gradient of TV and the weights in it, in some rows of photos.

    Args:
        light: (N, C, H, W); linear light.
        edge: difference below which TV is about quadratic, > 0, linear light.
        factor: number by which weights and gradient are multiplied.
        rows: rows that are wanted; by default all.

    Raises:
        ValueError: `edge` is not positive.
    """
    check_number('edge', edge, above=0, remedy=f'the default is {EDGE:g}.')
    around = _with_neighbours(light, rows)
    down, right = around.diff(dim=-2), around[..., :-1, :].diff(dim=-1)  # the row above contributes to the gradient
    squares = torch.full_like(down[:, :1], edge**2)
    _add_squares(squares, down)
    _add_squares(squares[..., :-1], right)
    weights = squares.rsqrt_().mul_(factor)
    down.mul_(weights)
    weights = weights[..., 1:, :]
    right = right[..., 1:, :].mul_(weights[..., :-1])
    gradient = down[..., :-1, :] - down[..., 1:, :]
    gradient[..., :-1].sub_(right)
    gradient[..., 1:].add_(right)
    return Slope(gradient, weights)


def tv_curvature(direction: Tensor, weights: Tensor) -> Tensor:
    """Return <d, D' w D d> of each photo of the batch, (N,).

    Args:
        direction: d, (N, C, H, W); linear light.
        weights: w, (N, 1, H, W).
    """

    def work(rows: slice) -> Tensor:
        around, weight = _with_neighbours(direction, rows)[..., 1:, :], weights[..., rows, :]
        squares = torch.zeros_like(weight)
        _add_squares(squares, around.diff(dim=-2))
        _add_squares(squares[..., :-1], around[..., :-1, :].diff(dim=-1))
        return squares.mul_(weight).sum((1, 2, 3))

    return torch.stack(by_rows(work, direction)).sum(0)


def _with_neighbours(light: Tensor, rows: slice) -> Tensor:
    """Return some rows with one more above and below; beyond the photo they repeat its rim, so differences are 0."""
    first, stop, _ = rows.indices(light.shape[-2])
    around = light[..., max(0, first - 1) : stop + 1, :]
    above = [around[..., :1, :]] if first == 0 else []
    below = [around[..., -1:, :]] if stop == light.shape[-2] else []
    return torch.cat([*above, around, *below], -2) if above or below else around


def _add_squares(total: Tensor, values: Tensor) -> None:
    """Add to `total` (N, 1, H, W) the squares of values (N, C, H, W), summed over C."""
    for channel in range(values.shape[1]):
        of_channel = values[:, channel : channel + 1]
        total.addcmul_(of_channel, of_channel)
