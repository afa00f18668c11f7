"""The photos of phones and cameras are read as what they hold; what is no photo is called what it is."""

import io
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, features

from basis_blur.foundation.errors import InputError
from basis_blur.photos.boxes import bits_of_avif, colour_chunks_of
from basis_blur.photos.formats import READ_SUFFIXES, SUFFIXES, VIDEO_SUFFIXES, format_of, result_suffix
from basis_blur.photos.profiles import gamma_of_profile, linear_srgb_profile
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def halves(width=64, height=48):
    """A picture whose left half is red and whose right half is blue."""
    image = Image.new('RGB', (width, height), (200, 20, 20))
    image.paste((20, 20, 200), (width // 2, 0, width, height))
    return image


def exif_block(orientation=1):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = 'A maker', orientation
    return exif.tobytes()


def is_red(photo, row, column):
    red, _, blue = photo.pixels[0, :, row, column]
    return red > 0.6 > 0.3 > blue


# ----------------------------------------------------------------------------------------------------- WebP, AVIF, MPO


@pytest.mark.parametrize('format', ['WEBP', 'AVIF'])
def test_webp_and_avif_are_read_upright_with_alpha_and_metadata(tmp_path, format):
    if not features.check(format.lower()):
        pytest.skip(f'this Pillow reads no {format}')
    image = halves().convert('RGBA')
    image.putalpha(Image.linear_gradient('L').resize(image.size))
    image.save(tmp_path / 'a.jpg', format, exif=exif_block(6), icc_profile=SRGB, quality=95)  # whatever the name
    photo = read_photo(tmp_path / 'a.jpg')
    assert photo.pixels.shape == (1, 3, 64, 48)
    assert is_red(photo, 10, 24)
    assert not is_red(photo, 50, 24)
    assert photo.alpha[0, 0, 0, 0] > 0.9 > 0.1 > photo.alpha[0, 0, 0, -1]  # whose rows became columns, from the right
    assert photo.icc == SRGB
    write_photo(tmp_path / 'b.png', photo.pixels, photo)
    with Image.open(tmp_path / 'b.png') as seen:
        assert (seen.getexif()[0x010F], seen.getexif()[0x0112]) == ('A maker', 1)


@pytest.mark.parametrize(('code', 'kept'), [((9, 16), True), ((12, 13), True), ((1, 13), False), ((2, 2), False)])
@pytest.mark.parametrize('format', ['AVIF', 'HEIF'])
def test_colours_that_are_told_by_numbers_go_into_a_png(tmp_path, format, code, kept):
    if format == 'HEIF':
        pytest.importorskip('pillow_heif').register_heif_opener()
    elif not features.check('avif'):
        pytest.skip('this Pillow reads no AVIF')
    halves().save(tmp_path / 'a', format)
    data = (tmp_path / 'a').read_bytes()
    place = data.index(b'nclx') + 4
    (tmp_path / 'a').write_bytes(data[:place] + struct.pack('>HH', *code) + data[place + 4 :])
    photo = read_photo(tmp_path / 'a')
    assert photo.colour_chunks == (((b'cICP', bytes((*code, 0, 1))),) if kept else ())
    write_photo(tmp_path / 'b.png', photo.pixels, photo)
    assert read_photo(tmp_path / 'b.png').colour_chunks == photo.colour_chunks


def box(name, *contents):
    content = b''.join(contents)
    return struct.pack('>L4s', 8 + len(content), name) + content


def two_photos(main, version=0, wide=0):
    """Boxes of two photos of different colours and bits, of which one is the main one."""
    bits = [box(b'av1C', bytes((0x81, 0, flags, 0))) for flags in (0x00, 0x40)]
    colours = [box(b'colr', b'nclx', struct.pack('>HHHB', *code, 0, 0x80)) for code in ((12, 13), (9, 18))]
    letter = 'L' if version else 'H'
    table = struct.pack('>BxxBL', version, wide, 2)
    for photo, own in ((5, (1, 2)), (7, (0x80 | 3, 4))):
        own = [each | 0x8000 if wide and each & 0x80 else each for each in own]
        own = [each & ~0x80 if wide else each for each in own]
        table += struct.pack(f'>{letter}B2{"H" if wide else "B"}', photo, 2, *own)
    properties = box(b'iprp', box(b'ipco', bits[0], colours[0], bits[1], colours[1]), box(b'ipma', table))
    number = struct.pack(f'>B3x{letter}', version, main)
    return box(b'ftyp', b'avif') + box(b'meta', bytes(4), box(b'pitm', number), properties) + box(b'mdat', b'colrnclx')


@pytest.mark.parametrize('form', [(0, 0), (1, 1)], ids=['narrow', 'wide'])
def test_what_is_told_of_another_photo_of_the_file_is_not_taken(form):
    assert colour_chunks_of(two_photos(5, *form)) == ((b'cICP', bytes((12, 13, 0, 1))),)
    assert colour_chunks_of(two_photos(7, *form)) == ((b'cICP', bytes((9, 18, 0, 1))),)
    assert (bits_of_avif(two_photos(5, *form)), bits_of_avif(two_photos(7, *form))) == (8, 10)


def test_damaged_boxes_tell_nothing():
    data = two_photos(7)
    for length in range(len(data)):
        assert colour_chunks_of(data[:length]) in ((), ((b'cICP', bytes((9, 18, 0, 1))),))
    assert colour_chunks_of(data.replace(b'pitm', b'pitx')) == ()


def test_bits_that_pillow_does_not_keep_are_told(tmp_path, monkeypatch):
    if not features.check('avif'):
        pytest.skip('this Pillow reads no AVIF')
    halves().save(tmp_path / 'a.avif')
    monkeypatch.setattr('basis_blur.photos.reading.bits_of_avif', lambda data: 10)
    with pytest.warns(UserWarning, match=r'a\.avif: its 10 bits a sample become 8'):
        read_photo(tmp_path / 'a.avif')


def test_moving_webp_is_refused(tmp_path):
    halves().save(tmp_path / 'a.webp', save_all=True, append_images=[halves().rotate(180)])
    with pytest.raises(InputError, match='animation of 2 frames'):
        read_photo(tmp_path / 'a.webp')


def test_the_first_picture_of_an_mpo_is_the_photo(tmp_path):
    halves().save(tmp_path / 'a.mpo', 'MPO', save_all=True, append_images=[halves(32, 24)])
    assert read_photo(tmp_path / 'a.mpo').pixels.shape == (1, 3, 48, 64)


def test_cmyk_becomes_srgb_by_its_profile_with_a_word(tmp_path, monkeypatch):
    # No library here makes a profile of inks; what counts is that the file's own is asked.
    asked = []

    def build(source, target, in_mode, out_mode):
        asked.append(source.read())
        return SimpleNamespace(apply=lambda image: Image.new(out_mode, image.size, (10, 20, 30)))

    monkeypatch.setattr(ImageCms, 'buildTransform', build)
    for name, options in [('a.jpg', {}), ('a.tif', {'compression': 'tiff_deflate'})]:
        Image.new('CMYK', (8, 6), (9, 9, 9, 9)).save(tmp_path / name, icc_profile=b'inks', **options)
        with pytest.warns(UserWarning, match='is CMYK; it was converted to sRGB'):
            photo = read_photo(tmp_path / name)
        assert (photo.pixels[0, :, 0, 0] * 255).round().tolist() == [10, 20, 30]
        assert photo.icc is None
    assert asked == [b'inks'] * 2


def test_cmyk_whose_profile_is_damaged_is_refused(tmp_path):
    Image.new('CMYK', (8, 6)).save(tmp_path / 'a.jpg', icc_profile=b'nonsense')
    with pytest.raises(InputError, match='its profile cannot be used'):
        read_photo(tmp_path / 'a.jpg')


# ---------------------------------------------------------------------------------------------------------------- HEIC


@pytest.fixture
def pillow_heif():
    return pytest.importorskip('pillow_heif')


def heic(module, image, **options):
    file = io.BytesIO()
    module.from_pillow(image).save(file, quality=95, **options)
    return file.getvalue()


def test_heic_is_read_upright_with_what_is_beside_its_pixels(tmp_path, pillow_heif):
    data = heic(pillow_heif, halves(), exif=exif_block(6))
    (tmp_path / 'IMG_1.HEIC').write_bytes(data)
    photo = read_photo(tmp_path / 'IMG_1.HEIC')
    assert photo.pixels.shape == (1, 3, 64, 48)
    assert is_red(photo, 10, 24)
    assert photo.bits == 8
    write_photo(tmp_path / 'b.jpg', photo.pixels, photo)
    with Image.open(tmp_path / 'b.jpg') as seen:
        assert seen.getexif()[0x010F] == 'A maker'
        assert seen.getexif().get(0x0112, 1) == 1


def test_heic_of_ten_bits_becomes_sixteen(tmp_path, pillow_heif):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16)[:, None], (48, 1, 3))
    file = io.BytesIO()
    pillow_heif.from_bytes('RGB;16', (64, 48), ramp.tobytes()).save(file, quality=-1)
    (tmp_path / 'a.heic').write_bytes(file.getvalue())
    photo = read_photo(tmp_path / 'a.heic')
    assert photo.bits == 16
    np.testing.assert_allclose(photo.pixels[0, 1, 20], ramp[20, :, 1] / 65535, atol=0.01)


