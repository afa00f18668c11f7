"""HEIC and HEIF files, as phones write them, decoded by pillow-heif, which the extra "heic" installs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from basis_blur.foundation.errors import InputError
from basis_blur.photos.boxes import colour_chunks_of
from basis_blur.photos.photo import Stored, check_size, colour_error

CHANNELS = {'L': 1, 'LA': 2, 'RGB': 3, 'RGBA': 4}  # mode -> number of channels


def decode_heif(path: Path, data: bytes) -> Stored:
    """Decode the main photo of a HEIF file; more than 8 bits become 16.

    Args:
        path: name of the file, for errors.
        data: its content.

    Raises:
        InputError: pillow-heif is not installed; the file is damaged, cut off or too large.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"{path} is a HEIC or HEIF photo, which needs pillow-heif; pip install 'basis_blur[heic]', or export it as "
            'JPEG.'
        ) from error
    try:
        photo = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        check_size(path, *photo.size)
        mode, _, depth = photo.mode.partition(';')
        samples = np.asarray(photo)  # turned upright, as the file says
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, EOFError, SyntaxError, MemoryError) as error:
        raise InputError(f'{path} is damaged or cut off ({str(error).strip()}); copy or export it again.') from error
    if mode not in CHANNELS:
        raise colour_error(path, photo.mode)
    return Stored(
        samples.reshape(*samples.shape[:2], CHANNELS[mode]),
        bits=16 if depth else 8,
        icc=photo.info.get('icc_profile') or None,
        exif=photo.info.get('exif') or None,
        colour_chunks=() if photo.info.get('icc_profile') else colour_chunks_of(data),
        xmp=photo.info.get('xmp') or None,
        upright=True,
    )
