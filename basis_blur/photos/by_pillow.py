"""Pictures of 8 bits and fewer, as Pillow decodes them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from basis_blur.foundation.errors import InputError
from basis_blur.photos.photo import check_size, colour_error, no_warnings


def open_with_pillow(path: Path, data: bytes) -> Image.Image:
    """Open and decode: a file that is cut off or damaged is found here, also where OpenCV reads the pixels."""
    try:
        with no_warnings():
            image = Image.open(io.BytesIO(data), formats=('PNG', 'JPEG', 'TIFF'))
            check_size(path, *image.size)
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


def samples_of(path: Path, image: Image.Image) -> np.ndarray:
    transparent = 'transparency' in image.info
    target = {
        '1': 'LA' if transparent else 'L', 'L': 'LA' if transparent else 'L', 'LA': 'LA',
        'P': 'RGBA' if transparent else 'RGB', 'PA': 'RGBA',
        'RGB': 'RGBA' if transparent else 'RGB', 'RGBA': 'RGBA', 'YCbCr': 'RGB',
    }.get(image.mode)  # fmt: skip
    if target is None:
        raise colour_error(path, image.mode)
    samples = np.asarray(image if image.mode == target else image.convert(target))
    return samples if samples.ndim == 3 else samples[..., None]