def test_damaged_heic_is_refused(tmp_path, pillow_heif):
    data = heic(pillow_heif, halves())
    for kept in (40, len(data) // 2):
        (tmp_path / 'a.heic').write_bytes(data[:kept])
        with pytest.raises(InputError, match=r'a\.heic is damaged or cut off'):
            read_photo(tmp_path / 'a.heic')


@pytest.mark.parametrize(
    ('module', 'name', 'content', 'words'),
    [
        ('pillow_heif', 'a.heic', b'\0\0\0\x18ftypheic\0\0\0\0mif1heic', r"pip install 'basis_blur\[heic\]'"),
        ('rawpy', 'a.cr3', b'\0\0\0\x18ftypcrx \0\0\0\x01crx isom', r"pip install 'basis_blur\[raw\]'"),
    ],
)
def test_what_to_install_is_told(tmp_path, monkeypatch, module, name, content, words):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_photo(tmp_path / name)


# ----------------------------------------------------------------------------------------------------------------- raw


def dng(path, light, orientation=1, white=16383):
    """Write a raw file of a sensor with a mosaic of red, green and blue, whose colours are those of XYZ."""
    same = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]
    tags = [
        (271, 2, None, 'A maker'), (272, 2, None, 'A camera'), (274, 3, 1, orientation), (33421, 3, 2, (2, 2)),
        (33422, 1, 4, (0, 1, 1, 2)), (50706, 1, 4, (1, 4, 0, 0)), (50708, 2, None, 'A camera'), (50714, 3, 1, 0),
        (50717, 4, 1, white), (50721, 10, 9, tuple(same)), (50728, 5, 3, (1, 1) * 3), (50778, 3, 1, 21),
    ]  # fmt: skip
    samples = np.rint(light * white).astype(np.uint16)
    tifffile.imwrite(path, samples, photometric='cfa', extratags=tags, metadata=None)


