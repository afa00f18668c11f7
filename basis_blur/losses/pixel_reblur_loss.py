"""The difference of a photo from the sharp one blurred with a kernel for every pixel [F23].

    L = mean_i | g((H u)_i) - v_i |,     u = x ** gamma,    g(light) = light ** (1 / gamma)

x is the sharp photo and v the blurred one, both sRGB-like. H is the operator of the pixel kernels; if x shows no more
of the scene than v, its edge pixels are repeated. With gamma 1, as in the paper, the values of the photo are blurred as
they are. With another gamma, g is a straight line below one 8-bit step, as in `basis_blur.losses.reblur_loss`.
"""

from __future__ import annotations

from torch import Tensor

from basis_blur.field.blur_field import PixelField
from basis_blur.losses.reblurred import Reblurred, photo_through
from basis_blur.ops.boundary import ReplicatePad
from basis_blur.ops.camera_response import to_linear
from basis_blur.ops.pixel_blur import PixelBlur


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

    def forward(self, pixel_kernels: Tensor, sharp: Tensor, blurred: Tensor) -> Tensor:
        """Return the loss, one number; its gradient flows to the kernels and the sharp photo.

        Args:
            pixel_kernels: (N, K*K, H, W); convolution kernels.
            sharp: (N, C, H, W), or larger by a border of the same width on all sides; sRGB-like, >= 0.
            blurred: (N, C, H, W); sRGB-like in [0, 1].

        Raises:
            ValueError: the sizes do not fit together.
        """
        photo = pixel_reblur(pixel_kernels, sharp, self.gamma)
        if photo.shape != blurred.shape:
            raise ValueError(
                f'blurred has shape {tuple(blurred.shape)}, expected {tuple(photo.shape)}, that of the kernels and '
                'the sharp photo.'
            )
        return self.loss_weight * (photo - blurred).abs().mean()

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, gamma={self.gamma}'


def pixel_reblur(pixel_kernels: Tensor, sharp: Tensor, gamma: float = 1.0) -> Tensor:
    """Return g(H u), the sharp photo blurred by its pixel kernels, (N, C, H, W).

    Args:
        pixel_kernels: (N, K*K, H, W); convolution kernels.
        sharp: sharp photos, as in `PixelReblurLoss.forward`.
        gamma: exponent of the photos, >= 1.

    Raises:
        ValueError: the sharp photo does not fit the kernels.
    """
    field = PixelField(pixel_kernels)
    blur, pad = PixelBlur(field), ReplicatePad(field)
    scene = with_border(sharp, field.image_size, field.kernel_size // 2)
    operator = blur if tuple(scene.shape[-2:]) == field.scene_size else blur @ pad
    return photo_through(operator, to_linear(scene, gamma), gamma, saturation=False)


def with_border(sharp: Tensor, image_size: tuple[int, int], radius: int) -> Tensor:
    """Return the part of the sharp photo that the blurred one shows, with a border of `radius` pixels if there is one.

    Args:
        sharp: (N, C, H + 2 r, W + 2 r), with any r >= 0. The result has no border if r < `radius`.
        image_size: (H, W) of the blurred photo.
        radius: width of the border, pixels.

    Raises:
        ValueError: the sharp photo is smaller than the blurred one, or larger by other borders.
    """
    borders = [found - size for found, size in zip(sharp.shape[-2:], image_size, strict=True)]
    if borders[0] != borders[1] or borders[0] < 0 or borders[0] % 2:
        raise ValueError(
            f'the sharp photo has {tuple(sharp.shape[-2:])} pixels and the blurred one {tuple(image_size)}; expected '
            'equal sizes, or the same border on all sides of the sharp one.'
        )
    radius = radius if borders[0] >= 2 * radius else 0
    first = borders[0] // 2 - radius
    height, width = (size + 2 * radius for size in image_size)
    return sharp[..., first : first + height, first : first + width]
