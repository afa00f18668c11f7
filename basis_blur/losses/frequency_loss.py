"""The loss of MIMO-UNet: differences of pixels and of frequencies  [Cho21].

    L = mean |x - y| + lambda mean |F(x - y)|

F: the two-dimensional Fourier transform of each colour, whose real and imaginary parts are numbers of their own; the
means are over all numbers. MIMO-UNet adds this up over its three sizes, with lambda = 0.1.

[Cho21] Cho, Ji, Hong, Jung, Ko, "Rethinking Coarse-to-Fine Approach in Single Image Deblurring", ICCV 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from basis_blur.foundation.numbers import check_number


class FrequencyLoss(nn.Module):
    """The loss above, times `loss_weight`.

    Args:
        loss_weight: factor of the result.
        frequency_weight: lambda, >= 0.

    Raises:
        ValueError: a weight is out of its range.
    """

    def __init__(self, loss_weight: float = 1.0, frequency_weight: float = 0.1):
        super().__init__()
        check_number('loss_weight', loss_weight)
        check_number('frequency_weight', frequency_weight, least=0)
        self.loss_weight = loss_weight
        self.frequency_weight = frequency_weight

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the loss, one number.

        Args:
            restored: x, (N, C, H, W); the prediction, sRGB-like.
            sharp: y, the truth, of the same shape.

        Raises:
            ValueError: the shapes differ.
        """
        if restored.shape != sharp.shape:
            raise ValueError(f'restored is {tuple(restored.shape)}, sharp {tuple(sharp.shape)}; give equal shapes.')
        dtype = torch.promote_types(restored.dtype, torch.float32)
        difference = restored.to(dtype) - sharp.to(dtype)
        frequencies = torch.view_as_real(torch.fft.fft2(difference))
        return self.loss_weight * (difference.abs().mean() + self.frequency_weight * frequencies.abs().mean())
