"""PNG files to samples and back, per the PNG specification."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from basis_blur.foundation.errors import InputError
from basis_blur.photos.by_pillow import open_with_pillow, samples_of
from basis_blur.photos.exif import orientation_of, pillow_tags
from basis_blur.photos.photo import FULL_SCALE, Photo, Stored

ROWS_AT_ONCE = 64
PNG_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
PAETH = 4


def decode_png_or_jpeg(path: Path, data: bytes) -> Stored:
    image = open_with_pillow(path, data)
    deep = image.format == 'PNG' and data[24] == 16  # the bit depth in the header chunk
    samples = _deep_png_samples(path, data, image) if deep else samples_of(path, image)
    tags = pillow_tags(path, image)
    return Stored(
        samples, 16 if deep else 8, orientation_of(tags), image.info.get('icc_profile'), tags, image.info.get('dpi')
    )


def _deep_png_samples(path: Path, data: bytes, image: Image.Image) -> np.ndarray:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[data[25]]  # by the colour type in the header chunk
    samples = decode_with_opencv(path, data)
    if samples.dtype != np.uint16 or samples.shape[:2] != image.size[::-1]:
        raise InputError(f'{path} cannot be decoded as a 16-bit PNG; export it again.')
    if channels == 2:
        return samples[..., [0, 3]]
    samples = samples[..., :channels]
    key = image.info.get('transparency')
    if key is None:
        return samples
    alpha = np.where((samples == np.asarray(key, np.uint16)).all(-1), 0, FULL_SCALE[16])
    return np.concatenate([samples, alpha[..., None].astype(np.uint16)], -1)


def decode_with_opencv(path: Path, data: bytes) -> np.ndarray:
    """Return (H, W, C) in the order R, G, B, alpha, as stored."""
    message = f'{path} is damaged, cut off or of a rare kind; copy or export it again.'
    try:
        with _silent_opencv():
            samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError(message) from error
    if samples is None:
        raise InputError(message)
    samples = samples if samples.ndim == 3 else samples[..., None]
    return samples[..., [2, 1, 0, 3][: samples.shape[2]]] if samples.shape[2] >= 3 else samples


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Keep OpenCV's own lines off the standard error; what it could not read is reported as an InputError."""
    switch = getattr(cv2.utils, 'logging', cv2)  # OpenCV 5, OpenCV 4
    level = switch.getLogLevel()
    switch.setLogLevel(0)
    try:
        yield
    finally:
        switch.setLogLevel(level)


def encode_png(samples: np.ndarray, like: Photo) -> bytes:
    """Encode per the PNG specification, every row with the Paeth filter."""
    height, width, channels = samples.shape
    if samples.dtype not in (np.uint8, np.uint16):
        raise ValueError(f'samples are {samples.dtype}, expected uint8 or uint16 for PNG.')
    bits = 8 * samples.itemsize
    header = struct.pack('>IIBBBBB', width, height, bits, PNG_COLOUR_TYPE[channels], 0, 0, 0)
    chunks = [(b'IHDR', header)]
    if like.icc is not None:
        chunks.append((b'iCCP', b'ICC profile\0\0' + zlib.compress(like.icc)))
    if like.dpi is not None:
        chunks.append((b'pHYs', struct.pack('>IIB', *(round(d / 0.0254) for d in like.dpi), 1)))
    if like.exif is not None:
        chunks.append((b'eXIf', like.exif.removeprefix(b'Exif\0\0')))
    chunks += [(b'IDAT', _png_pixels(samples)), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(body, zlib.crc32(name)))
        for name, body in chunks
    )


def _png_pixels(samples: np.ndarray) -> bytes:
    height, _, channels = samples.shape
    step = channels * samples.itemsize  # from a byte to the same byte of the pixel before it
    rows = samples.astype(samples.dtype.newbyteorder('>'), copy=False).view(np.uint8).reshape(height, -1)
    above, packer, packed = np.zeros((1, rows.shape[1]), np.int16), zlib.compressobj(6), []
    for top in range(0, height, ROWS_AT_ONCE):
        here = rows[top : top + ROWS_AT_ONCE].astype(np.int16)
        up = np.concatenate([above, here[:-1]])
        left, corner = np.zeros_like(here), np.zeros_like(up)
        left[:, step:], corner[:, step:] = here[:, :-step], up[:, :-step]
        filtered = np.full((len(here), 1 + here.shape[1]), PAETH, np.uint8)
        filtered[:, 1:] = (here - _paeth(left, up, corner)).astype(np.uint8)
        packed.append(packer.compress(filtered.tobytes()))
        above = here[-1:]
    return b''.join(packed) + packer.flush()


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return whichever of the three is nearest to left + up - corner; ties in this order."""
    by_left, by_up = np.abs(up - corner), np.abs(left - corner)
    by_corner = np.abs(left + up - 2 * corner)
    best = np.where(by_up <= by_corner, up, corner)
    return np.where((by_left <= by_up) & (by_left <= by_corner), left, best)
