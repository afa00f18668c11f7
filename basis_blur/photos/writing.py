"""Tensors to photo files, whole or not at all: PNG, JPEG and TIFF, by the suffix of the name.

PNG and TIFF are encoded in this package: no library among our dependencies writes 16-bit colour together with an ICC
profile and EXIF, nor 16-bit gray with alpha.
"""

from __future__ import annotations

import dataclasses
import os
import warnings

import numpy as np
import torch
from torch import Tensor

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import atomic_path
from basis_blur.photos.formats import JPEG_SUFFIXES, check_suffix
from basis_blur.photos.jpeg import LONGEST_SIDE, encode_jpeg
from basis_blur.photos.photo import FULL_SCALE, Photo
from basis_blur.photos.png import ROWS_AT_ONCE, encode_png, tell_other_colours
from basis_blur.photos.tiff import encode_tiff


def write_photo(path: str | os.PathLike[str], pixels: Tensor, like: Photo | None = None) -> None:
    """Write a photo in the format that the suffix of its name says, whole or not at all.

    PNG keeps 8 or 16 bits (float becomes 16), TIFF 8, 16 or float, JPEG has 8, at quality 95 without subsampling of
    colour. The profile of `like` is left out where it is for colour and the pixels are gray, or the reverse.

    Args:
        path: name ending in one of `formats.SUFFIXES`.
        pixels: (1, 3 or 1, H, W); sRGB-like in [0, 1]; rounded to the nearest sample value.
        like: photo whose alpha, bit depth, profile, EXIF and resolution are written; by default 8 bits and no more.

    Raises:
        ValueError: the pixels have other dimensions, values outside [0, 1] or NaN, or another size than the alpha.
        InputError: see `check_can_hold`.
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
        like = dataclasses.replace(like, icc=None)
    if like.alpha is not None:
        if like.alpha.shape[-2:] != pixels.shape[-2:]:
            raise ValueError(
                f'pixels are {tuple(pixels.shape[-2:])} and the alpha {tuple(like.alpha.shape[-2:])} (rows, columns), '
                'expected one size; crop both alike.'
            )
        pixels = torch.cat([pixels, like.alpha.to(pixels)], 1)
    bits = _bits_for(check_suffix(path), like.bits)
    if bits < like.bits and like.gamma == 1:
        warnings.warn(f'{path}: {bits} bits are few for linear light, dark areas get bands; write TIFF', stacklevel=2)
    samples = pixels[0].permute(1, 2, 0).numpy()
    if bits in FULL_SCALE:
        samples = _rounded(samples, bits)
    write_samples(path, samples, like)


def _rounded(samples: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers in [0, 1] as whole numbers of `bits` bits; a few rows at a time, which fit in the cache."""
    rounded = np.empty(samples.shape, f'uint{bits}')
    for top in range(0, len(samples), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        rounded[rows] = np.rint(samples[rows].astype(np.float64) * FULL_SCALE[bits])
    return rounded


def write_samples(path: str | os.PathLike[str], samples: np.ndarray, like: Photo | None = None) -> None:
    """Write samples as they are, with the profile, EXIF and resolution of `like`, whole or not at all.

    Args:
        path: name ending in one of `formats.SUFFIXES`.
        samples: (H, W, C); C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; uint8; also uint16 in PNG and TIFF,
            and float32 in TIFF.
        like: photo whose profile, EXIF and resolution are written; by default none.

    Raises:
        InputError: see `check_can_hold`.
        ValueError: the format does not take samples of this dtype or shape.
        OSError: the file cannot be written; what was there before stays.
    """
    encode, like = _ENCODERS[check_suffix(path)], like or Photo(torch.empty(0))
    if samples.ndim != 3 or samples.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f'samples have shape {samples.shape}, expected (H, W, C) with C from 1 to 4.')
    height, width, channels = samples.shape
    check_can_hold(path, width, height, channels in (2, 4))
    if encode is not encode_png and like.icc is None and tell_other_colours(like.colour_chunks):
        names = ', '.join(name.decode() for name, _ in like.colour_chunks)
        warnings.warn(
            f'{path}: the photo tells its colours by {names}, which only PNG holds; other programs will show the file '
            'in other colours; write PNG to keep them',
            stacklevel=3,
        )
    encoded = encode(np.ascontiguousarray(samples), like)
    with atomic_path(path) as partial:
        partial.write_bytes(encoded)


def check_can_hold(path: str | os.PathLike[str], width: int, height: int, alpha: bool) -> None:
    """Find out before a long computation whether a file of this name can hold a photo.

    Args:
        path: name ending in one of `formats.SUFFIXES`.
        width: width of the photo as it will be written, pixels.
        height: height of the photo, pixels.
        alpha: whether it has alpha.

    Raises:
        InputError: the suffix is none of `formats.SUFFIXES`; or the photo has alpha, or a side of more than
            `LONGEST_SIDE` pixels, and a JPEG was asked for.
    """
    if check_suffix(path) not in JPEG_SUFFIXES:
        return
    if alpha:
        raise InputError(f'{path} cannot be written: JPEG has no alpha and the photo has; write PNG or TIFF.')
    if max(width, height) > LONGEST_SIDE:
        raise InputError(
            f'{path} cannot be written: the photo has {width}x{height} pixels and JPEG at most {LONGEST_SIDE} a side; '
            'write PNG or TIFF.'
        )


def _bits_for(suffix: str, bits: int) -> int:
    if suffix in JPEG_SUFFIXES:
        return 8
    return min(bits, 16) if suffix == '.png' else bits


_ENCODERS = {
    '.png': encode_png, '.tif': encode_tiff, '.tiff': encode_tiff, **dict.fromkeys(JPEG_SUFFIXES, encode_jpeg),
}  # fmt: skip
