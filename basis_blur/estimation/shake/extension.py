"""Make photos periodic, so that an FFT sees no jump: their opposite sides, mirrored, fade into each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from basis_blur.ops.convolution import fast_fft_size


def extended(photo: Tensor, border: int) -> Tensor:
    """Return a photo continued below and to the right, so that it repeats without a jump.

    Args:
        photo: (N, C, H, W).
        border: least number of rows and columns that are added, pixels.

    Returns:
        (N, C, h, w), of a size at which FFTs are fast; the upper left part is the photo.
    """
    for dim in (-2, -1):
        side = photo.shape[dim]
        added = fast_fft_size(side + border) - side
        step = torch.arange(1, added + 1, device=photo.device)
        after = photo.index_select(dim, _mirrored(side - 1 + step, side))
        before = photo.index_select(dim, _mirrored(step - added - 1, side))
        weight = 0.5 + 0.5 * torch.cos(math.pi * step.to(photo.dtype) / (added + 1))
        weight = weight[:, None] if dim == -2 else weight
        photo = torch.cat([photo, weight * after + (1 - weight) * before], dim)
    return photo


def _mirrored(index: Tensor, side: int) -> Tensor:
    """Fold indices outside [0, side) back, mirrored at the outermost pixels."""
    period = max(1, 2 * (side - 1))
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def spectrum_of(kernels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the spectra (N, 1, h, w // 2 + 1) of kernels (N, K, K) whose middle lies on the first pixel."""
    half = kernels.shape[-1] // 2
    canvas = kernels.new_zeros(len(kernels), 1, *size)
    canvas[:, 0, : kernels.shape[-2], : kernels.shape[-1]] = kernels
    return torch.fft.rfft2(canvas.roll((-half, -half), (-2, -1)))


def differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences of a periodic image to the next pixel, down and right."""
    return image.roll(-1, -2) - image, image.roll(-1, -1) - image


def divergence(down: Tensor, right: Tensor) -> Tensor:
    """Apply the transpose of `differences`."""
    return down.roll(1, -2) - down + right.roll(1, -1) - right


def difference_power(like: Tensor) -> Tensor:
    """Return |D|^2, the squared spectra of both differences, summed, for images of the size of `like`."""
    height, width = like.shape[-2:]
    rows = torch.arange(height, dtype=torch.float64) / height
    columns = torch.arange(width // 2 + 1, dtype=torch.float64) / width
    power = (2 - 2 * torch.cos(2 * math.pi * rows))[:, None] + (2 - 2 * torch.cos(2 * math.pi * columns))
    return power.to(like)


def inner_ramp(size: tuple[int, int], kernel_size: int, like: Tensor) -> Tensor:
    """Return weights (h, w), in the size of `like`, of pixels that do not depend on what lies outside the photo.

    They are 1 inside, fall from 1 to 0 between K and K / 2 pixels from the sides of the photo, and are 0 on what was
    added.

    Args:
        size: (H, W) of the photo.
        kernel_size: K, pixels.
        like: (..., h, w); the extended photo.
    """
    ramps = []
    for side, whole in zip(size, like.shape[-2:], strict=True):
        place = torch.arange(whole, device=like.device, dtype=like.dtype)
        distance = torch.minimum(place, side - 2 - place)
        ramps.append(((distance - kernel_size / 2) / (kernel_size / 2)).clamp(0, 1))
    return ramps[0][:, None] * ramps[1]
