"""The difference of a photo from the sharp scene blurred with a field [C21, Eq. 5].

    L = sum_i w_i || g(R((H u)_i)) - v_i ||^2,     g(x) = x ** (1 / gamma)        [C21, Eq. 3, 5]

H: the field's operator; u: the scene in linear light; R: the camera response [C21, Eq. 4]; v: the blurred photo,
sRGB-like; ||.||^2 sums over the colours.

Differs from the paper in that g is a straight line below the light of one step of an 8-bit photo (`photo_of`). There
the slope of the power grows without bound, and one black pixel would outweigh the photo or make the gradient infinite.
The line starts at g(0) = 0 and meets the power at that step; in between it is lower by at most 0.0015.
"""

from __future__ import annotations

from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.losses.pixel_weight import check_pixel_weight
from basis_blur.losses.reblurred import Reblurred
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.reblurring import photo_through


class ReblurLoss(Reblurred):
    """The error of the reblurred photo, L, averaged over the batch, times `loss_weight`.

    Args:
        loss_weight: factor of the result.
        gamma: exponent of the photo; 1 for photos in linear light.
        saturation: whether R is applied; without it, light above 1 is expected to be above 1 in the photo too.

    Raises:
        ValueError: `gamma` is smaller than 1.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> scene = torch.rand(1, 3, 34, 50)
        >>> photo = bb.to_srgb(bb.camera_response(bb.BasisBlur(field)(scene)))
        >>> bb.ReblurLoss()(field, scene, photo, torch.full((1, 1, 32, 48), 1 / (32 * 48))) < 1e-6
        tensor(True)
    """

    def __init__(self, loss_weight: float = 1.0, gamma: float = GAMMA, saturation: bool = True):
        super().__init__(loss_weight, gamma, saturation)

    def forward(self, field: BlurField, scene_light: Tensor, blurred_srgb: Tensor, weight: Tensor) -> Tensor:
        """Return the loss, one number; its gradient flows to the field and the scene.

        Args:
            field: the prediction for N photos of size H, W.
            scene_light: (N, C, H+K-1, W+K-1); the sharp scene with its border, linear light >= 0, may exceed 1.
            blurred_srgb: (N, C, H, W); the photo, sRGB-like in [0, 1].
            weight: (N, 1, H, W); w_i >= 0, such as 1 / number of pixels of i's object.

        Raises:
            ValueError: a size does not fit the field.
        """
        check_pixel_weight(weight, field)
        expected = (*scene_light.shape[:2], *field.image_size)
        if tuple(blurred_srgb.shape) != expected:
            raise ValueError(
                f'blurred_srgb has shape {tuple(blurred_srgb.shape)}, expected {expected}: the photo of '
                f'scene_light {tuple(scene_light.shape)} without the border.'
            )
        error = (photo_through(BasisBlur(field), scene_light, self.gamma, self.saturation) - blurred_srgb) ** 2
        return self.loss_weight / len(field) * (weight * error).sum()
