"""From blurs in the forms of other methods, as arrays of an npz file, to a `BlurField`.

| array            | shape           | meaning                                                                        |
|------------------|-----------------|--------------------------------------------------------------------------------|
| `flow`           | (N, 2, H, W)    | motion to the right and down, pixels: `basis_blur.field.motion_flow`           |
| `pixel_kernels`  | (N, K*K, H, W)  | a kernel for every pixel, its K*K values row by row                            |
| `window_kernels` | (N, R, C, K, K) | a kernel for each of R x C equal windows of the photo; `image_size` is (H, W)  |

The field has `pixel_kernels` exactly: its basis kernels are the K*K points of a kernel, and its mixing is the kernels
themselves. `window_kernels` are those of the middles of the windows. Between the middles they are mixed bilinearly, and
beyond the outermost they stay as they are.

Convention: kernels are convolution kernels (point spread functions), as in every field; correlation kernels are flipped
    along both axes before they are written. Kernels whose sums are off by at most a hundredth are divided by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from basis_blur.field.blur_field import WHOLE_PIXELS, BlurField, CompactField, PixelField, pack
from basis_blur.field.motion_flow import field_of_flow

LARGEST_ERROR = 0.01  # largest distance of the sum of a kernel from 1


def field_of_arrays(arrays: Mapping[str, np.ndarray]) -> BlurField | None:
    """Return the field that the arrays of a file describe, or None if they are in none of these forms.

    Args:
        arrays: arrays by their names.

    Raises:
        ValueError: an array has another shape than its form, or its values are no blur.
        KeyError: `window_kernels` come without `image_size`.
    """
    for name, read in FORMS.items():
        if name in arrays:
            array = arrays[name]
            if array.dtype.kind != 'f':
                raise ValueError(f'{name} is {array.dtype}, expected floating point')
            values = torch.from_numpy(array)
            return read(values.float() if values.dtype == torch.float16 else values, arrays)
    return None


def field_of_pixel_kernels(pixel_kernels: Tensor) -> BlurField:
    """Return a blur with a kernel for every pixel as a field, exactly, by K*K basis kernels of one point each.

    Args:
        pixel_kernels: (N, K*K, H, W), K odd; >= 0, with sums of 1 over dim 1, to a hundredth.

    Raises:
        ValueError: the shape is another, or the values are no kernels.
    """
    size = PixelField(pixel_kernels).kernel_size
    points = torch.eye(size**2, dtype=pixel_kernels.dtype, device=pixel_kernels.device).view(1, -1, size, size)
    mixing = _with_sums_of_one(pixel_kernels, 1)
    return BlurField(points.expand(len(mixing), -1, -1, -1).contiguous(), mixing)


def field_of_window_kernels(window_kernels: Tensor, image_size: tuple[int, int]) -> BlurField:
    """Return the blur of a photo from one kernel for each of its R x C equal windows.

    Args:
        window_kernels: (N, R, C, K, K), K odd; >= 0, each with a sum of 1, to a hundredth.
        image_size: (H, W) of the photo, pixels.

    Returns:
        The field; a `CompactField` for more than 8 megapixels.

    Raises:
        ValueError: the shape is another, the values are no kernels, or the photo has fewer pixels than windows a side.
    """
    if window_kernels.ndim != 5:
        raise ValueError(f'window_kernels have shape {tuple(window_kernels.shape)}, expected (N, R, C, K, K)')
    number, rows, columns, height, width = window_kernels.shape
    if image_size[0] < rows or image_size[1] < columns:
        raise ValueError(f'a photo of {tuple(image_size)} pixels has no {rows} x {columns} windows')
    down, right = (
        _window_shares(side, many, window_kernels) for side, many in zip(image_size, (rows, columns), strict=True)
    )
    kernels = _with_sums_of_one(window_kernels.reshape(number, rows * columns, -1), 2)
    kernels = kernels.reshape(number, -1, height, width)
    if image_size[0] * image_size[1] <= WHOLE_PIXELS:
        mixing = torch.einsum('ry,cx->rcyx', down, right).flatten(0, 1)
        return BlurField(kernels, mixing.expand(number, -1, -1, -1).contiguous())
    packed = torch.empty(number, rows * columns, *image_size, dtype=torch.int16, device=kernels.device)
    for window in range(rows * columns):
        packed[:, window] = pack(torch.outer(down[window // columns], right[window % columns]))
    return CompactField(kernels, packed)


def _window_shares(side: int, windows: int, like: Tensor) -> Tensor:
    """Return the share of each window in each row or column of a photo, (windows, side)."""
    place = (torch.arange(side, dtype=torch.float64, device=like.device) + 0.5) * windows / side - 0.5
    middle = torch.arange(windows, dtype=torch.float64, device=like.device)
    distance = (place.clamp(0, windows - 1) - middle[:, None]).abs()
    return (1 - distance).clamp_min(0).to(like.dtype)


def _with_sums_of_one(kernels: Tensor, dim: int) -> Tensor:
    sums = kernels.sum(dim, keepdim=True)
    worst = (sums - 1).abs().max().item() if kernels.numel() else 0.0
    if not worst <= LARGEST_ERROR:  # NaN too
        raise ValueError(
            f'the sum of a kernel is off by {worst:.3g}, expected at most {LARGEST_ERROR}; divide each by its sum'
        )
    return kernels / sums


def _size_in(arrays: Mapping[str, np.ndarray]) -> tuple[int, int]:
    size = np.asarray(arrays['image_size']).reshape(-1).tolist()
    if len(size) != 2 or not all(float(side).is_integer() and 1 <= side <= 1 << 20 for side in size):
        raise ValueError(f'image_size is {size}, expected the height and width of the photo in pixels')
    return int(size[0]), int(size[1])


FORMS: dict[str, Callable[[Tensor, Mapping[str, np.ndarray]], BlurField]] = {
    'flow': lambda values, _: field_of_flow(values),
    'pixel_kernels': lambda values, _: field_of_pixel_kernels(values),
    'window_kernels': lambda values, arrays: field_of_window_kernels(values, _size_in(arrays)),
}
