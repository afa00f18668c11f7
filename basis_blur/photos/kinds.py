"""Turn a photo of any kind into a tensor, and a result back into the kind that was given.

    given = take(photo);   given.pixels  (N, C, H, W), sRGB-like in [0, 1];   given.back(pixels)  the kind of `photo`

    kind                                    what comes back
    path of a PNG, JPEG or TIFF file        `photos.photo.Photo`, with alpha, depth, ICC profile, EXIF, XMP, IPTC
    Photo                                   the same
    PIL image                               PIL image; modes 1 and P become gray and colour
    numpy (H, W), (H, W, 1, 3 or 4)         the same dtype and shape; 8 and 16 bits are rounded; channel 4 is alpha
    tensor (N, 3 or 1, H, W)                the same dtype, on the same device

Convention: colours are in the order R, G, B unless an array is said to be in the order B, G, R, as those of OpenCV.
    Whole numbers are divided by the largest of their type. Files are turned upright by their EXIF orientation; arrays,
    tensors and PIL images are taken as they lie.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.photo import check_photo
from basis_blur.photos.photo import FULL_SCALE, Photo

if TYPE_CHECKING:
    from PIL.Image import Image

WHITE = {np.dtype(f'uint{bits}'): white for bits, white in FULL_SCALE.items()}  # dtype of an array -> value of white
ORDERS = ('rgb', 'bgr')  # orders of the channels of an array
# Number of channels of an array -> index of the one that is alpha.
ALPHA_OF = {1: None, 2: 1, 3: None, 4: 3}
# Mode of an image -> mode in which it is taken.
PIL_MODES = {'1': 'L', 'L': 'L', 'LA': 'LA', 'P': 'RGB', 'PA': 'RGBA', 'RGB': 'RGB', 'RGBA': 'RGBA', 'I;16': 'I;16'}


@dataclass(frozen=True, eq=False)
class Given:
    """A photo as it was handed over.

    Args:
        pixels: (N, 3 or 1, H, W); sRGB-like in [0, 1].
        back: function that turns other pixels, (N, 3 or 1, H, W) in [0, 1], into the kind that was given.
        photo: photo with all that it has beside its pixels, so that a result can be written like it.
    """

    pixels: Tensor
    back: Callable[[Tensor], Any]
    photo: Photo

    def gamma(self, wanted: float | None) -> float:
        """Return the gamma of the photo: the wanted one if there is one, or else its own, or else 2.2."""
        if wanted is not None:
            return wanted
        return GAMMA if self.photo.gamma is None else self.photo.gamma


def take(photo: Any, order: str = 'rgb') -> Given:
    """Take a photo of any kind.

    Args:
        photo: one of the kinds in the table above.
        order: 'rgb', or 'bgr' for an array of which the first channel is blue.

    Raises:
        InputError: a file cannot be used, see `read_photo`; an image has a mode, or an array a shape or type, that is
            not in the table.
        ValueError: numbers are outside [0, 1], `order` is another, or it is 'bgr' for a kind that is no array.
        TypeError: the photo is of no kind in the table.
        OSError: a file cannot be read.
    """
    if order not in ORDERS:
        raise ValueError(f'order is {order!r}, expected one of {", ".join(ORDERS)}.')
    if order != 'rgb' and not isinstance(photo, np.ndarray):
        raise ValueError(f'order is {order!r} for a {type(photo).__name__}, expected it for arrays only; leave it out.')
    if isinstance(photo, Tensor):
        given = _tensor(photo)
    elif isinstance(photo, np.ndarray):
        given = _array(photo, order)
    elif isinstance(photo, (str, os.PathLike)):
        from basis_blur.photos.reading import read_photo

        given = _photo(read_photo(photo))
    elif _is_image(photo):
        given = _image(photo)
    elif isinstance(photo, Photo):
        given = _photo(photo)
    else:
        raise TypeError(
            f'the photo is a {type(photo).__name__}, expected a path, a PIL image, a numpy array (H, W[, 3]) or a '
            'tensor (N, 3 or 1, H, W).'
        )
    check_photo(given.pixels)
    return given


def _is_image(value: Any) -> bool:
    """Tell whether a value is a PIL image, without loading Pillow: where it is not loaded there is no such value."""
    return 'PIL.Image' in sys.modules and isinstance(value, sys.modules['PIL.Image'].Image)


def _tensor(photo: Tensor) -> Given:
    check_photo(photo)
    pixels = photo.detach()
    pixels = pixels if pixels.dtype in (torch.float32, torch.float64) else pixels.float()
    return Given(pixels, lambda result: result.to(photo), Photo(pixels, bits=32))


def _photo(photo: Photo) -> Given:
    return Given(photo.pixels, lambda result: dataclasses.replace(photo, pixels=result), photo)


def _array(photo: np.ndarray, order: str) -> Given:
    if photo.ndim not in (2, 3) or (photo.ndim == 3 and photo.shape[2] not in (1, 3, 4)) or 0 in photo.shape:
        raise InputError(
            f'the array has shape {photo.shape}, expected (H, W), or (H, W, C) with C = 1, 3, or 4 for alpha; '
            'take photos one by one, channels last.'
        )
    native = photo.dtype.newbyteorder('=')  # files of the other byte order make such arrays
    if native not in WHITE and native.kind != 'f':
        raise InputError(
            f'the array is {photo.dtype}, expected uint8, uint16, or floating point in [0, 1]; convert it.'
        )
    samples = photo[..., None] if photo.ndim == 2 else photo
    samples = _reordered(samples, order).astype(native, copy=False)
    values = _planes(samples)
    bits = 8 * native.itemsize if native in WHITE else 32
    pixels, alpha = _split(values)

    def back(result: Tensor) -> np.ndarray:
        found = _samples(result, native)
        if alpha is not None:
            found = np.concatenate([found, samples[..., 3:]], -1)
        return np.ascontiguousarray(_reordered(found, order), dtype=photo.dtype).reshape(photo.shape)

    return Given(pixels, back, Photo(pixels, alpha, bits=bits))


def _reordered(samples: np.ndarray, order: str) -> np.ndarray:
    if order == 'rgb' or samples.shape[2] == 1:
        return samples
    return samples[..., [2, 1, 0, *range(3, samples.shape[2])]]


def _planes(samples: np.ndarray) -> Tensor:
    """Return samples (H, W, C) as (1, C, H, W) in [0, 1]; float64 stays float64, all else becomes float32."""
    kept = np.float64 if samples.dtype == np.float64 else np.float32
    values = torch.from_numpy(np.array(samples.transpose(2, 0, 1)[None], dtype=kept, order='C'))
    return values / WHITE.get(samples.dtype, 1)


def _split(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the planes of colour and that of alpha, if there is one."""
    alpha = ALPHA_OF[values.shape[1]]
    return (values, None) if alpha is None else (values[:, :alpha].contiguous(), values[:, alpha:].contiguous())


