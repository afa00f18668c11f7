"""Photo files to tensors and back: PNG, JPEG and TIFF; 8 bit, 16 bit and float; gray, colour, alpha, palette.

What a file holds beside its pixels travels with them: alpha, bit depth, ICC profile, EXIF and resolution.

    photo = read_photo('in.tif');  write_photo('out.tif', restored, like=photo)

Convention: pixels are upright. A photo that its EXIF orientation tells to turn is turned when it is read, and the
    orientation that is written is 1 (upright).

Who decodes and encodes: Pillow reads 8-bit files and metadata, OpenCV the pixels of 16-bit and float files, which
Pillow would reduce to 8 bits. PNG and TIFF are encoded here: no library among our dependencies writes 16-bit colour
together with an ICC profile and EXIF, nor 16-bit gray with alpha.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import atomic_path, check_is_file

SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff')
MAX_PIXELS = 178_956_970  # as Pillow: more than this is taken for a decompression bomb
MAX_BYTES = 16 * MAX_PIXELS  # of a file: four floats a pixel
JPEG_QUALITY = 95
FULL_SCALE = {8: 255, 16: 65535}
ORIENTATION = 0x0112
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROP_DIRECTORY = 0x8769, 0x8825, 0xA005
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
ICC_PROFILE = 0x8773
# Tags of a TIFF directory that say how its pixels are stored, or hold blocks that other fields of `Photo` carry or
# that describe the picture as it was before (thumbnails, XMP, Photoshop layers). They are not EXIF and not copied.
STORAGE_TAGS = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 290, 291, 292, 293,
    X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 338,
    339, 340, 341, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33723, 34377, ICC_PROFILE, 37724,
}  # fmt: skip
# What Pillow raises for directories of tags that are not as they should be.
_MALFORMED = (SyntaxError, struct.error, ValueError, TypeError, KeyError, IndexError, OSError, AttributeError)
# Upright pixels from stored ones for each value of the orientation tag: (transpose, flip rows, flip columns).
UPRIGHT = {
    1: (False, False, False), 2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
    5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Photo:
    """The content of a photo file.

    Args:
        pixels: (1, 3 or 1, H, W) float32; sRGB-like in [0, 1]; upright.
        alpha: (1, 1, H, W) float32 in [0, 1], or None; the pixels are not multiplied by it.
        bits: per sample of the file: 8, 16, or 32 for float.
        icc: the bytes of the ICC profile, or None.
        exif: the EXIF block as a JPEG holds it (from b'Exif' on), orientation 1, without thumbnail; or None.
        dpi: horizontal and vertical resolution in pixels per inch, or None.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None


def read_photo(path: str | os.PathLike) -> Photo:
    """Read a PNG, JPEG or TIFF file.

    Palettes become colour and 1-bit pictures gray; samples of 8 and 16 bits are divided by 255 and 65535.

    Raises:
        InputError: there is no such file, it is empty, damaged or cut off, another format, CMYK or another colour
            space than gray and RGB, float outside [0, 1], integers of 32 bits, an animation or of several pages,
            of more than `MAX_PIXELS` pixels, or no file but a pipe or device.
        OSError: the file cannot be read, such as for lack of permission.
    """
    path = Path(path)
    data = _read_bytes(path)
    if data[:4] in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
        stored = _decode_tiff(path, data)
    elif data[:4] == b'\x89PNG' or data[:2] == b'\xff\xd8':
        stored = _decode_png_or_jpeg(path, data)
    else:
        raise InputError(f'{path} is {_format_name(data)}, expected PNG, JPEG or TIFF; convert it to one of these.')
    samples = _turn_upright(stored.samples, stored.orientation)
    dpi = stored.dpi[::-1] if stored.dpi and UPRIGHT[stored.orientation][0] else stored.dpi
    height, width, channels = samples.shape
    values = torch.from_numpy(np.ascontiguousarray(samples.transpose(2, 0, 1)[None], dtype=np.float32))
    values = values / FULL_SCALE.get(stored.bits, 1)
    colours = channels - 1 if channels in (2, 4) else channels
    return Photo(
        pixels=values[:, :colours].contiguous(),
        alpha=values[:, colours:].contiguous() if colours < channels else None,
        bits=stored.bits,
        icc=stored.icc,
        exif=_exif_block(path, stored.tags, width, height),
        dpi=dpi,
    )


