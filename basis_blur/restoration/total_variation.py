"""Total variation, the prior that keeps edges and flattens noise.

    TV(u) = sum |grad u|,     its gradient is  D' (w D u),   w = 1 / sqrt(|D u|^2 + edge^2)        [C21, Eq. 14]

where D are forward differences. |D u| is taken over the colours together, so that an edge has one place in all of
them, and smoothed at `EDGE`: differences below it count as noise whatever their direction.

With w held fixed, 1/2 <u, D' w D u> lies above TV and touches it at u; its curvature serves for the length of a step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from basis_blur.foundation.numbers import check_number
from basis_blur.ops.rows import row_blocks

EDGE = 0.01  # linear light
LARGEST_CURVATURE = 8.0  # largest eigenvalue of D'D


def edge_weights(light: Tensor, edge: float = EDGE) -> Tensor:
    """Return w (N, 1, H, W): 1 / edge in flat places, small on edges.

    Args:
        light: (N, C, H, W); linear light.
        edge: > 0, linear light.

    Raises:
        ValueError: `edge` is not positive.
    """
    check_number('edge', edge, above=0, remedy=f'the default is {EDGE:g}.')
    weights = torch.empty_like(light[:, :1])
    for rows, around, inside in _blocks(light):
        part = light[..., around, :]
        squares = torch.full_like(part[:, :1], edge**2)
        for dim in (-2, -1):
            counted = squares.narrow(dim, 0, squares.shape[dim] - 1)
            counted += part.diff(dim=dim).square_().sum(1, keepdim=True)
        weights[..., rows, :] = squares.rsqrt_()[..., inside, :]
    return weights


def tv_gradient(light: Tensor, weights: Tensor) -> Tensor:
    """Return D' (w D u), the gradient of TV where `weights` are those of `light`; same shape as `light`.

    Args:
        light: (N, C, H, W); linear light.
        weights: w, (N, 1, H, W).
    """
    gradient = torch.empty_like(light)
    for rows, around, inside in _blocks(light):
        part, weight = light[..., around, :], weights[..., around, :]
        total = torch.zeros_like(part)
        for dim in (-2, -1):
            last = part.shape[dim] - 1
            difference = part.diff(dim=dim).mul_(weight.narrow(dim, 0, last))
            total.narrow(dim, 1, last).add_(difference)
            total.narrow(dim, 0, last).sub_(difference)
        gradient[..., rows, :] = total[..., inside, :]
    return gradient


def tv_curvature(direction: Tensor, weights: Tensor) -> Tensor:
    """Return <d, D' w D d> of each photo of the batch, (N,).

    Args:
        direction: d, (N, C, H, W); linear light.
        weights: w, (N, 1, H, W).
    """
    total = direction.new_zeros(len(direction))
    for rows, around, inside in _blocks(direction):
        part = direction[..., around, :]
        for dim, own in ((-2, part[..., inside.start :, :]), (-1, part[..., inside, :])):
            squares = own.diff(dim=dim).square_()
            weight = weights[..., rows, :].narrow(dim, 0, squares.shape[dim])
            total = total + squares.mul_(weight).flatten(1).sum(1)
    return total


def _blocks(light: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """Go through blocks of rows: where one is, it with a row on either side, and where it is in that."""
    for rows in row_blocks(light):
        around = slice(max(0, rows.start - 1), min(light.shape[-2], rows.stop + 1))
        yield rows, around, slice(rows.start - around.start, rows.stop - around.start)
