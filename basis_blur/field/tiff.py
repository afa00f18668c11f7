"""A blur field as pictures: a TIFF file of 16-bit gray pages that image tools open.

    pages        N B kernels of K x K, then N B planes of mixing of H x W; photo by photo, b runs fastest
    value        sample / 65535 * maximum of the page, exact to half a step

Every page's ImageDescription (tag 270) is the same JSON object: "kernels" and "mixing" are the two shapes, "maxima"
has a number for each page, in order.

Convention: `kernels` are convolution kernels, as drawn, not mirrored; row 0 is on top. Values are linear.
"""

from __future__ import annotations

import json
import os

import numpy as np
from PIL import Image, TiffImagePlugin
from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import TIFF_SUFFIXES, atomic_path

FULL_SCALE = 65535  # sample that stands for the maximum of a page
LARGEST = 1 << 32  # largest size of a TIFF file, bytes: its offsets have 32 bits


def write_field_tiff(path: str | os.PathLike[str], field: BlurField) -> None:
    """Write kernels and mixing to one TIFF file, whole or not at all; compressed without loss.

    Each kernel is divided by its largest value, since the values of wide kernels are small; mixing stays as it is.
    Kernels and mixing that are read back sum to 1 up to rounding; divide by the sum where that matters.

    Args:
        path: name ending in one of `TIFF_SUFFIXES`.
        field: blur that is written.

    Raises:
        InputError: the suffix is another, or the pages would not fit into a TIFF file.
        OSError: the file cannot be written; what was there before stays.
    """
    suffix = os.path.splitext(path)[1]
    if suffix.lower() not in TIFF_SUFFIXES:
        raise InputError(f'{path} ends in "{suffix}", expected one of {", ".join(TIFF_SUFFIXES)}; name the output so.')
    size = 2 * (field.kernels.numel() + field.mixing.numel())
    if size >= LARGEST:
        raise InputError(f'{path}: the field takes {size / 2**30:.1f} GiB, a TIFF file holds 4; write an npz file.')
    pages, maxima = [], []
    for planes, limit in ((field.kernels, None), (field.mixing, 1.0)):
        for plane in planes.detach().flatten(0, 1):
            maximum = limit or plane.max().item()
            pages.append(_page(plane, maximum))
            maxima.append(maximum)
    about = {'kernels': list(field.kernels.shape), 'mixing': list(field.mixing.shape), 'maxima': maxima}
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[TiffImagePlugin.IMAGEDESCRIPTION] = json.dumps(about)
    with atomic_path(path) as partial:
        pages[0].save(
            partial,
            format='TIFF',
            save_all=True,
            append_images=pages[1:],
            compression='tiff_adobe_deflate',
            tiffinfo=tags,
        )


def _page(plane: Tensor, maximum: float) -> Image.Image:
    """Return a plane as a page; a value above the maximum, as the rounding of a softmax makes, becomes the maximum."""
    samples = np.rint(plane.double().cpu().numpy() / maximum * FULL_SCALE).clip(0, FULL_SCALE)
    return Image.fromarray(samples.astype(np.uint16))
