"""A photo in memory: its pixels, and what a file holds beside them.

Convention: pixels are upright. A photo that its EXIF orientation tells to turn is turned when it is read, and the
    orientation that is written is 1 (upright).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from basis_blur.foundation.errors import InputError

MAX_PIXELS = 178_956_970  # as Pillow: more than this is taken for a decompression bomb
MAX_BYTES = 16 * MAX_PIXELS  # of a file: four floats a pixel
FULL_SCALE = {8: 255, 16: 65535}


@dataclass(frozen=True, eq=False)
class Photo:
    """The content of a photo file.

    Args:
        pixels: (1, 3 or 1, H, W) float32; sRGB-like in [0, 1]; upright.
        alpha: (1, 1, H, W) float32 in [0, 1], or None; the pixels are not multiplied by it.
        bits: per sample of the file: 8, 16, or 32 for float.
        icc: the bytes of the ICC profile, or None.
        exif: the EXIF block as a JPEG holds it (from b'Exif' on), orientation 1, without thumbnail; or None.
        dpi: horizontal and vertical resolution in pixels per inch, or None.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True)
class Stored:
    """A decoded file: samples (H, W, C) as they lie in it, and the EXIF tags, with directories as dictionaries."""

    samples: np.ndarray
    bits: int
    orientation: int
    icc: bytes | None
    tags: dict[int, Any]
    dpi: tuple[float, float] | None


def check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f'{path} says it has {width}x{height} pixels, expected at most {MAX_PIXELS / 1e6:.0f} million; '
            'give a smaller photo.'
        )


def colour_error(path: Path, found: str) -> InputError:
    return InputError(f'{path} is {found}, expected gray or RGB; convert it to sRGB in an image editor.')


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep Pillow's warnings of large photos and of damaged tags off the standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
