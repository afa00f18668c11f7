"""Directories of tags, the structure that TIFF files and EXIF blocks are made of: where each value stands.

    header      byte order "II" or "MM", version 42 (BigTIFF, of 8-byte offsets: 43), offset of the first directory
    directory   number of entries, the entries, offset of the next directory or 0
    entry       tag, type, count, and the value, or its offset where it is longer than the field

Nothing is converted here: a value is a place in the data, so that what is kept can be kept byte for byte. Pillow and
tifffile return values, whose text, types and byte order change when they are written again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

ByteOrder = Literal['<', '>']  # least or most significant byte first, as `struct` and numpy name it
# First bytes -> byte order, and whether offsets have 8 bytes, as in BigTIFF.
HEADERS: dict[bytes, tuple[ByteOrder, bool]] = {
    b'II*\0': ('<', False), b'MM\0*': ('>', False), b'II+\0': ('<', True), b'MM\0+': ('>', True),
}  # fmt: skip
# Type of a TIFF entry -> size of a value, bytes.
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
NUMBERS = {1: 'B', 3: 'H', 4: 'L', 13: 'L', 16: 'Q', 18: 'Q'}  # whole numbers, by type
MOST_ENTRIES = 4096  # largest number of entries of a directory; no camera writes as many


@dataclass(frozen=True)
class Entry:
    """One tag.

    Args:
        tag: number of the tag.
        kind: number of the type of its value, as TIFF 6.0 counts them.
        count: number of numbers or characters of its value.
        place: offset of the entry itself.
        value: offset of the value, which may lie in the entry.
        size: size of the value, bytes.
    """

    tag: int
    kind: int
    count: int
    place: int
    value: int
    size: int


@dataclass(frozen=True)
class Directory:
    """A directory.

    Args:
        entries: entries whose values lie within the data, by tag.
        place: offset of the directory.
        end: offset of the field that tells the next directory.
        next: offset of the next directory, or 0.
        damaged: number of entries whose type is not known or whose value lies outside the data.
    """

    entries: dict[int, Entry]
    place: int
    end: int
    next: int
    damaged: int


class Structure:
    """Data that begin with a TIFF header.

    Args:
        data: bytes that all offsets count in.

    Raises:
        ValueError: they do not begin with a TIFF header.
    """

    def __init__(self, data: bytes | bytearray):
        self.data = data
        header = bytes(data[:4])
        if header not in HEADERS:
            raise ValueError(f'the header is {header!r}, expected that of TIFF')
        self.order, self.big = HEADERS[header]
        self.first = self._read('Q', 8) if self.big else self._read('L', 4)

    def directory(self, offset: int) -> Directory:
        """Read the directory at an offset.

        Raises:
            ValueError: it lies outside the data, or claims to have more than `MOST_ENTRIES` entries.
        """
        count = self._read('Q' if self.big else 'H', offset)
        if count > MOST_ENTRIES:
            raise ValueError(f'a directory claims to have {count} entries, expected at most {MOST_ENTRIES}')
        head, size, room = (8, 20, 8) if self.big else (2, 12, 4)
        entries: dict[int, Entry] = {}
        damaged = 0
        for place in range(offset + head, offset + head + count * size, size):
            tag, kind = self._read('H', place), self._read('H', place + 2)
            number = self._read('Q' if self.big else 'L', place + 4)
            field = place + size - room
            length = number * TYPE_SIZES.get(kind, 0)
            value = field if length <= room else self._read('Q' if self.big else 'L', field)
            if kind in TYPE_SIZES and value + length <= len(self.data):  # a text may be empty
                entries.setdefault(tag, Entry(tag, kind, number, place, value, length))
            else:
                damaged += 1
        end = offset + head + count * size
        try:
            following = self._read('Q' if self.big else 'L', end)
        except ValueError:  # the last field may be cut off where it tells nothing
            following = 0
        return Directory(entries, offset, end, following, damaged)

    def bytes_of(self, entry: Entry) -> bytes:
        """Return a value as it stands."""
        return bytes(self.data[entry.value : entry.value + entry.size])

    def number(self, entry: Entry | None) -> int | None:
        """Return the first number of a value, or None where there is no entry, or it is empty or of another type."""
        return (
            None
            if entry is None or not entry.count or entry.kind not in NUMBERS
            else self._read(NUMBERS[entry.kind], entry.value)
        )

    def set_number(self, entry: Entry | None, number: int) -> None:
        """Write the first number of a value in its place, where there is one and its type can hold the number."""
        if entry is not None and entry.count and entry.kind in NUMBERS and number < 1 << 8 * TYPE_SIZES[entry.kind]:
            struct.pack_into(self.order + NUMBERS[entry.kind], self.data, entry.value, number)

    def _read(self, letter: str, offset: int) -> int:
        try:
            return struct.unpack_from(self.order + letter, self.data, offset)[0]
        except struct.error as error:
            raise ValueError(f'offset {offset} lies outside of {len(self.data)} bytes') from error