def write_photo(path: str | os.PathLike, pixels: Tensor, like: Photo | None = None) -> None:
    """Write a photo in the format that the suffix of its name says, whole or not at all.

    PNG keeps 8 or 16 bits (float becomes 16), TIFF 8, 16 or float, JPEG has 8, at quality 95 without subsampling of
    colour. The profile of `like` is left out where it is for colour and the pixels are gray, or the reverse.

    Args:
        path: name ending in one of `SUFFIXES`.
        pixels: (1, 3 or 1, H, W); sRGB-like in [0, 1]; rounded to the nearest sample value.
        like: the photo whose alpha, bit depth, profile, EXIF and resolution the file shall have; None: 8 bit, bare.

    Raises:
        ValueError: the pixels have other dimensions, values outside [0, 1] or NaN, or another size than the alpha.
        InputError: the suffix is none of `SUFFIXES`, or a JPEG was asked for a photo with alpha.
        OSError: the file cannot be written, such as on a full disk; what was there before stays.
    """
    if pixels.ndim != 4 or pixels.shape[0] != 1 or pixels.shape[1] not in (1, 3):
        raise ValueError(f'pixels have shape {tuple(pixels.shape)}, expected (1, 3, H, W) or (1, 1, H, W).')
    pixels = pixels.detach().cpu()
    low, high = (value.item() for value in pixels.aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(f'pixels range from {low:.4g} to {high:.4g}, expected values in [0, 1]; clamp them.')
    like = like or Photo(pixels)
    if like.icc is not None and like.pixels.shape[1] != pixels.shape[1]:
        like = Photo(pixels, like.alpha, like.bits, None, like.exif, like.dpi)
    if like.alpha is not None:
        if like.alpha.shape[-2:] != pixels.shape[-2:]:
            raise ValueError(
                f'pixels are {tuple(pixels.shape[-2:])} and the alpha {tuple(like.alpha.shape[-2:])} (rows, columns), '
                'expected one size; crop both alike.'
            )
        pixels = torch.cat([pixels, like.alpha.to(pixels)], 1)
    bits = _bits_for(check_suffix(path), like.bits)
    samples = pixels[0].permute(1, 2, 0).numpy()
    if bits in FULL_SCALE:
        samples = np.rint(samples.astype(np.float64) * FULL_SCALE[bits]).astype(f'uint{bits}')
    write_samples(path, samples, like)


def write_samples(path: str | os.PathLike, samples: np.ndarray, like: Photo | None = None) -> None:
    """Write samples as they are, with the profile, EXIF and resolution of `like`, whole or not at all.

    Args:
        path: name ending in one of `SUFFIXES`.
        samples: (H, W, C); C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; uint8; also uint16 in PNG and TIFF,
            and float32 in TIFF.
        like: None for a bare file.

    Raises:
        InputError: the suffix is none of `SUFFIXES`, or a JPEG was asked for samples with alpha.
        ValueError: the format does not take samples of this dtype or shape.
        OSError: the file cannot be written; what was there before stays.
    """
    encode = _ENCODERS[check_suffix(path)]
    if samples.ndim != 3 or samples.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f'samples have shape {samples.shape}, expected (H, W, C) with C from 1 to 4.')
    if encode is _encode_jpeg and samples.shape[2] in (2, 4):
        raise InputError(f'{path} cannot be written: JPEG has no alpha and the photo has; write PNG or TIFF.')
    encoded = encode(np.ascontiguousarray(samples), like or Photo(torch.empty(0)))
    with atomic_path(path) as partial:
        partial.write_bytes(encoded)


