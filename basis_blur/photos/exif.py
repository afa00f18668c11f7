"""EXIF: what a file tells of how its photo was taken, as a block of tags."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from basis_blur.photos.photo import no_warnings

ORIENTATION = 0x0112
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROP_DIRECTORY = 0x8769, 0x8825, 0xA005
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
ICC_PROFILE = 0x8773
# Tags of a TIFF directory that say how its pixels are stored, or hold blocks that other fields of `Photo` carry or
# that describe the picture as it was before (thumbnails, XMP, Photoshop layers). They are not EXIF and not copied.
STORAGE_TAGS = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 290, 291, 292, 293,
    X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 338,
    339, 340, 341, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33723, 34377, ICC_PROFILE, 37724,
}  # fmt: skip
# What Pillow raises for directories of tags that are not as they should be.
MALFORMED = (SyntaxError, struct.error, ValueError, TypeError, KeyError, IndexError, OSError, AttributeError)
# Upright pixels from stored ones for each value of the orientation tag: (transpose, flip rows, flip columns).
UPRIGHT = {
    1: (False, False, False), 2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
    5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


def orientation_of(tags: Mapping[int, Any]) -> int:
    value = tags.get(ORIENTATION, 1)
    return value if value in UPRIGHT else 1


def pillow_tags(path: Path, image: Image.Image) -> dict[int, Any]:
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter('always')
        try:
            tags = tags_of(image.getexif())
        except MALFORMED as error:
            tags = {}
            complaints.append(error)
    if complaints:
        warnings.warn(f'{path}: its EXIF data are damaged; what can be read of them is kept', stacklevel=4)
    return tags


def tags_of(exif: Image.Exif) -> dict[int, Any]:
    """Return every tag, with the directories as dictionaries in place of offsets into the file."""
    tags = dict(exif)
    for tag in (EXIF_DIRECTORY, GPS_DIRECTORY):
        if tag in tags:
            tags[tag] = dict(exif.get_ifd(tag))
    camera = tags.get(EXIF_DIRECTORY, {})
    if INTEROP_DIRECTORY in camera:
        camera[INTEROP_DIRECTORY] = dict(exif.get_ifd(INTEROP_DIRECTORY))
    return tags


def exif_block(path: Path, tags: Mapping[int, Any], width: int, height: int) -> bytes | None:
    """Return the EXIF block of an upright photo of this size, or None where there is nothing to say."""
    exif = exif_of({tag: value for tag, value in tags.items() if tag not in STORAGE_TAGS})
    if not len(exif):
        return None
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    camera = exif.get(EXIF_DIRECTORY)
    if camera and PIXEL_WIDTH in camera and PIXEL_HEIGHT in camera:
        exif[EXIF_DIRECTORY] = {**camera, PIXEL_WIDTH: width, PIXEL_HEIGHT: height}
    try:
        with no_warnings():
            return exif.tobytes()
    except MALFORMED as error:
        warnings.warn(f'{path}: its EXIF data are damaged and will not be kept ({error!r})', stacklevel=3)
        return None


def exif_of(tags: Mapping[int, Any]) -> Image.Exif:
    exif = Image.Exif()
    exif.endian = '<'
    for tag, value in tags.items():
        exif[tag] = value
    return exif
