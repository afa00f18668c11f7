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

from basis_blur.ops.gradient import forward_difference, forward_difference_transpose
from basis_blur.ops.rows import row_blocks

EDGE = 0.01  # linear light
LARGEST_CURVATURE = 8.0  # of D'D


def edge_weights(light: Tensor, edge: float = EDGE) -> Tensor:
    """Return w (N, 1, H, W): 1 / edge in flat places, small on edges.

    Args:
        light: (N, C, H, W); linear light.
        edge: > 0, linear light.

    Raises:
        ValueError: `edge` is not positive.
    """
    if not edge > 0:
        raise ValueError(f'edge is {edge}, expected > 0; the default is {EDGE:g}.')
    weights = torch.empty_like(light[:, :1])
    for rows, around, inside in _blocks(light):
        part = light[..., around, :]
        down, right = forward_difference(part, -2), forward_difference(part, -1)
        part = down.square_().add_(right.square_()).sum(1, keepdim=True).add_(edge**2).rsqrt_()
        weights[..., rows, :] = part[..., inside, :]
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
        down = forward_difference_transpose(forward_difference(part, -2).mul_(weight), -2)
        part = down.add_(forward_difference_transpose(forward_difference(part, -1).mul_(weight), -1))
        gradient[..., rows, :] = part[..., inside, :]
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
        squares = forward_difference(part, -2).square_().add_(forward_difference(part, -1).square_())
        total = total + (squares[..., inside, :] * weights[..., rows, :]).flatten(1).sum(1)
    return total


def _blocks(light: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """Go through blocks of rows: where one is, it with a row on either side, and where it is in that."""
    for rows in row_blocks(light):
        around = slice(max(0, rows.start - 1), min(light.shape[-2], rows.stop + 1))
        yield rows, around, slice(rows.start - around.start, rows.stop - around.start)
