"""JPEG files, encoded by Pillow."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from basis_blur.photos.photo import Photo

QUALITY = 95
MOST_EXIF = 65533  # bytes, of one marker
MOST_PROFILE = 255 * 65519  # bytes, of all markers
MOST_DENSITY = 65535
LONGEST_SIDE = 65500  # longest side that libjpeg takes; the format has 65535


def encode_jpeg(samples: np.ndarray, like: Photo) -> bytes:
    """Encode samples with what `like` holds beside its pixels, without subsampling of colour.

    EXIF or a profile that do not fit into a JPEG are left out, with a warning, and so is a resolution, without one.

    Args:
        samples: (H, W, 1 or 3) uint8.
        like: the photo.

    Raises:
        ValueError: samples of another type.
    """
    if samples.dtype != np.uint8:
        raise ValueError(f'samples are {samples.dtype}, expected uint8 for JPEG.')
    extras = {}
    for name, what, content, most in (
        ('exif', 'EXIF data', like.exif, MOST_EXIF),
        ('icc_profile', 'an ICC profile', like.icc, MOST_PROFILE),
    ):
        if content is not None and len(content) <= most:
            extras[name] = content
        elif content is not None:
            warnings.warn(f'{len(content)} bytes of {what} do not fit in a JPEG and are left out', stacklevel=4)
    density = tuple(round(d) for d in like.dpi) if like.dpi else ()
    if density and all(1 <= d <= MOST_DENSITY for d in density):
        extras['dpi'] = density
    encoded = io.BytesIO()
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    image.save(encoded, 'JPEG', quality=QUALITY, subsampling=0, optimize=True, **extras)
    return encoded.getvalue()