def check_suffix(path: str | os.PathLike) -> str:
    """Return the suffix of a name to write to, in lower case.

    Raises:
        InputError: the suffix is none of `SUFFIXES`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f'{path} ends in "{suffix}", expected one of {", ".join(SUFFIXES)}; name the output so.')
    return suffix


# ---------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class _Stored:
    """A decoded file: samples (H, W, C) as they lie in it, and the EXIF tags, with directories as dictionaries."""

    samples: np.ndarray
    bits: int
    orientation: int
    icc: bytes | None
    tags: dict[int, Any]
    dpi: tuple[float, float] | None


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


def _decode_png_or_jpeg(path: Path, data: bytes) -> _Stored:
    image = _open_with_pillow(path, data)
    deep = image.format == 'PNG' and data[24] == 16  # the bit depth in the header chunk
    samples = _deep_png_samples(path, data, image) if deep else _samples_of(path, image)
    tags = _pillow_tags(path, image)
    return _Stored(
        samples, 16 if deep else 8, _orientation(tags), image.info.get('icc_profile'), tags, image.info.get('dpi')
    )


def _open_with_pillow(path: Path, data: bytes) -> Image.Image:
    """Open and decode: a file that is cut off or damaged is found here, also where OpenCV reads the pixels."""
    try:
        with no_warnings():
            image = Image.open(io.BytesIO(data), formats=('PNG', 'JPEG', 'TIFF'))
            _check_size(path, *image.size)
            if image.format == 'PNG' and getattr(image, 'n_frames', 1) > 1:
                raise InputError(f'{path} is an animation of {image.n_frames} frames, expected one photo.')
            image.load()
    except Image.DecompressionBombError as error:
        raise InputError(f'{path} is too large: {error} Give a smaller photo.') from error
    except InputError:
        raise
    except UnidentifiedImageError as error:  # its text is for programmers
        raise InputError(f'{path} is damaged or cut off near its beginning; copy or export it again.') from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise InputError(f'{path} is damaged or cut off ({error}); copy or export it again.') from error
    return image


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f'{path} says it has {width}x{height} pixels, expected at most {MAX_PIXELS / 1e6:.0f} million; '
            'give a smaller photo.'
        )


def _samples_of(path: Path, image: Image.Image) -> np.ndarray:
    transparent = 'transparency' in image.info
    target = {
        '1': 'LA' if transparent else 'L', 'L': 'LA' if transparent else 'L', 'LA': 'LA',
        'P': 'RGBA' if transparent else 'RGB', 'PA': 'RGBA',
        'RGB': 'RGBA' if transparent else 'RGB', 'RGBA': 'RGBA', 'YCbCr': 'RGB',
    }.get(image.mode)  # fmt: skip
    if target is None:
        raise _colour_error(path, image.mode)
    samples = np.asarray(image if image.mode == target else image.convert(target))
    return samples if samples.ndim == 3 else samples[..., None]


def _colour_error(path: Path, found: str) -> InputError:
    return InputError(f'{path} is {found}, expected gray or RGB; convert it to sRGB in an image editor.')


def _deep_png_samples(path: Path, data: bytes, image: Image.Image) -> np.ndarray:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[data[25]]  # by the colour type in the header chunk
    samples = _decode_with_opencv(path, data)
    if samples.dtype != np.uint16 or samples.shape[:2] != image.size[::-1]:
        raise InputError(f'{path} cannot be decoded as a 16-bit PNG; export it again.')
    if channels == 2:
        return samples[..., [0, 3]]
    samples = samples[..., :channels]
    key = image.info.get('transparency')
    if key is None:
        return samples
    alpha = np.where((samples == np.asarray(key, np.uint16)).all(-1), 0, FULL_SCALE[16])
    return np.concatenate([samples, alpha[..., None].astype(np.uint16)], -1)


def _decode_with_opencv(path: Path, data: bytes) -> np.ndarray:
    """Return (H, W, C) in the order R, G, B, alpha, as stored."""
    message = f'{path} is damaged, cut off or of a rare kind; copy or export it again.'
    try:
        with _silent_opencv():
            samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError(message) from error
    if samples is None:
        raise InputError(message)
    samples = samples if samples.ndim == 3 else samples[..., None]
    return samples[..., [2, 1, 0, 3][: samples.shape[2]]] if samples.shape[2] >= 3 else samples


def _turn_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    transpose, flip_rows, flip_columns = UPRIGHT[orientation]
    samples = samples.swapaxes(0, 1) if transpose else samples
    samples = samples[::-1] if flip_rows else samples
    return samples[:, ::-1] if flip_columns else samples


def _orientation(tags: Mapping[int, Any]) -> int:
    value = tags.get(ORIENTATION, 1)
    return value if value in UPRIGHT else 1


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep Pillow's warnings of large photos and of damaged tags off the standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Keep OpenCV's own lines off the standard error; what it could not read is reported as an InputError."""
    switch = getattr(cv2.utils, 'logging', cv2)  # OpenCV 5, OpenCV 4
    level = switch.getLogLevel()
    switch.setLogLevel(0)
    try:
        yield
    finally:
        switch.setLogLevel(level)


# ------------------------------------------------------------------------------------------------------------- TIFF

TIFF_COLOURS = {
    0: 'gray', 1: 'gray', 2: 'RGB', 3: 'palette', 4: 'a mask', 5: 'CMYK', 6: 'YCbCr', 8: 'Lab', 9: 'Lab', 10: 'Lab',
    32803: 'raw sensor data', 34892: 'raw sensor data',
}  # fmt: skip
DNG_VERSION = 50706
UNSPECIFIED, PREMULTIPLIED = 0, 1
_Directory = TiffImagePlugin.ImageFileDirectory_v2


