"""Minus the PSNR, in dB, by which restoring networks of the NAFNet family are trained.

For one photo  L = 10 log10(mean (x - y)^2 + 1e-8);  of a batch, L is the mean.

Where y is a guess with a trust t in [0, 1] for each pixel, the mean over a photo is sum t (x - y)^2 / sum t, and the
photo counts by its mean trust.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from basis_blur.foundation.numbers import check_number
from basis_blur.losses.pixel_weight import check_trust

SMALLEST = 1e-8  # number that is added to the mean square, so that a perfect photo has a finite loss, -80 dB


class PSNRLoss(nn.Module):
    """Minus the PSNR of a restored photo, times `loss_weight`.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        check_number('loss_weight', loss_weight)
        self.loss_weight = loss_weight

    def forward(self, restored: Tensor, sharp: Tensor, trust: Tensor | None = None) -> Tensor:
        """Return the loss, one number in dB.

        Args:
            restored: (N, C, H, W); the prediction, sRGB-like.
            sharp: the truth, of the same shape.
            trust: (N, 1, H, W) in [0, 1]; trust in each pixel of the truth; by default all count.

        Raises:
            ValueError: the shapes differ, or the trust is of another size.
        """
        if restored.shape != sharp.shape:
            raise ValueError(f'restored is {tuple(restored.shape)}, sharp {tuple(sharp.shape)}; give equal shapes.')
        dtype = torch.promote_types(restored.dtype, torch.float32)
        squares = (restored.to(dtype) - sharp.to(dtype)).square()
        if trust is None:
            return self.loss_weight * 10 * torch.log10(squares.flatten(1).mean(1) + SMALLEST).mean()
        check_trust(trust, sharp)
        share = trust.to(dtype).flatten(1).mean(1)
        trusted = (trust * squares).flatten(1).mean(1) / share.clamp_min(SMALLEST)
        return self.loss_weight * 10 * (share * torch.log10(trusted + SMALLEST)).mean()
