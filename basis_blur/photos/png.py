"""PNG files to samples and back, per the PNG specification (third edition).

    file    signature, chunks;    chunk    length of the content, name of four letters, content, CRC-32 of both

Pillow decodes samples of up to 8 bits, and OpenCV those of 16, which Pillow would reduce. Both are given only the
chunks of the pixels. The others (profile, colours, EXIF, resolution, transparent colour) are read here, since Pillow
refuses files with a profile or text above 1 MB, forgets the chunks of colours, and compares 2 and 4-bit transparency
wrongly.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from basis_blur.foundation.choices import LEAST_GAMMA, MOST_GAMMA
from basis_blur.foundation.errors import InputError
from basis_blur.photos.by_pillow import open_with_pillow, samples_of
from basis_blur.photos.descriptions import XMP_OF_PNG
from basis_blur.photos.exif import PREFIX
from basis_blur.photos.photo import FULL_SCALE, INCH, Photo, Stored, check_size, sound_dpi

SIGNATURE = b'\x89PNG\r\n\x1a\n'  # first bytes of a PNG
ROWS_AT_ONCE = 64  # number of rows that are filtered at once
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type
GRAY, COLOUR, PALETTE = 0, 2, 3  # colour types
PIXEL_CHUNKS = {b'IHDR', b'PLTE', b'IDAT', b'IEND'}  # chunks that a decoder of pixels needs
PAETH = 4  # number of the filter by which rows are written
# The chunks of colours and their lengths: those of this edition, and two of HDR by their names in drafts.
COLOUR_CHUNKS = {
    b'gAMA': 4, b'cHRM': 32, b'sRGB': 1, b'cICP': 4, b'mDCV': 24, b'cLLI': 8, b'mDCv': 24, b'cLLi': 8,
}  # fmt: skip
# gAMA and cHRM of sRGB (white, red, green, blue: x, y), in units of 1e-5; and its numbers in cICP.
SRGB = (45455, 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
SRGB_TOLERANCE = 600  # largest distance of a value from that of sRGB, in units of 1e-5
SRGB_CODE = bytes((1, 13))  # primaries and curve of sRGB in cICP
_SRGB_BYTES = struct.pack(f'>{len(SRGB)}I', *SRGB)
RAW_PROFILES = (b'Raw profile type exif', b'Raw profile type APP1')  # texts in which ImageMagick keeps EXIF
MOST_UNPACKED = 1 << 26  # largest size of a profile or text, bytes
LARGEST = 2**31 - 1  # largest whole number in a chunk


def decode_png(path: Path, data: bytes) -> Stored:
    """Decode a PNG file.

    Raises:
        InputError: it is damaged, cut off, too large, or an animation.
    """
    chunks = _chunks(path, data)
    if chunks[0][0] != b'IHDR' or len(chunks[0][1]) != 13:
        raise InputError(f'{path} is damaged or cut off near its beginning; copy or export it again.')
    width, height, depth, colour = struct.unpack('>IIBB', chunks[0][1][:10])
    check_size(path, width, height)
    first = dict(reversed(chunks))  # where chunks have one name, the first counts
    frames = int.from_bytes(first.get(b'acTL', b'')[:4], 'big')
    if frames > 1:
        raise InputError(f'{path} is an animation of {frames} frames, expected one photo.')
    pixels = _file_of(chunks, PIXEL_CHUNKS | ({b'tRNS'} if colour == PALETTE else set()))
    image = open_with_pillow(path, pixels, 'PNG')  # finds damage also where OpenCV decodes
    if depth == 16:
        samples = _deep_samples(path, pixels, {0: 1, 2: 3, 4: 2, 6: 4}.get(colour), (height, width))
    else:
        samples = samples_of(path, image)
    if colour in (GRAY, COLOUR):
        samples = _with_transparent_colour(samples, first.get(b'tRNS'), depth)
    icc = _profile(first.get(b'iCCP'))
    across, down, unit = struct.unpack('>IIB', first[b'pHYs']) if len(first.get(b'pHYs', b'')) == 9 else (0, 0, 0)
    return Stored(
        samples,
        bits=16 if depth == 16 else 8,
        icc=icc,
        exif=first.get(b'eXIf') or _exif_in_text(chunks),
        dpi=sound_dpi(across * INCH, down * INCH) if unit == 1 else None,
        gamma=_gamma(first) if icc is None else None,
        colour_chunks=tuple(
            (name, first[name]) for name, length in COLOUR_CHUNKS.items() if len(first.get(name, b'')) == length
        ),
        xmp=_xmp(chunks),
    )


def without_texts(path: Path, data: bytes) -> bytes:
    """Return a PNG file with only what tells its pixels and how they are to be turned: Pillow refuses long texts.

    Raises:
        InputError: it is damaged or cut off.
    """
    return _file_of(_chunks(path, data), PIXEL_CHUNKS | {b'tRNS', b'eXIf', b'acTL'})


def _file_of(chunks: Iterable[tuple[bytes, bytes]], kept: Collection[bytes]) -> bytes:
    return SIGNATURE + b''.join(_encoded(name, content) for name, content in chunks if name in kept)


def _chunks(path: Path, data: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and content of each chunk up to IEND, or to where the file is cut off."""
    chunks: list[tuple[bytes, bytes]] = []
    place = len(SIGNATURE)
    while place < len(data) and (not chunks or chunks[-1][0] != b'IEND'):
        length = int.from_bytes(data[place : place + 4], 'big')
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        check = data[place + 8 + length : place + 12 + length]
        if len(check) < 4 or int.from_bytes(check, 'big') != zlib.crc32(content, zlib.crc32(name)):
            words = 'is cut off' if len(check) < 4 else 'does not fit its check sum'
            raise InputError(
                f'{path} is damaged or cut off (its chunk {ascii(name)[2:-1]} {words}); copy or export it again.'
            )
        chunks.append((name, content))
        place += 12 + length
    if not chunks:
        raise InputError(f'{path} is damaged or cut off near its beginning; copy or export it again.')
    return chunks


