"""What goes through read_photo and write_photo comes out the same; what cannot be read is refused in words."""

import resource
import struct
import zlib
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, ImageOps

from basis_blur.foundation.errors import InputError
from basis_blur.photos.photo import Photo
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo, write_samples

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def exif_with(**tags):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = 'A maker', tags.get('orientation', 1)
    exif[0x8769] = {0x829A: 0.005, 0x927C: b'maker note', 0xA002: 5, 0xA003: 7, 0xA005: {1: 'R03'}}
    exif[0x8825] = {1: 'N', 2: (1.0, 2.0, 3.0)}
    return exif.tobytes()


def told_by(exif_block):
    exif = Image.Exif()
    exif.load(exif_block)
    camera = dict(exif.get_ifd(0x8769))
    camera.pop(0xA005, None)  # an offset
    return exif[0x010F], exif[0x0112], camera, dict(exif.get_ifd(0xA005)), dict(exif.get_ifd(0x8825))


# ------------------------------------------------------------------------------------------------------ round trips


@pytest.mark.parametrize(
    ('suffix', 'dtype', 'channels'),
    [
        *[('.png', dtype, channels) for dtype in (np.uint8, np.uint16) for channels in (1, 2, 3, 4)],
        *[('.tif', np.uint8, channels) for channels in (1, 2, 3, 4)],
        *[('.tiff', dtype, channels) for dtype in (np.uint16, np.float32) for channels in (1, 2, 3, 4)],
    ],
)
def test_writing_what_was_read_changes_no_sample(tmp_path, suffix, dtype, channels, random_samples, samples_of):
    samples = random_samples(channels, dtype)
    write_samples(tmp_path / f'a{suffix}', samples)
    photo = read_photo(tmp_path / f'a{suffix}')
    assert photo.bits == 8 * samples.itemsize
    assert (photo.alpha is not None) == (channels in (2, 4))
    np.testing.assert_array_equal(samples_of(photo), samples)
    write_photo(tmp_path / f'b{suffix}', photo.pixels, like=photo)
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / f'b{suffix}')), samples)


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_other_programs_read_the_samples_that_we_wrote(tmp_path, suffix, dtype, channels, random_samples):
    samples = random_samples(channels, dtype, height=131, width=67)  # more rows than are encoded at once
    write_samples(tmp_path / f'a{suffix}', samples)
    if suffix == '.tif':
        seen = tifffile.imread(tmp_path / 'a.tif').reshape(samples.shape) if dtype == np.uint16 else None
        seen = np.asarray(Image.open(tmp_path / 'a.tif')).reshape(samples.shape) if seen is None else seen
    else:
        seen = cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_UNCHANGED).reshape(samples.shape)
        seen = seen[..., [2, 1, 0, 3][:channels]] if channels > 1 else seen
    np.testing.assert_array_equal(seen, samples)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_files_of_other_programs_are_read_as_they_are(tmp_path, dtype, random_samples, samples_of):
    samples = random_samples(3, dtype)
    for suffix in ('.png', '.tif'):
        cv2.imwrite(str(tmp_path / f'a{suffix}'), samples[..., ::-1])  # OpenCV compresses TIFF by LZW
        np.testing.assert_array_equal(samples_of(read_photo(tmp_path / f'a{suffix}')), samples)


def test_jpeg_keeps_colour_within_a_few_levels_and_does_not_subsample_it(tmp_path, random_samples, samples_of):
    smooth = cv2.GaussianBlur(random_samples(3, height=32, width=32), (0, 0), 4)
    smooth[:, 15:17] = (250, 0, 0)  # a thin red line, which subsampling would wash out
    write_samples(tmp_path / 'a.jpg', smooth)
    error = samples_of(read_photo(tmp_path / 'a.jpg')).astype(int) - smooth
    assert np.abs(error).mean() < 2
    assert np.abs(error[:, 15:17]).mean() < 4
    assert [layer[1:3] for layer in Image.open(tmp_path / 'a.jpg').layer] == [(1, 1)] * 3


