"""The blur of a photo: basis kernels and the per-pixel coefficients that mix them, or a kernel for every pixel.

    BlurField     pixel i's point spread function is  sum_b mixing[b, i] kernels[b]     [C21, Eq. 2]
    CompactField  the same as BlurField, with the mixing in 16 bits, for large photos
    PixelField    pixel i's point spread function is  pixel_kernels[:, i]               [F23]

Convention: `kernels` are convolution kernels (point spread functions): light at a point of the scene is spread in
    the shape of the kernel as it is drawn, not mirrored. A correlation kernel is flipped along both axes.
"""

from __future__ import annotations

import base64
import copy
import importlib
import math
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from basis_blur.field.removal import ESTIMATED_BLUR, Removal
from basis_blur.field.tensors import check_tensor
from basis_blur.foundation.errors import InputError, kind_of
from basis_blur.foundation.files import atomic_path, check_is_file

if TYPE_CHECKING:
    from deepinv.physics import SpaceVaryingBlur

# Modules that this one may not import, since they lie above it or import it; they are loaded when they are needed.
OTHER_FORMS = 'basis_blur.field.other_forms'
DEEPINV_BRIDGE = 'basis_blur.bridges.deepinv'
PICTURES = 'basis_blur.photos.pictures'
SUM_TOLERANCE = 1e-3  # largest distance of a sum of kernels or of mixing from 1
WHOLE_PIXELS = 1 << 23  # number of pixels of a photo above which its field is compact
FULL_MIXING = 32767  # whole number that stands for a coefficient of 1, the largest of 16 bits with a sign
# Largest size of each array of a file when it is unpacked, bytes. Hundreds of kernels have a hundredth of theirs; 25
# coefficients for each of 100 megapixels have 10 GB.
MOST_BYTES = {
    'kernels': 2**28, 'mixing': 2**34, 'estimated': 2**10, 'removal': 2**12, 'flow': 2**31, 'pixel_kernels': 2**34,
    'window_kernels': 2**30, 'image_size': 2**10,
}  # fmt: skip
# Errors that numpy and torch raise for files that are no arrays of numbers, or claim more numbers than memory holds.
_NO_FIELD = (
    KeyError, ValueError, TypeError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error,
    tokenize.TokenError,
)  # fmt: skip


