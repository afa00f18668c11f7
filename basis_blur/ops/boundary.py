"""Border rules: linear operators that continue an image to the scene, which is larger.

    BasisBlur(field) @ ReflectPad(field)      maps an image to an image of the same size.

Each extends the image by r = (K - 1) / 2 pixels on every side; the transpose folds the border back.

Convention: `ReflectPad` mirrors about the centre of the edge pixel, which is not repeated (c b | a b c);
    `ReplicatePad` repeats the edge pixel; `ZeroPad` is black outside.
"""

from __future__ import annotations

import torch
from torch import Tensor

from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.foundation.errors import kind_of
from basis_blur.ops.linear_operator import LinearOperator


class _Pad(LinearOperator):
    """Extend an image by an index rule: scene row j shows image row `_sources(...)[j]`, or nothing where that is -1.

    Args:
        field: blur field that sets N, the image size and the kernel size.
    """

    def __init__(self, field: BlurField | PixelField):
        if not hasattr(field, 'scene_size'):
            raise ValueError(f'field is {kind_of(field)}, expected a BlurField or a PixelField.')
        super().__init__((len(field), 3, *field.image_size), (len(field), 3, *field.scene_size))
        self.radius = field.kernel_size // 2

    def _sources(self, size: int, device: torch.device) -> Tensor:
        raise NotImplementedError

    def _apply(self, x: Tensor) -> Tensor:
        for dim in (-2, -1):
            sources = self._sources(x.shape[dim], x.device)
            before, after = sources[: self.radius], sources[len(sources) - self.radius :]
            x = torch.cat([_shown(x, before, dim), x, _shown(x, after, dim)], dim)
        return x

    def _apply_transpose(self, y: Tensor) -> Tensor:
        for dim in (-2, -1):
            inner = y.shape[dim] - 2 * self.radius
            sources = self._sources(inner, y.device)
            border = torch.ones_like(sources, dtype=torch.bool)
            border[self.radius : self.radius + inner] = False
            border &= sources >= 0
            folded = y.narrow(dim, self.radius, inner).clone()
            y = folded.index_add(dim, sources[border], y.index_select(dim, border.nonzero().flatten()))
        return y


class ZeroPad(_Pad):
    """Continue the photo by black.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 1, 3))
        >>> bb.ZeroPad(field)(torch.tensor([[[[1.0, 2.0, 3.0]]]]))[0, 0, 1]
        tensor([0., 1., 2., 3., 0.])
    """

    def _sources(self, size: int, device: torch.device) -> Tensor:
        index = torch.arange(-self.radius, size + self.radius, device=device)
        return index.masked_fill((index < 0) | (index >= size), -1)


class ReplicatePad(_Pad):
    """Continue the photo by its edge pixels.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 1, 3))
        >>> bb.ReplicatePad(field)(torch.tensor([[[[1.0, 2.0, 3.0]]]]))[0, 0, 1]
        tensor([1., 1., 2., 3., 3.])
    """

    def _sources(self, size: int, device: torch.device) -> Tensor:
        return torch.arange(-self.radius, size + self.radius, device=device).clamp(0, size - 1)


class ReflectPad(_Pad):
    """Continue the photo by its mirror image about the edge pixels.

    Raises:
        ValueError: the photo is too small to be mirrored: a side is not larger than r = (K - 1) / 2.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> same_size = bb.BasisBlur(field) @ bb.ReflectPad(field)
        >>> same_size(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 3, 32, 48])
    """

    def __init__(self, field: BlurField | PixelField):
        super().__init__(field)
        if min(field.image_size) <= self.radius:
            raise ValueError(
                f'a {field.image_size[0]}x{field.image_size[1]} photo cannot be mirrored by {self.radius} pixels; '
                'use ReplicatePad for photos this small.'
            )

    def _sources(self, size: int, device: torch.device) -> Tensor:
        index = torch.arange(-self.radius, size + self.radius, device=device).abs()
        return torch.where(index >= size, 2 * (size - 1) - index, index)


def _shown(x: Tensor, sources: Tensor, dim: int) -> Tensor:
    """Return what a part of the border shows: some indices of the image along `dim`, or nothing at -1."""
    shown = x.index_select(dim, sources.clamp_min(0))
    return shown * (sources >= 0).reshape(-1, *([1] * (-dim - 1)))
