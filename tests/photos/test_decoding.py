"""Photos as trainings take them: the photo of a TIFF is the same one that `deblur` takes."""

import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

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


DEEP = PHOTO.astype(np.uint16) * 257
ALPHA = np.random.default_rng(1).integers(0, 256, (24, 20, 1), dtype=np.uint8)
GRAY = PHOTO[..., [0, 0, 0]]
RGBA, GRAY_ALPHA = np.concatenate([PHOTO, ALPHA], -1), np.concatenate([PHOTO[..., :1], ALPHA], -1)


@pytest.mark.parametrize(
    ('samples', 'options', 'seen'),
    [
        (PHOTO, {}, PHOTO),
        (RGBA, {'extrasamples': ['unassalpha']}, PHOTO),
        (RGBA.astype(np.uint16) * 257, {'extrasamples': ['unassalpha']}, PHOTO),
        (RGBA.transpose(2, 0, 1), {'planarconfig': 'separate', 'extrasamples': ['unspecified']}, PHOTO),
        (
            GRAY_ALPHA.transpose(2, 0, 1),
            {'planarconfig': 'separate', 'extrasamples': ['unassalpha']},
            PHOTO[..., [0] * 3],
        ),
        (DEEP, {'byteorder': '>', 'bigtiff': True}, PHOTO),
        ((PHOTO / 255).astype(np.float64), {'compression': 'zlib'}, PHOTO),
        ((PHOTO / 255).astype(np.float16), {}, PHOTO),
    ],
    ids=['8 bits', 'alpha', 'alpha, 16 bits', 'planes', 'gray planes', 'BigTIFF', 'doubles', 'halves'],
)
def test_a_tiff_is_what_deblur_reads(tmp_path, samples, options, seen):
    path, options = tmp_path / 'a.tif', dict(options)
    made = {name: options.pop(name) for name in ('byteorder', 'bigtiff') if name in options}
    colours = 'minisblack' if samples.shape[0] == 2 else 'rgb'
    tifffile.imwrite(path, samples, photometric=colours, **made, **options)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of a sample that is left out
        decoded = decode_photo(path.read_bytes(), 'a.tif')
    assert photo_size(path) == (24, 20)
    np.testing.assert_array_equal(decoded[..., ::-1], seen)


def test_two_photos_in_one_tiff_are_refused(tmp_path):
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, np.stack([PHOTO, PHOTO]), photometric='rgb')
    for read in (lambda: photo_size(path), lambda: decode_photo(path.read_bytes(), str(path))):
        with pytest.raises(InputError, match=r'a\.tif has 2 pages, expected one photo'):
            read()


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp', '.tif'])
@pytest.mark.parametrize('orientation', [1, 3, 6, 7])
def test_exif_alone_turns_a_photo(tmp_path, suffix, orientation):
    """XMP may tell of an orientation that nobody applies; Pillow's reader of EXIF would take it."""
    path, exif = tmp_path / f'a{suffix}', Image.Exif()
    exif[0x0112] = orientation
    beside = {'exif': exif} if orientation > 1 else {}
    beside['xmp'] = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    if suffix == '.png':
        text = PngImagePlugin.PngInfo()
        text.add_itxt('XML:com.adobe.xmp', beside.pop('xmp').decode())
        beside['pnginfo'] = text
    if suffix == '.tif':
        beside['tiffinfo'] = {700: beside.pop('xmp')}
    Image.fromarray(PHOTO).save(path, **beside)
    read = read_photo(path).pixels
    assert photo_size(path) == tuple(read.shape[-2:]) == decode_photo(path.read_bytes(), suffix).shape[:2]


def test_texts_of_a_png_do_not_matter(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text('Comment', 'a' * 3_000_000)
    Image.fromarray(PHOTO).save(tmp_path / 'a.png', pnginfo=text)
    assert photo_size(tmp_path / 'a.png') == (24, 20)


def test_a_png_that_says_it_is_huge_or_empty_is_refused(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(PHOTO).save(path)
    for width, words in ((1 << 30, 'pixels, expected at most'), (0, 'size is 0x24')):
        data = path.read_bytes()
        path.write_bytes(data[:16] + width.to_bytes(4, 'big') + data[20:])
        with pytest.raises(InputError, match=words):
            photo_size(path)
