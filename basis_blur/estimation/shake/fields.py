"""Kernels of a camera as the blur field of a photo."""

from __future__ import annotations

from torch import Tensor

from basis_blur.field.blur_field import BlurField


def uniform_field(kernel: Tensor, photo: Tensor) -> BlurField:
    """Return the field of a photo (1, C, H, W) that has one kernel (K, K) everywhere.

    Its mixing takes the memory of one number, by which `BasisBlur` knows it.
    """
    mixing = photo.new_ones(1, 1, 1, 1).expand(1, 1, *photo.shape[-2:])
    return BlurField.unchecked(kernel[None, None].to(photo), mixing)