def _deep_samples(path: Path, data: bytes, channels: int | None, size: tuple[int, int]) -> np.ndarray:
    samples = _decode_with_opencv(path, data)
    if channels is None or samples.dtype != np.uint16 or samples.shape[:2] != size:
        raise InputError(f'{path} cannot be decoded as a 16-bit PNG; export it again.')
    return samples[..., [0, 3]] if channels == 2 else samples[..., :channels]


def _decode_with_opencv(path: Path, data: bytes) -> np.ndarray:
    """Return (H, W, C) in the order R, G, B, alpha, as stored."""
    message = f'{path} is damaged, cut off or of a rare kind; copy or export it again.'
    try:
        with _silent_opencv():
            samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError(message) from error
    if samples is None:
        raise InputError(message)
    samples = samples if samples.ndim == 3 else samples[..., None]
    return samples[..., [2, 1, 0, 3][: samples.shape[2]]] if samples.shape[2] >= 3 else samples


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Keep OpenCV's own lines off the standard error; what it could not read is reported as an InputError."""
    switch = getattr(cv2.utils, 'logging', cv2)  # OpenCV 5, OpenCV 4
    level = switch.getLogLevel()
    switch.setLogLevel(0)
    try:
        yield
    finally:
        switch.setLogLevel(level)


def _with_transparent_colour(samples: np.ndarray, content: bytes | None, depth: int) -> np.ndarray:
    """Add the alpha that tRNS tells of: 0 where a pixel has exactly its colour, given at the depth of the file."""
    channels = samples.shape[2]
    if content is None or len(content) != 2 * channels:
        return samples
    key = np.frombuffer(content, '>u2').astype(np.int64) & (2**depth - 1)
    full = FULL_SCALE[8 * samples.itemsize]
    key = key * full // (2**depth - 1)  # samples below 8 bits were scaled so
    alpha = np.where((samples == key).all(-1), 0, full).astype(samples.dtype)
    return np.concatenate([samples, alpha[..., None]], -1)


def _profile(content: bytes | None) -> bytes | None:
    return None if content is None else _unpacked(content.partition(b'\0')[2][1:])


