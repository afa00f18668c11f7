"""Formats of photo files: by the suffixes of their names, and by the first bytes of what they hold.

    read and written    PNG, JPEG, TIFF
    read                WebP; AVIF (by Pillow 11.3 and later); HEIC and HEIF (extra "heic"); camera raw (extra "raw")

The content of a file decides how it is read, whatever its name. This module loads no library.
"""

from __future__ import annotations

import os
from pathlib import Path

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import TIFF_SUFFIXES

JPEG_SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif')  # suffixes of JPEG files
SUFFIXES = ('.png', *JPEG_SUFFIXES, *TIFF_SUFFIXES)  # suffixes of files that are written
DATA_SUFFIXES = (*SUFFIXES, '.bmp', '.webp')  # suffixes of the photos of data sets
HEIF_SUFFIXES = ('.heic', '.heif', '.hif')  # suffixes of HEIF files
RAW_SUFFIXES = (
    '.3fr', '.arw', '.cr2', '.cr3', '.crw', '.dcr', '.dng', '.erf', '.fff', '.iiq', '.kdc', '.mef', '.mos', '.mrw',
    '.nef', '.nrw', '.orf', '.pef', '.raf', '.raw', '.rw2', '.rwl', '.sr2', '.srf', '.srw', '.x3f',
)  # fmt: skip
# Suffix of a photo that is read but not written -> suffix of its result. WebP and AVIF may have alpha and become PNG;
# HEIC of phones has none and becomes JPEG; the linear light of a camera raw file has 16 bits and becomes TIFF.
RESULT_SUFFIXES = {
    '.mpo': '.jpg', '.webp': '.png', '.avif': '.png',
    **dict.fromkeys(HEIF_SUFFIXES, '.jpg'), **dict.fromkeys(RAW_SUFFIXES, '.tif'),
}  # fmt: skip
READ_SUFFIXES = (*SUFFIXES, *RESULT_SUFFIXES)  # suffixes of files that are read
VIDEO_SUFFIXES = (
    '.3gp', '.avi', '.flv', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts', '.webm', '.wmv',
)  # fmt: skip

TIFF_BEGINS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # first bytes of TIFF and BigTIFF files, of either byte order
# First bytes of a file -> its format. Raw files that are made as TIFF files are not among them.
_BEGINS = {
    b'\x89PNG': 'PNG', b'\xff\xd8': 'JPEG', b'IIRO': 'raw', b'IIRS': 'raw', b'MMOR': 'raw', b'IIU\0': 'raw',
    b'FUJIFILMCCD-RAW': 'raw', b'FOVb': 'raw', b'\0MRM': 'raw', b'II\x1a\0\0\0HEAPCCDR': 'raw',
    b'\x1aE\xdf\xa3': 'video', b'0&\xb2u': 'video', b'FLV\x01': 'video', b'\0\0\x01\xba': 'video',
    b'\0\0\x01\xb3': 'video',
    **dict.fromkeys(TIFF_BEGINS, 'TIFF'),
}  # fmt: skip
# Brands of ISO base media files (ISO/IEC 14496-12), in which phones store photos and videos.
_HEIF_BRANDS = {b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'hevm', b'hevs', b'mif1', b'msf1', b'mif2'}
_AVIF_BRANDS = {b'avif', b'avis'}
_RAW_BRANDS = {b'crx '}
MOST_BYTES_OF_BRANDS = 256  # bytes from the beginning on in which brands are looked for


def format_of(data: bytes) -> str | None:
    """Return what a file holds: 'PNG', 'JPEG', 'TIFF', 'WEBP', 'AVIF', 'HEIF', 'raw' or 'video'; None for all else.

    A camera raw file that is made as a TIFF file is 'TIFF' here.
    """
    for begin, name in _BEGINS.items():
        if data.startswith(begin):
            return name
    if data[:4] == b'RIFF':
        return {b'WEBP': 'WEBP', b'AVI ': 'video'}.get(data[8:12])
    if data[4:8] == b'ftyp':
        length = min(max(int.from_bytes(data[:4], 'big'), 16), MOST_BYTES_OF_BRANDS)
        brand = data[8:12]
        brands = {brand, *(data[place : place + 4] for place in range(16, length, 4))}
        for name, known in (('AVIF', _AVIF_BRANDS), ('HEIF', _HEIF_BRANDS), ('raw', _RAW_BRANDS)):
            if brand in known or (brand in _HEIF_BRANDS and brands & known and name == 'AVIF'):
                return name
        return 'video'
    return 'video' if data[4:8] in (b'moov', b'mdat', b'wide') else None


def result_suffix(suffix: str) -> str:
    """Return the suffix of the result for that of a photo: the same where that format is written."""
    return RESULT_SUFFIXES.get(suffix.lower(), suffix)


def check_suffix(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a name to write to, in lower case.

    Raises:
        InputError: the suffix is none of `SUFFIXES`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f'{path} ends in "{suffix}", expected one of {", ".join(SUFFIXES)}; name the output so.')
    return suffix
