# ruff: noqa: E501  A case is read best as a line.
"""What the cases of malformed inputs are made of: a case, sound inputs to damage, and makers of small files."""

from __future__ import annotations

import io
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

CANARY = 'CANARY'
KEPT = r'(.*/)?\.\w+\.lmdb\.partial(/.*)?'  # the hidden folder in which a preparation keeps what is done
RUN = r'(experiments|results|tb_logger)(/[^/]+)*?(/[^/]+\.(log|yml)|/events.*)?'  # of a run that has begun
TALKATIVE = ('evaluate', 'prep-dataset')  # commands that list what they found before the last line
TIFF_TYPES = {'H': (3, 2), 'I': (4, 4), 'R': (5, 8), 'Q': (16, 8)}


class Case(NamedTuple):
    """A malformed input and the command that meets it.

    Args:
        category: under which it is counted.
        name: tells it apart in its category.
        make: writes the input to a folder and returns the command line; the command runs in that folder.
        says: pattern that the message must fit: what was found.
        codes: exit codes that are right.
        may_leave: patterns of files, relative to the folder, that may be new afterwards.
        talks: the command says more than one line, of which the last is judged.
        whole: also to be run as a whole process.
        short: belongs to the short version that runs in the tests.
        seconds: it may take; an export computes before it writes.
    """

    category: str
    name: str
    make: Callable[[Path, Good], list[Any]]
    says: str = ''
    codes: tuple[int, ...] = (2,)
    may_leave: tuple[str, ...] = ()
    talks: bool = False
    whole: bool = False
    short: bool = False
    seconds: int = 10


Make = Callable[[Path, 'Good'], list[Any]]  # the `make` of a case


def cases(category: str, table: Mapping[str, tuple], **common: Any) -> Iterator[Case]:
    """Return the cases of a table.

    Args:
        category: category of all of them.
        table: name -> (make, says), or (make, says, fields), where fields are further ones of a `Case`.
        common: fields of all that do not say otherwise.
    """
    for name, (make, says, *fields) in table.items():
        yield Case(category, name, make, says, **{**common, **(fields[0] if fields else {})})


def command(line: str, *more: Any, before: Callable[[Path], Any] | None = None) -> Make:
    """Return the `make` of a command line.

    Args:
        line: words between spaces, with the names of sound inputs and "here" in braces.
        more: further words, as they are.
        before: writes to the folder what the command meets.
    """

    def maker(here: Path, good: Good) -> list[Any]:
        if before is not None:
            before(here)
        return [*line.format(here=here, **good._asdict()).split(), *more]

    return maker


class Good(NamedTuple):
    """Sound inputs, made once, that the cases damage copies of."""

    folder: Path
    photo: Path
    kpn: Path
    ufpnet: Path
    kernels: Path
    large_kernels: Path
    photos: Path
    masks: Path
    photos_lmdb: Path
    masks_lmdb: Path
    field: Path
    checkpoint: Path

    @classmethod
    def make(cls, folder: Path) -> Good:
        """Write all of them to `folder`."""
        from basis_blur.archs import ARCHS
        from basis_blur.data.kernel_lmdb import KernelRecipe, prepare_kernels
        from basis_blur.data.photo_lmdb import PhotoSource, prepare_photos
        from basis_blur.field.blur_field import BlurField
        from basis_blur.weights.checkpoints import save_network

        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        torch.manual_seed(0)
        names = (
            'photo.png', 'kpn.safetensors', 'ufpnet.safetensors', 'kernels.lmdb', 'large.lmdb', 'photos', 'masks', 'lmdbs/photos.lmdb',
            'lmdbs/masks.lmdb', 'field.npz', 'kpn.pth',
        )  # fmt: skip
        good = cls(folder, *(folder / name for name in names))
        folder.mkdir(parents=True)
        good.photo.write_bytes(encoded(picture(), 'PNG'))
        kpn = ARCHS['BasisKPN'](num_feat=1, num_kernels=2)
        save_network(kpn, good.kpn)
        torch.save({'params': kpn.state_dict()}, good.checkpoint)
        tiny = {
            'width': 2, 'kernel_size': 5, 'estimator_width': 2, 'enc_blocks': (1,), 'dec_blocks': (1,),
            'attention_levels': (0,), 'flow_hidden': 4,
        }  # fmt: skip
        save_network(ARCHS['UFPNet'](**tiny), good.ufpnet)
        for place in (good.photos, good.masks):
            place.mkdir()
        for number in range(3):
            (good.photos / f'{number}.png').write_bytes(encoded(picture(seed=number), 'PNG'))
            labels = np.zeros((40, 48), np.uint8)
            labels[10:30, 10:30] = 1
            (good.masks / f'{number}.png').write_bytes(encoded(labels, 'PNG'))
        prepare_kernels(good.kernels, KernelRecipe(6, 5))
        prepare_kernels(good.large_kernels, KernelRecipe(4, 33))
        prepare_photos(PhotoSource(good.photos, good.masks, 'labels'), good.photos_lmdb.parent)
        kernels = torch.zeros(1, 1, 5, 5)
        kernels[..., 2, 2] = 1
        BlurField(kernels, torch.ones(1, 1, 40, 48)).save(good.field)
        torch.set_default_dtype(dtype)
        return good


