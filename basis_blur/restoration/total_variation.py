"""Total variation, the prior that keeps edges and flattens noise.

    TV(u) = sum |grad u|,     its gradient is  D' (w D u),   w = 1 / sqrt(|D u|^2 + edge^2)        [C21, Eq. 14]

where D are forward differences. |D u| is taken over the colours together, so that an edge has one place in all of
them, and smoothed at `EDGE`: differences below it count as noise whatever their direction.

With w held fixed, 1/2 <u, D' w D u> lies above TV and touches it at u; its curvature serves for the length of a step.
"""

from __future__ import annotations

from torch import Tensor

from basis_blur.ops.gradient import forward_difference, forward_difference_transpose

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
    down, right = forward_difference(light, -2), forward_difference(light, -1)
    return down.square_().add_(right.square_()).sum(1, keepdim=True).add_(edge**2).rsqrt_()


def tv_gradient(light: Tensor, weights: Tensor) -> Tensor:
    """Return D' (w D u), the gradient of TV where `weights` are those of `light`; same shape as `light`.

    Args:
        light: (N, C, H, W); linear light.
        weights: w, (N, 1, H, W).
    """
    down = forward_difference_transpose(forward_difference(light, -2).mul_(weights), -2)
    return down.add_(forward_difference_transpose(forward_difference(light, -1).mul_(weights), -1))


def tv_curvature(direction: Tensor, weights: Tensor) -> Tensor:
    """Return <d, D' w D d> of each photo of the batch, (N,).

    Args:
        direction: d, (N, C, H, W); linear light.
        weights: w, (N, 1, H, W).
    """
    squares = forward_difference(direction, -2).square_().add_(forward_difference(direction, -1).square_())
    return squares.mul_(weights).flatten(1).sum(1)
