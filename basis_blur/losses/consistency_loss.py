"""Blurring to deblur: a restored photo, blurred again, has to equal the blurred photo  [C21, Sec. 7.3].

    L = mean_i | g(R((H u)_i)) - v_i |,     u = restored ** gamma

H is the blur that was estimated from the blurred photo v, a field or a kernel for every pixel. Only pixels whose
kernels lie within the restored photo count, so nothing is assumed of what lies beyond its border.
"""

from __future__ import annotations

from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.losses.reblurred import Reblurred
from basis_blur.ops.reblurring import error_inside


class ConsistencyLoss(Reblurred):
    """The error of the reblurred photo, L, times `loss_weight`.

    Args:
        loss_weight: factor of the result.
        gamma: exponent of the photos, >= 1; 1 blurs the values of the photo as they are, as [F23] does.
        saturation: whether R, the saturation of the camera, is applied.

    Raises:
        ValueError: `gamma` is smaller than 1.
    """

    def __init__(self, loss_weight: float = 1.0, gamma: float = GAMMA, saturation: bool = True):
        super().__init__(loss_weight, gamma, saturation)

    def forward(self, blur: BlurField | Tensor, restored: Tensor, blurred: Tensor) -> Tensor:
        """Return the loss, one number; its gradient flows to the restored photo and the blur.

        Args:
            blur: blur of N photos of size H, W: a field, or convolution kernels (N, K*K, H, W).
            restored: (N, C, H, W); the restored photo, sRGB-like.
            blurred: (N, C, H, W); the photo, sRGB-like in [0, 1].

        Raises:
            ValueError: the shapes differ, or the photo is not larger than the kernels.
        """
        error = error_inside(blur, restored, blurred, self.gamma, self.saturation)
        return self.loss_weight * error
