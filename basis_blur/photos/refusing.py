"""What is said of a file that is no photo; it is said before PyTorch is loaded, which takes seconds."""

from __future__ import annotations

import io
import os
from pathlib import Path

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import check_is_file
from basis_blur.photos.formats import MOST_BYTES_OF_BRANDS, format_of
from basis_blur.photos.pillow_warnings import no_warnings

EXPECTED = 'PNG, JPEG, TIFF, WebP, AVIF, HEIC or camera raw'  # words for the formats that are read, for messages
# First bytes of files that are often given in place of a photo, and which Pillow does not name -> what they are.
UNREAD = {
    b'\xff\x0a': 'a JPEG XL file', b'\0\0\0\x0cJXL ': 'a JPEG XL file', b'v/1\x01': 'an OpenEXR file',
    b'%PDF': 'a PDF file', b'version https://git-lfs': 'a pointer of Git LFS and not the photo itself',
    b'<!DOCTYPE': 'a web page', b'<html': 'a web page', b'<svg': 'an SVG file',
}  # fmt: skip


def check_is_photo(path: str | os.PathLike[str]) -> None:
    """Refuse a file whose first bytes are those of no photo; whether the rest can be read is left for the reader.

    Raises:
        InputError: the file is empty, a pipe or device, or of a format that is not read.
        OSError: the file does not exist or cannot be read.
    """
    path = Path(path)
    check_is_file(path)
    with path.open('rb') as file:
        begin = file.read(MOST_BYTES_OF_BRANDS)
        if format_of(begin) in (None, 'video'):
            raise refusal(path, begin + file.read())


def refusal(path: Path, data: bytes) -> InputError:
    """Return the error for a file that is no photo of a format that is read.

    Args:
        path: name of the file, for the message.
        data: its content.
    """
    if not data:
        return InputError(f'{path} is empty (0 bytes), expected a photo; copy it again.')
    is_video = format_of(data) == 'video'
    words = 'a video' if is_video else _format_name(data)
    advice = 'save the picture that you want as one of these' if is_video else 'convert it to one of these'
    return InputError(f'{path} is {words}, expected {EXPECTED}; {advice}.')


def _format_name(data: bytes) -> str:
    from PIL import Image, UnidentifiedImageError

    for begin, name in UNREAD.items():
        if data.startswith(begin):
            return name
    try:
        with no_warnings(), Image.open(io.BytesIO(data)) as image:
            return f'a {image.format} file'
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return 'not a photo file'
