"""Checks of a photo in memory, before anything is computed from it, and the precision in which that is done."""

from __future__ import annotations

import torch
from torch import Tensor

from basis_blur.field.tensors import check_tensor
from basis_blur.foundation.errors import InputError


def check_photo(photo: Tensor) -> None:
    """Raise ValueError unless `photo` is (N, 3 or 1, H, W), floating point and within [0, 1]."""
    check_tensor('the photo', photo, floating=False)
    if photo.ndim != 4 or photo.shape[1] not in (1, 3):
        raise ValueError(f'the photo has shape {tuple(photo.shape)}, expected (N, 3, H, W) or (N, 1, H, W).')
    if not photo.is_floating_point():
        raise ValueError(f'the photo is {photo.dtype}, expected floating point in [0, 1]; divide 8-bit values by 255.')
    if photo.numel() == 0:
        raise ValueError(f'the photo is empty: shape {tuple(photo.shape)}.')
    low, high = (value.item() for value in photo.detach().aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons
        raise ValueError(
            f'the photo has values from {low:.4g} to {high:.4g}, expected sRGB-like values in [0, 1]; '
            'divide 8-bit values by 255, and clamp or remove values that are out of range or NaN.'
        )


def in_full_precision(photo: Tensor) -> Tensor:
    """Return a photo of half precision (float16, bfloat16) in float32, and any other as it is.

    bfloat16 is coarser than the steps of an 8-bit photo, and those of light, a power of it, are finer still; and some
    functions of torch take no half precision. So the work is done in float32, and only the result has the photo's
    dtype.
    """
    return photo.float() if photo.dtype in (torch.float16, torch.bfloat16) else photo


def check_larger_than_kernel(photo: Tensor, kernel_size: int) -> None:
    """Raise InputError if a side of `photo` (..., H, W) has fewer pixels than a kernel of side `kernel_size`."""
    height, width = photo.shape[-2:]
    if min(height, width) < kernel_size:
        raise InputError(
            f'the photo is {width}x{height} pixels (width x height), expected at least {kernel_size} on each side, '
            'the size of the blur kernels; give a larger photo or a network with smaller kernels.'
        )
