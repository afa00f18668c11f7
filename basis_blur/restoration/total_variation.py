"""Total variation, the prior that keeps edges and flattens noise.

    TV(u) = sum |grad u|,     its gradient is  -div(grad u / |grad u|)        [C21, Eq. 14]

|grad u| is taken over the colours together, so that an edge has one place in all of them, and is smoothed at `EDGE`:
differences below it count as noise whatever their direction.
"""

from __future__ import annotations

from torch import Tensor

from basis_blur.ops.gradient import forward_difference, forward_difference_transpose

EDGE = 1e-3  # linear light


def tv_gradient(light: Tensor, edge: float = EDGE) -> Tensor:
    """Return -div(grad u / sqrt(|grad u|^2 + edge^2)), the gradient of the smoothed TV; same shape.

    Args:
        light: (N, C, H, W); linear light.
        edge: > 0, linear light; differences far below it are smoothed like a quadratic prior would.

    Raises:
        ValueError: `edge` is not positive.
    """
    if not edge > 0:
        raise ValueError(f'edge is {edge}, expected > 0; the default is {EDGE:g}.')
    down, right = forward_difference(light, -2), forward_difference(light, -1)
    length = (down.square() + right.square()).sum(1, keepdim=True).add_(edge**2).sqrt_()
    return forward_difference_transpose(down / length, -2) + forward_difference_transpose(right / length, -1)
