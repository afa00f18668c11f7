"""From paths to kernels: the picture of a point of the scene while the camera or the scene moves."""

from __future__ import annotations

import numpy as np


def rasterise(path: np.ndarray, kernel_size: int) -> np.ndarray:
    """Return the kernels of paths: the light of every point, spread over the four nearest pixels.

    Spreading leaves the centre of mass where it is.

    Args:
        path: (n, 2, points); row and column, in pixels from the middle, at most (K - 3) / 2.
        kernel_size: K, odd.

    Returns:
        (n, K, K) float32; each sums to 1.
    """
    number, points = path.shape[0], path.shape[2]
    # Rounding may push a point that lies on the limit over it by an ulp; there the corner is one pixel further in.
    last = kernel_size - 2
    position = np.clip(path + kernel_size // 2, 1, last)
    corner = np.minimum(position.astype(np.intp), last - 1)
    (row, column), (down, right) = np.moveaxis(corner, 1, 0), np.moveaxis(position - corner, 1, 0)
    pixel = (np.arange(number)[:, None] * kernel_size + row) * kernel_size + column
    light = np.zeros(number * kernel_size * kernel_size)
    for shift, share in (
        (0, (1 - down) * (1 - right)),
        (1, (1 - down) * right),
        (kernel_size, down * (1 - right)),
        (kernel_size + 1, down * right),
    ):
        light += np.bincount((pixel + shift).ravel(), share.ravel(), minlength=light.size)
    return (light / points).reshape(number, kernel_size, kernel_size).astype(np.float32)
