"""Photo files to tensors: PNG, JPEG and TIFF; 8 bit, 16 bit and float; gray, colour, alpha, palette.

What a file holds beside its pixels travels with them: alpha, bit depth, ICC profile, EXIF, resolution, and the colours
that PNG tells by chunks.

    photo = read_photo('in.tif');  write_photo('out.tif', restored, like=photo)
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import check_is_file
from basis_blur.photos import tiff
from basis_blur.photos.by_pillow import decode_with_pillow
from basis_blur.photos.exif import UPRIGHT, orientation_of, upright_block
from basis_blur.photos.photo import FULL_SCALE, MAX_BYTES, Photo, Stored, no_warnings
from basis_blur.photos.png import decode_png


def read_photo(path: str | os.PathLike) -> Photo:
    """Read a PNG, JPEG or TIFF file.

    Palettes become colour and 1-bit pictures gray; samples of 8 and 16 bits are divided by 255 and 65535. CMYK with a
    profile becomes sRGB, with a warning.

    Raises:
        InputError: there is no such file, it is empty, damaged or cut off, another format, another colour
            space than gray, RGB and CMYK, float outside [0, 1], integers of 32 bits, an animation or of several pages,
            of more than `MAX_PIXELS` pixels, or no file but a pipe or device.
        OSError: the file cannot be read, such as for lack of permission.
    """
    path = Path(path)
    stored = _decode(path, _read_bytes(path))
    orientation = 1 if stored.upright else orientation_of(stored.exif)
    samples, turned = _turn_upright(stored.samples, orientation), UPRIGHT[orientation][0]
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
        gamma=stored.gamma,
        colour_chunks=stored.colour_chunks,
    )


def _decode(path: Path, data: bytes) -> Stored:
    if data[:4] in tiff.SIGNATURES:
        if tiff.is_camera_raw(data):
            raise InputError(
                f'{path} is a camera raw file (such as DNG), expected a photo; develop it in a raw converter and '
                'export it as TIFF of 16 bits.'
            )
        return tiff.decode_tiff(path, data)
    if data[:4] == b'\x89PNG':
        return decode_png(path, data)
    if data[:2] == b'\xff\xd8':
        return decode_with_pillow(path, data, 'JPEG')
    raise InputError(f'{path} is {_format_name(data)}, expected PNG, JPEG or TIFF; convert it to one of these.')


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f'{path} is a folder, expected a photo file.')
    check_is_file(path, MAX_BYTES)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f'there is no file {path} (looked from {Path.cwd()}); correct the path.') from error
    if not data:
        raise InputError(f'{path} is empty (0 bytes), expected a PNG, JPEG or TIFF file; copy it again.')
    return data


def _format_name(data: bytes) -> str:
    try:
        with no_warnings(), Image.open(io.BytesIO(data)) as image:
            return f'a {image.format} file'
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return 'not a photo file'


def _turn_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    transpose, flip_rows, flip_columns = UPRIGHT[orientation]
    samples = samples.swapaxes(0, 1) if transpose else samples
    samples = samples[::-1] if flip_rows else samples
    return samples[:, ::-1] if flip_columns else samples
