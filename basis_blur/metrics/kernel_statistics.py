"""Four numbers that describe a kernel, by which kernels drawn from a prior are compared with real ones.

support    pixels above 1 % of the brightest one
offset     distance of the centroid from the middle, in pixels
raw_sum    sum before it is made 1
sparsity   (K - l1/l2) / (K - 1) of the K*K pixels: 0 for a flat kernel, 1 for a single pixel (Hoyer 2004)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

VISIBLE = 0.01  # share of the brightest pixel above which a pixel belongs to the support


def kernel_statistics(raw_kernels: Tensor) -> dict[str, Tensor]:
    """Return the four numbers of each kernel.

    Args:
        raw_kernels: (M, K, K), K >= 2; negative pixels count as 0; their sums are positive and need not be 1.

    Returns:
        'support', 'offset', 'raw_sum', 'sparsity': each (M,).

    Raises:
        ValueError: another shape.
    """
    if raw_kernels.ndim != 3 or raw_kernels.shape[1] != raw_kernels.shape[2]:
        raise ValueError(f'raw_kernels have shape {tuple(raw_kernels.shape)}, expected (M, K, K).')
    size = raw_kernels.shape[-1]
    light = raw_kernels.clamp(min=0)
    sums = light.sum((1, 2))
    kernels = light / sums.view(-1, 1, 1)
    from_middle = torch.arange(size, dtype=kernels.dtype, device=kernels.device) - (size - 1) / 2
    rows, columns = (kernels.sum(dim) @ from_middle for dim in (2, 1))
    return {
        'support': (kernels > VISIBLE * kernels.amax((1, 2), keepdim=True)).sum((1, 2)).to(kernels.dtype),
        'offset': torch.hypot(rows, columns),
        'raw_sum': raw_kernels.sum((1, 2)),
        'sparsity': (size - 1 / kernels.square().sum((1, 2)).sqrt()) / (size - 1),
    }


def statistics_table(sets: Mapping[str, Tensor]) -> str:
    """Return a text table of the statistics, mean +- standard deviation, with a column for each set of kernels.

    Args:
        sets: the column's title to raw kernels (M, K, K), as `kernel_statistics` takes them.
    """
    columns = {title: kernel_statistics(kernels) for title, kernels in sets.items()}
    lines = [' ' * 10 + ''.join(f'{title:>20}' for title in columns)]
    for name in next(iter(columns.values())):
        cells = (f'{each[name].mean():.3f} +- {each[name].std(correction=0):.3f}' for each in columns.values())
        lines.append(f'{name:10}' + ''.join(f'{cell:>20}' for cell in cells))
    return '\n'.join(lines)
