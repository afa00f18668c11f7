"""Pixel-wise work on a large photo some rows at a time, so that intermediate results stay in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from basis_blur.ops.threads import share

NUMBERS_AT_ONCE = 1 << 22  # largest number of numbers in a block of rows
CPU_NUMBERS_AT_ONCE = 1 << 17  # largest number at once on a CPU; a few arrays of so many fit into the cache of a core

Result = TypeVar('Result')


def by_rows(work: Callable[[slice], Result], images: Tensor) -> list[Result]:
    """Return `work(rows)` of all rows of images, some at a time; on a CPU in several threads.

    The blocks do not depend on the number of threads, so a sum over them in their order does not either.

    Args:
        work: function that takes a slice of rows, and writes to these rows only.
        images: (N, C, H, W); images of the size of those that `work` is about.
    """
    if images.device.type == 'cpu':
        return share(work, row_blocks(images))
    return [work(rows) for rows in row_blocks(images)]


def row_blocks(images: Tensor) -> list[slice]:
    """Cut the rows of images (N, C, H, W) into blocks of at most `NUMBERS_AT_ONCE` numbers, or single rows.

    On a CPU they are smaller, unless gradients are recorded: each block that is written to is then a step of the
    record, and `backward` copies all of the images for it.
    """
    number, channels, height, width = images.shape
    in_cache = images.device.type == 'cpu' and not torch.is_grad_enabled()
    most = min(NUMBERS_AT_ONCE, CPU_NUMBERS_AT_ONCE) if in_cache else NUMBERS_AT_ONCE
    step = max(1, most // max(1, number * channels * width))
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]
