"""Decode photos for training by OpenCV: 8 bits, three channels, upright. A size is read from the header alone.

OpenCV is fast, and a training reads millions of photos; `reading` is slower and keeps all that a file says. OpenCV
takes damaged files in silence (a JPEG that is cut off becomes half gray), so these are refused here. It takes the first
page of a TIFF; where that is a thumbnail, `reading` decodes the photo.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from basis_blur.foundation.errors import InputError
from basis_blur.photos.formats import TIFF_BEGINS
from basis_blur.photos.photo import no_warnings
from basis_blur.photos.reading import photo_of
from basis_blur.photos.tiff import photo_is_first

ORIENTATION = 0x0112  # tag of EXIF; for its values above 4, width and height change places
JPEG_BEGIN, JPEG_END, JPEG_SCAN = b'\xff\xd8', b'\xff\xd9', 0xDA
PNG_BEGIN, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND'
MALFORMED = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, struct.error,
    EOFError, Image.DecompressionBombError,
)  # fmt: skip


def photo_size(path: str | os.PathLike) -> tuple[int, int]:
    """Return (H, W) of the upright photo in a file, without decoding it.

    Raises:
        InputError: the file is no photo, or its header is damaged or made to do harm.
    """
    try:
        with no_warnings(), Image.open(path) as picture:
            width, height = picture.size
            turned = _orientation(picture) > 4
            is_tiff = picture.format == 'TIFF'
    except MALFORMED as error:
        raise InputError(f'{path} cannot be read as a photo ({error}); replace or remove it.') from error
    if is_tiff and (photo := beyond_first_page(Path(path).read_bytes(), path)) is not None:
        return photo.shape[:2]
    return (width, height) if turned else (height, width)


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(ORIENTATION, 1)
    except MALFORMED:  # the EXIF is damaged; OpenCV takes the photo as it lies then
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


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
    if content.startswith(TIFF_BEGINS) and (photo := beyond_first_page(content, source)) is not None:
        return photo
    try:
        photo = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        raise InputError(
            f'{source} cannot be read as a photo ({error.err or "OpenCV gives no reason"}); replace or remove it.'
        ) from error
    if photo is None:
        raise InputError(f'{source} cannot be read as a photo; replace or remove it.')
    return photo


def beyond_first_page(content: bytes, source: str | os.PathLike) -> np.ndarray | None:
    """Return the photo of a TIFF whose first page is another picture, as `decode_photo` does; None of other files."""
    path = Path(source)
    if photo_is_first(path, content):
        return None
    pixels = photo_of(path, content).pixels[0]
    samples = np.rint(pixels.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return np.ascontiguousarray(samples[..., ::-1] if samples.shape[2] == 3 else samples.repeat(3, 2))


def is_cut_off(content: bytes) -> bool:
    """Return whether a JPEG or PNG file lacks its end; what follows the end does not matter."""
    if content.startswith(PNG_BEGIN):
        return PNG_END not in content
    if not content.startswith(JPEG_BEGIN):
        return False
    place = _jpeg_scan(content)
    return place is None or content.find(JPEG_END, place) < 0


def _jpeg_scan(content: bytes) -> int | None:
    """Where the first scan of a JPEG begins: before it, segments may hold a thumbnail with an end of its own."""
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


def is_a_photo_name(path: str | os.PathLike, suffixes: tuple[str, ...]) -> bool:
    """Return whether a file is to be taken for a photo: it is not hidden and has one of the suffixes."""
    name = Path(path).name
    return not name.startswith('.') and name.lower().endswith(suffixes)