def test_gray_stays_gray_in_jpeg(tmp_path):
    write_samples(tmp_path / 'a.jpg', np.full((4, 4, 1), 77, np.uint8))
    assert Image.open(tmp_path / 'a.jpg').mode == 'L'
    assert torch.equal(read_photo(tmp_path / 'a.jpg').pixels, torch.full((1, 1, 4, 4), 77 / 255, dtype=torch.float32))


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif'])
def test_profile_exif_and_resolution_are_kept(tmp_path, suffix, random_samples):
    write_samples(
        tmp_path / f'a{suffix}', random_samples(3), Photo(None, icc=SRGB, exif=exif_with(), dpi=(300.0, 150.0))
    )
    photo = read_photo(tmp_path / f'a{suffix}')
    assert photo.icc == SRGB
    assert told_by(photo.exif) == told_by(exif_with())
    assert photo.dpi == pytest.approx((300, 150), abs=0.02)
    with Image.open(tmp_path / f'a{suffix}') as seen:
        assert seen.info['icc_profile'] == SRGB
        assert seen.getexif()[0x010F] == 'A maker'
        assert seen.info['dpi'] == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_deep_files_keep_their_profile_too(tmp_path, suffix, random_samples):
    write_samples(
        tmp_path / f'a{suffix}', random_samples(3, np.uint16), Photo(None, bits=16, icc=SRGB, exif=exif_with())
    )
    photo = read_photo(tmp_path / f'a{suffix}')
    assert (photo.bits, photo.icc, photo.dpi) == (16, SRGB, None)
    assert told_by(photo.exif) == told_by(exif_with())


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif'])
def test_metadata_cross_from_any_format_to_any_other(tmp_path, suffix):
    like = Photo(torch.rand(1, 3, 7, 5), icc=SRGB, exif=exif_with(), dpi=(72.0, 72.0))
    for other in ('.jpg', '.png', '.tif'):
        write_photo(tmp_path / f'a{suffix}', like.pixels, like)
        photo = read_photo(tmp_path / f'a{suffix}')
        write_photo(tmp_path / f'b{other}', photo.pixels, photo)
        arrived = read_photo(tmp_path / f'b{other}')
        assert (arrived.icc, told_by(arrived.exif)) == (SRGB, told_by(exif_with()))


def test_a_bare_file_has_no_metadata(tmp_path, random_samples):
    for suffix in ('.png', '.tif', '.jpg'):
        write_samples(tmp_path / f'a{suffix}', random_samples(3))
        photo = read_photo(tmp_path / f'a{suffix}')
        assert (photo.icc, photo.exif, photo.dpi) == (None, None, None)


def test_the_profile_is_left_out_where_colour_becomes_gray(tmp_path):
    like = Photo(torch.rand(1, 3, 7, 5), icc=SRGB)
    write_photo(tmp_path / 'a.png', torch.rand(1, 1, 7, 5), like)
    assert read_photo(tmp_path / 'a.png').icc is None


@pytest.mark.parametrize(('bits', 'suffix', 'expected'), [(16, '.jpg', 8), (32, '.png', 16), (16, '.tif', 16)])
def test_a_format_takes_the_nearest_depth_that_it_has(tmp_path, bits, suffix, expected):
    pixels = torch.rand(1, 3, 7, 5)
    write_photo(tmp_path / f'a{suffix}', pixels, Photo(pixels, bits=bits))
    assert read_photo(tmp_path / f'a{suffix}').bits == expected


def test_values_are_rounded_to_the_nearest_level(tmp_path, samples_of):
    levels = torch.tensor([0.4, 0.6, 99.4, 99.6, 254.6]) / 255
    write_photo(tmp_path / 'a.png', levels.view(1, 1, 1, 5))
    assert samples_of(read_photo(tmp_path / 'a.png')).flatten().tolist() == [0, 1, 99, 100, 255]


