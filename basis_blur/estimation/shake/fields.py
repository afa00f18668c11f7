"""Kernels of a camera as the blur field of a photo."""

from __future__ import annotations

from torch import Tensor

from basis_blur.field.blur_field import BlurField, CompactField, pack
from basis_blur.ops.windows import WHOLE_PIXELS


def uniform_field(kernel: Tensor, photo: Tensor) -> BlurField:
    """Return the field of a photo (1, C, H, W) that has one kernel (K, K) everywhere."""
    kernels = kernel[None, None].to(photo)
    mixing = photo.new_ones(1, 1, *photo.shape[-2:])
    if photo.shape[-2] * photo.shape[-1] > WHOLE_PIXELS:
        return CompactField(kernels, pack(mixing))
    return BlurField.unchecked(kernels, mixing)
