"""TIFF files of every kind that other programs write are read as they are; what is no photo is refused in words."""

import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from basis_blur.foundation.errors import InputError
from basis_blur.photos.photo import Photo
from basis_blur.photos.reading import read_photo
from basis_blur.photos.tags import Structure
from basis_blur.photos.writing import write_samples

FULL = {np.uint8: 255, np.uint16: 65535, np.float32: 1}


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_a_tiff_stored_as_a_negative_is_read_as_a_positive(tmp_path, dtype, random_samples, samples_of):
    samples = random_samples(1, dtype)
    tifffile.imwrite(tmp_path / 'a.tif', FULL[dtype] - samples[..., 0], photometric='miniswhite')
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), samples)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_premultiplied_alpha_is_divided_out(tmp_path, dtype, random_samples):
    colours, alpha = random_samples(3, dtype), np.full((7, 5, 1), FULL[dtype] * 0.5, dtype)
    alpha[0] = 0
    stored = np.concatenate([(colours * (alpha / FULL[dtype])).astype(dtype), alpha], -1)
    tifffile.imwrite(tmp_path / 'a.tif', stored, photometric='rgb', extrasamples=['assocalpha'])
    photo = read_photo(tmp_path / 'a.tif')
    step = 0 if dtype == np.float32 else 3 / FULL[dtype]
    seen = photo.pixels[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(seen[1:], (colours / FULL[dtype])[1:], rtol=1e-6, atol=step)


def test_big_tiffs_and_either_byte_order_are_read(tmp_path, random_samples, samples_of):
    samples = random_samples(3, np.uint16)
    tifffile.imwrite(tmp_path / 'big.tif', samples, photometric='rgb', bigtiff=True, byteorder='<')
    tifffile.imwrite(tmp_path / 'order.tif', samples, photometric='rgb', byteorder='>')
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'big.tif')), samples)
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'order.tif')), samples)


def test_a_reduced_copy_in_a_tiff_is_not_a_second_page(tmp_path, random_samples, samples_of):
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        file.write(random_samples(3), photometric='rgb')
        file.write(random_samples(3)[::2, ::2], photometric='rgb', subfiletype=1)
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), random_samples(3))


@pytest.mark.parametrize(('value', 'words'), [(1.5, r'to 1\.5'), (-0.5, r'from -0\.5'), (np.nan, 'nan')])
def test_float_outside_zero_to_one_is_refused(tmp_path, value, words, random_samples):
    samples = random_samples(3, np.float32)
    samples[3, 3, 1] = value
    tifffile.imwrite(tmp_path / 'a.tif', samples, photometric='rgb')
    with pytest.raises(InputError, match=words):
        read_photo(tmp_path / 'a.tif')


