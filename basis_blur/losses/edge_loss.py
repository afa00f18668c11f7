"""The loss of MPRNet: differences of pixels and of edges  [Zamir21].

    L = mean c(x - y) + lambda mean c(D(x - y)),        c(d) = sqrt(d^2 + epsilon^2)        (Charbonnier)

D is the Laplacian, the sum of the four neighbours minus four times the pixel, inside the photo. MPRNet takes the sum of
L over its three stages, with lambda = 0.05 and epsilon = 0.001.

[Zamir21] Zamir, Arora, Khan, Hayat, Khan, Yang, Shao, "Multi-Stage Progressive Image Restoration", CVPR 2021. Their
published weights were trained with another Laplacian, a level of a Laplace pyramid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from basis_blur.foundation.numbers import check_number


class EdgeLoss(nn.Module):
    """The difference of pixels and edges, L, times `loss_weight`.

    Args:
        loss_weight: factor of the result.
        edge_weight: lambda, >= 0.
        epsilon: difference below which c is nearly flat, > 0.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(self, loss_weight: float = 1.0, edge_weight: float = 0.05, epsilon: float = 1e-3):
        super().__init__()
        check_number('loss_weight', loss_weight)
        check_number('edge_weight', edge_weight, least=0)
        check_number('epsilon', epsilon, above=0, remedy='0.001 is usual.')
        self.loss_weight = loss_weight
        self.edge_weight = edge_weight
        self.epsilon = epsilon

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the loss, one number.

        Args:
            restored: x, (N, C, H, W) of at least 3 x 3 pixels; the prediction, sRGB-like.
            sharp: y, the truth, of the same shape.

        Raises:
            ValueError: the shapes differ, or there are too few pixels.
        """
        if restored.shape != sharp.shape or min(restored.shape[-2:]) < 3:
            raise ValueError(
                f'restored is {tuple(restored.shape)}, sharp {tuple(sharp.shape)}; give equal shapes of at least 3 x 3 '
                'pixels.'
            )
        dtype = torch.promote_types(restored.dtype, torch.float32)
        difference = restored.to(dtype) - sharp.to(dtype)
        across = difference[..., 1:-1, :].diff(n=2, dim=-1)
        down = difference[..., :, 1:-1].diff(n=2, dim=-2)
        return self.loss_weight * (self._size(difference) + self.edge_weight * self._size(across + down))

    def _size(self, difference: Tensor) -> Tensor:
        return (difference.square() + self.epsilon**2).sqrt().mean()
