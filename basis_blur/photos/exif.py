"""EXIF: what a camera says about a photo, kept as a block of bytes.

A block is a TIFF structure of its own (see `tags`) behind the letters "Exif". Text in it has no declared encoding, and
maker notes hold offsets that count from its header. So a block is neither decoded nor rebuilt. It is kept byte for byte
but for three things, which are changed in place: the orientation (pixels are upright here), width and height, and the
thumbnail, which shows the blurred photo and is removed.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np

from basis_blur.photos.tags import ByteOrder, Directory, Entry, Structure

PREFIX = b'Exif\0\0'  # first bytes of EXIF in a JPEG
# Numbers of tags.
ORIENTATION = 0x0112
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROP_DIRECTORY = 0x8769, 0x8825, 0xA005
DIRECTORIES = (EXIF_DIRECTORY, GPS_DIRECTORY, INTEROP_DIRECTORY)
MAKER_NOTE = 0x927C
FILM_FOCAL_LENGTH = 0xA405
WIDTH, HEIGHT, PIXEL_WIDTH, PIXEL_HEIGHT = 0x0100, 0x0101, 0xA002, 0xA003
THUMBNAIL, THUMBNAIL_LENGTH, STRIPS, STRIP_LENGTHS = 0x0201, 0x0202, 0x0111, 0x0117
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
ICC_PROFILE = 0x8773
MOST_BYTES = 1 << 24  # largest size of the values of a TIFF file that become a block
# Tags of a TIFF directory that are not EXIF and are not copied from or to TIFF files. They say how the pixels are
# stored, hold blocks that other fields of `Photo` carry, describe the picture as it was before (thumbnails, XMP,
# Photoshop layers), or calibrate the raw data of a camera.
STORAGE_TAGS = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291, 292,
    293, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332,
    333, 334, 336, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 700,
    33421, 33422, 33723, 34377, ICC_PROFILE, 37724, *range(50706, 50742), *range(50778, 50782), *range(50827, 50835),
    *range(50879, 51126),
}  # fmt: skip
# Upright pixels from stored ones for each value of the orientation tag: (transpose, flip rows, flip columns).
UPRIGHT = {
    1: (False, False, False), 2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
    5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


def orientation_of(block: bytes | None) -> int:
    """Return the EXIF orientation of a photo, 1 to 8; 1, upright, where it has none that makes sense."""
    return orientation_told(block) or 1


def orientation_told(block: bytes | None) -> int | None:
    """Return the EXIF orientation of a photo, 1 to 8; None where it has none that makes sense."""
    try:
        structure = Structure((block or b'').removeprefix(PREFIX))
        entry = structure.directory(structure.first).entries.get(ORIENTATION)
    except ValueError:
        return None
    value = structure.number(entry)
    return value if value in UPRIGHT else None


def film_focal_of(block: bytes | None) -> float | None:
    """Return the focal length in mm, converted to film of 36 x 24 mm; None where the block does not tell it."""
    try:
        structure = Structure((block or b'').removeprefix(PREFIX))
        place = structure.number(structure.directory(structure.first).entries.get(EXIF_DIRECTORY))
        entry = None if place is None else structure.directory(place).entries.get(FILM_FOCAL_LENGTH)
        return float(structure.number(entry) or 0) or None  # 0 says that it is not known
    except ValueError:
        return None


def upright_block(path: Path, block: bytes | None, width: int, height: int, turned: bool) -> bytes | None:
    """Return the block of the upright photo: orientation 1, its size, no thumbnail; all else as it was.

    Args:
        path: name of the photo, for warnings.
        block: block as it stands in the file, with or without the letters "Exif" before it.
        width: width of the upright photo, pixels.
        height: height of the photo, pixels.
        turned: whether rows have become columns, so that both resolutions change their places.

    Returns:
        The block, with the letters; None if there is none, or if it cannot be read at all, with a warning.
    """
    data = bytearray((block or b'').removeprefix(PREFIX))
    if not data:
        return None
    try:
        structure = Structure(data)
        first = structure.directory(structure.first)
        if structure.big:
            raise ValueError('EXIF has no offsets of 8 bytes')
    except ValueError as error:
        warnings.warn(f'{path}: its EXIF data are damaged and are left out ({error})', stacklevel=3)
        return None
    below, damaged = _directories_below(structure, first)
    if damaged or any(directory.damaged for directory in (first, *below.values())):
        warnings.warn(f'{path}: its EXIF data are damaged; they are kept as they are', stacklevel=3)
    structure.set_number(first.entries.get(ORIENTATION), 1)
    camera = below.get(EXIF_DIRECTORY)
    for directory, across, down in ((first, WIDTH, HEIGHT), (camera, PIXEL_WIDTH, PIXEL_HEIGHT)):
        if directory and across in directory.entries and down in directory.entries:
            structure.set_number(directory.entries[across], width)
            structure.set_number(directory.entries[down], height)
    if turned:
        _swap(data, first.entries.get(X_RESOLUTION), first.entries.get(Y_RESOLUTION))
    if first.next:
        data = _without_thumbnail(structure, first, below)
    return PREFIX + bytes(data)


def _directories_below(structure: Structure, first: Directory) -> tuple[dict[int, Directory], bool]:
    """Return the directories of camera, place and interoperability by their tags, and whether one is unreadable."""
    below: dict[int, Directory] = {}
    damaged = False
    for tag in DIRECTORIES:
        parent = below.get(EXIF_DIRECTORY) if tag == INTEROP_DIRECTORY else first
        offset = structure.number(parent.entries.get(tag)) if parent else None
        if offset is None:
            continue
        try:
            below[tag] = structure.directory(offset)
        except ValueError:
            damaged = True
    return below, damaged


def _swap(data: bytearray, one: Entry | None, other: Entry | None) -> None:
    if one and other and one.size == other.size:
        values = [bytes(data[each.value : each.value + each.size]) for each in (one, other)]
        data[one.value : one.value + one.size] = values[1]
        data[other.value : other.value + other.size] = values[0]


def _without_thumbnail(structure: Structure, first: Directory, below: dict[int, Directory]) -> bytearray:
    """Return the data with zeros for the second directory and its thumbnail, cut off where only those follow.

    Bytes that something else needs stay, whatever a damaged file says of its thumbnail.
    """
    gone, needed = np.zeros(len(structure.data), bool), np.zeros(len(structure.data), bool)
    needed[:8] = True
    for directory in (first, *below.values()):
        needed[directory.place : directory.end + 4] = True
        for entry in directory.entries.values():
            needed[entry.value : entry.value + entry.size] = True
    try:
        second = structure.directory(first.next)
    except ValueError:
        pass
    else:
        gone[second.place : second.end + 4] = True
        for entry in second.entries.values():
            gone[entry.value : entry.value + entry.size] = True
        for tags in ((THUMBNAIL, THUMBNAIL_LENGTH), (STRIPS, STRIP_LENGTHS)):
            start, length = (structure.number(second.entries.get(tag)) for tag in tags)
            if start is not None and length is not None:
                gone[start : start + length] = True
    gone &= ~needed
    data = np.frombuffer(structure.data, np.uint8) * ~gone
    kept = np.flatnonzero(~gone)[-1] + 1  # the header is always kept
    result = bytearray(data[:kept].tobytes())
    struct.pack_into(structure.order + 'L', result, first.end, 0)
    return result


# -------------------------------------------------------------------------------------------------- from TIFF files


def block_of_tiff(data: bytes, page: int) -> bytes | None:
    """Return what a TIFF file tells of how its photo was taken, as an EXIF block; None where it tells nothing.

    Types, byte order and the bytes of every value stay. The maker note keeps its offset where there is room for it,
    since offsets in it may count from the header.

    Args:
        data: the file.
        page: offset of the photo's directory; what only the first directory tells is taken from the first.

    Raises:
        ValueError: a directory lies outside the file.
    """
    structure = Structure(data)
    first = structure.directory(structure.first)
    photo = structure.directory(page)
    entries = {tag: entry for tag, entry in {**first.entries, **photo.entries}.items() if tag not in STORAGE_TAGS}
    below, _ = _directories_below(structure, Directory(entries, 0, 0, 0, 0))
    tables = {0: entries, **{tag: directory.entries for tag, directory in below.items()}}
    # A pointer goes where its directory goes, and types of 8-byte offsets do not exist in EXIF.
    tables = {
        name: {
            tag: entry for tag, entry in table.items() if entry.kind < 16 and (tag not in DIRECTORIES or tag in below)
        }
        for name, table in tables.items()
    }
    if structure.big:  # the pointers of a BigTIFF may have 8 bytes
        for tag in below:
            parent = tables[EXIF_DIRECTORY if tag == INTEROP_DIRECTORY else 0]
            parent[tag] = Entry(tag, 4, 1, 0, 0, 4)
    if not tables[0] or sum(entry.size for table in tables.values() for entry in table.values()) > MOST_BYTES:
        return None
    return PREFIX + _laid_out(structure, tables)


def _laid_out(structure: Structure, tables: dict[int, dict[int, Entry]]) -> bytes:
    """Return a TIFF structure of directories, by the tags that point to them (0 for the first), and their values."""
    note = tables.get(EXIF_DIRECTORY, {}).get(MAKER_NOTE)
    if note is not None and not 8 <= note.value <= 1 << 16:
        note = None
    end = 8

    def room(size: int) -> int:
        """Return the offset of some free bytes; those of the maker note are not free."""
        nonlocal end
        if note is not None and end < note.value + note.size and end + size > note.value:
            end = note.value + note.size + note.value % 2
        place, end = end, end + size + size % 2
        return place

    places = {name: room(2 + 12 * len(table) + 4) for name, table in tables.items()}
    pieces = [(0, structure.data[:2] + struct.pack(structure.order + 'HL', 42, places[0]))]
    for name, table in tables.items():
        entries = []
        for tag, entry in sorted(table.items()):
            if tag in places:
                field = struct.pack(structure.order + 'L', places[tag])
            elif entry.size <= 4:
                field = structure.bytes_of(entry).ljust(4, b'\0')
            else:
                place = note.value if entry is note else room(entry.size)
                pieces.append((place, structure.bytes_of(entry)))
                field = struct.pack(structure.order + 'L', place)
            entries.append(struct.pack(structure.order + 'HHL', tag, entry.kind, entry.count) + field)
        head, tail = struct.pack(structure.order + 'H', len(entries)), struct.pack(structure.order + 'L', 0)
        pieces.append((places[name], head + b''.join(entries) + tail))
    block = bytearray(max(place + len(piece) for place, piece in pieces))
    for place, piece in pieces:
        block[place : place + len(piece)] = piece
    return bytes(block)


def entries_for_tiff(block: bytes) -> tuple[ByteOrder, dict[int, bytes]]:
    """Return the byte order of a block and the entries of its first directory that a TIFF file can take over.

    The file must begin with the block (without the letters "Exif"), to which the offsets in the entries refer.
    """
    structure = Structure(block.removeprefix(PREFIX))
    first = structure.directory(structure.first)
    below, _ = _directories_below(structure, first)
    return structure.order, {
        tag: bytes(structure.data[entry.place : entry.place + 12])
        for tag, entry in first.entries.items()
        if tag not in STORAGE_TAGS and (tag not in DIRECTORIES or tag in below)
    }