def _decode_tiff(path: Path, data: bytes) -> _Stored:
    try:
        with no_warnings():
            return _decode_tiff_pages(path, data, _tiff_pages(data))
    except InputError:
        raise
    except _MALFORMED as error:
        raise InputError(f'{path} is a damaged TIFF file ({error!r}); copy or export it again.') from error


def _decode_tiff_pages(path: Path, data: bytes, pages: list[_Directory]) -> _Stored:
    first, tags = pages[0], _tiff_tags(data, pages[0])
    _check_size(path, int(first[256]), int(first[257]))
    photos = [page for page in pages if not page.get(254, 0) & 5]  # 1: a reduced copy, 4: a mask of another page
    if len(photos) > 1:
        raise InputError(f'{path} has {len(photos)} pages, expected one photo; save the page you want by itself.')
    colour = TIFF_COLOURS.get(first.get(262), f'of photometric kind {first.get(262)}')
    if DNG_VERSION in first:
        colour = 'camera raw (DNG)'
    if colour not in ('gray', 'RGB', 'palette', 'YCbCr'):
        raise _colour_error(path, colour)
    bits, kind = set(_tuple(first.get(258, 1))), set(_tuple(first.get(339, 1)))
    extra = _tuple(first.get(338, ()))
    if len(extra) > 1 or extra == (UNSPECIFIED,):
        raise InputError(
            f'{path} has {len(extra)} more channel(s) than its colours and does not mark them as alpha; '
            'save it as plain gray or RGB, or with one alpha channel.'
        )
    if kind == {1} and bits <= {1, 2, 4, 8} and len(bits) == 1:
        samples, depth = _samples_of(path, _open_with_pillow(path, _marked_upright(data))), 8
    elif (kind == {1} and bits == {16}) or (kind == {3} and bits in ({32}, {64})):
        samples, depth = _deep_tiff_samples(path, _marked_upright(data), first), 16 if bits == {16} else 32
    else:
        words = {1: 'whole-number', 2: 'signed whole-number', 3: 'float'}
        raise InputError(
            f'{path} has {"/".join(map(str, sorted(bits)))}-bit '
            f'{"/".join(words.get(k, "unknown") for k in sorted(kind))} samples, expected 8 or 16 bit or 32-bit float; '
            'convert it to 16 bit.'
        )
    return _Stored(samples, depth, _orientation(tags), first.get(ICC_PROFILE), tags, _tiff_dpi(first))


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
    samples = _decode_with_opencv(path, data)
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


# ------------------------------------------------------------------------------------------------------------- EXIF


def _pillow_tags(path: Path, image: Image.Image) -> dict[int, Any]:
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter('always')
        try:
            tags = _tags_of(image.getexif())
        except _MALFORMED as error:
            tags = {}
            complaints.append(error)
    if complaints:
        warnings.warn(f'{path}: its EXIF data are damaged; what can be read of them is kept', stacklevel=4)
    return tags


def _tags_of(exif: Image.Exif) -> dict[int, Any]:
    """Return every tag, with the directories as dictionaries in place of offsets into the file."""
    tags = dict(exif)
    for tag in (EXIF_DIRECTORY, GPS_DIRECTORY):
        if tag in tags:
            tags[tag] = dict(exif.get_ifd(tag))
    camera = tags.get(EXIF_DIRECTORY, {})
    if INTEROP_DIRECTORY in camera:
        camera[INTEROP_DIRECTORY] = dict(exif.get_ifd(INTEROP_DIRECTORY))
    return tags


def _exif_block(path: Path, tags: Mapping[int, Any], width: int, height: int) -> bytes | None:
    """Return the EXIF block of an upright photo of this size, or None where there is nothing to say."""
    exif = _exif_of({tag: value for tag, value in tags.items() if tag not in STORAGE_TAGS})
    if not len(exif):
        return None
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    camera = exif.get(EXIF_DIRECTORY)
    if camera and PIXEL_WIDTH in camera and PIXEL_HEIGHT in camera:
        exif[EXIF_DIRECTORY] = {**camera, PIXEL_WIDTH: width, PIXEL_HEIGHT: height}
    try:
        with no_warnings():
            return exif.tobytes()
    except _MALFORMED as error:
        warnings.warn(f'{path}: its EXIF data are damaged and will not be kept ({error!r})', stacklevel=3)
        return None


def _exif_of(tags: Mapping[int, Any]) -> Image.Exif:
    exif = Image.Exif()
    exif.endian = '<'
    for tag, value in tags.items():
        exif[tag] = value
    return exif


# ---------------------------------------------------------------------------------------------------------- writing

