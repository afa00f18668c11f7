"""The common part of the losses that blur a sharp photo again: they share their settings.

v' = g(R(H u)),     g(x) = x ** (1 / gamma)        [C21, Eq. 3, 4], computed by `basis_blur.ops.reblurring`

loss                the blur H, the scene u, and the difference from the photo
ReblurLoss          a field, on a scene with its border; squares, weighted pixel by pixel         [C21, Eq. 5]
PixelReblurLoss     a kernel for every pixel, on the sharp photo; absolute values, without R      [F23]
ConsistencyLoss     either, on the restored photo, inside its border; absolute values             [C21, Sec. 7.3]
"""

from __future__ import annotations

from torch import nn

from basis_blur.foundation.numbers import check_number


class Reblurred(nn.Module):
    """A loss that compares a photo with one that is blurred again.

    Args:
        loss_weight: factor of the result.
        gamma: exponent of the photos, light = photo ** gamma, >= 1.
        saturation: whether R, the saturation of the camera, is applied.

    Raises:
        ValueError: `gamma` is smaller than 1, or `loss_weight` is no number.
    """

    def __init__(self, loss_weight: float, gamma: float, saturation: bool):
        super().__init__()
        check_number('gamma', gamma, least=1, remedy='photos have 2.2, linear data 1.')
        check_number('loss_weight', loss_weight)
        self.loss_weight = loss_weight
        self.gamma = gamma
        self.saturation = saturation

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, gamma={self.gamma}, saturation={self.saturation}'