# ------------------------------------------------------------------------------------------------- kinds of pictures


@pytest.mark.parametrize(
    ('suffix', 'dtype'), [('.jpg', 'u1'), ('.png', 'u1'), ('.tif', 'u1'), ('.png', 'u2'), ('.tif', 'u2')]
)
@pytest.mark.parametrize('orientation', range(1, 9))
def test_an_oriented_photo_is_read_upright_and_marked_so(tmp_path, suffix, dtype, orientation):
    stored = np.zeros((16, 24, 3), dtype)
    stored[:8, :8], stored[:8, 8:16] = 200, 100
    path, factor = tmp_path / f'a{suffix}', 1 if dtype == 'u1' else 256
    write_samples(path, stored * factor, Photo(None, exif=exif_with(orientation=orientation), dpi=(300.0, 150.0)))
    image = Image.fromarray(stored.astype(np.uint8))
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image)).astype(float) / 255
    photo = read_photo(path)
    seen = photo.pixels[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(seen, expected, atol=0.01)
    assert told_by(photo.exif)[1] == 1
    camera = told_by(photo.exif)[2]
    assert (camera[0xA003], camera[0xA002]) == seen.shape[:2]
    assert photo.dpi == pytest.approx((150, 300) if orientation >= 5 else (300, 150), abs=0.02)


def test_alpha_is_turned_with_its_photo(tmp_path, random_samples, samples_of):
    samples = random_samples(4)
    write_samples(tmp_path / 'a.png', samples, Photo(None, exif=exif_with(orientation=6)))
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.png')), np.rot90(samples, -1))


def test_an_unknown_orientation_means_upright(tmp_path, random_samples, samples_of):
    write_samples(tmp_path / 'a.png', random_samples(3), Photo(None, exif=exif_with(orientation=9)))
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.png')), random_samples(3))


def test_palettes_become_colour_and_their_transparency_alpha(tmp_path, samples_of):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), 'P')
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / 'a.png')
    expected = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]])
    np.testing.assert_array_equal(samples_of(read_photo(tmp_path / 'a.png')), expected)
    image.save(tmp_path / 'b.png', transparency=1)
    photo = read_photo(tmp_path / 'b.png')
    np.testing.assert_array_equal(samples_of(photo)[..., :3], expected)
    assert photo.alpha.flatten().tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_one_bit_pictures_become_black_and_white(tmp_path, suffix):
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / f'a{suffix}')
    assert read_photo(tmp_path / f'a{suffix}').pixels.flatten().tolist() == [1, 0, 1]


# ---------------------------------------------------------------------------------------------------------- refusals


def test_a_missing_file_a_folder_and_an_empty_file_are_named(tmp_path):
    (tmp_path / 'empty.png').touch()
    for name, words in [('none.png', 'no file'), ('.', 'is a folder'), ('empty.png', 'is empty')]:
        with pytest.raises(InputError, match=words):
            read_photo(tmp_path / name)


def test_other_formats_are_named(tmp_path, random_samples):
    Image.fromarray(random_samples(3)).save(tmp_path / 'a.bmp')
    with pytest.raises(InputError, match='a BMP file, expected PNG, JPEG, TIFF'):
        read_photo(tmp_path / 'a.bmp')
    (tmp_path / 'a.png').write_text('a letter')
    with pytest.raises(InputError, match='not a photo file'):
        read_photo(tmp_path / 'a.png')


@pytest.mark.parametrize(
    ('suffix', 'dtype'),
    [
        ('.jpg', np.uint8), ('.png', np.uint8), ('.png', np.uint16), ('.tif', np.uint8), ('.tif', np.uint16),
        ('.tif', np.float32),
    ],
)  # fmt: skip
@pytest.mark.parametrize('kept', [0.02, 0.5, 0.95])
def test_a_file_that_was_cut_off_is_refused(tmp_path, suffix, dtype, kept, random_samples):
    path = tmp_path / f'a{suffix}'
    write_samples(path, random_samples(3, dtype, height=64, width=64))
    data = path.read_bytes()
    path.write_bytes(data[: max(int(len(data) * kept), 4)])
    with pytest.raises(InputError, match=r'a\.\w+ (is (a )?damaged|is empty|has|cannot)') as raised:
        read_photo(path)
    assert 'object at' not in str(raised.value)


