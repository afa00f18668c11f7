"""Camera raw files to linear light, developed by LibRaw through rawpy, which the extra "raw" installs.

    samples = light of the scene, white balance of the camera, primaries of sRGB, 16 bits, gamma 1

The light is not brightened and no curve is applied: a blur is a mean of light, and here light is what the file has.
The profile that goes with the samples says so, so that programs that heed profiles show the result as it should be.
"""

from __future__ import annotations

import io
from pathlib import Path

from basis_blur.foundation.errors import InputError
from basis_blur.photos.exif import block_of_tiff
from basis_blur.photos.formats import TIFF_BEGINS
from basis_blur.photos.photo import Stored, check_size
from basis_blur.photos.profiles import linear_srgb_profile
from basis_blur.photos.tags import Structure


def decode_raw(path: Path, data: bytes) -> Stored:
    """Develop a raw file.

    Args:
        path: name of the file, for errors.
        data: its content.

    Raises:
        InputError: rawpy is not installed; LibRaw cannot develop the file, or it is too large.
    """
    try:
        import rawpy
    except ImportError as error:
        raise InputError(
            f"{path} is a camera raw file, which needs rawpy; pip install 'basis_blur[raw]', or develop it in a raw "
            'converter and export it as TIFF of 16 bits.'
        ) from error
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            check_size(path, raw.sizes.width, raw.sizes.height)
            samples = raw.postprocess(
                gamma=(1, 1), no_auto_bright=True, use_camera_wb=True, output_bps=16, output_color=rawpy.ColorSpace.sRGB
            )  # turned upright, as the file says
    except InputError:
        raise
    except (rawpy.LibRawError, OSError, ValueError, MemoryError) as error:
        raise InputError(
            f'{path} is a camera raw file that cannot be developed ({error}); develop it in a raw converter and export '
            'it as TIFF of 16 bits.'
        ) from error
    return Stored(samples, bits=16, icc=linear_srgb_profile(), exif=_exif(data), gamma=1.0, upright=True)


def _exif(data: bytes) -> bytes | None:
    if data[:4] not in TIFF_BEGINS:
        return None
    try:
        return block_of_tiff(data, Structure(data).first)
    except ValueError:
        return None