def _unpacked(packed: bytes) -> bytes | None:
    """Return what zlib packed, or None where it is damaged or far too large."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, MOST_UNPACKED)
    except zlib.error:
        return None
    return content if unpacker.eof and content else None


def _gamma(chunks: dict[bytes, bytes]) -> float | None:
    """Return the gamma that gAMA tells, unless a chunk that counts more tells the curve of the colours."""
    told = int.from_bytes(chunks.get(b'gAMA', b''), 'big')
    if not told or b'sRGB' in chunks or b'cICP' in chunks:
        return None
    gamma = 100_000 / told
    return gamma if LEAST_GAMMA <= gamma <= MOST_GAMMA else None


def _exif_in_text(chunks: list[tuple[bytes, bytes]]) -> bytes | None:
    for name, content in chunks:
        keyword, _, rest = content.partition(b'\0')
        if keyword not in RAW_PROFILES or name not in (b'tEXt', b'zTXt'):
            continue
        text = _unpacked(rest[1:]) if name == b'zTXt' else rest
        lines = (text or b'').strip(b'\n').split(b'\n')  # its kind, its length, and hexadecimal digits
        try:
            return bytes.fromhex(b''.join(lines[2:]).decode('ascii')) or None
        except ValueError:
            return None
    return None


def _xmp(chunks: list[tuple[bytes, bytes]]) -> bytes | None:
    for name, content in chunks:
        keyword, _, rest = content.partition(b'\0')
        if name != b'iTXt' or keyword != XMP_OF_PNG or len(rest) < 2:
            continue
        text = rest[2:].split(b'\0', 2)[-1]  # after its language and translated keyword
        return (_unpacked(text) if rest[0] else text) or None
    return None


def tell_other_colours(chunks: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether chunks of colours, where there is no profile, tell of other colours than those of sRGB."""
    told = dict(chunks)
    if b'cICP' in told:
        return told[b'cICP'][:2] != SRGB_CODE
    if b'sRGB' in told:
        return False
    found = struct.unpack(f'>{len(SRGB)}I', told.get(b'gAMA', _SRGB_BYTES[:4]) + told.get(b'cHRM', _SRGB_BYTES[4:]))
    return any(abs(one - other) > SRGB_TOLERANCE for one, other in zip(found, SRGB, strict=True))


def encode_png(samples: np.ndarray, like: Photo) -> bytes:
    """Encode samples with what `like` holds beside its pixels, every row with the Paeth filter.

    Args:
        samples: (H, W, C) uint8 or uint16.
        like: the photo.

    Raises:
        ValueError: samples of another type.
    """
    height, width, channels = samples.shape
    if samples.dtype not in (np.uint8, np.uint16):
        raise ValueError(f'samples are {samples.dtype}, expected uint8 or uint16 for PNG.')
    bits = 8 * samples.itemsize
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, COLOUR_TYPE[channels], 0, 0, 0))]
    chunks += like.colour_chunks
    if like.icc is not None:
        chunks.append((b'iCCP', b'ICC profile\0\0' + zlib.compress(like.icc)))
    density = [round(d / INCH) for d in like.dpi] if like.dpi else []
    if density and all(1 <= d <= LARGEST for d in density):
        chunks.append((b'pHYs', struct.pack('>IIB', *density, 1)))
    if like.exif is not None:
        chunks.append((b'eXIf', like.exif.removeprefix(PREFIX)))
    if like.xmp is not None:
        chunks.append((b'iTXt', XMP_OF_PNG + bytes(5) + like.xmp))
    if like.iptc is not None:
        warnings.warn(f'{len(like.iptc)} bytes of IPTC data have no place in a PNG and are left out', stacklevel=4)
    chunks += [(b'IDAT', _packed_pixels(samples)), (b'IEND', b'')]
    return SIGNATURE + b''.join(_encoded(name, content) for name, content in chunks)


def _encoded(name: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(content, zlib.crc32(name)))


def _packed_pixels(samples: np.ndarray) -> bytes:
    """Return the filtered rows as zlib packs them without a search for what repeats: what is left of a photo does not.

    That takes a tenth of the time of level 6, and for photos mostly less room too.
    """
    height, _, channels = samples.shape
    step = channels * samples.itemsize  # from a byte to the same byte of the pixel before it
    rows = samples.astype(samples.dtype.newbyteorder('>'), copy=False).view(np.uint8).reshape(height, -1)
    above, packer, packed = np.zeros((1, rows.shape[1]), np.int16), zlib.compressobj(1, strategy=zlib.Z_RLE), []
    for top in range(0, height, ROWS_AT_ONCE):
        here = rows[top : top + ROWS_AT_ONCE].astype(np.int16)
        up = np.concatenate([above, here[:-1]])
        left, corner = np.zeros_like(here), np.zeros_like(up)
        left[:, step:], corner[:, step:] = here[:, :-step], up[:, :-step]
        filtered = np.full((len(here), 1 + here.shape[1]), PAETH, np.uint8)
        filtered[:, 1:] = (here - _paeth(left, up, corner)).astype(np.uint8)
        packed.append(packer.compress(filtered.tobytes()))
        above = here[-1:]
    return b''.join(packed) + packer.flush()


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return whichever of the three is nearest to left + up - corner; ties in this order."""
    by_left, by_up = np.abs(up - corner), np.abs(left - corner)
    by_corner = np.abs(left + up - 2 * corner)
    best = np.where(by_up <= by_corner, up, corner)
    return np.where((by_left <= by_up) & (by_left <= by_corner), left, best)
