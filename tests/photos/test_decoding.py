"""Photos as trainings take them: the photo of a TIFF is the same one that `deblur` takes."""

import cv2
import numpy as np
import pytest
import tifffile

from basis_blur.foundation.errors import InputError
from basis_blur.photos.decoding import decode_photo, photo_size
from basis_blur.photos.reading import read_photo

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


def thumbnail_first(path, photo=PHOTO, **options):
    with tifffile.TiffWriter(path) as file:
        file.write(PHOTO[::4, ::4], photometric='rgb', subfiletype=1)
        file.write(photo, photometric='rgb' if photo.ndim == 3 else 'minisblack', **options)


@pytest.mark.parametrize(
    ('photo', 'seen'),
    [
        (PHOTO, PHOTO),
        (PHOTO.astype(np.uint16) * 257, PHOTO),
        (PHOTO[..., 0], PHOTO[..., [0, 0, 0]]),
        ((PHOTO / 255).astype(np.float32), PHOTO),
    ],
    ids=['8 bits', '16 bits', 'gray', 'float'],
)
def test_a_thumbnail_as_first_page_is_passed_over(tmp_path, photo, seen):
    path = tmp_path / 'a.tif'
    thumbnail_first(path, photo)
    assert photo_size(path) == (24, 20) == tuple(read_photo(path).pixels.shape[-2:])
    np.testing.assert_array_equal(decode_photo(path.read_bytes(), str(path))[..., ::-1], seen)


def test_such_a_photo_is_turned_upright(tmp_path):
    thumbnail_first(tmp_path / 'a.tif', extratags=[(274, 3, 1, 6, True)])
    assert photo_size(tmp_path / 'a.tif') == (20, 24)
    turned = decode_photo((tmp_path / 'a.tif').read_bytes(), 'a.tif')
    np.testing.assert_array_equal(turned[..., ::-1], np.rot90(PHOTO, -1))


def test_a_plain_tiff_is_decoded_by_opencv_and_two_photos_are_refused(tmp_path):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, PHOTO, photometric='rgb')
    np.testing.assert_array_equal(decode_photo(path.read_bytes(), 'a.tif'), cv2.imread(str(path)))
    tifffile.imwrite(path, np.stack([PHOTO, PHOTO]), photometric='rgb')
    for read in (lambda: photo_size(path), lambda: decode_photo(path.read_bytes(), str(path))):
        with pytest.raises(InputError, match=r'a\.tif has 2 pages, expected one photo'):
            read()
