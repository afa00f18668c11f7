"""The divergence of the kernels of a photo from the true ones, as distributions of light.

    L = mean_i sum_s q_i(s) log(q_i(s) / k_i(s)),        k_i = sum_b m_b^i k_b,   over a grid of pixels i

This is the Kullback-Leibler divergence of the estimated kernels k from the true ones q. For a single kernel, its slope
with respect to the logits of k is k - q, which is as large while the two do not overlap as later. Squared differences
[C21, Eq. 6] of kernels of a thousand pixels are almost flat there (docs/training_log.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import check_number
from basis_blur.losses.kernel_loss import check_fields

LEAST_SHARE = 1e-8  # lower bound of the share of the light in a pixel of a kernel


class KernelDivergenceLoss(nn.Module):
    """The divergence L of the kernels of two fields, averaged over the batch, times `loss_weight`.

    Every pixel of the grid counts alike, whatever the size of its object.

    Args:
        loss_weight: factor of the result.
        spacing: distance between the pixels of the grid, pixels.

    Raises:
        ValueError: `spacing` is smaller than 1.
    """

    def __init__(self, loss_weight: float = 1.0, spacing: int = 16):
        super().__init__()
        check_number('loss_weight', loss_weight)
        check_number('spacing', spacing, least=1, whole=True, remedy='it is a number of pixels.')
        self.loss_weight = loss_weight
        self.spacing = spacing

    def forward(self, field: BlurField, true_field: BlurField) -> Tensor:
        """Return the loss in nats, one number >= 0; its gradient flows to `field` only.

        Args:
            field: the prediction for N photos.
            true_field: the truth about the same photos; its number of kernels may differ.

        Raises:
            ValueError: the two fields are of different sizes.
        """
        check_fields(field, true_field)
        with torch.autocast(field.kernels.device.type, enabled=False):
            share, true_share = self._at_grid(field), self._at_grid(true_field).detach()
            divergence = true_share.xlogy(true_share) - true_share * share.clamp_min(LEAST_SHARE).log()
            return self.loss_weight * divergence.sum(1).mean()

    def _at_grid(self, field: BlurField) -> Tensor:
        """Return the kernels (N, K*K, n) of the pixels of the grid."""
        start = [min(self.spacing // 2, side - 1) for side in field.image_size]
        dtype = torch.promote_types(field.kernels.dtype, torch.float32)
        mixing = field.mixing[..., start[0] :: self.spacing, start[1] :: self.spacing].flatten(2)
        return field.kernels.to(dtype).flatten(2).mT @ mixing.to(dtype)

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, spacing={self.spacing}'
