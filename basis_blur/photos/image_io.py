"""Photo files to tensors and back, under the names of before."""

from basis_blur.photos.formats import SUFFIXES, check_suffix
from basis_blur.photos.photo import MAX_BYTES, Photo, no_warnings
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo, write_samples

__all__ = [
    'MAX_BYTES',
    'SUFFIXES',
    'Photo',
    'check_suffix',
    'no_warnings',
    'read_photo',
    'write_photo',
    'write_samples',
]
