"""Files of boxes (ISO/IEC 14496-12), of which HEIC and AVIF photos are made: what they tell of the main photo.

    box     length, name of four letters, content;    meta = {pitm: number of the main photo, iprp: {ipco, ipma}}
    ipco    properties, one after the other;          ipma: for each photo, which of them are its own

Pillow and pillow-heif decode the photo. This module reads what the two do not report alike: the numbers that define the
colours where there is no profile (those of PNG's cICP chunk, ITU-T H.273), and the bits of an AVIF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

UNSPECIFIED = 2  # number that stands for primaries, or a curve, that are not given
# Numbers of primaries and curves that are taken for those of sRGB; photos made for screens often have those of video.
USUAL_PRIMARIES, USUAL_CURVES = (1, UNSPECIFIED), (1, 6, 13, UNSPECIFIED)


def colour_chunks_of(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the chunk cICP that tells the colours of the main photo; none where they are those of sRGB."""
    for name, content in _properties(data):
        if name == b'colr' and content[:4] == b'nclx' and len(content) >= 10:
            primaries, curve = struct.unpack('>HH', content[4:8])
            usual = primaries in USUAL_PRIMARIES and curve in USUAL_CURVES
            if not usual and UNSPECIFIED not in (primaries, curve) and max(primaries, curve) < 256:
                return ((b'cICP', bytes((primaries, curve, 0, 1))),)  # decoded: RGB, of the full range
    return ()


def bits_of_avif(data: bytes) -> int:
    """Return the bits of a sample of the main photo of an AVIF: 8, 10 or 12; 8 where it is not told."""
    for name, content in _properties(data):
        if name == b'av1C' and len(content) >= 4:
            return 8 if not content[2] & 0x40 else 12 if content[2] & 0x20 else 10
    return 8


def _properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and content of each property of the main photo; none where the file is damaged."""
    try:
        meta = dict(_boxes(dict(_boxes(data))[b'meta'][4:]))
        main = int.from_bytes(meta[b'pitm'][4:], 'big')
        about = dict(_boxes(meta[b'iprp']))
        properties = list(_boxes(about[b'ipco']))
        numbers = _own_properties(about[b'ipma'], main)
        return [properties[number - 1] for number in numbers if 1 <= number <= len(properties)]
    except (KeyError, struct.error, IndexError):
        return []


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(data):
        length, name = struct.unpack_from('>L4s', data, place)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from('>Q', data, place + 8)
            head = 16
        length = length or len(data) - place
        if length < head:
            return
        yield name, data[place + head : place + length]
        place += length


def _own_properties(table: bytes, photo: int) -> list[int]:
    """Return the numbers, from 1, of the properties that a table gives to a photo."""
    version, wide = table[0], table[3] & 1
    (count,) = struct.unpack_from('>L', table, 4)
    place = 8
    for _ in range(count):
        (number,) = struct.unpack_from('>L' if version else '>H', table, place)
        place += 4 if version else 2
        own = table[place]
        letters = f'>{own}{"H" if wide else "B"}'
        found = struct.unpack_from(letters, table, place + 1)
        place += 1 + struct.calcsize(letters)
        if number == photo:
            return [each & (0x7FFF if wide else 0x7F) for each in found]
    return []
