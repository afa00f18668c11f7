"""XMP and IPTC: what people and their programs wrote of a photo (captions, authors, rights, ratings).

    XMP     XML; in JPEG a segment APP1, in PNG a chunk iTXt, in TIFF the tag 700
    IPTC    records; in JPEG a Photoshop resource in a segment APP13, in TIFF the tag 33723; PNG has no place for it

Both are kept byte for byte, except for what would be untrue afterwards: the orientation, since pixels are upright here,
and XMP that describes further pictures in the file (gain maps, depth), which are not kept.
"""

from __future__ import annotations

import re
import struct
import warnings
from pathlib import Path

XMP_OF_JPEG, XMP_OF_PNG = b'http://ns.adobe.com/xap/1.0/\0', b'XML:com.adobe.xmp'  # words before the XMP
RESOURCES_OF_JPEG = b'Photoshop 3.0\0'  # words before Photoshop's resources
RESOURCE, IPTC_RESOURCE = b'8BIM', 0x0404  # first bytes of a resource, and the number of the one that is IPTC
IPTC_BEGIN = 0x1C  # first byte of every record
ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|[^<>]*>)\s*)([2-8])(?=\s*["'<])""")
# Namespaces of XMP that describes further pictures in the file.
FURTHER_PICTURES = (b'http://ns.google.com/photos/1.0/container/', b'http://ns.adobe.com/hdr-gain-map/')
EXTENDED = re.compile(rb"""\s*xmpNote:HasExtendedXMP\s*=\s*(?:"[^"]*"|'[^']*')""")


def upright_xmp(path: Path, block: bytes | None, told: bool = True) -> bytes | None:
    """Return the XMP of the upright photo: orientation 1 if the photo was turned; all else as it was.

    Args:
        path: name of the photo, for warnings.
        block: XMP packet as it stands in the file.
        told: whether the file tells the orientation outside of XMP, so that the photo was turned.

    Returns:
        The packet; None if there is none, or if it describes further pictures in the file, with a warning.
    """
    if not block:
        return None
    if any(name in block for name in FURTHER_PICTURES):
        warnings.warn(
            f'{path}: its XMP describes more pictures in the file, which are not kept; the XMP is left out',
            stacklevel=3,
        )
        return None
    block, extended = EXTENDED.subn(b'', block)
    if extended:
        warnings.warn(f'{path}: the part of its XMP that lies in segments of its own is left out', stacklevel=3)
    return ORIENTATION.sub(rb'\g<1>1', block) if told else block


def iptc_of_resources(data: bytes) -> bytes | None:
    """Return the IPTC among Photoshop's resources, None where there is none or they are damaged."""
    place = 0
    while data[place : place + 4] == RESOURCE and place + 7 <= len(data):
        number, name = struct.unpack_from('>HB', data, place + 4)
        place += 6 + (1 + name + 1) // 2 * 2  # a name with its length, of an even number of bytes
        size = int.from_bytes(data[place : place + 4], 'big')
        content = data[place + 4 : place + 4 + size]
        if number == IPTC_RESOURCE:
            return content if len(content) == size and content else None
        place += 4 + size + size % 2
    return None


def resources_with(iptc: bytes) -> bytes:
    """Return Photoshop's resources with IPTC as the only one."""
    return RESOURCE + struct.pack('>HHL', IPTC_RESOURCE, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def iptc_of_tag(content: bytes) -> bytes | None:
    """Return IPTC as it stands in a TIFF tag, which some programs write as numbers of 4 bytes in either order."""
    if content[3:4] == bytes([IPTC_BEGIN]) != content[:1]:
        whole = content[: len(content) // 4 * 4]
        content = struct.pack(f'>{len(whole) // 4}L', *struct.unpack(f'<{len(whole) // 4}L', whole))
    return content if content[:1] == bytes([IPTC_BEGIN]) else None