@pytest.mark.parametrize('suffix', ['.jpg', '.tif'])
def test_cmyk_without_a_profile_is_refused(tmp_path, suffix):
    Image.new('CMYK', (8, 8)).save(tmp_path / f'a{suffix}')
    with pytest.raises(InputError, match='is CMYK, expected gray or RGB; it has no profile'):
        read_photo(tmp_path / f'a{suffix}')


def test_a_small_file_that_claims_to_be_huge_is_refused_before_it_is_unpacked(tmp_path, random_samples):
    header = b'IHDR' + struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    png = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + header + struct.pack('>I', zlib.crc32(header))
    (tmp_path / 'a.png').write_bytes(png + struct.pack('>I', 0) + b'IDAT' + struct.pack('>I', zlib.crc32(b'IDAT')))
    with pytest.raises(InputError, match='too large|at most'):
        read_photo(tmp_path / 'a.png')
    write_samples(tmp_path / 'a.tif', random_samples(3, np.uint16))
    data = (tmp_path / 'a.tif').read_bytes()
    for tag in (256, 257):
        here = data.index(struct.pack('<H', tag))
        data = data[:here] + struct.pack('<HHLL', tag, 4, 1, 60000) + data[here + 12 :]
    (tmp_path / 'a.tif').write_bytes(data)
    with pytest.raises(InputError, match='60000x60000 pixels, expected at most 179 million'):
        read_photo(tmp_path / 'a.tif')


def test_a_photo_of_over_a_hundred_megapixels_is_read_without_a_warning(tmp_path, recwarn):
    Image.new('1', (10000, 9000)).save(tmp_path / 'a.png')
    assert read_photo(tmp_path / 'a.png').pixels.shape == (1, 1, 9000, 10000)
    assert not recwarn.list


def test_writing_refuses_what_the_file_cannot_hold(tmp_path):
    pixels = torch.rand(1, 3, 7, 5)
    with_alpha = Photo(pixels, torch.rand(1, 1, 7, 5))
    for name, like, words in [
        ('a.webp', None, r'ends in "\.webp", expected one of \.png'),
        ('a', None, 'ends in ""'),
        ('a.jpg', with_alpha, 'JPEG has no alpha'),
    ]:
        with pytest.raises(InputError, match=words):
            write_photo(tmp_path / name, pixels, like)
    with pytest.raises(ValueError, match=r'the alpha \(7, 5\)'):
        write_photo(tmp_path / 'a.png', torch.rand(1, 3, 7, 6), with_alpha)
    for bad, words in [(pixels * 2 + 1, 'expected values in'), (pixels * float('nan'), 'nan'), (pixels[0], 'shape')]:
        with pytest.raises(ValueError, match=words):
            write_photo(tmp_path / 'a.png', bad)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def files_of_at_most(size):
    """The kernel refuses to make a file larger than this: a full disk that needs no disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.jpg'])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, suffix, random_samples):
    path, samples = tmp_path / f'a{suffix}', random_samples(3, height=64, width=64)
    write_samples(path, samples[:8])
    before = path.read_bytes()
    with files_of_at_most(2000), pytest.raises(OSError, match='File too large'):
        write_samples(path, samples)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_real_photos_are_read(shared_data, samples_of):
    for path in sorted((shared_data / 'real' / 'lai').glob('*.jpg'))[:3]:
        photo = read_photo(path)
        expected = np.asarray(Image.open(path)).reshape(photo.pixels.shape[2], photo.pixels.shape[3], -1)
        np.testing.assert_array_equal(samples_of(photo), expected)
