"""JPEG files, encoded by Pillow."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from basis_blur.photos.photo import Photo

JPEG_QUALITY = 95
MAX_JPEG_EXIF = 65533


def encode_jpeg(samples: np.ndarray, like: Photo) -> bytes:
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