@pytest.mark.parametrize(
    ('samples', 'options', 'words'),
    [
        (np.zeros((8, 9), np.uint32), {}, '32-bit whole-number'),
        (np.zeros((8, 9), np.int16), {}, '16-bit signed'),
        (np.zeros((8, 9), np.complex64), {}, '64-bit unknown'),
        (np.zeros((8, 9, 4), np.uint16), {'photometric': 'separated'}, 'is CMYK'),
        (np.zeros((2, 8, 9, 3), np.uint8), {'photometric': 'rgb'}, 'has 2 pages'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_tiffs_that_are_no_plain_photo_are_refused(tmp_path, samples, options, words):
    tifffile.imwrite(tmp_path / 'a.tif', samples, **options)
    with pytest.raises(InputError, match=words):
        read_photo(tmp_path / 'a.tif')


# ------------------------------------------------------------------------------------------------- kinds of storage


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_every_byte_order_depth_and_offset_size_is_read(
    tmp_path, random_samples, samples_of, dtype, order, big, channels
):
    samples = random_samples(channels, dtype)
    tifffile.imwrite(
        tmp_path / 'a.tif', samples.squeeze(), bigtiff=big, byteorder=order,
        photometric='rgb' if channels > 2 else 'minisblack',
        extrasamples=['unassalpha'] if channels in (2, 4) else None, planarconfig='contig' if channels > 1 else None,
    )  # fmt: skip
    photo = read_photo(tmp_path / 'a.tif')
    assert photo.bits == 8 * samples.itemsize
    np.testing.assert_array_equal(samples_of(photo), samples)


@pytest.mark.parametrize(
    ('dtype', 'options'),
    [
        *[(dtype, {'compression': each}) for dtype in (np.uint8, np.uint16, np.float32) for each in (None, 'zlib')],
        *[(dtype, {'compression': 'zlib', 'predictor': 2}) for dtype in (np.uint8, np.uint16)],
    ],
)
@pytest.mark.parametrize('parts', [{}, {'rowsperstrip': 3}, {'tile': (16, 16)}])
@pytest.mark.parametrize('planar', ['contig', 'separate'])
def test_strips_tiles_planes_and_predictors_are_read(
    tmp_path, random_samples, samples_of, dtype, options, parts, planar
):
    samples = random_samples(3, dtype, 19, 21)
    stored = np.moveaxis(samples, -1, 0) if planar == 'separate' else samples
    tifffile.imwrite(tmp_path / 'a.tif', stored, photometric='rgb', planarconfig=planar, **options, **parts)
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), samples)


@pytest.mark.parametrize(('dtype', 'fitting'), [(np.uint8, 2), (np.uint16, 2), (np.float32, 3)])
@pytest.mark.parametrize(
    ('compression', 'predicts'),
    [(1, False), (5, False), (5, True), (8, True), (32773, False), (32946, True)],  # none, LZW, deflate, PackBits
)
def test_what_libtiff_compressed_is_read(tmp_path, random_samples, samples_of, dtype, fitting, compression, predicts):
    samples = random_samples(3, dtype, 40, 33)
    predictor = fitting if predicts else 1
    options = [
        cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_PREDICTOR, predictor,
        cv2.IMWRITE_TIFF_ROWSPERSTRIP, 7,
    ]  # fmt: skip
    cv2.imwrite(str(tmp_path / 'a.tif'), samples[..., ::-1], options)
    with tifffile.TiffFile(tmp_path / 'a.tif') as file:
        assert file.pages[0].compression == compression
        assert file.pages[0].predictor == predictor
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), samples)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_undefined_sample_formats_mean_whole_numbers(tmp_path, random_samples, samples_of, dtype):
    samples = random_samples(3, dtype)
    write_samples(tmp_path / 'a.tif', samples)
    data = bytearray((tmp_path / 'a.tif').read_bytes())
    structure = Structure(data)
    entry = structure.directory(structure.first).entries[339]
    struct.pack_into('<3H', data, entry.value, 4, 4, 4)
    (tmp_path / 'a.tif').write_bytes(data)
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), samples)


@pytest.mark.parametrize('compression', ['jpeg', 'tiff_ccitt', 'group4'])
def test_compressions_of_pictures_are_read_as_pillow_reads_them(tmp_path, compression):
    image = Image.new('1' if compression != 'jpeg' else 'RGB', (40, 30), 'white')
    image.paste(0, (10, 10, 20, 20))
    image.save(tmp_path / 'a.tif', compression=compression)
    pixels = read_photo(tmp_path / 'a.tif').pixels
    assert pixels[0, :, 15, 15].max() < 0.1
    assert pixels[0, :, 25, 30].min() > 0.9


# ------------------------------------------------------------------------------------- samples beyond the colours


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('told', [None, ['unspecified']])
def test_a_sample_that_is_not_marked_as_alpha_is_left_out_with_a_word(
    tmp_path, random_samples, samples_of, dtype, told
):
    samples = random_samples(4, dtype)
    tifffile.imwrite(tmp_path / 'a.tif', samples, photometric='rgb', extrasamples=told or ['unassalpha'])
    if told is None:
        data = bytearray((tmp_path / 'a.tif').read_bytes())
        structure = Structure(data)
        struct.pack_into('<H', data, structure.directory(structure.first).entries[338].place, 65000)  # no such tag
        (tmp_path / 'a.tif').write_bytes(data)
    with pytest.warns(UserWarning, match=r'a\.tif has 1 more sample'):
        photo = read_photo(tmp_path / 'a.tif')
    assert photo.alpha is None
    np.testing.assert_array_equal(samples_of(photo), samples[..., :3])


def test_alpha_among_other_samples_is_found(tmp_path, random_samples, samples_of):
    samples = random_samples(5)
    tifffile.imwrite(tmp_path / 'a.tif', samples, photometric='rgb', extrasamples=['unspecified', 'unassalpha'])
    with pytest.warns(UserWarning, match='1 more sample'):
        photo = read_photo(tmp_path / 'a.tif')
    np.testing.assert_array_equal(samples_of(photo), samples[..., [0, 1, 2, 4]])


