"""A photo in memory: its pixels, and what a file holds beside them.

Convention: pixels are upright. A photo that its EXIF orientation tells to turn is turned when it is read, and the
    orientation that is written is 1 (upright).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from basis_blur.foundation.errors import InputError

MAX_PIXELS = 178_956_970  # largest number of pixels; Pillow takes more for a decompression bomb
MAX_BYTES = 16 * MAX_PIXELS  # largest size of a file: four floats a pixel
FULL_SCALE = {8: 255, 16: 65535}  # bits of a sample -> sample of white
INCH = 0.0254  # an inch, metres


@dataclass(frozen=True, eq=False, kw_only=True)
class Metadata:
    """What a photo file tells beside its samples.

    Args:
        bits: number of bits of a sample: 8, 16, or 32 for float.
        icc: the bytes of the ICC profile, or None.
        exif: the EXIF block, or None.
        dpi: horizontal and vertical resolution in pixels per inch, or None.
        gamma: exponent of light = pixels ** gamma, as the file says; None where one number does not tell it.
        colour_chunks: name and content of the chunks by which a PNG tells its colours beside a profile: gAMA, cHRM,
            sRGB, cICP and those of HDR.
        xmp: the XMP packet, or None.
        iptc: the IPTC records, or None.
    """

    bits: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    gamma: float | None = None
    colour_chunks: tuple[tuple[bytes, bytes], ...] = ()
    xmp: bytes | None = None
    iptc: bytes | None = None


@dataclass(frozen=True, eq=False)
class Photo(Metadata):
    """The content of a photo file, upright.

    The EXIF block is as a JPEG holds it (from b'Exif' on), without thumbnail. It and the XMP packet have orientation 1.

    Args:
        pixels: (1, 3 or 1, H, W) float32; sRGB-like in [0, 1].
        alpha: (1, 1, H, W) float32 in [0, 1], or None; the pixels are not multiplied by it.
    """

    pixels: Tensor
    alpha: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Stored(Metadata):
    """A decoded file. EXIF and XMP are as they stand in it, EXIF with or without the letters "Exif".

    Args:
        samples: (H, W, C), as the file has them; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        upright: whether the decoder has turned the samples upright, so that the orientation of EXIF is done.
    """

    samples: np.ndarray
    upright: bool = False


def sound_dpi(across: float | None, down: float | None) -> tuple[float, float] | None:
    """Return a resolution, or None unless both numbers are positive and finite."""
    if across is None or down is None or not (math.isfinite(across) and math.isfinite(down)):
        return None
    return (float(across), float(down)) if across > 0 and down > 0 else None


def check_size(path: Path, width: int, height: int) -> None:
    """Raise InputError if a file says it has more than `MAX_PIXELS` pixels, before they are unpacked."""
    if width * height > MAX_PIXELS:
        raise InputError(
            f'{path} says it has {width}x{height} pixels, expected at most {MAX_PIXELS / 1e6:.0f} million; '
            'give a smaller photo.'
        )


def colour_error(path: Path, found: str) -> InputError:
    """Return the error for colours that are not read."""
    return InputError(f'{path} is {found}, expected gray or RGB; convert it to sRGB in an image editor.')