ROWS_AT_ONCE = 64
PNG_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
MAX_JPEG_EXIF = 65533
PAETH = 4


def _bits_for(suffix: str, bits: int) -> int:
    if suffix in ('.jpg', '.jpeg'):
        return 8
    return min(bits, 16) if suffix == '.png' else bits


def _encode_jpeg(samples: np.ndarray, like: Photo) -> bytes:
    if samples.dtype != np.uint8:
        raise ValueError(f'samples are {samples.dtype}, expected uint8 for JPEG.')
    extras = {'icc_profile': like.icc, 'exif': like.exif, 'dpi': like.dpi and tuple(round(d) for d in like.dpi)}
    if like.exif is not None and len(like.exif) > MAX_JPEG_EXIF:
        warnings.warn(f'{len(like.exif)} bytes of EXIF data do not fit in a JPEG and are left out', stacklevel=4)
        del extras['exif']
    extras = {name: value for name, value in extras.items() if value is not None}
    encoded = io.BytesIO()
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    image.save(encoded, 'JPEG', quality=JPEG_QUALITY, subsampling=0, optimize=True, **extras)
    return encoded.getvalue()


def _encode_png(samples: np.ndarray, like: Photo) -> bytes:
    """Encode per the PNG specification, every row with the Paeth filter."""
    height, width, channels = samples.shape
    if samples.dtype not in (np.uint8, np.uint16):
        raise ValueError(f'samples are {samples.dtype}, expected uint8 or uint16 for PNG.')
    bits = 8 * samples.itemsize
    header = struct.pack('>IIBBBBB', width, height, bits, PNG_COLOUR_TYPE[channels], 0, 0, 0)
    chunks = [(b'IHDR', header)]
    if like.icc is not None:
        chunks.append((b'iCCP', b'ICC profile\0\0' + zlib.compress(like.icc)))
    if like.dpi is not None:
        chunks.append((b'pHYs', struct.pack('>IIB', *(round(d / 0.0254) for d in like.dpi), 1)))
    if like.exif is not None:
        chunks.append((b'eXIf', like.exif.removeprefix(b'Exif\0\0')))
    chunks += [(b'IDAT', _png_pixels(samples)), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(body, zlib.crc32(name)))
        for name, body in chunks
    )


def _png_pixels(samples: np.ndarray) -> bytes:
    height, _, channels = samples.shape
    step = channels * samples.itemsize  # from a byte to the same byte of the pixel before it
    rows = samples.astype(samples.dtype.newbyteorder('>'), copy=False).view(np.uint8).reshape(height, -1)
    above, packer, packed = np.zeros((1, rows.shape[1]), np.int16), zlib.compressobj(6), []
    for top in range(0, height, ROWS_AT_ONCE):
        here = rows[top : top + ROWS_AT_ONCE].astype(np.int16)
        up = np.concatenate([above, here[:-1]])
        left, corner = np.zeros_like(here), np.zeros_like(up)
        left[:, step:], corner[:, step:] = here[:, :-step], up[:, :-step]
        filtered = np.full((len(here), 1 + here.shape[1]), PAETH, np.uint8)
        filtered[:, 1:] = (here - _paeth(left, up, corner)).astype(np.uint8)
        packed.append(packer.compress(filtered.tobytes()))
        above = here[-1:]
    return b''.join(packed) + packer.flush()


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return whichever of the three is nearest to left + up - corner; ties in this order."""
    by_left, by_up = np.abs(up - corner), np.abs(left - corner)
    by_corner = np.abs(left + up - 2 * corner)
    best = np.where(by_up <= by_corner, up, corner)
    return np.where((by_left <= by_up) & (by_left <= by_corner), left, best)


def _encode_tiff(samples: np.ndarray, like: Photo) -> bytes:
    """Encode per TIFF 6.0: one strip, deflate, horizontal differencing for whole numbers, little-endian."""
    height, width, channels = samples.shape
    whole = samples.dtype in (np.uint8, np.uint16)
    if not whole and samples.dtype != np.float32:
        raise ValueError(f'samples are {samples.dtype}, expected uint8, uint16 or float32 for TIFF.')
    strip = zlib.compress(_tiff_differences(samples) if whole else samples.astype('<f4').tobytes())
    source = Image.Exif()
    if like.exif is not None:
        source.load(like.exif)
    directory = _exif_of(_tags_of(source))
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


_ENCODERS = {
    '.png': _encode_png, '.jpg': _encode_jpeg, '.jpeg': _encode_jpeg, '.tif': _encode_tiff, '.tiff': _encode_tiff,
}  # fmt: skip
