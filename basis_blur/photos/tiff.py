"""TIFF files to samples and back: TIFF 6.0 and BigTIFF, of either byte order.

tifffile decodes samples of whole bytes (8, 16, 32 and 64 bits; strips and tiles; planes; predictors). Pillow, through
libtiff, decodes what needs an image codec (JPEG, fax) or has fewer than 8 bits, and decompresses what tifffile cannot
without further libraries, such as LZW.

The photo is the page that is not marked as a reduced copy or a mask (NewSubfileType). It stands in the chain of pages
or below one of them (SubIFDs), as in files whose first page is a thumbnail.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import TiffImagePlugin

from basis_blur.foundation.errors import InputError
from basis_blur.photos.by_pillow import CMYK_WORDS, MALFORMED, open_with_pillow, samples_of
from basis_blur.photos.descriptions import iptc_of_resources, iptc_of_tag
from basis_blur.photos.exif import (
    ICC_PROFILE,
    ORIENTATION,
    PREFIX,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    block_of_tiff,
    entries_for_tiff,
    orientation_of,
)
from basis_blur.photos.photo import FULL_SCALE, INCH, Photo, Stored, check_size, colour_error, sound_dpi
from basis_blur.photos.pillow_warnings import no_warnings
from basis_blur.photos.tags import ByteOrder, Directory, Entry, Structure

# Number of PhotometricInterpretation -> what it means.
COLOURS = {
    0: 'gray', 1: 'gray', 2: 'RGB', 3: 'palette', 4: 'a mask', 5: 'CMYK', 6: 'YCbCr', 8: 'Lab', 9: 'Lab', 10: 'Lab',
    32803: 'raw sensor data', 34892: 'raw sensor data',
}  # fmt: skip
RAW_COLOURS = (32803, 34892)  # numbers of raw sensor data
# Numbers of tags.
(SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP, CHANNELS) = (
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277
)  # fmt: skip
STRIP_ROWS, STRIP_BYTES, PLANES, PREDICTOR, SUB_DIRECTORIES, EXTRA, SAMPLE_FORMAT = 278, 279, 284, 317, 330, 338, 339
XMP, IPTC, RESOURCES = 700, 33723, 34377  # the last are Photoshop's
DNG_VERSION = 50706  # tag that marks a DNG
REDUCED, MASK = 1, 4  # bits of NewSubfileType
UNSPECIFIED, PREMULTIPLIED, ALPHA = 0, 1, 2  # kinds of a sample beyond the colours
WHOLE, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4  # sample formats; undefined ones are read as whole numbers
# Numbers of compressions.
NONE, LZW, OLD_DEFLATE, PACK_BITS, LZMA, ZSTD, DEFLATE = 1, 5, 32946, 32773, 34925, 50000, 8
OF_BYTES = (NONE, LZW, OLD_DEFLATE, PACK_BITS, LZMA, ZSTD, DEFLATE)  # compressions that know nothing of pictures
FLOAT_PREDICTOR = 3  # number of the predictor of floating point
MOST_PAGES = 1000  # largest number of pages that are looked at
REVERSED = bytes(int(f'{byte:08b}'[::-1], 2) for byte in range(256))  # each byte with its bits in reverse order


class Page(NamedTuple):
    """The form in which a picture is stored, as a directory states it.

    Args:
        directory: directory of the picture.
        reduced: whether the picture is a smaller copy or a mask of another one.
        width, height: size of the picture, pixels.
        bits: number of bits of each sample of a pixel.
        formats: format of each sample of a pixel, see WHOLE and its like.
        extra: kinds of the samples beyond the colours, as far as they are told; see ALPHA and its like.
        compression: number of the compression, see NONE and its like.
        photometric: number of PhotometricInterpretation, see COLOURS; None if it is not told.
        channels: number of samples of a pixel.
        fill_order: order of the bits in a byte, 1 or 2; 2 has the lowest first.
    """

    directory: Directory
    reduced: bool
    width: int
    height: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    extra: tuple[int, ...]
    compression: int
    photometric: int | None
    channels: int
    fill_order: int


def is_camera_raw(data: bytes) -> bool:
    """Return whether a TIFF file holds the raw data of a camera: a DNG, a CR2, or one with raw data on a page."""
    try:
        structure = Structure(data)
        pages = _pages(structure)
    except ValueError:
        return False
    return data[8:10] == b'CR' or any(
        DNG_VERSION in page.directory.entries or page.photometric in RAW_COLOURS
        for page in [*pages, *_below(structure, pages)]
    )


def size_of_tiff(path: Path, data: bytes) -> tuple[int, int]:
    """Return (H, W) of the upright photo of a TIFF file, without decoding it.

    Raises:
        InputError: it is damaged where that is told, of several pages, or of colours or samples that are not read.
    """
    try:
        page = _photo_page(path, Structure(data))
        _check_kind(path, page)
        turned = orientation_of(block_of_tiff(data, page.directory.place)) > 4
    except InputError:
        raise
    except (ValueError, struct.error) as error:
        raise InputError(f'{path} is a damaged TIFF file ({error}); copy or export it again.') from error
    return (page.width, page.height) if turned else (page.height, page.width)


def decode_tiff(path: Path, data: bytes) -> Stored:
    """Decode the photo of a TIFF file.

    Raises:
        InputError: it is damaged, of several pages, too large, or of colours or samples that are not read.
    """
    try:
        with no_warnings(), _silent_tifffile():
            stored, words = _decode(path, data)
    except InputError:
        raise
    except (tifffile.TiffFileError, NotImplementedError, OverflowError, ZeroDivisionError, *MALFORMED) as error:
        raise InputError(f'{path} is a damaged TIFF file ({error!r}); copy or export it again.') from error
    if words:
        warnings.warn(f'{path} {words}', stacklevel=3)
    return stored


def _decode(path: Path, data: bytes) -> tuple[Stored, str]:
    """Return the photo, and a remark on what of the file is not in it, or ''."""
    structure = Structure(data)
    page, first = _photo_page(path, structure), structure.directory(structure.first)
    check_size(path, page.width, page.height)
    colour, depth = _check_kind(path, page)
    # What the photo's page does not tell, the first page does, as in files whose first page is a thumbnail.
    entries = {**first.entries, **page.directory.entries}
    icc = structure.bytes_of(entries[ICC_PROFILE]) if ICC_PROFILE in entries else None
    samples, words = _decoded(path, _with_photo_first(structure, page), page, colour, depth, icc)
    if colour == 'CMYK':  # it is sRGB now
        icc = None
    block = block_of_tiff(data, page.directory.place)
    texts = {tag: structure.bytes_of(entries[tag]) for tag in (XMP, IPTC, RESOURCES) if tag in entries}
    iptc = iptc_of_tag(texts.get(IPTC, b'')) or iptc_of_resources(texts.get(RESOURCES, b''))
    dpi = _dpi(structure, page.directory)
    return Stored(samples, bits=depth, icc=icc, exif=block, dpi=dpi, xmp=texts.get(XMP) or None, iptc=iptc), words


def _decoded(
    path: Path, prepared: bytes, page: Page, colour: str, depth: int, icc: bytes | None
) -> tuple[np.ndarray, str]:
    """Return the samples (H, W, C) of a photo, by the decoder that can read it, and a remark on those left out, or ''.

    Args:
        path: name of the file, for messages.
        prepared: the file with this page first, see `_with_photo_first`.
        page: page of the photo.
        colour, depth: its colours and the bits of a sample, see `_check_kind`.
        icc: its profile, by which CMYK becomes sRGB.

    Raises:
        InputError: it is compressed in a way, or of colours, that are not read.
    """
    by_bytes = page.compression in OF_BYTES and page.fill_order in (1, 2)
    if colour in ('gray', 'RGB') and by_bytes and page.bits[0] >= 8:
        samples = _checked_float(path, _samples(prepared)) if depth == 32 else _samples(prepared)
        full = FULL_SCALE.get(depth, 1)
        colours = 1 if colour == 'gray' else 3
        if page.photometric == 0:  # stored as a negative
            samples[..., 0] = full - samples[..., 0]
        return _without_other_samples(samples, colours, page.extra, full)
    if depth == 8:
        image = open_with_pillow(path, prepared, 'TIFF')
        words = CMYK_WORDS if colour == 'CMYK' else _left_out(1) if image.mode == 'RGBX' else ''
        return samples_of(path, image, icc), words
    if by_bytes:
        raise colour_error(path, f'{colour} of {page.bits[0]} bits')
    raise InputError(
        f'{path} is compressed in a way that is not read (TIFF compression {page.compression}); '
        'save it without compression, or by LZW or deflate.'
    )


@contextmanager
def _silent_tifffile() -> Iterator[None]:
    """Keep what tifffile logs on damaged tags off the standard error; what it cannot read is an InputError here."""
    logger = logging.getLogger('tifffile')
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


# ------------------------------------------------------------------------------------------------------------- pages


def _photo_page(path: Path, structure: Structure) -> Page:
    """Return the page of the photo, see the head of this module; raise InputError unless there is one."""
    pages = _pages(structure)
    below = [page for page in _below(structure, pages) if not page.reduced]
    photos = [page for page in pages if not page.reduced]
    if len(photos) == 1:  # it may be a small copy without a mark; then the photo is a larger page below it
        larger = [page for page in below if page.width * page.height > photos[0].width * photos[0].height]
        photos = larger or photos
    elif not photos:
        photos = below or (pages if len(pages) == 1 else [])
    if not photos:
        raise InputError(
            f'{path} has {len(pages)} pages and each is marked as a reduced copy; save the photo by itself.'
        )
    if len(photos) > 1:
        raise InputError(f'{path} has {len(photos)} pages, expected one photo; save the page you want by itself.')
    return photos[0]


def _pages(structure: Structure) -> list[Page]:
    """Return the pages of the chain, at most `MOST_PAGES`."""
    pages: list[Page] = []
    seen, offset = set(), structure.first
    while offset and offset not in seen and len(pages) < MOST_PAGES:
        seen.add(offset)
        directory = structure.directory(offset)
        pages.append(_page(structure, directory))
        offset = directory.next
    return pages


def _below(structure: Structure, pages: list[Page]) -> list[Page]:
    """Return the pages below others that can be read; a damaged one of them is none."""
    found = []
    for page in pages:
        entry = page.directory.entries.get(SUB_DIRECTORIES)
        for offset in _numbers(structure, entry)[:MOST_PAGES] if entry else ():
            try:
                found.append(_page(structure, structure.directory(offset)))
            except ValueError:
                continue
    return found


def _page(structure: Structure, directory: Directory) -> Page:
    """Return what a directory states, with the defaults of the format where it is silent."""

    def numbers(tag: int, default: int) -> tuple[int, ...]:
        entry = directory.entries.get(tag)
        return (_numbers(structure, entry) if entry else ()) or (default,)

    old = numbers(OLD_SUBFILE, 1)[0]  # 1 full size, 2 reduced, 3 one of several pages
    extra = directory.entries.get(EXTRA)
    photometric = directory.entries.get(PHOTOMETRIC)
    return Page(
        directory,
        bool(numbers(SUBFILE, 0)[0] & (REDUCED | MASK)) or (SUBFILE not in directory.entries and old == 2),
        numbers(WIDTH, 0)[0],
        numbers(HEIGHT, 0)[0],
        numbers(BITS, 1),
        numbers(SAMPLE_FORMAT, WHOLE),
        _numbers(structure, extra) if extra else (),
        numbers(COMPRESSION, NONE)[0],
        structure.number(photometric),
        numbers(CHANNELS, 1)[0],
        numbers(FILL_ORDER, 1)[0],
    )


def _numbers(structure: Structure, entry: Entry) -> tuple[int, ...]:
    """Return the whole numbers >= 0 of a tag; none if it is of another type."""
    letter = {1: 'B', 3: 'H', 4: 'L', 13: 'L', 16: 'Q', 18: 'Q'}.get(entry.kind)
    return struct.unpack_from(f'{structure.order}{entry.count}{letter}', structure.data, entry.value) if letter else ()


def _check_kind(path: Path, page: Page) -> tuple[str, int]:
    """Return the colours, as `COLOURS` names them, and the depth of samples; raise InputError if they are not read."""
    photometric = page.photometric
    if photometric is None:  # the format demands it, but some writers forget it
        photometric = 2 if page.channels >= 3 else 1
    colour = COLOURS.get(photometric, f'of photometric kind {photometric}')
    if colour not in ('gray', 'RGB', 'palette', 'YCbCr', 'CMYK') or (colour == 'CMYK' and set(page.bits) != {8}):
        raise colour_error(path, colour)
    return colour, _depth(path, page)


def _depth(path: Path, page: Page) -> int:
    """Return 8, 16 or 32 for the samples that are read."""
    bits, formats = set(page.bits), {WHOLE if each == UNDEFINED else each for each in page.formats}
    if len(bits) == 1 and page.width and page.height and page.channels:
        if formats == {WHOLE} and bits <= {1, 2, 4, 8}:
            return 8
        if formats == {WHOLE} and bits == {16}:
            return 16
        if formats == {FLOAT} and bits <= {16, 32, 64}:
            return 32
    words = {WHOLE: 'whole-number', SIGNED: 'signed whole-number', FLOAT: 'float'}
    raise InputError(
        f'{path} has {"/".join(map(str, sorted(bits)))}-bit '
        f'{"/".join(words.get(each, "unknown") for each in sorted(formats))} samples in {page.width}x{page.height} '
        'pixels, expected whole numbers of up to 8 or of 16 bits, or float; convert it to 16 bit.'
    )


def _dpi(structure: Structure, directory: Directory) -> tuple[float, float] | None:
    """Return the horizontal and vertical resolution in pixels per inch, or None where it is not told."""
    unit = structure.number(directory.entries.get(RESOLUTION_UNIT))
    inches = {None: 1.0, 2: 1.0, 3: 100 * INCH}.get(unit)
    across, down = (_fraction(structure, directory.entries.get(tag)) for tag in (X_RESOLUTION, Y_RESOLUTION))
    if inches is None or across is None or down is None:
        return None
    return sound_dpi(across * inches, down * inches)


def _fraction(structure: Structure, entry: Entry | None) -> float | None:
    """Return a resolution as any type of tag tells it, or None where it is no number."""
    if entry is None or not entry.count:
        return None
    if entry.kind in (5, 10):
        letters = {5: 'LL', 10: 'll'}[entry.kind]
        numerator, denominator = struct.unpack_from(structure.order + letters, structure.data, entry.value)
        return numerator / denominator if denominator else None
    if entry.kind in (11, 12):
        return struct.unpack_from(structure.order + {11: 'f', 12: 'd'}[entry.kind], structure.data, entry.value)[0]
    return structure.number(entry)


# ----------------------------------------------------------------------------------------------------------- samples


def _with_photo_first(structure: Structure, page: Page) -> bytes:
    """Return the file with the photo's page as the first and only one, stored upright, of defined samples.

    Decoders take the first page, differ in whether they turn it, and refuse undefined samples.
    """
    changed = Structure(bytearray(structure.data))
    entries = page.directory.entries
    changed.set_number(entries.get(ORIENTATION), 1)
    if UNDEFINED in page.formats and entries[SAMPLE_FORMAT].kind == 3:
        entry = entries[SAMPLE_FORMAT]
        struct.pack_into(f'{changed.order}{entry.count}H', changed.data, entry.value, *(WHOLE,) * entry.count)
    letter, place = ('Q', 8) if changed.big else ('L', 4)
    struct.pack_into(changed.order + letter, changed.data, place, page.directory.place)
    if page.directory.next:
        struct.pack_into(changed.order + letter, changed.data, page.directory.end, 0)
    return bytes(changed.data)


def _samples(data: bytes) -> np.ndarray:
    """Return the samples (H, W, C) of the first page, of its type, in the byte order of this machine."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.dtype is None:
            raise ValueError('its samples are of an unknown type')
        rows, columns, channels = page.imagelength, page.imagewidth, page.samplesperpixel
        result = np.empty((rows, columns, channels), page.dtype)
        tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, columns)
        tall = min(tall, rows) or rows
        planes = channels if page.planarconfig == 2 else 1
        down = math.ceil(rows / tall)
        number = down * math.ceil(columns / wide) * planes
        if len(page.dataoffsets) < number or len(page.databytecounts) < number:
            raise ValueError(f'it has {len(page.dataoffsets)} of {number} parts')
        row_size = wide * channels // planes * page.dtype.itemsize
        unpack, floats = _unpacker(page.compression, page.fillorder), page.predictor == FLOAT_PREDICTOR
        page.compression, page.fillorder = NONE, 1  # so that tifffile does not undo them too
        page.predictor = 1 if floats else page.predictor
        for index, (offset, count) in enumerate(zip(page.dataoffsets[:number], page.databytecounts, strict=False)):
            # The last strip has the rows that are left; tiles are all of one size.
            high = tall if page.is_tiled else min(tall, rows - index % down * tall)
            part = unpack(data[offset : offset + count], high * row_size)
            if floats:
                part = _undo_float_predictor(part, wide, channels // planes, page.dtype, file.byteorder)
            decoded, (plane, _, row, column, _), _ = page.decode(part, index)
            if decoded is None:
                raise ValueError(f'its part {index} is empty')
            decoded = decoded[0, : rows - row, : columns - column]
            where = slice(row, row + decoded.shape[0]), slice(column, column + decoded.shape[1])
            result[where + (slice(plane, plane + 1) if planes > 1 else slice(None),)] = decoded
    return result


def _unpacker(compression: int, fill_order: int) -> Callable[[bytes, int], bytes]:
    """Return a function from the bytes of a strip or tile and its size to its bytes without compression."""

    def unpack(packed: bytes, size: int) -> bytes:
        if fill_order == 2:
            packed = packed.translate(REVERSED)
        if compression == NONE:
            return packed
        if compression in (DEFLATE, OLD_DEFLATE):
            return zlib.decompressobj().decompress(packed, size)
        return _unpacked_by_libtiff(packed, size, compression)

    return unpack


def _unpacked_by_libtiff(packed: bytes, size: int, compression: int) -> bytes:
    """Let libtiff decompress: the bytes become those of a gray picture of one row."""
    tags = {
        WIDTH: size, HEIGHT: 1, BITS: 8, COMPRESSION: compression, PHOTOMETRIC: 1, STRIP: 0, CHANNELS: 1,
        STRIP_ROWS: 1, STRIP_BYTES: len(packed),
    }  # fmt: skip
    tags[STRIP] = 8 + 2 + 12 * len(tags) + 4
    directory = b''.join(struct.pack('<HHLL', tag, 4, 1, value) for tag, value in tags.items())
    file = b'II*\0' + struct.pack('<LH', 8, len(tags)) + directory + struct.pack('<L', 0) + packed
    return TiffImagePlugin.TiffImageFile(io.BytesIO(file)).tobytes()


def _undo_float_predictor(part: bytes, columns: int, channels: int, dtype: np.dtype, order: ByteOrder) -> bytes:
    """Undo predictor 3 (TIFF, technical note 3): differences of bytes, the highest bytes of a row before the others."""
    width = columns * channels
    rows = np.frombuffer(part, np.uint8)
    rows = rows[: len(rows) // (width * dtype.itemsize) * width * dtype.itemsize].reshape(-1, width * dtype.itemsize)
    summed = rows.reshape(len(rows), -1, channels).cumsum(1, dtype=np.uint8).reshape(len(rows), dtype.itemsize, width)
    values = np.ascontiguousarray(summed.swapaxes(1, 2)).view(dtype.newbyteorder('>'))
    return values.astype(dtype.newbyteorder(order)).tobytes()


def _checked_float(path: Path, samples: np.ndarray) -> np.ndarray:
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= 1):
        raise InputError(
            f'{path} has float samples from {low:.9g} to {high:.9g}, expected values in [0, 1]; '
            'scale it, or convert it to 16 bit.'
        )
    return samples.astype(np.float32)


def _without_other_samples(
    samples: np.ndarray, colours: int, extra: tuple[int, ...], full: int
) -> tuple[np.ndarray, str]:
    """Return colours and alpha, and a clause on the samples that are left out, which are not marked as alpha."""
    others = samples.shape[2] - colours
    if others < 0:
        raise ValueError(f'it has {samples.shape[2]} samples a pixel, expected at least {colours}')
    marked = [index for index, kind in enumerate(extra[:others]) if kind in (PREMULTIPLIED, ALPHA)]
    kept = samples[..., :colours]
    if marked:
        alpha = samples[..., colours + marked[0], None]
        if extra[marked[0]] == PREMULTIPLIED:
            kept = _unpremultiplied(kept, alpha, full)
        kept = np.concatenate([kept, alpha], -1)
    return kept, _left_out(others - bool(marked)) if others > bool(marked) else ''


def _left_out(number: int) -> str:
    return (
        f'has {number} more sample(s) a pixel than its colours that it does not mark as alpha, such as the infrared of '
        'a scanner; they are left out'
    )


def _unpremultiplied(colours: np.ndarray, alpha: np.ndarray, full: int) -> np.ndarray:
    share = alpha.astype(np.float64) / full
    result = np.divide(colours, share, out=np.zeros(colours.shape), where=share > 0).clip(0, full)
    return (result if full == 1 else np.rint(result)).astype(colours.dtype)


# ---------------------------------------------------------------------------------------------------------- encoding


def encode_tiff(samples: np.ndarray, like: Photo) -> bytes:
    """Encode per TIFF 6.0: one strip, deflate, horizontal differencing for whole numbers.

    The file begins with the EXIF block of `like` as it is, which has the structure of a TIFF file, so that all offsets
    in it stay right, also those in maker notes; then follow the directory of the photo and its pixels.

    Args:
        samples: (H, W, C) uint8, uint16 or float32.
        like: the photo.

    Raises:
        ValueError: samples of another type.
    """
    whole = samples.dtype in (np.uint8, np.uint16)
    if not whole and samples.dtype != np.float32:
        raise ValueError(f'samples are {samples.dtype}, expected uint8, uint16 or float32 for TIFF.')
    block, order, entries = _exif_block(like)
    pixels = _differences(samples) if whole else samples
    strip = zlib.compress(pixels.astype(samples.dtype.newbyteorder(order), copy=False).tobytes())
    fields = {**_fields_of_samples(samples, len(strip), order), **_fields_of_photo(like, order)}
    start = len(block)
    after = start + 2 + 12 * (len(fields) + len(entries)) + 4
    # Values of more than 4 bytes follow the directory, and the pixels follow those.
    long_values = b''
    for tag, (kind, count, value) in fields.items():
        if len(value) > 4:
            place = struct.pack(order + 'L', after + len(long_values))
            long_values += value + bytes(len(value) % 2)
            value = place
        entries[tag] = struct.pack(order + 'HHL', tag, kind, count) + value.ljust(4, b'\0')
    entries[STRIP] = struct.pack(order + 'HHLL', STRIP, 4, 1, after + len(long_values))
    directory = struct.pack(order + 'H', len(entries)) + b''.join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return block[:4] + struct.pack(order + 'L', start) + block[8:] + directory + long_values + strip


Field = tuple[int, int, bytes]  # type, count and bytes of a tag


def _exif_block(like: Photo) -> tuple[bytes, ByteOrder, dict[int, bytes]]:
    """Return the EXIF block of a photo, of even length, its byte order, and the entries that the directory takes."""
    if like.exif is not None:
        try:
            order, entries = entries_for_tiff(like.exif)
            block = like.exif.removeprefix(PREFIX)
            return block + bytes(len(block) % 2), order, entries
        except ValueError as error:
            warnings.warn(f'the EXIF data are damaged and are left out ({error})', stacklevel=5)
    return b'II*\0' + bytes(4), '<', {}


def _fields_of_samples(samples: np.ndarray, strip_bytes: int, order: ByteOrder) -> dict[int, Field]:
    """Return the fields that say how the samples (H, W, C) are stored; STRIP is only reserved."""
    height, width, channels = samples.shape
    whole = samples.dtype != np.float32
    numbers: dict[int, tuple[str, Sequence[int]]] = {
        WIDTH: ('L', [width]),
        HEIGHT: ('L', [height]),
        BITS: ('H', [8 * samples.itemsize] * channels),
        COMPRESSION: ('H', [DEFLATE]),
        PHOTOMETRIC: ('H', [2 if channels >= 3 else 1]),
        STRIP: ('L', [0]),
        CHANNELS: ('H', [channels]),
        STRIP_ROWS: ('L', [height]),
        STRIP_BYTES: ('L', [strip_bytes]),
        PLANES: ('H', [1]),
        PREDICTOR: ('H', [2 if whole else 1]),
        SAMPLE_FORMAT: ('H', [WHOLE if whole else FLOAT] * channels),
    }
    if channels in (2, 4):
        numbers[EXTRA] = ('H', [ALPHA])
    return {tag: _field(order, letter, values) for tag, (letter, values) in numbers.items()}


def _fields_of_photo(like: Photo, order: ByteOrder) -> dict[int, Field]:
    """Return the fields that a photo brings: its resolution, its profile and its descriptions."""
    fields: dict[int, Field] = {}
    across, down = map(_ratio, like.dpi) if like.dpi else (None, None)
    if across is not None and down is not None:
        for tag, ratio in ((X_RESOLUTION, across), (Y_RESOLUTION, down)):
            fields[tag] = 5, 1, struct.pack(order + 'LL', *ratio)
        fields[RESOLUTION_UNIT] = _field(order, 'H', [2])
    if like.icc is not None:
        fields[ICC_PROFILE] = 7, len(like.icc), like.icc
    for tag, kind, text in ((XMP, 1, like.xmp), (IPTC, 7, like.iptc)):
        if text is not None:
            fields[tag] = kind, len(text), text
    return fields


def _field(order: ByteOrder, letter: str, numbers: Sequence[int]) -> Field:
    """Return type, count and bytes of a tag of whole numbers."""
    return {'H': 3, 'L': 4}[letter], len(numbers), struct.pack(f'{order}{len(numbers)}{letter}', *numbers)


def _ratio(number: float) -> tuple[int, int] | None:
    """Return a number as two whole numbers of 32 bits, or None where it is too large or too small for that."""
    ratio = Fraction(number).limit_denominator(10_000)
    return ratio.as_integer_ratio() if 0 < ratio < 2**32 / 10_000 else None


def _differences(samples: np.ndarray) -> np.ndarray:
    """Return samples (H, W, C) minus their left neighbours, which predictor 2 undoes."""
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]  # wraps around, as the format says
    return differences