def test_raw_becomes_linear_light_upright_and_says_so_when_it_is_written(tmp_path):
    pytest.importorskip('rawpy')
    light = np.full((64, 96), 0.25)
    light[:, 48:] = 0.75
    dng(tmp_path / 'a.dng', light, orientation=6)
    photo = read_photo(tmp_path / 'a.dng')
    assert (photo.pixels.shape, photo.bits, photo.gamma) == ((1, 3, 96, 64), 16, 1)
    torch.testing.assert_close(
        photo.pixels[0, :, 20, 20], torch.full((3,), 0.25, dtype=torch.float32), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        photo.pixels[0, :, 70, 20], torch.full((3,), 0.75, dtype=torch.float32), atol=1e-3, rtol=0
    )
    write_photo(tmp_path / 'b.tif', photo.pixels, photo)
    again = read_photo(tmp_path / 'b.tif')
    assert (again.bits, again.gamma) == (16, 1)
    with Image.open(tmp_path / 'b.tif') as seen:
        assert (seen.getexif()[0x010F], seen.getexif().get(0x0112, 1)) == ('A maker', 1)
    with pytest.warns(UserWarning, match='8 bits are few for linear light'):
        write_photo(tmp_path / 'b.jpg', photo.pixels, photo)


def test_a_raw_file_that_cannot_be_developed_is_refused(tmp_path):
    pytest.importorskip('rawpy')
    dng(tmp_path / 'a.dng', np.full((64, 96), 0.5))
    (tmp_path / 'b.dng').write_bytes((tmp_path / 'a.dng').read_bytes()[:600])
    (tmp_path / 'c.raf').write_bytes(b'FUJIFILMCCD-RAW ' + bytes(200))
    for name in ('b.dng', 'c.raf'):
        with pytest.raises(InputError, match='is a camera raw file that cannot be developed'):
            read_photo(tmp_path / name)