def test_the_alpha_of_a_negative_is_no_negative(tmp_path, random_samples, samples_of):
    samples = random_samples(2)
    stored = np.stack([255 - samples[..., 0], samples[..., 1]], -1)
    tifffile.imwrite(
        tmp_path / 'a.tif', stored, photometric='miniswhite', extrasamples=['unassalpha'], planarconfig='contig'
    )
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), samples)


# -------------------------------------------------------------------------------------------- which page is the photo


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('below', [False, True])
def test_the_photo_is_taken_where_a_thumbnail_comes_first(tmp_path, random_samples, samples_of, dtype, below):
    samples = random_samples(3, dtype, 12, 10)
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        file.write(
            samples[::2, ::2],
            photometric='rgb',
            subfiletype=1,
            subifds=1 if below else 0,
            extratags=[(274, 3, 1, 3, True)],
        )
        file.write(samples, photometric='rgb')
    photo = read_photo(tmp_path / 'a.tif')
    np.testing.assert_array_equal(samples_of(photo), samples[::-1, ::-1])  # the first page tells the orientation


def test_a_larger_page_below_the_first_is_the_photo(tmp_path, random_samples, samples_of):
    samples = random_samples(3, np.uint8, 12, 10)
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        file.write(samples[::2, ::2], photometric='rgb', subifds=1)
        file.write(samples, photometric='rgb')
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), samples)


def test_reduced_copies_below_the_photo_are_none(tmp_path, random_samples, samples_of):
    samples = random_samples(3, np.uint8, 12, 10)
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        file.write(samples, photometric='rgb', subifds=2)
        file.write(samples[::2, ::2], photometric='rgb', subfiletype=1)
        file.write(samples[::4, ::4], photometric='rgb', subfiletype=1)
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), samples)


def test_a_file_of_reduced_copies_alone_is_refused_unless_it_has_one(tmp_path, random_samples, samples_of):
    samples = random_samples(3)
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        file.write(samples, photometric='rgb', subfiletype=1)
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), samples)
    with tifffile.TiffWriter(tmp_path / 'a.tif', append=True) as file:
        file.write(samples, photometric='rgb', subfiletype=1)
    with pytest.raises(InputError, match='2 pages and each is marked as a reduced copy'):
        read_photo(tmp_path / 'a.tif')


# ------------------------------------------------------------------------------------------------------- resolution


@pytest.mark.parametrize('ratio', [(0, 0), (1, 0), (0, 1)])
def test_a_resolution_that_is_no_number_is_none(tmp_path, random_samples, ratio):
    write_samples(tmp_path / 'a.tif', random_samples(3), Photo(None, dpi=(300.0, 300.0)))
    data = (tmp_path / 'a.tif').read_bytes()
    assert data.count(struct.pack('<LL', 300, 1)) == 2
    (tmp_path / 'a.tif').write_bytes(data.replace(struct.pack('<LL', 300, 1), struct.pack('<LL', *ratio)))
    photo = read_photo(tmp_path / 'a.tif')
    assert photo.dpi is None
    for suffix in ('.png', '.jpg', '.tif'):
        write_samples(tmp_path / f'b{suffix}', random_samples(3), photo)


@pytest.mark.parametrize('dpi', [1e-9, 1e9, 1e30])
@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif'])
def test_a_resolution_that_a_format_cannot_hold_is_left_out(tmp_path, random_samples, suffix, dpi):
    write_samples(tmp_path / f'a{suffix}', random_samples(3), Photo(None, dpi=(dpi, dpi)))
    assert read_photo(tmp_path / f'a{suffix}').dpi is None


def test_colours_that_are_not_told_are_gray_or_rgb_by_their_number(tmp_path, random_samples, samples_of):
    for channels in (1, 3):
        samples = random_samples(channels, np.uint16)
        write_samples(tmp_path / 'a.tif', samples)
        data = bytearray((tmp_path / 'a.tif').read_bytes())
        structure = Structure(data)
        struct.pack_into('<H', data, structure.directory(structure.first).entries[262].place, 65000)  # no such tag
        (tmp_path / 'a.tif').write_bytes(data)
        np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.tif')), samples)


def test_a_deep_palette_is_called_so(tmp_path):
    palette = np.zeros((3, 65536), np.uint16)
    tifffile.imwrite(tmp_path / 'a.tif', np.zeros((8, 9), np.uint16), photometric='palette', colormap=palette)
    with pytest.raises(InputError, match='is palette of 16 bits, expected gray or RGB'):
        read_photo(tmp_path / 'a.tif')