def _samples(pixels: Tensor, dtype: np.dtype) -> np.ndarray:
    """Return pixels (1, C, H, W) as samples (H, W, C); rounded to the nearest as `write_photo` does."""
    values = pixels[0].permute(1, 2, 0).cpu().numpy()
    full = WHITE.get(dtype)
    return values.astype(dtype) if full is None else np.rint(values.astype(np.float64) * full).astype(dtype)


def _exif_of(image: Image) -> bytes | None:
    """Return the EXIF block of an image: as in its file, or as Pillow writes it where it was changed since."""
    from PIL.Image import Exif

    told, block, as_read = image.getexif(), image.info.get('exif'), Exif()
    if isinstance(block, bytes):
        as_read.load(block)
        if dict(as_read) == dict(told):
            return block
    return told.tobytes() if len(told) else None


def _image(image: Image) -> Given:
    mode = PIL_MODES.get(image.mode)
    if mode is not None and 'transparency' in image.info:
        mode = {'L': 'LA', 'RGB': 'RGBA'}.get(mode, mode)
    if mode is None:
        raise InputError(
            f'the image has mode {image.mode}, expected gray or RGB, with or without alpha; call convert("RGB") first.'
        )
    samples = np.asarray(image if image.mode == mode else image.convert(mode))
    samples = samples if samples.ndim == 3 else samples[..., None]
    samples = samples.astype(np.uint16) if mode == 'I;16' else samples
    pixels, alpha = _split(_planes(samples))
    beside: dict[str, Any] = {
        'icc_profile': image.info.get('icc_profile'),
        'exif': _exif_of(image),
        'dpi': image.info.get('dpi'),
        'xmp': image.info['xmp'] if isinstance(image.info.get('xmp'), bytes) else None,
    }
    beside = {name: value for name, value in beside.items() if value}

    def back(result: Tensor) -> Image:
        from PIL import Image

        found = _samples(result, samples.dtype)
        if alpha is not None:
            found = np.concatenate([found, samples[..., -1:]], -1)
        made = Image.fromarray(np.ascontiguousarray(found if found.shape[2] > 1 else found[..., 0]))
        made.info.update(beside)
        return made

    told = Photo(
        pixels,
        alpha,
        bits=8 * samples.itemsize,
        icc=beside.get('icc_profile'),
        exif=beside.get('exif'),
        dpi=beside.get('dpi'),
        xmp=beside.get('xmp'),
    )
    return Given(pixels, back, told)
