"""JPEG files, encoded by Pillow."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from basis_blur.photos.descriptions import RESOURCES_OF_JPEG, XMP_OF_JPEG, resources_with
from basis_blur.photos.photo import Photo

QUALITY = 95  # quality with which JPEGs are written, 0 to 100
MOST_EXIF = 65533  # largest size of EXIF, bytes; one marker holds it
MOST_PROFILE = 255 * 65519  # largest size of a profile, bytes; up to 255 markers hold it
MOST_DENSITY = 65535  # largest resolution that the format holds
LONGEST_SIDE = 65500  # longest side that libjpeg takes; the format has 65535


def encode_jpeg(samples: np.ndarray, like: Photo) -> bytes:
    """Encode samples with what `like` holds beside its pixels, without subsampling of colour.

    EXIF, XMP, IPTC or a profile that does not fit into a JPEG is left out, with a warning. A resolution that does not
    fit is left out without one.

    Args:
        samples: (H, W, 1 or 3) uint8.
        like: the photo.

    Raises:
        ValueError: samples of another type.
    """
    if samples.dtype != np.uint8:
        raise ValueError(f'samples are {samples.dtype}, expected uint8 for JPEG.')
    extras: dict[str, Any] = {}
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
    segments = [
        (0xE1, 'XMP', XMP_OF_JPEG, like.xmp),
        (0xED, 'IPTC data', RESOURCES_OF_JPEG, None if like.iptc is None else resources_with(like.iptc)),
    ]
    return _with_segments(encoded.getvalue(), segments)


def _with_segments(encoded: bytes, segments: Sequence[tuple[int, str, bytes, bytes | None]]) -> bytes:
    """Return a JPEG with more segments, by marker, name, first bytes and content, after those of JFIF and EXIF."""
    place = 2
    while encoded[place : place + 2] in (b'\xff\xe0', b'\xff\xe1'):
        place += 2 + int.from_bytes(encoded[place + 2 : place + 4], 'big')
    written = b''
    for marker, what, begin, content in segments:
        if content is not None and len(begin + content) > MOST_EXIF:
            warnings.warn(f'{len(content)} bytes of {what} do not fit in a JPEG and are left out', stacklevel=5)
        elif content is not None:
            written += struct.pack('>BBH', 0xFF, marker, 2 + len(begin + content)) + begin + content
    return encoded[:place] + written + encoded[place:]
