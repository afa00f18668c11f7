"""The blur of a large photo, window by window: the same operator as `BasisBlur`, to rounding, in less memory.

    H u      is put together from windows of the photo, each blurred from its part of the scene, K - 1 pixels larger
    H^T v    is the sum of the transposes of all windows, which overlap in the scene

A window is what the whole photo has there, so there are no seams. Only the mixing of one window is unpacked at a time,
and only the kernels that it uses are applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import check_number
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.linear_operator import LinearOperator


class TiledBlur(LinearOperator):
    """The operator H of a blur field, from the scene to the image, as `BasisBlur`.

    Args:
        field: the blur; on any device.
        tile: side of the windows, pixels.

    Raises:
        ValueError: `tile` is smaller than 1.
    """

    def __init__(self, field: BlurField, tile: int):
        check_number('tile', tile, least=1, whole=True, remedy='it is a side in pixels; 1024 is moderate.')
        super().__init__((len(field), 3, *field.scene_size), (len(field), 3, *field.image_size))
        self.field = field
        self.tile = tile
        self._used: dict[tuple[int, int], Tensor] = {}  # indices of the kernels that a window uses, by its corner

    def _apply(self, x: Tensor) -> Tensor:
        image = x.new_empty(*x.shape[:2], *self.field.image_size)
        for window, around in self._windows():
            image[(..., *window)] = self._part(window)(x[(..., *around)])
        return image

    def _apply_transpose(self, y: Tensor) -> Tensor:
        scene = y.new_zeros(*y.shape[:2], *self.field.scene_size)
        for window, around in self._windows():
            scene[(..., *around)] += self._part(window).T(y[(..., *window)])
        return scene

    def _windows(self) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
        """Go through the windows of the image, each with its part of the scene."""
        border = self.field.kernel_size - 1
        cuts = [
            [slice(start, min(start + self.tile, side)) for start in range(0, side, self.tile)]
            for side in self.field.image_size
        ]
        for rows, columns in product(*cuts):
            around = slice(rows.start, rows.stop + border), slice(columns.start, columns.stop + border)
            yield (rows, columns), around

    def _part(self, window: tuple[slice, slice]) -> BasisBlur:
        rows, columns = window
        top, left = rows.start, columns.start
        field = self.field.crop(top, left, rows.stop - top, columns.stop - left)
        mixing = field.mixing
        if (top, left) not in self._used:
            self._used[top, left] = (mixing.detach().amax((0, 2, 3)) > 0).nonzero().flatten()
        used = self._used[top, left]
        if len(used) == mixing.shape[1]:
            return BasisBlur(field)
        return BasisBlur(BlurField.unchecked(field.kernels[:, used], mixing[:, used]))
