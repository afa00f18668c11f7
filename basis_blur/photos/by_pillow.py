"""Photos of at most 8 bits, decoded by Pillow: JPEG, WebP, AVIF, and those of PNG and TIFF."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from basis_blur.foundation.errors import InputError
from basis_blur.photos.descriptions import RESOURCES_OF_JPEG, XMP_OF_JPEG, iptc_of_resources
from basis_blur.photos.photo import Stored, check_size, colour_error, sound_dpi
from basis_blur.photos.pillow_warnings import no_warnings

# Errors that Pillow raises for damaged files.
MALFORMED = (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, struct.error, zlib.error)

CMYK_WORDS = 'is CMYK; it was converted to sRGB by its profile and will be written so'  # words of a warning


def open_with_pillow(path: Path, data: bytes, format: str) -> Image.Image:
    """Open and decode a file of one format, as Pillow names it.

    Raises:
        InputError: it is too large, damaged or cut off.
    """
    try:
        with no_warnings():
            image = Image.open(io.BytesIO(data), formats=(format,))
            check_size(path, *image.size)
            image.load()
    except Image.DecompressionBombError as error:
        raise InputError(f'{path} is too large: {error} Give a smaller photo.') from error
    except InputError:
        raise
    except UnidentifiedImageError as error:  # its text is for programmers
        raise InputError(f'{path} is damaged or cut off near its beginning; copy or export it again.') from error
    except MALFORMED as error:
        raise InputError(f'{path} is damaged or cut off ({error}); copy or export it again.') from error
    return image


def decode_with_pillow(path: Path, data: bytes, format: str) -> Stored:
    """Decode a file of 8 bits a sample; an animation is refused.

    Raises:
        InputError: see `open_with_pillow` and `samples_of`.
    """
    image = open_with_pillow(path, data, format)
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format != 'MPO':  # an MPO has copies, depth, or the other eye's picture
        raise InputError(f'{path} is an animation of {frames} frames, expected one photo.')
    icc = image.info.get('icc_profile')
    samples = samples_of(path, image)
    if image.mode == 'CMYK':
        warnings.warn(f'{path} {CMYK_WORDS}', stacklevel=4)
        icc = None
    try:
        dpi = sound_dpi(*(float(each) for each in image.info.get('dpi', (None, None))))
    except (TypeError, ValueError, ZeroDivisionError):
        dpi = None
    exif, xmp, iptc = image.info.get('exif'), _xmp_of(image), _iptc_of(image)
    return Stored(samples, icc=icc, exif=exif, dpi=dpi, xmp=xmp, iptc=iptc)


def _iptc_of(image: Image.Image) -> bytes | None:
    """Return the IPTC of a JPEG: resources of Photoshop may go on in further segments, where Pillow cuts them off."""
    segments = (content for name, content in getattr(image, 'applist', ()) if name == 'APP13')
    return iptc_of_resources(
        b''.join(each.removeprefix(RESOURCES_OF_JPEG) for each in segments if each.startswith(RESOURCES_OF_JPEG))
    )


def _xmp_of(image: Image.Image) -> bytes | None:
    for name, content in getattr(image, 'applist', ()):  # segments of a JPEG; older Pillows have no more
        if name == 'APP1' and content.startswith(XMP_OF_JPEG):
            return content.removeprefix(XMP_OF_JPEG)
    found = image.info.get('xmp')
    return found if isinstance(found, bytes) and found else None


def samples_of(path: Path, image: Image.Image, icc: bytes | None = None) -> np.ndarray:
    """Return (H, W, C) uint8 of a decoded picture; CMYK becomes sRGB by its profile.

    Args:
        path: name of the file, for errors.
        image: the picture.
        icc: profile of the picture, where Pillow does not know it.

    Raises:
        InputError: the colours are not gray, RGB, or CMYK with a profile.
    """
    if image.mode == 'CMYK':
        image = _to_srgb(path, image, icc or image.info.get('icc_profile'))
    transparent = 'transparency' in image.info
    target = {
        '1': 'LA' if transparent else 'L', 'L': 'LA' if transparent else 'L', 'LA': 'LA',
        'P': 'RGBA' if transparent else 'RGB', 'PA': 'RGBA', 'RGBX': 'RGB',
        'RGB': 'RGBA' if transparent else 'RGB', 'RGBA': 'RGBA', 'YCbCr': 'RGB',
    }.get(image.mode)  # fmt: skip
    if target is None:
        raise colour_error(path, image.mode)
    samples = np.asarray(image if image.mode == target else image.convert(target))
    return samples if samples.ndim == 3 else samples[..., None]


def _to_srgb(path: Path, image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc is None:
        raise InputError(
            f'{path} is CMYK, expected gray or RGB; it has no profile that tells which colours its inks make, so '
            'convert it to sRGB in an image editor.'
        )
    try:
        transform = ImageCms.buildTransform(io.BytesIO(icc), ImageCms.createProfile('sRGB'), image.mode, 'RGB')
        return transform.apply(image)
    except (ImageCms.PyCMSError, *MALFORMED) as error:
        raise InputError(
            f'{path} is CMYK, expected gray or RGB; its profile cannot be used ({error}), so convert it to sRGB in an '
            'image editor.'
        ) from error
