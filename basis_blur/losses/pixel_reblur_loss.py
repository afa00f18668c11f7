"""The difference of a photo from the sharp one blurred with a kernel for every pixel [F23].

    L = mean_i | g((H u)_i) - v_i |,     u = x ** gamma,    g(light) = light ** (1 / gamma)

x is the sharp photo and v the blurred one, both sRGB-like. H is the operator of the pixel kernels; if x shows no more
of the scene than v, its edge pixels are repeated. With gamma 1, as in the paper, the values of the photo are blurred as
they are. With another gamma, g is a straight line below one 8-bit step, as in `basis_blur.losses.reblur_loss`. Where x
is a guess, each pixel i of the mean counts by its trust.
"""

from __future__ import annotations

from torch import Tensor

from basis_blur.losses.pixel_weight import check_trust
from basis_blur.losses.reblurred import Reblurred
from basis_blur.ops.reblurring import pixel_reblur


class PixelReblurLoss(Reblurred):
    """The error of the reblurred photo, L, times `loss_weight`.

    Args:
        loss_weight: factor of the result.
        gamma: exponent of the photos, >= 1.

    Raises:
        ValueError: `gamma` is smaller than 1.
    """

    def __init__(self, loss_weight: float = 1.0, gamma: float = 1.0):
        super().__init__(loss_weight, gamma, saturation=False)

    def forward(self, pixel_kernels: Tensor, sharp: Tensor, blurred: Tensor, trust: Tensor | None = None) -> Tensor:
        """Return the loss, one number; its gradient flows to the kernels and the sharp photo.

        Args:
            pixel_kernels: (N, K*K, H, W); convolution kernels.
            sharp: (N, C, H, W), or larger by a border of the same width on all sides; sRGB-like, >= 0.
            blurred: (N, C, H, W); sRGB-like in [0, 1].
            trust: (N, 1, H, W) in [0, 1]; factor of each pixel; by default 1.

        Raises:
            ValueError: the sizes do not fit together.
        """
        photo = pixel_reblur(pixel_kernels, sharp, self.gamma)
        if photo.shape != blurred.shape:
            raise ValueError(
                f'blurred has shape {tuple(blurred.shape)}, expected {tuple(photo.shape)}, that of the kernels and '
                'the sharp photo.'
            )
        error = (photo - blurred).abs()
        if trust is not None:
            check_trust(trust, blurred)
            error = trust * error
        return self.loss_weight * error.mean()

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, gamma={self.gamma}'
