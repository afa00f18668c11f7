"""What a pixel counts in a loss.

weight    1 / number of pixels of its object [C21, Eq. 5, 6], so that small objects count too
trust     a number in [0, 1], where the sharp photo is a guess: 0 where nothing is known of it
"""

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


def check_trust(trust: Tensor, photo: Tensor) -> None:
    """Raise ValueError unless `trust` is (N, 1, H, W) with N, H and W of the photos (N, C, H, W)."""
    expected = (len(photo), 1, *photo.shape[-2:])
    if tuple(trust.shape) != expected:
        raise ValueError(
            f'trust has shape {tuple(trust.shape)}, expected {expected}: one number for every pixel of the photos.'
        )
