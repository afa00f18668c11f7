"""TIFF files to samples and back."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from basis_blur.foundation.errors import InputError
from basis_blur.photos.by_pillow import open_with_pillow, samples_of
from basis_blur.photos.exif import (
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    ICC_PROFILE,
    INTEROP_DIRECTORY,
    MALFORMED,
    ORIENTATION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    exif_of,
    orientation_of,
    tags_of,
)
from basis_blur.photos.photo import FULL_SCALE, Photo, Stored, check_size, colour_error, no_warnings
from basis_blur.photos.png import decode_with_opencv

TIFF_COLOURS = {
    0: 'gray', 1: 'gray', 2: 'RGB', 3: 'palette', 4: 'a mask', 5: 'CMYK', 6: 'YCbCr', 8: 'Lab', 9: 'Lab', 10: 'Lab',
    32803: 'raw sensor data', 34892: 'raw sensor data',
}  # fmt: skip
DNG_VERSION = 50706
UNSPECIFIED, PREMULTIPLIED = 0, 1
_Directory = TiffImagePlugin.ImageFileDirectory_v2


def decode_tiff(path: Path, data: bytes) -> Stored:
    try:
        with no_warnings():
            return _decode_tiff_pages(path, data, _tiff_pages(data))
    except InputError:
        raise
    except MALFORMED as error:
        raise InputError(f'{path} is a damaged TIFF file ({error!r}); copy or export it again.') from error


def _decode_tiff_pages(path: Path, data: bytes, pages: list[_Directory]) -> Stored:
    first, tags = pages[0], _tiff_tags(data, pages[0])
    check_size(path, int(first[256]), int(first[257]))
    photos = [page for page in pages if not page.get(254, 0) & 5]  # 1: a reduced copy, 4: a mask of another page
    if len(photos) > 1:
        raise InputError(f'{path} has {len(photos)} pages, expected one photo; save the page you want by itself.')
    colour = TIFF_COLOURS.get(first.get(262), f'of photometric kind {first.get(262)}')
    if DNG_VERSION in first:
        colour = 'camera raw (DNG)'
    if colour not in ('gray', 'RGB', 'palette', 'YCbCr'):
        raise colour_error(path, colour)
    bits, kind = set(_tuple(first.get(258, 1))), set(_tuple(first.get(339, 1)))
    extra = _tuple(first.get(338, ()))
    if len(extra) > 1 or extra == (UNSPECIFIED,):
        raise InputError(
            f'{path} has {len(extra)} more channel(s) than its colours and does not mark them as alpha; '
            'save it as plain gray or RGB, or with one alpha channel.'
        )
    if kind == {1} and bits <= {1, 2, 4, 8} and len(bits) == 1:
        samples, depth = samples_of(path, open_with_pillow(path, _marked_upright(data))), 8
    elif (kind == {1} and bits == {16}) or (kind == {3} and bits in ({32}, {64})):
        samples, depth = _deep_tiff_samples(path, _marked_upright(data), first), 16 if bits == {16} else 32
    else:
        words = {1: 'whole-number', 2: 'signed whole-number', 3: 'float'}
        raise InputError(
            f'{path} has {"/".join(map(str, sorted(bits)))}-bit '
            f'{"/".join(words.get(k, "unknown") for k in sorted(kind))} samples, expected 8 or 16 bit or 32-bit float; '
            'convert it to 16 bit.'
        )
    return Stored(samples, depth, orientation_of(tags), first.get(ICC_PROFILE), tags, _tiff_dpi(first))


def _tiff_directory(data: bytes, offset: int | None = None, group: int | None = None) -> _Directory:
    """Read the directory at an offset, by default the first."""
    file = io.BytesIO(data)
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if _is_big(data) else data[:8], group=group)
    file.seek(directory.next if offset is None else offset)
    directory.load(file)
    return directory


def _is_big(data: bytes) -> bool:
    return 43 in data[2:4]  # the version: 42 in TIFF, 43 in BigTIFF


def _tiff_pages(data: bytes) -> list[_Directory]:
    pages, seen = [_tiff_directory(data)], set()
    while (offset := pages[-1].next) and offset not in seen:
        seen.add(offset)
        pages.append(_tiff_directory(data, offset))
    return pages


def _tiff_tags(data: bytes, page: _Directory) -> dict[int, Any]:
    tags = dict(page)
    for tag in (EXIF_DIRECTORY, GPS_DIRECTORY):
        if tag in tags:
            tags[tag] = dict(_tiff_directory(data, tags[tag], tag))
    camera = tags.get(EXIF_DIRECTORY, {})
    if INTEROP_DIRECTORY in camera:
        camera[INTEROP_DIRECTORY] = dict(_tiff_directory(data, camera[INTEROP_DIRECTORY], INTEROP_DIRECTORY))
    return tags


def _marked_upright(data: bytes) -> bytes:
    """Return the file with its orientation tag set to 1: decoders differ in whether they turn a TIFF by it."""
    order, big = '<' if data[:2] == b'II' else '>', _is_big(data)
    offset = struct.unpack_from(order + ('Q' if big else 'L'), data, 8 if big else 4)[0]
    (count,) = struct.unpack_from(order + ('Q' if big else 'H'), data, offset)
    first, size, value = (offset + 8, 20, 12) if big else (offset + 2, 12, 8)
    for entry in range(first, first + count * size, size):
        if struct.unpack_from(order + 'H', data, entry)[0] == ORIENTATION:
            return data[: entry + value] + struct.pack(order + 'H', 1) + data[entry + value + 2 :]
    return data


def _deep_tiff_samples(path: Path, data: bytes, page: _Directory) -> np.ndarray:
    channels, extra = page.get(277, 1), _tuple(page.get(338, ()))
    if channels == 2 or (channels > 1 and page.get(284, 1) == 2):
        layout = 'gray with alpha' if channels == 2 else 'stored one plane after the other'
        raise InputError(
            f'{path} is a {page[258][0]}-bit TIFF {layout}, which cannot be read; '
            'save it as interleaved RGB, with or without alpha.'
        )
    samples = decode_with_opencv(path, data)
    if samples.shape != (page[257], page[256], channels):
        raise InputError(f'{path} cannot be decoded as {page[256]}x{page[257]} pixels of {channels} samples.')
    if samples.dtype != np.uint16:
        samples = _checked_float(path, samples)
    full = FULL_SCALE[16] if samples.dtype == np.uint16 else 1
    if page.get(262) == 0:  # stored as a negative
        samples = full - samples
    return _unpremultiplied(samples, full) if extra == (PREMULTIPLIED,) else samples


def _unpremultiplied(samples: np.ndarray, full: int) -> np.ndarray:
    colours, alpha = samples[..., :-1].astype(np.float64), samples[..., -1:].astype(np.float64) / full
    colours = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0).clip(0, full)
    colours = colours if full == 1 else np.rint(colours)
    return np.concatenate([colours.astype(samples.dtype), samples[..., -1:]], -1)


def _checked_float(path: Path, samples: np.ndarray) -> np.ndarray:
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= 1):
        raise InputError(
            f'{path} has float samples from {low:.4g} to {high:.4g}, expected values in [0, 1]; '
            'scale it, or convert it to 16 bit.'
        )
    return samples.astype(np.float32)


def _tiff_dpi(page: _Directory) -> tuple[float, float] | None:
    inches = {2: 1.0, 3: 2.54}.get(page.get(RESOLUTION_UNIT, 2))
    x, y = page.get(X_RESOLUTION), page.get(Y_RESOLUTION)
    return (float(x) * inches, float(y) * inches) if inches and x and y else None


def _tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def encode_tiff(samples: np.ndarray, like: Photo) -> bytes:
    """Encode per TIFF 6.0: one strip, deflate, horizontal differencing for whole numbers, little-endian."""
    height, width, channels = samples.shape
    whole = samples.dtype in (np.uint8, np.uint16)
    if not whole and samples.dtype != np.float32:
        raise ValueError(f'samples are {samples.dtype}, expected uint8, uint16 or float32 for TIFF.')
    strip = zlib.compress(_tiff_differences(samples) if whole else samples.astype('<f4').tobytes())
    source = Image.Exif()
    if like.exif is not None:
        source.load(like.exif)
    directory = exif_of(tags_of(source))
    directory[256], directory[257] = width, height
    directory[258] = (8 * samples.itemsize,) * channels
    directory[259] = 8  # deflate
    directory[262] = 2 if channels >= 3 else 1
    directory[273] = 0  # Pillow adds where the strip begins: right after this directory
    directory[277], directory[278], directory[279] = channels, height, len(strip)
    directory[284] = 1
    directory[317] = 2 if whole else 1
    if channels in (2, 4):
        directory[338] = 2  # alpha, not premultiplied
    directory[339] = (1 if whole else 3,) * channels
    if like.dpi is not None:
        directory[X_RESOLUTION], directory[Y_RESOLUTION] = like.dpi
        directory[RESOLUTION_UNIT] = 2
    if like.icc is not None:
        directory[ICC_PROFILE] = like.icc
    return directory.tobytes().removeprefix(b'Exif\0\0') + strip


def _tiff_differences(samples: np.ndarray) -> bytes:
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]  # wraps around, as the format says
    return differences.astype(samples.dtype.newbyteorder('<'), copy=False).tobytes()
