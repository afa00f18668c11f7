"""XMP and IPTC go through every format that has a place for them, as they were but for what would be untrue."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from basis_blur.photos.descriptions import iptc_of_resources, iptc_of_tag, resources_with, upright_xmp
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

XMP = (
    '<?xpacket begin="\ufeff"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="1" '
    'dc:title="Straße, 夜, 6"/></x:xmpmeta><?xpacket end="w"?>'
).encode()
IPTC = b'\x1c\x01\x5a\0\x03\x1b%G' + b'\x1c\x02\x78\0\x05Caf\xc3\xa9'
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
FORMATS = ('.jpg', '.png', '.tif')


def packed(tag, kind, content):
    return tag, kind, len(content), content, True


def jpeg(path, xmp=XMP, iptc=IPTC, orientation=1):
    """Write a JPEG as cameras and editors do; the resource before IPTC has a name of odd length."""
    encoded, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(encoded, 'JPEG', exif=exif)
    other = b'8BIM\x04\x25\x01A' + struct.pack('>L', 3) + b'abc\0'
    written = b''
    for marker, content in (
        (0xED, b'Photoshop 3.0\0' + other + resources_with(iptc)),
        (0xE1, b'http://ns.adobe.com/xap/1.0/\0' + xmp),
    ):
        written += struct.pack('>BBH', 0xFF, marker, 2 + len(content)) + content
    path.write_bytes(encoded.getvalue()[:2] + written + encoded.getvalue()[2:])


def png(path, compressed):
    Image.fromarray(PIXELS).save(path)
    data = path.read_bytes()
    text = zlib.compress(XMP) if compressed else XMP
    content = b'iTXtXML:com.adobe.xmp\0' + bytes([compressed, 0]) + b'de\0\xc3\xbcber\0' + text
    chunk = struct.pack('>L', len(content) - 4) + content + struct.pack('>L', zlib.crc32(content))
    path.write_bytes(data[:33] + chunk + data[33:])


def tiff(path, order, tags):
    tifffile.imwrite(path, PIXELS, byteorder=order, photometric='rgb', extratags=[packed(*tag) for tag in tags])


def swapped(content):
    content += bytes(-len(content) % 4)
    return struct.pack(f'<{len(content) // 4}L', *struct.unpack(f'>{len(content) // 4}L', content))


WRITERS = {
    'JPEG': jpeg,
    'PNG': lambda path: png(path, False),
    'PNG, compressed': lambda path: png(path, True),
    'TIFF': lambda path: tiff(path, '<', [(700, 1, XMP), (33723, 7, IPTC)]),
    'TIFF, big-endian': lambda path: tiff(path, '>', [(700, 7, XMP), (33723, 1, IPTC)]),
    'TIFF, IPTC as swapped numbers': lambda path: tiff(path, '<', [(700, 1, XMP), (33723, 7, swapped(IPTC))]),
    'TIFF, IPTC in resources': lambda path: tiff(path, '<', [(700, 1, XMP), (34377, 7, resources_with(IPTC))]),
}


@pytest.mark.filterwarnings('ignore:.*no place in a PNG')
@pytest.mark.parametrize('to', FORMATS)
@pytest.mark.parametrize('writer', WRITERS)
def test_both_go_from_every_format_into_every_format(tmp_path, writer, to):
    path, result = tmp_path / f'photo.{writer[:4].strip(",").lower()}', tmp_path / f'result{to}'
    WRITERS[writer](path)
    photo = read_photo(path)
    assert photo.xmp == XMP
    assert writer.startswith('PNG') or photo.iptc.rstrip(b'\0') == IPTC
    write_photo(result, photo.pixels, like=photo)
    again = read_photo(result)
    assert again.xmp == XMP
    assert again.iptc == (None if to == '.png' else photo.iptc)
    np.testing.assert_allclose(again.pixels, photo.pixels, atol=0.1 if to == '.jpg' else 0)


@pytest.mark.parametrize('to', FORMATS)
def test_another_program_finds_them_where_they_belong(tmp_path, to):
    jpeg(tmp_path / 'photo.jpg')
    photo = read_photo(tmp_path / 'photo.jpg')
    if to == '.png':
        with pytest.warns(UserWarning, match='16 bytes of IPTC data have no place in a PNG|bytes of IPTC'):
            write_photo(tmp_path / f'result{to}', photo.pixels, like=photo)
    else:
        write_photo(tmp_path / f'result{to}', photo.pixels, like=photo)
    if to == '.tif':
        with tifffile.TiffFile(tmp_path / 'result.tif') as file:
            tags = file.pages[0].tags
            assert (bytes(tags[700].value), bytes(tags[33723].value)) == (XMP, IPTC)
        return
    with Image.open(tmp_path / f'result{to}') as image:
        image.load()
        found = image.info.get('xmp') or image.text['XML:com.adobe.xmp'].encode()
        assert found == XMP
        assert to == '.png' or image.info['photoshop'][0x0404] == IPTC


@pytest.mark.parametrize('form', [b'tiff:Orientation="%d"', b"tiff:Orientation = '%d'", b'<tiff:Orientation>%d</'])
def test_the_xmp_of_a_turned_photo_says_upright(tmp_path, form):
    other = b' tiff:ResolutionUnit="6" exif:Flash="6"'
    jpeg(tmp_path / 'photo.jpg', b'<x ' + form % 6 + other, orientation=6)
    assert read_photo(tmp_path / 'photo.jpg').xmp == b'<x ' + form % 1 + other


def test_xmp_of_pictures_that_are_not_kept_is_left_out(tmp_path):
    block = b'<x xmlns:Container="http://ns.google.com/photos/1.0/container/" />'
    with pytest.warns(UserWarning, match='its XMP describes more pictures in the file'):
        assert upright_xmp(tmp_path, block) is None
    with pytest.warns(UserWarning, match='segments of its own is left out'):
        assert upright_xmp(tmp_path, b'<x xmpNote:HasExtendedXMP="ABC" a="b"/>') == b'<x a="b"/>'


def test_what_does_not_fit_in_a_jpeg_is_told(tmp_path):
    tiff(tmp_path / 'photo.tif', '<', [(700, 1, XMP + b' ' * 70_000)])
    photo = read_photo(tmp_path / 'photo.tif')
    with pytest.warns(UserWarning, match=r'\d+ bytes of XMP do not fit in a JPEG'):
        write_photo(tmp_path / 'result.jpg', photo.pixels, like=photo)
    assert read_photo(tmp_path / 'result.jpg').xmp is None


@pytest.mark.parametrize('length', range(0, 40, 3))
def test_resources_that_are_cut_off_hold_none(length):
    whole = resources_with(IPTC)
    assert iptc_of_resources(whole) == IPTC
    assert iptc_of_resources(whole[: min(length, len(whole) - 3)]) is None
    assert iptc_of_tag(b'nothing of that kind') is None


def test_iptc_that_goes_on_in_a_further_segment_is_whole(tmp_path):
    long = b'\x1c\x02\x78\x80\x04' + struct.pack('>L', 70_000) + b'x' * 70_000
    resources, encoded = resources_with(long), io.BytesIO()
    Image.fromarray(PIXELS).save(encoded, 'JPEG')
    written = b''
    for part in (resources[:65_000], resources[65_000:]):
        content = b'Photoshop 3.0\0' + part
        written += struct.pack('>BBH', 0xFF, 0xED, 2 + len(content)) + content
    (tmp_path / 'a.jpg').write_bytes(encoded.getvalue()[:2] + written + encoded.getvalue()[2:])
    photo = read_photo(tmp_path / 'a.jpg')
    assert photo.iptc == long
    write_photo(tmp_path / 'b.tif', photo.pixels, photo)
    assert read_photo(tmp_path / 'b.tif').iptc == long


def test_an_orientation_that_xmp_alone_tells_turns_nothing_and_stays(tmp_path):
    turned, encoded = XMP.replace(b'tiff:Orientation="1"', b'tiff:Orientation="6"'), io.BytesIO()
    Image.fromarray(PIXELS[:8]).save(encoded, 'JPEG', xmp=turned)
    (tmp_path / 'a.jpg').write_bytes(encoded.getvalue())
    photo = read_photo(tmp_path / 'a.jpg')
    assert photo.pixels.shape[-2:] == (8, 16)
    assert photo.xmp == turned


@pytest.mark.parametrize('to', FORMATS)
@pytest.mark.parametrize('format', ['WEBP', 'AVIF', 'HEIF'])
def test_xmp_goes_from_the_formats_of_phones_into_every_format(tmp_path, format, to):
    if format == 'HEIF':
        pytest.importorskip('pillow_heif').register_heif_opener()
    elif not features.check(format.lower()):
        pytest.skip(f'this Pillow reads no {format}')
    turned, exif = XMP.replace(b'tiff:Orientation="1"', b'tiff:Orientation="6"'), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS[:8].repeat(8, 0).repeat(4, 1)).save(tmp_path / 'a', format, exif=exif.tobytes(), xmp=turned)
    photo = read_photo(tmp_path / 'a')
    assert photo.pixels.shape[-2:] == (64, 64)
    assert photo.xmp == XMP  # upright
    write_photo(tmp_path / f'b{to}', photo.pixels, photo)
    assert read_photo(tmp_path / f'b{to}').xmp == XMP
