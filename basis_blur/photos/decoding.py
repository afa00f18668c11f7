"""Decoding of photos for training, by OpenCV: 8 bits, three channels, upright.

OpenCV is fast, and a training reads millions of photos; `reading` is slower and keeps all that a file says. OpenCV
takes damaged files in silence (a JPEG that is cut off becomes half gray), so these are refused here. TIFF files are
decoded by `reading`, since of many kinds OpenCV takes another page, one plane for all, or colours multiplied by alpha.
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from basis_blur.foundation.errors import InputError
from basis_blur.photos.exif import orientation_of
from basis_blur.photos.formats import TIFF_BEGINS
from basis_blur.photos.photo import check_size
from basis_blur.photos.pillow_warnings import no_warnings
from basis_blur.photos.reading import photo_of, turn_upright
from basis_blur.photos.tiff import size_of_tiff

JPEG_BEGIN, JPEG_END, JPEG_SCAN = b'\xff\xd8', b'\xff\xd9', 0xDA  # first and last bytes; marker of a scan
PNG_BEGIN, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND'  # first bytes; name of the last chunk
# Errors that readers raise for damaged files.
MALFORMED = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, struct.error,
    EOFError, Image.DecompressionBombError,
)  # fmt: skip


def photo_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return (H, W) of the upright photo in a file, without decoding it.

    Raises:
        InputError: the file is no photo, or its header is damaged or made to do harm.
    """
    path = Path(path)
    try:
        with open(path, 'rb') as file:
            begin = file.read(len(PNG_BEGIN))
            file.seek(0)
            if begin.startswith(TIFF_BEGINS):
                return size_of_tiff(path, file.read())
            (width, height), orientation = _size_and_orientation(file)
            check_size(path, width, height)
    except InputError:
        raise
    except MALFORMED as error:
        raise InputError(f'{path} cannot be read as a photo ({error}); replace or remove it.') from error
    return (width, height) if orientation > 4 else (height, width)


def _size_and_orientation(file: BinaryIO) -> tuple[tuple[int, int], int]:
    """Return (W, H) as stored, and the orientation; one that only texts of a PNG tell is not read here, see `png`."""
    if file.read(len(PNG_BEGIN)) != PNG_BEGIN:
        with no_warnings(), Image.open(file) as picture:
            return picture.size, orientation_of(picture.info.get('exif'))
    size, orientation = (0, 0), 1
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack('>L4s', head)
        if name == b'IHDR':
            size = struct.unpack('>LL', file.read(8))
            length -= 8
        elif name == b'eXIf':
            orientation = orientation_of(file.read(length))
            length = 0
        file.seek(length + 4, os.SEEK_CUR)
    if 0 in size:
        raise ValueError(f'its size is {size[0]}x{size[1]}')
    return size, orientation


def decode_photo(content: bytes, source: str) -> np.ndarray:
    """Return the pixels of a photo, (H, W, 3) uint8 in the order blue, green, red.

    Args:
        content: bytes of a photo file.
        source: name of the file or entry that it comes from, for messages.

    Raises:
        InputError: it is no photo, is damaged, or is cut off.
    """
    if is_cut_off(content):
        raise InputError(f'{source} is cut off after {len(content)} bytes; replace or remove it.')
    if content.startswith(TIFF_BEGINS):
        samples = decode_tiff_photo(content, source)
        return samples if samples.shape[2] == 3 else samples.repeat(3, 2)
    try:
        # The orientation is read here and not by OpenCV, whose versions differ in which formats they turn.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        photo = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
        orientation = 1 if photo is None else _size_and_orientation(io.BytesIO(content))[1]
    except cv2.error as error:
        raise InputError(
            f'{source} cannot be read as a photo ({error.err or "OpenCV gives no reason"}); replace or remove it.'
        ) from error
    except MALFORMED as error:
        raise InputError(f'{source} cannot be read as a photo ({error}); replace or remove it.') from error
    if photo is None:
        raise InputError(f'{source} cannot be read as a photo; replace or remove it.')
    return np.ascontiguousarray(turn_upright(photo, orientation))


def decode_tiff_photo(content: bytes, source: str | os.PathLike[str]) -> np.ndarray:
    """Return the photo of a TIFF file, upright, (H, W, 3 or 1) uint8 in the order blue, green, red.

    Args:
        content: bytes of the file.
        source: name of the file or entry that it comes from, for messages.

    Raises:
        InputError: see `reading.read_photo`.
    """
    pixels = photo_of(Path(source), content).pixels[0]
    samples = np.rint(pixels.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return np.ascontiguousarray(samples[..., ::-1])


def is_cut_off(content: bytes) -> bool:
    """Return whether a JPEG or PNG file lacks its end; what follows the end does not matter."""
    if content.startswith(PNG_BEGIN):
        return PNG_END not in content
    if not content.startswith(JPEG_BEGIN):
        return False
    place = _jpeg_scan(content)
    return place is None or content.find(JPEG_END, place) < 0


def _jpeg_scan(content: bytes) -> int | None:
    """Return where the first scan of a JPEG begins; segments before it may hold a thumbnail with an end of its own."""
    place = len(JPEG_BEGIN)
    while place + 4 <= len(content):
        if content[place] != 0xFF:
            return place  # no segment begins here: let a decoder judge
        marker = content[place + 1]
        if marker == 0xFF:  # a filling byte
            place += 1
        elif marker == JPEG_SCAN:
            return place
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
    return None


def is_a_photo_name(path: str | os.PathLike[str], suffixes: tuple[str, ...]) -> bool:
    """Return whether a file is to be taken for a photo: it is not hidden and has one of the suffixes."""
    name = Path(path).name
    return not name.startswith('.') and name.lower().endswith(suffixes)
