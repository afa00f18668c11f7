"""The weight of a pixel in a loss: 1 / number of pixels of its object [C21, Eq. 5, 6], so small objects count too."""

from __future__ import annotations

from torch import Tensor

from basis_blur.field.blur_field import BlurField


def check_pixel_weight(weight: Tensor, field: BlurField) -> None:
    """Raise ValueError unless `weight` is (N, 1, H, W) with N, H and W of the field."""
    expected = (len(field), 1, *field.image_size)
    if tuple(weight.shape) != expected:
        raise ValueError(
            f'weight has shape {tuple(weight.shape)}, expected {expected}: one number for every pixel of the photos.'
        )
