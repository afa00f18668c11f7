"""Kernels of a camera as the blur field of a photo."""

from __future__ import annotations

import torch
from torch import Tensor

from basis_blur.estimation.shake.kernels import on_canvas
from basis_blur.field.blur_field import BlurField
from basis_blur.field.other_forms import field_of_window_kernels


def uniform_field(kernel: Tensor, photo: Tensor) -> BlurField:
    """Return the field of a photo (1, C, H, W) that has one kernel (K, K) everywhere.

    Its mixing takes the memory of one number, by which `BasisBlur` knows it.
    """
    mixing = photo.new_ones(1, 1, 1, 1).expand(1, 1, *photo.shape[-2:])
    return BlurField.unchecked(kernel[None, None].to(photo), mixing)


def window_field(kernels: Tensor, places: int, size: tuple[int, int]) -> BlurField:
    """Return the field of a photo (H, W) of which each of places x places equal windows has a kernel.

    Args:
        kernels: (places^2, K, K), row by row of windows, each of sum 1; see `field_of_window_kernels`.
        places: number of windows a side.
        size: (H, W).
    """
    return field_of_window_kernels(kernels.view(1, places, places, *kernels.shape[-2:]), size)


def blended(one: BlurField, other: BlurField, weight: Tensor) -> BlurField:
    """Return the field whose kernel at each pixel is  weight * that of one + (1 - weight) * that of the other.

    Args:
        one, other: fields of one photo (H, W); smaller kernels get a border of zeros.
        weight: (1, 1, H, W), in [0, 1].
    """
    size = max(one.kernel_size, other.kernel_size)
    kernels = torch.cat([on_canvas(each.kernels[0], size) for each in (one, other)])[None]
    return BlurField.unchecked(kernels, torch.cat([one.mixing * weight, other.mixing * (1 - weight)], 1))