def test_a_small_copy_beside_raw_data_is_not_taken_for_the_photo(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'rawpy', None)
    with tifffile.TiffWriter(tmp_path / 'a.nef') as file:
        file.write(np.zeros((12, 16, 3), np.uint8), photometric='rgb', subfiletype=1, subifds=1)
        file.write(np.zeros((48, 64), np.uint16), photometric='cfa')
    (tmp_path / 'a.cr2').write_bytes(
        b'II*\0\x10\0\0\0CR\2\0' + bytes(4) + struct.pack('<HHHLL', 1, 256, 4, 1, 9) + bytes(4)
    )
    for name in ('a.nef', 'a.cr2'):
        with pytest.raises(InputError, match='is a camera raw file'):
            read_photo(tmp_path / name)


# ------------------------------------------------------------------------------------------------- profiles and names


def test_the_gamma_of_a_profile_is_told_where_it_is_one_number():
    assert gamma_of_profile(linear_srgb_profile()) == 1
    assert gamma_of_profile(SRGB) is None  # whose curve has two pieces
    for damaged in (None, b'', b'a profile', SRGB[:150], SRGB[:132] + bytes(200)):
        assert gamma_of_profile(damaged) is None
    ImageCms.ImageCmsProfile(io.BytesIO(linear_srgb_profile()))  # LittleCMS takes it


def test_the_linear_profile_makes_other_programs_show_linear_light_as_it_is():
    linear = Image.new('RGB', (4, 4), (55, 55, 55))
    shown = ImageCms.profileToProfile(linear, io.BytesIO(linear_srgb_profile()), ImageCms.createProfile('sRGB'))
    assert shown.getpixel((0, 0))[0] == pytest.approx(255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055), abs=1.5)


@pytest.mark.parametrize(
    ('data', 'name'),
    [
        (b'\0\0\0\x18ftypmp42\0\0\0\0isommp42', 'video'),
        (b'\0\0\0\x14ftypqt  \0\0\0\0qt  ', 'video'),
        (b'RIFF\0\0\0\0AVI LIST', 'video'),
        (b'\x1aE\xdf\xa3\x01\0\0\0', 'video'),
        (b'\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf', 'AVIF'),
        (b'\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf', 'HEIF'),
        (b'\0\0\0\x18ftypcrx \0\0\0\x01crx isom', 'raw'),
        (b'RIFF\0\0\0\0WEBPVP8 ', 'WEBP'),
        (b'BM', None),
        (b'', None),
    ],
)
def test_files_are_known_by_their_first_bytes(data, name):
    assert format_of(data) == name


@pytest.mark.parametrize('name', ['a.mp4', 'a.jpg'])
def test_a_video_is_called_so(tmp_path, name):
    (tmp_path / name).write_bytes(b'\0\0\0\x18ftypmp42\0\0\0\0isommp42' + bytes(100))
    with pytest.raises(InputError, match=r'is a video, expected PNG.*save the picture'):
        read_photo(tmp_path / name)


def test_every_suffix_that_is_read_has_one_to_be_written_under():
    assert {result_suffix(suffix) for suffix in READ_SUFFIXES} <= set(SUFFIXES)
    assert result_suffix('.HEIC') == '.jpg'
    assert result_suffix('.JPG') == '.JPG'
    assert not set(READ_SUFFIXES) & set(VIDEO_SUFFIXES)


@pytest.mark.parametrize(
    ('begin', 'words'),
    [
        (b'\xff\x0a\xfa', 'a JPEG XL file'), (b'v/1\x01', 'an OpenEXR file'), (b'%PDF-1.7', 'a PDF file'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'a pointer of Git LFS and not the photo itself'),
        (b'<!DOCTYPE html>', 'a web page'),
    ],
)  # fmt: skip
def test_what_is_met_in_place_of_a_photo_is_called_what_it_is(tmp_path, begin, words):
    (tmp_path / 'a.jpg').write_bytes(begin + bytes(50))
    with pytest.raises(InputError, match=f'is {words}, expected PNG'):
        read_photo(tmp_path / 'a.jpg')
