"""Small files to damage: pictures in several formats, PNG and TIFF from their parts, and what damages them."""

from __future__ import annotations

import io
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TIFF_TYPES = {'H': (3, 2), 'I': (4, 4), 'R': (5, 8), 'Q': (16, 8)}  # letter -> number of the type, bytes of a value


def picture(height: int = 40, width: int = 48, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return smooth colours with some noise, uint8."""
    rows, columns = np.mgrid[:height, :width]
    values = 100 + 50 * np.sin(rows / 5 + seed)[..., None] + 40 * np.cos(columns / 7)[..., None]
    noise = np.random.default_rng(seed).integers(0, 9, (height, width, channels))
    return np.squeeze((values + noise).astype(np.uint8))


def encoded(pixels: np.ndarray, form: str, mode: str | None = None, **options: Any) -> bytes:
    """Return a picture as Pillow writes it."""
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()


def png_of_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with these chunks, their sums being right."""
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body)) for name, body in chunks
    )


def png_header(width: int, height: int, bits: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    """Return the first chunk of a PNG."""
    return b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)


def tiff(changes: dict[int, Any] | None = None, strip: bytes | None = None, next_page: int = 0) -> bytes:
    """Return a 16-bit gray TIFF of 40 x 40 pixels with some of its tags changed.

    Args:
        changes: tag -> number, or (type letter, count, value or offset) as it shall stand there; None removes a tag.
        strip: the bytes of the pixels.
        next_page: offset at which the next page is said to begin.
    """
    strip = bytes(40 * 40 * 2) if strip is None else strip
    entries = {256: 40, 257: 40, 258: 16, 259: 1, 262: 1, 273: 0, 277: 1, 278: 40, 279: len(strip)}
    entries = {tag: value for tag, value in {**entries, **(changes or {})}.items() if value is not None}
    start = 8 + 2 + 12 * len(entries) + 4
    if not (changes or {}).get(273):
        entries[273] = start
    directory = struct.pack('<H', len(entries))
    for tag, value in sorted(entries.items()):
        letter, count, number = value if isinstance(value, tuple) else ('I', 1, value)
        directory += struct.pack('<HHII', tag, TIFF_TYPES[letter][0], count, number)
    return b'II*\0' + struct.pack('<I', 8) + directory + struct.pack('<I', next_page) + strip


def flipped(data: bytes, seed: int, first: int = 0, last: int | None = None) -> bytes:
    """Return the bytes with one bit of every hundred bytes flipped, at least one, between two places."""
    generator = random.Random(seed)
    changed = bytearray(data)
    last = len(data) if last is None else last
    for _ in range(max(1, (last - first) // 100)):
        changed[generator.randrange(first, last)] ^= 1 << generator.randrange(8)
    return bytes(changed)


def write(name: str, data: bytes | str) -> Callable[[Path], Path]:
    """Return a function that writes `data` to a file of this name in a folder."""

    def maker(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return maker


def copy(source: Path, folder: Path, name: str | None = None) -> Path:
    """Copy a file or folder into a folder, writable."""
    target = folder / (name or source.name)
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return target


def samples_of_forms() -> dict[str, bytes]:
    """Return a sound photo in each form that is read."""
    return {
        'png': encoded(picture(), 'PNG'),
        'jpg': encoded(picture(), 'JPEG', quality=90),
        'tif': encoded(picture(), 'TIFF', compression='tiff_adobe_deflate'),
        '16 bit.png': encoded(picture(channels=1).astype(np.uint16) * 257, 'PNG'),
        '16 bit.tif': tiff(strip=(picture(40, 40, 1).astype('<u2') * 200).tobytes()),
    }
