"""Photo files to tensors; `formats` lists what is read: 8 bit, 16 bit and float; gray, colour, alpha, palette.

What a file holds beside its pixels travels with them: alpha, bit depth, ICC profile, EXIF, XMP, IPTC, resolution, and
the colours that PNG tells by chunks.

    photo = read_photo('in.tif');  write_photo('out.tif', restored, like=photo)
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import features

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import check_is_file
from basis_blur.photos.boxes import bits_of_avif, colour_chunks_of
from basis_blur.photos.by_pillow import decode_with_pillow
from basis_blur.photos.descriptions import upright_xmp
from basis_blur.photos.exif import UPRIGHT, orientation_told, upright_block
from basis_blur.photos.formats import format_of
from basis_blur.photos.heif import decode_heif
from basis_blur.photos.photo import FULL_SCALE, MAX_BYTES, Photo, Stored
from basis_blur.photos.png import decode_png
from basis_blur.photos.profiles import gamma_of_profile
from basis_blur.photos.raw import decode_raw
from basis_blur.photos.refusing import refusal
from basis_blur.photos.tiff import decode_tiff, is_camera_raw


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Read a photo; the content of the file decides its format, whatever its name.

    Palettes become colour and 1-bit pictures gray; samples of 8 and 16 bits are divided by 255 and 65535. CMYK with a
    profile becomes sRGB, with a warning. A camera raw file becomes linear light, of gamma 1.

    Raises:
        InputError: there is no such file; it is empty, damaged or cut off, of another format, or of one that needs an
            extra that is not installed; it has another colour space than gray, RGB and CMYK, float outside [0, 1],
            integers of 32 bits, several pages or frames, or more than `MAX_PIXELS` pixels; or it is no file but a pipe
            or device.
        OSError: the file cannot be read, such as for lack of permission.
    """
    path = Path(path)
    return photo_of(path, _read_bytes(path))


def photo_of(path: Path, data: bytes) -> Photo:
    """Return the photo of a file's content; the path is for messages, and the errors are those of `read_photo`."""
    stored = _decode(path, data)
    told = orientation_told(stored.exif)
    orientation = 1 if stored.upright or told is None else told
    samples, turned = turn_upright(stored.samples, orientation), UPRIGHT[orientation][0]
    height, width, channels = samples.shape
    values = torch.from_numpy(np.ascontiguousarray(samples.transpose(2, 0, 1)[None], dtype=np.float32))
    values = values / FULL_SCALE.get(stored.bits, 1)
    colours = channels - 1 if channels in (2, 4) else channels
    return Photo(
        pixels=values[:, :colours].contiguous(),
        alpha=values[:, colours:].contiguous() if colours < channels else None,
        bits=stored.bits,
        icc=stored.icc,
        exif=upright_block(path, stored.exif, width, height, turned),
        dpi=stored.dpi[::-1] if stored.dpi and turned else stored.dpi,
        gamma=gamma_of_profile(stored.icc) if stored.gamma is None else stored.gamma,
        colour_chunks=stored.colour_chunks,
        # XMP alone turns no photo, so an orientation that only XMP tells stays in it.
        xmp=upright_xmp(path, stored.xmp, stored.upright or told is not None),
        iptc=stored.iptc,
    )


def _decode(path: Path, data: bytes) -> Stored:
    found = format_of(data)
    if found == 'TIFF' and is_camera_raw(data):
        found = 'raw'
    if found is None or found not in DECODERS:
        raise refusal(path, data)
    return DECODERS[found](path, data)


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f'{path} is a folder, expected a photo file.')
    check_is_file(path, MAX_BYTES)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f'there is no file {path} (looked from {Path.cwd()}); correct the path.') from error
    if not data:
        raise refusal(path, data)
    return data


def turn_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Return a view of samples (H, W[, C]) as `exif.orientation_of` says that they are to be turned."""
    transpose, flip_rows, flip_columns = UPRIGHT[orientation]
    samples = samples.swapaxes(0, 1) if transpose else samples
    samples = samples[::-1] if flip_rows else samples
    return samples[:, ::-1] if flip_columns else samples


def _decode_avif(path: Path, data: bytes) -> Stored:
    if not features.check('avif'):
        raise InputError(
            f"{path} is an AVIF file, which needs Pillow 11.3 or later; pip install 'pillow>=11.3', or convert it to "
            'PNG.'
        )
    stored = decode_with_pillow(path, data, 'AVIF')
    if (bits := bits_of_avif(data)) > 8:
        warnings.warn(f'{path}: its {bits} bits a sample become 8, as Pillow decodes it', stacklevel=3)
    return stored if stored.icc else dataclasses.replace(stored, colour_chunks=colour_chunks_of(data))


DECODERS: dict[str, Callable[[Path, bytes], Stored]] = {
    'PNG': decode_png,
    'JPEG': partial(decode_with_pillow, format='JPEG'),
    'TIFF': decode_tiff,
    'WEBP': partial(decode_with_pillow, format='WEBP'),
    'AVIF': _decode_avif,
    'HEIF': decode_heif,
    'raw': decode_raw,
}