class BlurField:
    """The blur of a batch of photos of one size. It is immutable; do not change the numbers in its tensors.

    Args:
        kernels: (N, B, K, K), K odd; >= 0, each sums to 1.
        mixing: (N, B, H, W); >= 0, sums to 1 over B at every pixel.
        removal: settings with which the blur is best removed, as its maker recommends; None for a blur that is known,
            which `deblur` trusts. Fields that are made from this one, such as a crop, have them too.

    Raises:
        ValueError: shapes, devices or dtypes do not fit together, values are not finite or negative, or sums are
            further than 0.001 from 1.

    Example:
        >>> kernels = torch.rand(1, 2, 5, 5)
        >>> kernels /= kernels.sum((-2, -1), keepdim=True)
        >>> field = bb.BlurField(kernels, torch.rand(1, 2, 32, 48).softmax(1))
        >>> field.image_size, field.scene_size
        ((32, 48), (36, 52))
        >>> field.kernels_at(torch.tensor([[0, 0], [31, 47]])).shape
        torch.Size([1, 2, 5, 5])
    """

    kernels: Tensor
    mixing: Tensor
    removal: Removal | None

    def __init__(self, kernels: Tensor, mixing: Tensor, *, removal: Removal | None = None):
        _check_shapes(kernels, mixing)
        _check_values(kernels, mixing)
        self.__dict__.update(kernels=kernels, mixing=mixing, removal=removal)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f'{name} of a {type(self).__name__} cannot be set; build another field.')

    @classmethod
    def unchecked(cls, kernels: Tensor, mixing: Tensor, *, removal: Removal | None = None) -> BlurField:
        """Build a field whose values are known to be valid, such as the output of a softmax.

        Only shapes, devices and dtypes are checked, not values, so that nothing waits for a device.

        Raises:
            ValueError: shapes, devices or dtypes do not fit together.
        """
        _check_shapes(kernels, mixing)
        field = cls.__new__(cls)
        field.__dict__.update(kernels=kernels, mixing=mixing, removal=removal)
        return field

    def with_removal(self, removal: Removal | None) -> BlurField:
        """Return the same blur with other settings for its removal; None for a blur that is known."""
        field = copy.copy(self)
        field.__dict__['removal'] = removal
        return field

    @property
    def kernel_size(self) -> int:
        """K, the side of a kernel in pixels."""
        return self.kernels.shape[-1]

    @property
    def device(self) -> torch.device:
        """The device of the numbers."""
        return self.mixing.device

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the photo."""
        return self.mixing.shape[-2], self.mixing.shape[-1]

    @property
    def scene_size(self) -> tuple[int, int]:
        """(H+K-1, W+K-1): the photo with the border that the blur reaches into."""
        height, width = self.image_size
        return height + self.kernel_size - 1, width + self.kernel_size - 1

    def inside(self, scene: Tensor) -> Tensor:
        """Return the part of a scene (..., H+K-1, W+K-1) that lies under the photo: (..., H, W), a view."""
        radius, (height, width) = self.kernel_size // 2, self.image_size
        return scene[..., radius : radius + height, radius : radius + width]

    def __len__(self) -> int:
        return self.kernels.shape[0]

    def __getitem__(self, item: int | slice) -> BlurField:
        """Return the field of one photo (N = 1) or of a slice of the batch."""
        part = _as_slice(item, len(self))
        return BlurField.unchecked(self.kernels[part], self.mixing[part], removal=self.removal)

    def crop(self, top: int, left: int, height: int, width: int) -> BlurField:
        """Return the field of a window of the photo; all numbers are pixels.

        Raises:
            ValueError: the window reaches outside the photo.
        """
        _check_window(self.image_size, top, left, height, width)
        window = self.mixing[..., top : top + height, left : left + width]
        return BlurField.unchecked(self.kernels, window, removal=self.removal)

    def kernels_at(self, points: Tensor) -> Tensor:
        """Return the point spread functions of some pixels.

        Args:
            points: (M, 2) whole numbers; row and column of each pixel.

        Returns:
            (N, M, K, K); each sums to 1.
        """
        weights = self.mixing[:, :, points[:, 0], points[:, 1]]
        return torch.einsum('nbm,nbij->nmij', weights, self.kernels)

    def to_pixel_field(self) -> PixelField:
        """Return the same blur with a kernel for every pixel; K*K numbers a pixel, 94 MB at 256 x 256 and K = 19."""
        return PixelField(torch.einsum('nbhw,nbs->nshw', self.mixing, self.kernels.flatten(2)))

    def to(self, *args: Any, **kwargs: Any) -> BlurField:
        """Return the field on another device or in another dtype; arguments are those of `Tensor.to`."""
        kernels, mixing = self.kernels.to(*args, **kwargs), self.mixing.to(*args, **kwargs)
        return BlurField.unchecked(kernels, mixing, removal=self.removal)

    def in_full_precision(self) -> BlurField:
        """Return a field of half precision in float32, with sums of 1 again, and any other as it is."""
        if self.kernels.dtype not in (torch.float16, torch.bfloat16):
            return self
        kernels, mixing = self.kernels.float(), self.mixing.float()
        kernels = kernels / kernels.sum((-2, -1), keepdim=True)
        return BlurField.unchecked(kernels, mixing / mixing.sum(1, keepdim=True), removal=self.removal)

    def detach(self) -> BlurField:
        """Return the same numbers without their history of gradients."""
        return BlurField.unchecked(self.kernels.detach(), self.mixing.detach(), removal=self.removal)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `kernels`, `mixing` and, if there is one, `removal` to a compressed npz file, whole or not at all.

        Args:
            path: file name; numpy's `load` reads it.

        Raises:
            OSError: the file cannot be written.
        """
        with atomic_path(path) as partial, open(partial, 'wb') as file:
            kernels, mixing = (each.detach().cpu().numpy() for each in (self.kernels, self.mixing))
            if self.removal is None:
                np.savez_compressed(file, kernels=kernels, mixing=mixing)
            else:
                np.savez_compressed(file, kernels=kernels, mixing=mixing, removal=np.array(self.removal.to_json()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BlurField:
        """Read a field that `save` wrote, or one in a form of another method.

        The other forms are a motion flow, a kernel for every pixel, and a kernel for each window, see
        `basis_blur.field.other_forms`. A file of an earlier version, with `estimated`, is read with a warning.

        Raises:
            InputError: the file is not such an npz file, or its numbers are not a blur field.
            FileNotFoundError: there is no such file.
        """
        check_is_file(path)
        try:
            with np.load(Path(path), allow_pickle=False) as arrays:
                _check_sizes(arrays.zip)
                other = None if 'kernels' in arrays else importlib.import_module(OTHER_FORMS).field_of_arrays(arrays)
                if other is not None:
                    return other
                kernels, mixing = (torch.from_numpy(arrays[name]) for name in ('kernels', 'mixing'))
                removal = _stored_removal(arrays, path)
        except _NO_FIELD as error:
            raise InputError(
                f'{path} is not a saved blur field ({error}); expected an npz file with "kernels" and "mixing", or '
                'with "flow", "pixel_kernels" or "window_kernels".'
            ) from error
        try:
            return cls(kernels, mixing, removal=removal)
        except ValueError as error:
            raise InputError(f'{path}: {error}') from error

    def to_deepinv(self, border: str = 'valid') -> SpaceVaryingBlur:
        """Return this blur as an operator of deepinv; see `basis_blur.bridges.deepinv.to_deepinv`."""
        return importlib.import_module(DEEPINV_BRIDGE).to_deepinv(self, border)

    @classmethod
    def from_deepinv(cls, physics: SpaceVaryingBlur) -> BlurField:
        """Return the field of an operator of deepinv; see `basis_blur.bridges.deepinv.from_deepinv`."""
        return importlib.import_module(DEEPINV_BRIDGE).from_deepinv(physics)

    def __repr__(self) -> str:
        number, basis, size, _ = self.kernels.shape
        height, width = self.image_size
        return f'BlurField({number} x {height}x{width} pixels, {basis} kernels of {size}x{size})'

    def _repr_png_(self) -> bytes:
        """Show the kernels of the first photo in a notebook, each at its place, as a PNG file."""
        return importlib.import_module(PICTURES).png_of_field(self)

    def _repr_html_(self) -> str:
        """Show the same picture in a notebook, under a line of text."""
        picture = base64.b64encode(self._repr_png_()).decode()
        return (
            f'<div><code>{self!r}</code><br>'
            f'<img src="data:image/png;base64,{picture}" alt="its kernels" style="max-width:100%"></div>'
        )


class CompactField(BlurField):
    """A field whose mixing is held as whole numbers of 16 bits, in half the memory, for large photos.

    Each coefficient is off by at most 1 / 65534. The property `mixing` unpacks all of it each time; `crop` unpacks a
    window.

    Args:
        kernels: (N, B, K, K); basis kernels, see `BlurField`.
        packed: (N, B, H, W) int16; the mixing times `FULL_MIXING`, rounded, as `pack` returns it.
        removal: settings with which the blur is best removed, see `BlurField`.

    Raises:
        ValueError: shapes or devices do not fit together, or `packed` is not int16.
    """

    packed: Tensor

    def __init__(self, kernels: Tensor, packed: Tensor, *, removal: Removal | None = None):
        if packed.dtype != torch.int16:
            raise ValueError(f'packed is {packed.dtype}, expected int16; see `CompactField.of`.')
        _check_shapes(kernels, torch.empty_like(packed[:, :, :1, :1], dtype=kernels.dtype))
        self.__dict__.update(kernels=kernels, packed=packed, removal=removal)

    @classmethod
    def of(cls, field: BlurField) -> CompactField:
        """Pack the mixing of a field."""
        packed = torch.empty_like(field.mixing, dtype=torch.int16)
        for place, coefficients in zip(packed.unbind(1), field.mixing.unbind(1), strict=True):
            place.copy_(pack(coefficients))
        return cls(field.kernels, packed, removal=field.removal)

    @property
    def mixing(self) -> Tensor:  # type: ignore[override]
        """The mixing of the whole photo, (N, B, H, W), unpacked again each time."""
        return self._unpacked(self.packed)

    @property
    def device(self) -> torch.device:
        """The device of the numbers."""
        return self.packed.device

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the photo."""
        return self.packed.shape[-2], self.packed.shape[-1]

    def __getitem__(self, item: int | slice) -> CompactField:
        """Return the field of one photo (N = 1) or of a slice of the batch."""
        part = _as_slice(item, len(self))
        return CompactField(self.kernels[part], self.packed[part], removal=self.removal)

    def crop(self, top: int, left: int, height: int, width: int) -> BlurField:
        """Return the field of a window of the photo, unpacked; arguments and errors are those of a BlurField."""
        _check_window(self.image_size, top, left, height, width)
        window = self.packed[..., top : top + height, left : left + width]
        return BlurField.unchecked(self.kernels, self._unpacked(window), removal=self.removal)

    def kernels_at(self, points: Tensor) -> Tensor:
        """Return the point spread functions of some pixels, see `BlurField.kernels_at`."""
        weights = self._unpacked(self.packed[:, :, points[:, 0], points[:, 1]])
        return torch.einsum('nbm,nbij->nmij', weights, self.kernels)

    def to(self, *args: Any, **kwargs: Any) -> CompactField:
        """Return the field on another device or in another dtype, as `BlurField.to`; the mixing stays packed."""
        kernels = self.kernels.to(*args, **kwargs)
        return CompactField(kernels, self.packed.to(kernels.device), removal=self.removal)

    def in_full_precision(self) -> CompactField:
        """Return the field with its kernels in float32 if they have half precision, as a BlurField does."""
        if self.kernels.dtype not in (torch.float16, torch.bfloat16):
            return self
        kernels = self.kernels.float()
        return CompactField(kernels / kernels.sum((-2, -1), keepdim=True), self.packed, removal=self.removal)

    def detach(self) -> CompactField:
        """Return the same numbers without their history of gradients; the mixing has none."""
        return CompactField(self.kernels.detach(), self.packed, removal=self.removal)

    def _unpacked(self, packed: Tensor) -> Tensor:
        return unpack(packed, self.kernels.dtype)


def pack(mixing: Tensor) -> Tensor:
    """Return mixing coefficients in [0, 1] as int16, as a `CompactField` holds them."""
    return (mixing * FULL_MIXING).round_().to(torch.int16)


def unpack(packed: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the mixing coefficients that `pack` made whole numbers of."""
    return packed.to(dtype).div_(FULL_MIXING)


class PixelField:
    """The blur of a batch of photos of one size, with a kernel of its own for every pixel.

    Args:
        pixel_kernels: (N, K*K, H, W), K odd; the K*K values of a kernel row by row. Point spread functions are >= 0
            and sum to 1 over dim 1; only the shape is checked.

    Raises:
        ValueError: the shape is another.

    Example:
        >>> field = bb.PixelField(torch.rand(1, 25, 32, 48).softmax(1))
        >>> field.kernel_size, field.image_size
        (5, (32, 48))
    """

    def __init__(self, pixel_kernels: Tensor):
        if not isinstance(pixel_kernels, Tensor):
            raise ValueError(
                f'pixel_kernels is {kind_of(pixel_kernels)}, expected a tensor (N, K*K, H, W) or a PixelField; '
                'BasisBlur takes a BlurField.'
            )
        size = math.isqrt(pixel_kernels.shape[1]) if pixel_kernels.ndim == 4 else 0
        if size % 2 == 0 or size**2 != pixel_kernels.shape[1] or not pixel_kernels.is_floating_point():
            raise ValueError(
                f'pixel_kernels have shape {tuple(pixel_kernels.shape)} in {pixel_kernels.dtype}, expected '
                '(N, K*K, H, W) with K odd, in floating point.'
            )
        self.pixel_kernels = pixel_kernels
        self.kernel_size = size

    @property
    def device(self) -> torch.device:
        """The device of the numbers."""
        return self.pixel_kernels.device

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the photo."""
        return self.pixel_kernels.shape[-2], self.pixel_kernels.shape[-1]

    @property
    def scene_size(self) -> tuple[int, int]:
        """(H+K-1, W+K-1): the photo with the border that the blur reaches into."""
        height, width = self.image_size
        return height + self.kernel_size - 1, width + self.kernel_size - 1

    def __len__(self) -> int:
        return self.pixel_kernels.shape[0]

    def __getitem__(self, item: int | slice) -> PixelField:
        """Return the field of one photo (N = 1) or of a slice of the batch."""
        return PixelField(self.pixel_kernels[_as_slice(item, len(self))])

    def kernels_at(self, points: Tensor) -> Tensor:
        """Return the point spread functions of some pixels, (N, M, K, K), see `BlurField.kernels_at`."""
        kernels = self.pixel_kernels[:, :, points[:, 0], points[:, 1]].mT
        return kernels.unflatten(-1, (self.kernel_size, self.kernel_size))

    def __repr__(self) -> str:
        height, width = self.image_size
        return f'PixelField({len(self)} x {height}x{width} pixels, kernels of {self.kernel_size}x{self.kernel_size})'


def _as_slice(item: int | slice, length: int) -> slice:
    """Return the slice of one element for a number, which may be negative; a slice stays as it is.

    Raises:
        IndexError: there is no element of that number.
    """
    if isinstance(item, slice):
        return item
    first = range(length)[item]
    return slice(first, first + 1)


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """Raise ValueError if an unpacked array of a saved field exceeds `MOST_BYTES` or half of the memory."""
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') if hasattr(os, 'sysconf') else math.inf
    for member in archive.infolist():
        most = min(MOST_BYTES.get(name := member.filename.removesuffix('.npy'), math.inf), memory / 2)
        if member.file_size > most:
            raise ValueError(f'its array "{name}" takes {member.file_size / 1e6:.0f} MB, more than {most / 1e6:.0f} MB')


def _stored_removal(arrays: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> Removal | None:
    if 'removal' in arrays:
        return Removal.from_json(str(arrays['removal']))
    if 'estimated' not in arrays:
        return None
    warnings.warn(
        f'{path} was saved by an earlier version and says only whether the blur was estimated; save it again.',
        DeprecationWarning,
        stacklevel=3,
    )
    return ESTIMATED_BLUR if bool(arrays['estimated']) else None


def _check_window(size: tuple[int, int], top: int, left: int, height: int, width: int) -> None:
    if min(top, left) < 0 or min(height, width) < 1 or top + height > size[0] or left + width > size[1]:
        raise ValueError(
            f'the window at ({top}, {left}) of {height}x{width} reaches outside the {size[0]}x{size[1]} photo; '
            'give a window inside it.'
        )


def _check_shapes(kernels: Tensor, mixing: Tensor) -> None:
    for name, values in (('kernels', kernels), ('mixing', mixing)):
        if not isinstance(values, Tensor):
            raise ValueError(f'{name} is {kind_of(values)}, expected a tensor; torch.from_numpy makes one of an array.')
    if kernels.ndim != 4 or kernels.shape[2] != kernels.shape[3] or kernels.shape[3] % 2 == 0:
        raise ValueError(f'kernels have shape {tuple(kernels.shape)}, expected (N, B, K, K) with K odd.')
    if mixing.ndim != 4 or mixing.shape[:2] != kernels.shape[:2]:
        raise ValueError(
            f'mixing has shape {tuple(mixing.shape)}, expected (N, B, H, W) with N and B of the kernels '
            f'{tuple(kernels.shape)}.'
        )
    if kernels.device != mixing.device or kernels.dtype != mixing.dtype:
        raise ValueError(
            f'kernels are {kernels.dtype} on {kernels.device} and mixing is {mixing.dtype} on {mixing.device}; '
            'bring both to one device and dtype.'
        )
    if not kernels.is_floating_point():
        raise ValueError(f'kernels are {kernels.dtype}, expected a floating point dtype.')


@torch.no_grad()
def _check_values(kernels: Tensor, mixing: Tensor) -> None:
    check_tensor('kernels', kernels)
    check_tensor('mixing', mixing)
    for name, values in (('kernels', kernels), ('mixing', mixing)):
        if values.numel() == 0:
            raise ValueError(f'{name} is empty: shape {tuple(values.shape)}.')
    _check_simplex(kernels.flatten(2), -1, 'kernels', 'kernel', 'divide each kernel by its sum')
    _check_simplex(mixing, 1, 'mixing', 'pixel', 'apply softmax over dim 1')


def _check_simplex(values: Tensor, dim: int, name: str, place: str, remedy: str) -> None:
    smallest = values.min().item()
    if not smallest >= 0:
        raise ValueError(f'{name} has the value {smallest:.3g}, expected >= 0; {remedy} before building a BlurField.')
    sums = values.double().sum(dim)
    worst = sums.flatten()[(sums - 1).abs().argmax()].item()
    if not abs(worst - 1) <= SUM_TOLERANCE:
        raise ValueError(
            f'{name} sums to {worst:.4f} at its worst {place}, expected 1; {remedy} before building a BlurField.'
        )
