"""What a camera tells of a photo comes out byte for byte, but for what the written photo makes untrue."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from basis_blur.photos.exif import PREFIX, block_of_tiff, orientation_of, upright_block
from basis_blur.photos.photo import Photo
from basis_blur.photos.reading import read_photo
from basis_blur.photos.tags import Structure
from basis_blur.photos.writing import write_samples

THUMBNAIL = b'\xff\xd8 the blurred photo, small \xff\xd9'
ARTIST = 'José Núñez'.encode() + b'\0'
COMMENT = b'UNICODE\0' + '写真'.encode('utf-16-be')


def camera_block(order='>', orientation=6, thumbnail=True, tail=b''):
    """A block as cameras write it: either byte order, text in UTF-8, a maker note that counts from the header."""
    note = b'Maker\0' + struct.pack(order + 'L', 300) + bytes(range(60))
    first = [
        (0x010F, 2, b'A maker\0'), (0x0112, 3, struct.pack(order + 'H', orientation)),
        (0x011A, 5, struct.pack(order + 'LL', 300, 1)), (0x011B, 5, struct.pack(order + 'LL', 150, 1)),
        (0x013B, 2, ARTIST), (0x8769, 4, b'EXIF'), (0x8825, 4, b'GPS.'),
    ]  # fmt: skip
    camera = [
        (0x829A, 5, struct.pack(order + 'LL', 10, 2000)), (0x9000, 7, b'0230'), (0x927C, 7, note), (0x9286, 7, COMMENT),
        (0xA002, 3, struct.pack(order + 'H', 7)), (0xA003, 3, struct.pack(order + 'H', 5)),
        (0xA302, 7, b'\2\0\2\0\0\1\1\2'),
    ]  # fmt: skip
    gps = [(1, 2, b'N\0'), (2, 5, struct.pack(order + '6L', 48, 1, 8, 1, 30, 1))]
    small = [(0x0201, 4, b'HERE'), (0x0202, 4, struct.pack(order + 'L', len(THUMBNAIL)))]
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
    directories = {'IFD0': first, 'EXIF': camera, 'GPS.': gps, **({'IFD1': small} if thumbnail else {})}
    places, end = {}, 8
    for name, entries in directories.items():
        places[name] = end
        end += 2 + 12 * len(entries) + 4
    body, values = b'', b''
    for name, entries in directories.items():
        body += struct.pack(order + 'H', len(entries))
        for tag, kind, value in entries:
            body += struct.pack(order + 'HHL', tag, kind, len(value) // sizes[kind])
            if value.decode('latin-1') in places:
                body += struct.pack(order + 'L', places[value.decode('latin-1')])
            elif value == b'HERE':
                body += b'HERE'
            elif len(value) <= 4:
                body += value.ljust(4, b'\0')
            else:
                body += struct.pack(order + 'L', end + len(values))
                values += value + bytes(len(value) % 2)
        body += struct.pack(order + 'L', places.get('IFD1', 0) if name == 'IFD0' else 0)
    body = body.replace(b'HERE', struct.pack(order + 'L', end + len(values)))
    head = {'<': b'II', '>': b'MM'}[order] + struct.pack(order + 'HL', 42, 8)
    return PREFIX + head + body + values + (THUMBNAIL if thumbnail else b'') + tail


def values_of(block):
    """Every value of a block as (type, count, bytes), by directory and tag, but for pointers."""
    structure = Structure(block.removeprefix(PREFIX))
    first = structure.directory(structure.first)
    tables = {'first': first}
    for name, tag in (('camera', 0x8769), ('place', 0x8825)):
        tables[name] = structure.directory(structure.number(first.entries[tag]))
    return {
        (name, tag): (entry.kind, entry.count, structure.bytes_of(entry))
        for name, table in tables.items()
        for tag, entry in table.entries.items()
        if tag not in (0x8769, 0x8825)
    }


def places_that_differ(one, other):
    assert len(one) == len(other)
    return {index for index, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]}


def save_jpeg(path, block, width=7, height=5):
    Image.new('RGB', (width, height)).save(path, exif=block)


@pytest.mark.parametrize('order', '<>')
def test_a_block_that_tells_what_is_true_stays_as_it_is(order, tmp_path):
    block = camera_block(order, orientation=1, thumbnail=False, tail=b'\0\0 what a maker appends \xff')
    assert upright_block(tmp_path, block, 7, 5, False) == block


@pytest.mark.parametrize('order', '<>')
def test_orientation_and_sizes_are_changed_in_their_places(order, tmp_path):
    block = camera_block(order, thumbnail=False)
    upright = upright_block(tmp_path, block, 5, 7, True)
    before, after = values_of(block), values_of(upright)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {('first', 0x0112), ('camera', 0xA002), ('camera', 0xA003), ('first', 0x011A), ('first', 0x011B)}
    assert orientation_of(block) == 6
    assert orientation_of(upright) == 1
    assert after['first', 0x011A] == before['first', 0x011B]
    assert len(places_that_differ(block, upright)) <= 1 + 2 + 4  # of orientation, sizes, and 300 against 150


@pytest.mark.parametrize('tail', [b'', b' and what follows it'])
def test_the_thumbnail_goes_and_what_follows_it_keeps_its_place(tmp_path, tail):
    block = camera_block(tail=tail)
    upright = upright_block(tmp_path, block, 5, 7, True)
    assert b'blurred' not in upright
    assert upright.endswith(tail)
    if tail:
        assert upright.index(tail) == block.index(tail)
    structure = Structure(upright.removeprefix(PREFIX))
    assert structure.directory(structure.first).next == 0
    assert values_of(upright).keys() == values_of(block).keys()


def test_a_thumbnail_that_claims_the_whole_block_takes_nothing_else_with_it(tmp_path):
    block = camera_block('<')
    claim = struct.pack('<HHLL', 0x0201, 4, 1, block.index(THUMBNAIL) - len(PREFIX))
    block = block.replace(claim, struct.pack('<HHLL', 0x0201, 4, 1, 0))
    upright = upright_block(tmp_path, block, 5, 7, True)
    assert values_of(upright)['first', 0x013B] == values_of(block)['first', 0x013B]
    assert values_of(upright)['camera', 0x9286] == values_of(block)['camera', 0x9286]


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif'])
def test_text_types_and_maker_notes_arrive_in_every_format(tmp_path, order, suffix):
    block = camera_block(order)
    save_jpeg(tmp_path / 'a.jpg', block)
    photo = read_photo(tmp_path / 'a.jpg')
    write_samples(tmp_path / f'b{suffix}', np.zeros((7, 5, 3), np.uint8), photo)
    arrived = read_photo(tmp_path / f'b{suffix}').exif
    if suffix == '.tif':  # where the resolution is the photo's own
        told, expected = values_of(arrived), values_of(photo.exif)
        assert told == {key: value for key, value in expected.items() if key[1] not in (0x011A, 0x011B)}
        note = told['camera', 0x927C][2]
        assert arrived.index(note) == block.index(note)  # offsets in it count from the header
    else:
        assert arrived == photo.exif
    with Image.open(tmp_path / f'b{suffix}') as seen:  # which another program finds, too
        assert seen.getexif()[0x013B] == ARTIST[:-1].decode('latin-1')
        assert seen.getexif().get_ifd(0x8769)[0x9286] == COMMENT


@pytest.mark.parametrize('order', '<>')
def test_a_tiff_keeps_types_and_text_of_a_tiff(tmp_path, order):
    tags = [(315, 2, None, ARTIST, True), (33434, 5, 1, (10, 2000), True)]
    samples = np.zeros((5, 7, 3), np.uint16)
    for big in (False, True):
        tifffile.imwrite(
            tmp_path / 'a.tif', samples, photometric='rgb', byteorder=order, bigtiff=big, extratags=tags, metadata=None
        )
        photo = read_photo(tmp_path / 'a.tif')
        write_samples(tmp_path / 'b.tif', samples, photo)
        assert read_photo(tmp_path / 'b.tif').exif == photo.exif
        with tifffile.TiffFile(tmp_path / 'b.tif') as seen:
            assert seen.byteorder == order
            assert seen.pages[0].tags[33434].value == (10, 2000)
            assert seen.pages[0].tags[315].value.encode('utf-8') in (ARTIST, ARTIST[:-1])


def test_a_tiff_without_metadata_tells_nothing():
    file = b'II*\0\x08\0\0\0\x01\0' + struct.pack('<HHLL', 256, 4, 1, 5) + bytes(4)
    assert block_of_tiff(file, 8) is None


def test_damaged_exif_costs_a_warning_not_the_photo(tmp_path):
    beyond = b'Exif\0\0II*\0\x08\0\0\0\x01\0' + struct.pack('<HHLL', 0x8769, 4, 1, 9999) + bytes(4)
    for block, words in [(beyond, 'kept as they are'), (b'Exif\0\0nonsense', 'left out')]:
        save_jpeg(tmp_path / 'a.jpg', block)
        with pytest.warns(UserWarning, match=rf'a\.jpg: its EXIF data are damaged.*{words}'):
            photo = read_photo(tmp_path / 'a.jpg')
        assert photo.pixels.shape == (1, 3, 5, 7)
        for suffix in ('.jpg', '.png', '.tif'):
            write_samples(tmp_path / f'b{suffix}', np.zeros((5, 7, 3), np.uint8), photo)
            with Image.open(tmp_path / f'b{suffix}') as seen:
                seen.load()


def test_an_empty_text_is_no_damage(tmp_path, recwarn):
    block = PREFIX + b'II*\0\x08\0\0\0\x01\0' + struct.pack('<HHLL', 0x010E, 2, 0, 0) + bytes(4)
    save_jpeg(tmp_path / 'a.jpg', block)
    photo = read_photo(tmp_path / 'a.jpg')
    assert photo.exif == block
    write_samples(tmp_path / 'b.tif', np.zeros((5, 7, 3), np.uint8), photo)
    assert read_photo(tmp_path / 'b.tif').exif is not None
    assert not recwarn.list


def test_exif_that_does_not_fit_in_a_jpeg_is_left_out_with_a_word(tmp_path):
    block = camera_block(tail=bytes(70_000))
    with pytest.warns(UserWarning, match='bytes of EXIF data do not fit in a JPEG and are left out'):
        write_samples(tmp_path / 'a.jpg', np.zeros((5, 7, 3), np.uint8), Photo(None, exif=block))
    assert read_photo(tmp_path / 'a.jpg').exif is None