def picture(height: int = 40, width: int = 48, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return smooth colours with some noise, uint8."""
    rows, columns = np.mgrid[:height, :width]
    values = 100 + 50 * np.sin(rows / 5 + seed)[..., None] + 40 * np.cos(columns / 7)[..., None]
    noise = np.random.default_rng(seed).integers(0, 9, (height, width, channels))
    return np.squeeze((values + noise).astype(np.uint8))


def encoded(pixels: np.ndarray, form: str, mode: str | None = None, **options: Any) -> bytes:
    """Return a picture as Pillow writes it."""
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()


def png_of_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with these chunks, their sums being right."""
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body)) for name, body in chunks
    )


def png_header(width: int, height: int, bits: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    """Return the first chunk of a PNG."""
    return b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)


def tiff(changes: dict[int, Any] | None = None, strip: bytes | None = None, next_page: int = 0) -> bytes:
    """Return a 16-bit gray TIFF of 40 x 40 pixels with some of its tags changed.

    Args:
        changes: tag -> number, or (type letter, count, value or offset) as it shall stand there; None removes a tag.
        strip: the bytes of the pixels.
        next_page: where the next page is said to begin.
    """
    strip = bytes(40 * 40 * 2) if strip is None else strip
    entries = {256: 40, 257: 40, 258: 16, 259: 1, 262: 1, 273: 0, 277: 1, 278: 40, 279: len(strip)}
    entries = {tag: value for tag, value in {**entries, **(changes or {})}.items() if value is not None}
    start = 8 + 2 + 12 * len(entries) + 4
    if not (changes or {}).get(273):
        entries[273] = start
    directory = struct.pack('<H', len(entries))
    for tag, value in sorted(entries.items()):
        letter, count, number = value if isinstance(value, tuple) else ('I', 1, value)
        directory += struct.pack('<HHII', tag, TIFF_TYPES[letter][0], count, number)
    return b'II*\0' + struct.pack('<I', 8) + directory + struct.pack('<I', next_page) + strip


def flipped(data: bytes, seed: int, first: int = 0, last: int | None = None) -> bytes:
    """Return the bytes with one bit of every hundred bytes flipped, at least one, between two places."""
    generator = random.Random(seed)
    changed = bytearray(data)
    last = len(data) if last is None else last
    for _ in range(max(1, (last - first) // 100)):
        changed[generator.randrange(first, last)] ^= 1 << generator.randrange(8)
    return bytes(changed)


def write(name: str, data: bytes | str) -> Callable[[Path], Path]:
    """Return a function that writes `data` to a file of this name in a folder."""

    def maker(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return maker


def copy(source: Path, folder: Path, name: str | None = None) -> Path:
    """Copy a file or folder into a folder, writable."""
    target = folder / (name or source.name)
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return target


def samples_of_forms() -> dict[str, bytes]:
    """Return a sound photo in each form that is read."""
    return {
        'png': encoded(picture(), 'PNG'),
        'jpg': encoded(picture(), 'JPEG', quality=90),
        'tif': encoded(picture(), 'TIFF', compression='tiff_adobe_deflate'),
        '16 bit.png': encoded(picture(channels=1).astype(np.uint16) * 257, 'PNG'),
        '16 bit.tif': tiff(strip=(picture(40, 40, 1).astype('<u2') * 200).tobytes()),
    }
