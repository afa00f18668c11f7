"""Distances of an estimated kernel from the true one.

    l1           sum_s |k[s] - q[s]|                                  0 to 2 for kernels of sum 1
    l2           sqrt(sum_s (k[s] - q[s])^2)
    correlation  max_d sum_s k[s] q[s + d] / (||k||_2 ||q||_2)        0 to 1 for kernels >= 0

The correlation does not mind where a kernel stands: a kernel that is moved moves the restored photo, not its sharpness.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.field.blur_field import BlurField, PixelField


def kernel_l1(kernels: Tensor, true_kernels: Tensor) -> Tensor:
    """Return the sum of absolute differences of each pair of kernels.

    Args:
        kernels: (..., K, K).
        true_kernels: (..., K, K); leading dimensions broadcast.

    Returns:
        (...), one number a pair.

    Raises:
        ValueError: the kernels are of two sizes.
    """
    _check(kernels, true_kernels)
    return (kernels - true_kernels).abs().sum((-2, -1))


def kernel_l2(kernels: Tensor, true_kernels: Tensor) -> Tensor:
    """Return the Euclidean distance of each pair of kernels; arguments and errors are those of `kernel_l1`."""
    _check(kernels, true_kernels)
    return (kernels - true_kernels).square().sum((-2, -1)).sqrt()


def kernel_correlation(kernels: Tensor, true_kernels: Tensor) -> Tensor:
    """Return the largest normalised correlation over all whole-pixel shifts of each pair of kernels.

    What is shifted out of the K x K window counts, and meets zeros: no shift wraps around. A kernel of zeros correlates
    with nothing and gives 0. Arguments, result and errors are those of `kernel_l1`.
    """
    _check(kernels, true_kernels)
    size = [2 * side - 1 for side in kernels.shape[-2:]]
    product = torch.fft.rfft2(kernels, s=size).conj() * torch.fft.rfft2(true_kernels, s=size)
    correlation = torch.fft.irfft2(product, s=size).amax((-2, -1))
    norms = kernels.square().sum((-2, -1)).sqrt() * true_kernels.square().sum((-2, -1)).sqrt()
    return torch.where(norms > 0, correlation / norms.clamp_min(torch.finfo(norms.dtype).tiny), 0)


def field_errors(
    field: BlurField | PixelField, true_field: BlurField | PixelField, spacing: int = 8
) -> dict[str, Tensor]:
    """Compare two blur fields at a grid of pixels.

    Args:
        field: blur of N photos.
        true_field: true blur of the same photos. Kernels of two sizes are compared in the larger, the others amid
            zeros.
        spacing: distance of the compared pixels; the first is half of it from the top and left edges.

    Returns:
        'kernel_l1', 'kernel_l2' and 'kernel_correlation': (N,), means over the grid.

    Raises:
        ValueError: the fields are of different sizes, or no pixel of the grid is within the photo.
    """
    if field.image_size != true_field.image_size:
        raise ValueError(
            f'the fields are of {field.image_size} and {true_field.image_size} pixels; give fields of one photo.'
        )
    if min(field.image_size) <= spacing // 2:
        raise ValueError(f'a grid of {spacing} pixels has no point in a photo of {field.image_size} pixels.')
    rows, columns = (torch.arange(spacing // 2, side, spacing) for side in field.image_size)
    points = torch.cartesian_prod(rows, columns).to(field.device)
    size = max(field.kernel_size, true_field.kernel_size)
    kernels, true_kernels = (_amid_zeros(each.kernels_at(points), size) for each in (field, true_field))
    return {
        'kernel_l1': kernel_l1(kernels, true_kernels).mean(1),
        'kernel_l2': kernel_l2(kernels, true_kernels).mean(1),
        'kernel_correlation': kernel_correlation(kernels, true_kernels).mean(1),
    }


def _amid_zeros(kernels: Tensor, size: int) -> Tensor:
    return F.pad(kernels, [(size - kernels.shape[-1]) // 2] * 4)


def _check(kernels: Tensor, true_kernels: Tensor) -> None:
    if kernels.ndim < 2 or kernels.shape[-2:] != true_kernels.shape[-2:]:
        raise ValueError(
            f'kernels have shape {tuple(kernels.shape)} and true kernels {tuple(true_kernels.shape)}, '
            'expected (..., K, K) with one K.'
        )
