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
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.camera_response import to_linear
from basis_blur.ops.pixel_blur import PixelBlur


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
        if restored.shape != blurred.shape:
            raise ValueError(
                f'restored has shape {tuple(restored.shape)}, blurred {tuple(blurred.shape)}; give equal ones.'
            )
        inner, operator = inner_blur(blur)
        again = self.again(operator, to_linear(restored.float(), self.gamma))
        return self.loss_weight * (again - blurred[(..., *inner)]).abs().mean()


def inner_blur(blur: BlurField | Tensor) -> tuple[tuple[slice, slice], BasisBlur | PixelBlur]:
    """Return the rows and columns of the photo whose blur lies within it, and the operator from the photo to them.

    Args:
        blur: blur of N photos of size H, W: a field, or convolution kernels (N, K*K, H, W).

    Raises:
        ValueError: the photo is not larger than the kernels.
    """
    if isinstance(blur, BlurField):
        (height, width), kernel_size = blur.image_size, blur.kernel_size
    else:
        (height, width), kernel_size = blur.shape[-2:], round(blur.shape[1] ** 0.5)
    radius = kernel_size // 2
    if min(height, width) < kernel_size:
        raise ValueError(
            f'the photo has {width}x{height} pixels and the kernels {kernel_size}x{kernel_size}; give larger photos.'
        )
    inner = slice(radius, height - radius), slice(radius, width - radius)
    if isinstance(blur, BlurField):
        return inner, BasisBlur(BlurField.unchecked(blur.kernels, blur.mixing[(..., *inner)]))
    return inner, PixelBlur(blur[(..., *inner)])
