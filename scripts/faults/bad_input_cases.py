# ruff: noqa: E501  A case is read best as a line.
"""The corpus of malformed inputs: each case makes its files in an empty folder and returns a command line.

Everything that is random has a fixed seed. Hostile files are harmless: all they try is to make an empty file CANARY.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import socket
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
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


# ------------------------------------------------------------------------------------------------------------ photos


def deblurs(make: Callable[[Path], Path]) -> Callable[[Path, Good], list[Any]]:
    """A deblur of the photo that `make` writes, with a sound network."""
    return lambda here, good: ['deblur', make(here), '-o', here / 'out' / 'sharp.png', '--weights', good.kpn]


def draws(make: Callable[[Path], Path]) -> Callable[[Path, Good], list[Any]]:
    """The kernels of the photo that `make` writes."""
    return lambda here, good: ['kernels', make(here), '-o', here / 'out.npz', '--weights', good.kpn]


def prepares(make: Callable[[Path], Path], *more: str) -> Callable[[Path, Good], list[Any]]:
    """A preparation of a folder that holds the file that `make` writes."""

    def maker(here: Path, good: Good) -> list[Any]:
        make(here / 'photos')
        return ['prep-lmdb', 'photos', '-o', 'out', '--workers', '0', *more]

    return maker


def evaluates(make: Callable[[Path], Path]) -> Callable[[Path, Good], list[Any]]:
    """An evaluation in which the file that `make` writes is a restored photo."""

    def maker(here: Path, good: Good) -> list[Any]:
        path = make(here / 'restored')
        (here / 'gt').mkdir()
        copy(good.photo, here / 'gt', path.with_suffix('.png').name)
        return ['evaluate', '--restored', 'restored', '--gt', 'gt', '--protocol', 'plain', '--csv', 'scores.csv']

    return maker


READERS = {'deblur': deblurs, 'kernels': draws, 'prep-lmdb': prepares, 'evaluate': evaluates}


def samples_of_forms() -> dict[str, bytes]:
    """Return a sound photo in each form that is read."""
    return {
        'png': encoded(picture(), 'PNG'),
        'jpg': encoded(picture(), 'JPEG', quality=90),
        'tif': encoded(picture(), 'TIFF', compression='tiff_adobe_deflate'),
        '16 bit.png': encoded(picture(channels=1).astype(np.uint16) * 257, 'PNG'),
        '16 bit.tif': tiff(strip=(picture(40, 40, 1).astype('<u2') * 200).tobytes()),
    }


def damaged_photos() -> Iterator[Case]:
    """Photos that are cut off or whose bits are flipped."""
    for form, data in samples_of_forms().items():
        for share in (0.01, 0.1, 0.5, 0.9):
            make = write(f'cut.{form.split(".")[-1]}', data[: max(1, int(share * len(data)))])
            short = (form, share) in (('png', 0.5), ('jpg', 0.9), ('tif', 0.1))
            yield Case('photos: truncated', f'{form} at {share:.0%}', deblurs(make), r'cut\.', short=short, whole=short)
    cut = samples_of_forms()['jpg'][:600]
    for command, reader in READERS.items():
        if command != 'deblur':
            talks = command == 'evaluate'
            left = ('scores.csv',) if talks else (KEPT, 'out')
            yield Case(
                'photos: truncated',
                f'jpg in {command}',
                reader(write('cut.jpg', cut)),
                'cut',
                talks=talks,
                may_leave=left,
            )
    for form, data in samples_of_forms().items():
        for seed in range(5):
            # In the head a flip is nearly always noticed; in the pixels of a JPEG, which have no sums, seldom.
            make = write(f'flipped.{form.split(".")[-1]}', flipped(data, seed, 0, 60 if seed < 3 else None))
            short = (form, seed) == ('png', 0)
            yield Case(
                'photos: flipped bits',
                f'{form}, seed {seed}',
                deblurs(make),
                r'flipped\.',
                (2, 0),
                ('out(/.*)?',),
                short=short,
            )
    for command, reader in READERS.items():
        make = write('empty.png', b'')
        talks = command == 'evaluate'
        left = ('scores.csv',) if talks else (KEPT, 'out')
        yield Case('photos: empty', f'png in {command}', reader(make), 'empty', talks=talks, may_leave=left, short=True)
    for form in ('jpg', 'tif'):
        yield Case('photos: empty', form, deblurs(write(f'empty.{form}', b'')), 'is empty')


def other_files() -> Iterator[Case]:
    """Files that are no photos, whatever their names say, and things that are no files."""
    title = 'photos: other files'
    files = {
        'text.png': 'not a photo\n',
        'page.jpg': '<!DOCTYPE html><html><body>404 Not Found</body></html>',
        'archive.tif': b'PK\x03\x04' + bytes(60),
        'program.png': b'\x7fELF' + bytes(60),
        'moving.png': encoded(picture(), 'GIF'),
        'web.jpg': encoded(picture(), 'WEBP'),
        'head.png': b'\x89PNG\r\n\x1a\n',
        'start.jpg': b'\xff\xd8\xff',
        'start.tif': b'II*\0',
        'zeros.png': bytes(1000),
    }
    for name, data in files.items():
        read = name == 'web.jpg'  # by what it holds
        codes, left = ((2, 0), ('out(/.*)?',)) if read else ((2,), ())
        yield Case(title, name, deblurs(write(name, data)), name, codes, left, short=name == 'text.png')
    yield Case(
        title,
        'gif in prep-lmdb',
        prepares(write('moving.png', encoded(picture(), 'GIF'))),
        'moving.png',
        (2, 0),
        (KEPT, 'out.*'),
    )
    yield Case(title, 'text in prep-lmdb', prepares(write('text.png', 'no photo')), 'text.png', may_leave=(KEPT, 'out'))
    yield Case(title, 'suffix that is not read', deblurs(write('notes.txt', 'no photo')), 'notes.txt')

    def made(act: Callable[[Path], Any]) -> Callable[[Path], Path]:
        def maker(folder: Path) -> Path:
            folder.mkdir(exist_ok=True, parents=True)
            act(folder / 'x.png')
            return folder / 'x.png'

        return maker

    def bind(path: Path) -> None:
        socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))

    things = {
        'empty folder': lambda path: path.mkdir(),
        'folder of folders': lambda path: (path / 'y.png').mkdir(parents=True),
        'nothing': lambda path: None,
        'dangling link': lambda path: path.symlink_to('nowhere.png'),
        'link to itself': lambda path: path.symlink_to('x.png'),
        'pipe': os.mkfifo,
        'endless device': lambda path: path.symlink_to('/dev/zero'),
    }
    for name, act in things.items():
        yield Case(title, name, deblurs(made(act)), r'x\.png', short=name == 'empty folder')
    for name in ('pipe', 'endless device', 'dangling link'):
        yield Case(
            title, f'{name} in prep-lmdb', prepares(made(things[name])), r'x\.png|no photo', may_leave=(KEPT, 'out')
        )
        yield Case(
            title,
            f'{name} in evaluate',
            evaluates(made(things[name])),
            r'x|no photo',
            talks=True,
            may_leave=('scores.csv',),
        )
        yield Case(title, f'{name} in kernels', draws(made(things[name])), r'x\.png')

    def sparse(here: Path) -> Path:
        here.mkdir(exist_ok=True, parents=True)
        (here / 'x.png').write_bytes(samples_of_forms()['png'])
        os.truncate(here / 'x.png', 2**40)
        return here / 'x.png'

    yield Case(title, 'a terabyte', deblurs(sparse), r'x\.png')
    yield Case(title, 'a terabyte in prep-lmdb', prepares(sparse), r'x\.png', may_leave=(KEPT, 'out'))
    yield Case(title, 'name too long', lambda here, good: ['deblur', 'n' * 300 + '.png', '-o', 'o.png'], 'nnn')
    yield Case(title, 'name with line break', deblurs(write('a\n\x1b[31mb.png', 'no photo')), 'no')
    yield Case(
        title, 'name with zero byte', lambda here, good: ['deblur', 'a\0.png', '-o', 'o.png', '--weights', good.kpn]
    )


def odd_photos() -> Iterator[Case]:
    """Photos of a size or kind that is not for us, and decompression bombs."""
    title = 'photos: sizes and kinds'
    for height, width in ((1, 1), (32, 48), (1, 1000), (40, 4)):
        data = encoded(picture(height, width).reshape(height, width, 3), 'PNG')
        for command in ('deblur', 'kernels'):
            yield Case(
                title,
                f'{width}x{height} in {command}',
                READERS[command](write('small.png', data)),
                rf'{width}x{height}',
                short=height == 1 == width,
            )
    floats = np.linspace(0, 1, 40 * 48, dtype=np.float32).reshape(40, 48)
    kinds = {
        'cmyk.jpg': encoded(picture(), 'JPEG', 'CMYK'),
        'cmyk.tif': encoded(picture(), 'TIFF', 'CMYK'),
        'lab.tif': encoded(picture(), 'TIFF', 'LAB'),
        'whole32.tif': encoded(picture(channels=1).astype(np.int32), 'TIFF'),
        'bright.tif': encoded(floats * 300, 'TIFF'),
        'negative.tif': encoded(floats - 0.5, 'TIFF'),
        'nan.tif': encoded(np.where(floats > 0.5, np.float32('nan'), floats), 'TIFF'),
        'infinite.tif': encoded(np.where(floats > 0.5, np.float32('inf'), floats), 'TIFF'),
        'animation.png': encoded(picture(), 'PNG', save_all=True, append_images=[Image.fromarray(picture(seed=2))]),
        'pages.tif': encoded(picture(), 'TIFF', save_all=True, append_images=[Image.fromarray(picture(seed=2))]),
        'signed.tif': tiff({339: 2}),
        'bits12.tif': tiff({258: 12}),
        'bits3000.tif': tiff({258: 3000}),
        'channels5.tif': tiff({277: 5, 338: ('H', 2, 0)}),
        'channels60000.tif': tiff({277: 60000}),
    }
    for name, data in kinds.items():
        yield Case(title, name, deblurs(write(name, data)), name, short=name in ('nan.tif', 'cmyk.jpg'))
    for name in ('cmyk.jpg', 'bright.tif', 'nan.tif', 'whole32.tif', 'signed.tif', 'channels5.tif'):
        yield Case(title, f'{name} in prep-lmdb', prepares(write(name, kinds[name])), name, may_leave=(KEPT, 'out'))

    title = 'photos: bombs and traps'
    pixels = zlib.compress(bytes(10**7), 9)
    body = zlib.compress(bytes(30 * 10**6), 9)
    jpeg = bytearray(encoded(picture(), 'JPEG'))
    place = jpeg.index(b'\xff\xc0') + 5
    jpeg[place : place + 4] = struct.pack('>HH', 65500, 65500)
    bombs = {
        'huge.png': png_of_chunks(png_header(100000, 100000), (b'IDAT', pixels), (b'IEND', b'')),
        'huge16.png': png_of_chunks(png_header(100000, 100000, 16), (b'IDAT', pixels), (b'IEND', b'')),
        'widest.png': png_of_chunks(png_header(2**31 - 1, 1), (b'IDAT', pixels), (b'IEND', b'')),
        'nothing.png': png_of_chunks(png_header(0, 0), (b'IDAT', pixels), (b'IEND', b'')),
        'poor.png': png_of_chunks(png_header(13000, 13000), (b'IDAT', zlib.compress(b'')), (b'IEND', b'')),
        'long.png': png_of_chunks(png_header(40, 40), (b'IDAT', body), (b'IEND', b'')),
        'text.png': png_of_chunks(png_header(40, 40), (b'zTXt', b'k\0\0' + body), (b'IDAT', pixels), (b'IEND', b'')),
        'profile.png': png_of_chunks(png_header(40, 40), (b'iCCP', b'k\0\0' + body), (b'IDAT', pixels), (b'IEND', b'')),
        'chunk.png': b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 2**31 - 1) + b'IHDR' + bytes(50),
        'huge.jpg': bytes(jpeg),
        'huge.tif': tiff({256: 100000, 257: 100000}),
        'widest.tif': tiff({256: 2**32 - 1, 257: 2**32 - 1}),
        'nothing.tif': tiff({256: 0}),
        'without_size.tif': tiff({256: None}),
        'without_strip.tif': tiff({279: None}),
        'far_strip.tif': tiff({273: 2**31}),
        'long_strip.tif': tiff({279: 2**31}),
        'bomb.tif': tiff({259: 8}, body),
        'many_values.tif': tiff({258: ('I', 2**31, 8)}),
        'offset.tif': b'II*\0' + struct.pack('<I', 2**32 - 1),
        'offset_self.tif': tiff(next_page=8),
        'loop.tif': tiff({0x8769: 8, 0x8825: 8}),
        'many_tags.tif': b'II*\0' + struct.pack('<IH', 8, 65535) + bytes(40),
        'big.tif': b'II+\0' + struct.pack('<HHQ', 8, 0, 2**60),
        'rows0.tif': tiff({278: 0}),
    }
    # Of these the pixels that are asked for are there.
    harmless = (
        'loop.tif',
        'offset_self.tif',
        'long.png',
        'profile.png',
        'text.png',
        'rows0.tif',
        'without_strip.tif',
        'long_strip.tif',
        'bomb.tif',
        'many_values.tif',
    )
    for name, data in bombs.items():
        codes = (2, 0) if name in harmless else (2,)
        yield Case(
            title,
            name,
            deblurs(write(name, data)),
            name,
            codes,
            ('out(/.*)?',) if 0 in codes else (),
            short=name == 'huge.png',
        )
    for name in ('huge.png', 'huge.jpg', 'huge.tif', 'widest.png', 'poor.png', 'bomb.tif', 'long.png', 'text.png'):
        codes = (2, 0) if name in harmless else (2,)
        left = (KEPT, 'out(/.*)?')
        yield Case(title, f'{name} in prep-lmdb', prepares(write(name, bombs[name])), name, codes, left)
        yield Case(
            title,
            f'{name} in evaluate',
            evaluates(write(name, bombs[name])),
            name.split('.')[0],
            (2,),
            ('scores.csv',),
            talks=True,
        )


def photo_formats() -> Iterator[Case]:
    """What formats hold beside plain pixels: EXIF, pages, chunks, other containers. It is damaged, or means harm."""
    may, left = (2, 0), ('out(/.*)?',)
    title = 'photos: EXIF and resolution'
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x013B] = 'A maker', 6, 'An artist'
    exif[0x8769] = {0x9286: b'UNICODE' + bytes(9), 0x927C: bytes(range(200)), 0xA002: 48, 0xA003: 40}
    exif[0x8825] = {1: 'N', 2: (1.0, 2.0, 3.0)}
    block = exif.tobytes()
    for form, name in (('JPEG', 'x.jpg'), ('PNG', 'x.png'), ('WEBP', 'x.webp')):
        data = encoded(picture(), form, exif=block)
        start = data.index(b'MM\0*') if b'MM\0*' in data else data.index(b'II*\0')
        for seed in range(6):
            damaged = flipped(data, seed, start, start + len(block) - 6)
            if form == 'PNG':  # whose sums would tell
                damaged = with_sums(damaged)
            yield Case(title, f'{form}, flipped bits, seed {seed}', deblurs(write(name, damaged)), name, may, left)
    second = b'Exif\0\0II*\0\x08\0\0\0\0\0\x0e\0\0\0'
    blocks = {
        'no header': b'Exif\0\0what',
        'nothing': b'Exif\0\0',
        'far directory': b'Exif\0\0II*\0\xff\xff\xff\xff',
        'directory that is its own thumbnail': b'Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0',
        'thumbnail that is everything': second
        + b'\x02\0'
        + struct.pack('<HHLLHHLL', 513, 4, 1, 0, 514, 4, 1, 2**32 - 1)
        + bytes(4),
        'many entries': b'Exif\0\0II*\0\x08\0\0\0\xff\xff' + bytes(600),
        'pointer to itself': b'Exif\0\0II*\0\x08\0\0\0\x01\0' + struct.pack('<HHLL', 0x8769, 4, 1, 8) + bytes(4),
        'count of 4 billion': b'Exif\0\0II*\0\x08\0\0\0\x01\0'
        + struct.pack('<HHLL', 0x13B, 2, 2**32 - 1, 8)
        + bytes(4),
        'type 99': b'Exif\0\0II*\0\x08\0\0\0\x01\0' + struct.pack('<HHLL', 0x112, 99, 1, 6) + bytes(4),
        'BigTIFF': b'Exif\0\0II+\0' + struct.pack('<HHQQ', 8, 0, 16, 0) + bytes(8),
    }
    for what, damaged in blocks.items():
        for suffix in ('jpg', 'png', 'tif'):
            data = encoded(picture(), 'JPEG', exif=damaged)

            def make(here: Path, good: Good, data: bytes = data, suffix: str = suffix) -> list[Any]:
                return ['deblur', write('x.jpg', data)(here), '-o', f'out.{suffix}', '--weights', good.kpn]

            short = (what, suffix) == ('thumbnail that is everything', 'tif')
            yield Case(title, f'{what} -> {suffix}', make, codes=(0,), may_leave=('.*',), short=short)
    for what, ratio in {
        '0/0': (0, 0),
        '1/0': (1, 0),
        '0/1': (0, 1),
        'huge': (2**32 - 1, 1),
        'tiny': (1, 2**32 - 1),
    }.items():
        for suffix in ('jpg', 'png', 'tif'):
            strip = (picture(40, 40, 1).astype('<u2') * 200).tobytes() + struct.pack('<LL', *ratio)
            place = 8 + 2 + 12 * 12 + 4 + 3200
            data = tiff({282: ('R', 1, place), 283: ('R', 1, place), 279: 3200, 296: ('H', 1, 2)}, strip)

            def resolve(here: Path, good: Good, data: bytes = data, suffix: str = suffix) -> list[Any]:
                return ['deblur', write('x.tif', data)(here), '-o', f'out.{suffix}', '--weights', good.kpn]

            yield Case(title, f'resolution {what} -> {suffix}', resolve, codes=(0,), may_leave=('.*',))

    title = 'photos: pages, planes and chunks'
    body = zlib.compress(bytes(30 * 10**6), 9)
    colours = picture(40, 40).tobytes()
    kinds = {
        'reduced.tif': (tiff({254: 1}, next_page=8), may),  # the only page, though marked
        'masks.tif': (tiff({254: 4}), may),
        'below_itself.tif': (tiff({330: 8}), may),
        'below_far.tif': (tiff({330: 2**31}), may),
        'below_many.tif': (tiff({330: ('I', 2**30, 8)}), may),
        'raw.tif': (tiff({262: 32803}), may),  # which LibRaw develops, if it is there
        'dng.tif': (tiff({50706: ('I', 1, 1025)}), (2,)),
        'canon.cr2': (b'II*\0\x10\0\0\0CR\2\0' + bytes(200), (2,)),
        'planes.tif': (tiff({258: 16, 277: 3, 262: 2, 284: 2}), (2,)),
        'planes8.tif': (tiff({258: 8, 277: 3, 262: 2, 284: 2}, colours), may),
        'void32.tif': (tiff({258: 32, 339: 4}), (2,)),
        'void.tif': (tiff({339: 4}), may),
        'lzw.tif': (tiff({259: 5}, bytes(range(256)) * 4), (2,)),
        'zstd.tif': (tiff({259: 50000}, bytes(400)), (2,)),
        'jpeg16.tif': (tiff({259: 7}), (2,)),
        'unknown.tif': (tiff({259: 9999}), (2,)),
        'predictor.tif': (tiff({317: 3}), may),
        'predictor99.tif': (tiff({317: 99}), (2,)),
        'short.tif': (tiff({}, bytes(1000)), (2,)),
        'short_deflate.tif': (tiff({259: 8}, zlib.compress(bytes(1000))), (2,)),
        'palette16.tif': (tiff({262: 3}), (2,)),
        'tiles.tif': (tiff({322: 16, 323: 16, 324: 8, 325: 512, 273: None, 279: None, 278: None}), (2,)),
        'tiles0.tif': (tiff({322: 0, 323: 0}), (2,)),
        'infrared.tif': (tiff({277: 2}, bytes(40 * 40 * 4)), may),
        'bits.tif': (tiff({258: ('H', 2, 16 | 8 << 16), 277: 2}), (2,)),
        'big_cut.tif': (b'MM\0+' + struct.pack('>HHQQ', 8, 0, 16, 9) + bytes(30), (2,)),
        'gamma.png': (png_of_chunks(png_header(40, 48), (b'gAMA', b'x'), (b'cHRM', b''), (b'IDAT', zlib.compress(bytes(40 * 3 * 48 + 48))), (b'IEND', b'')), may),
        'gamma0.png': (png_of_chunks(png_header(40, 48), (b'gAMA', bytes(4)), (b'IDAT', zlib.compress(bytes(40 * 3 * 48 + 48))), (b'IEND', b'')), may),
        'key.png': (png_of_chunks(png_header(40, 48), (b'tRNS', b'xyz'), (b'IDAT', zlib.compress(bytes(40 * 3 * 48 + 48))), (b'IEND', b'')), may),
        'exif_text.png': (png_of_chunks(png_header(40, 48), (b'zTXt', b'Raw profile type exif\0\0' + body), (b'IDAT', zlib.compress(bytes(40 * 3 * 48 + 48))), (b'IEND', b'')), may),
        'frames.png': (png_of_chunks(png_header(40, 48), (b'acTL', struct.pack('>II', 2**31, 0)), (b'IDAT', zlib.compress(bytes(40 * 3 * 48 + 48))), (b'IEND', b'')), (2,)),
        'no_header.png': (png_of_chunks((b'IDAT', b''), (b'IEND', b'')), (2,)),
        'long_header.png': (png_of_chunks((b'IHDR', bytes(40)), (b'IEND', b'')), (2,)),
        'colour9.png': (png_of_chunks(png_header(40, 48, 8, 9), (b'IDAT', b''), (b'IEND', b'')), (2,)),
        'depth17.png': (png_of_chunks(png_header(40, 48, 17), (b'IDAT', b''), (b'IEND', b'')), (2,)),
        'palette16.png': (png_of_chunks(png_header(40, 48, 16, 3), (b'PLTE', bytes(6)), (b'IDAT', zlib.compress(bytes(9999))), (b'IEND', b'')), (2,)),
    }  # fmt: skip
    for name, (data, codes) in kinds.items():
        short = name in ('below_itself.tif', 'exif_text.png')
        yield Case(title, name, deblurs(write(name, data)), name, codes, left if 0 in codes else (), short=short)

    title = 'photos: other containers'
    web = encoded(picture(), 'WEBP')
    files = {
        'film.mp4': b'\0\0\0\x18ftypmp42\0\0\0\0isommp42' + bytes(99),
        'film.jpg': b'\0\0\0\x14ftypqt  \0\0\0\0qt  ' + bytes(99),
        'film.avi': b'RIFF\0\0\0\0AVI LIST' + bytes(99),
        'cut.heic': b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(99),
        'bare.heic': b'\0\0\0\x18ftypheic',
        'huge_box.heic': b'\xff\xff\xff\xffftypheic\0\0\0\0mif1heic' + bytes(99),
        'cut.avif': b'\0\0\0\x18ftypavif\0\0\0\0mif1avif' + bytes(99),
        'cut.cr3': b'\0\0\0\x18ftypcrx \0\0\0\x01crx isom' + bytes(99),
        'cut.raf': b'FUJIFILMCCD-RAW ' + bytes(200),
        'cut.orf': b'IIRO\x08\0\0\0' + bytes(200),
        'cut.webp': web[: len(web) // 2],
        'moving.webp': encoded(picture(), 'WEBP', save_all=True, append_images=[Image.fromarray(picture(seed=2))]),
        'cmyk.jpg': encoded(picture(), 'JPEG', 'CMYK', icc_profile=b'nonsense'),
    }
    for name, data in files.items():
        yield Case(title, name, deblurs(write(name, data)), name, short=name in ('film.mp4', 'cut.webp'))
    for seed in range(6):
        for form, name in (('WEBP', 'x.webp'), ('TIFF', 'x.tif')):
            data = flipped(encoded(picture(), form), seed)
            yield Case(title, f'{form}, flipped bits, seed {seed}', deblurs(write(name, data)), name, may, left)

    title = 'deblur: inputs and outputs'

    def called(*words: str) -> Callable[[Path, Good], list[Any]]:
        def make(here: Path, good: Good) -> list[Any]:
            for name in ('a.png', 'b.png', 'more/a.png'):
                write(name, good.photo.read_bytes())(here)
            return ['deblur', *words, '--weights', good.kpn]

        return make

    lines = {
        'two photos, one file': (('a.png', 'b.png', '-o', 'c.png'), r'a\.png is one of 2 inputs'),
        'one of two is missing': (('a.png', 'z.png', '-o', 'out'), r'no photo or folder z\.png'),
        'two of one name': (('a.png', 'more/a.png', '-o', 'out'), 'two photos would both write'),
        'over itself': (('a.png', '-o', '.'), 'would replace a photo'),
        'over another': (('a.png', '-o', 'b.png'), 'already exists'),
        'over another that is read': (('a.png', 'b.png', '-o', 'more', '--overwrite', '--kernels', 'more/b.png'), 'estimate|would replace|is not'),
        'into a photo': (('a.png', '-o', 'b.png/c.png'), r'b\.png'),
        'name too long': (('a.png', '-o', f'{"n" * 250}.png', '--save-kernels'), 'bytes, expected at most 255'),
        'name far too long': (('a.png', '-o', f'{"n" * 300}.png'), 'bytes, expected at most 255|too long'),
        'log is a photo': (('a.png', '-o', 'c.png', '--log', 'b.png'), 'has the name of a photo'),
        'log is the result': (('a.png', '-o', 'c.png', '--log', 'c.png'), 'given to --log and to another'),
        'log is a folder': (('a.png', '-o', 'c.png', '--log', 'more'), 'more: Is a directory'),
        'no input': (('-o', 'c.png'), 'the following arguments are required: IMG'),
        'misspelt option': (('a.png', '--outptu', 'c.png'), 'Did you mean "--output"'),
    }  # fmt: skip
    for what, (words, says) in lines.items():
        yield Case(title, what, called(*words), says, short=what in ('log is a photo', 'two of one name'))
    yield Case(
        title, 'misspelt command', lambda here, good: ['deblurr', good.photo], 'Did you mean "deblur"', short=True
    )


def with_sums(png: bytes) -> bytes:
    """Return a PNG with the right sum behind each of its chunks."""
    chunks, place = [], 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], 'big')
        chunks.append((png[place + 4 : place + 8], png[place + 8 : place + 8 + length]))
        place += 12 + length
    return png_of_chunks(*chunks)


# ------------------------------------------------------------------------------------------------------ command lines


def absurd_values() -> Iterator[Case]:
    """Values on the command line that no one can mean."""
    title = 'command line'

    def deblur(*more: str) -> Callable[[Path, Good], list[Any]]:
        return lambda here, good: ['deblur', good.photo, '-o', 'out.png', '--weights', good.kpn, *more]

    def by_network(*more: str) -> Callable[[Path, Good], list[Any]]:
        return lambda here, good: [
            'deblur',
            good.photo,
            '-o',
            'out.png',
            '--weights',
            good.ufpnet,
            '--method',
            'ufpnet',
            *more,
        ]

    def plain(*words: str) -> Callable[[Path, Good], list[Any]]:
        return lambda here, good: list(words)

    for option, values in {
        '--gamma': ('-1', '0', 'nan', 'inf', '1e308', '1e-300', 'much', ''),
        '--iterations': ('-1', '0', 'nan', '1e3', '99999999999', '9' * 5000),
        '--refine': ('-5', '0', 'inf', '99999999999'),
        '--device': ('gpu9', 'cuda:99', 'cpu:-1', 'meta', ''),
        '--weights': ('', 'nowhere.pth', '/', '/dev/zero', '/proc/self/mem', 'a\0b'),
        '--kernels': ('', 'nowhere.npz', '/', '/dev/zero', '/proc/self/mem'),
        '--fusion': ('', 'nowhere.pth', '/', '/dev/zero', 'correlation_kpn'),
        '--method': ('magic',),
    }.items():
        for value in values:
            short = (option, value) in (('--gamma', 'nan'), ('--iterations', '99999999999'), ('--weights', '/dev/zero'))
            yield Case(title, f'deblur {option} {value[:12]!r}', deblur(option, value), '', short=short)
    for value in ('-1', '0', '1', '32', 'nan', '99999999999999999999'):
        yield Case(title, f'deblur --tile {value}', by_network('--tile', value), '')
    for value in ('nan', '-1', '1e308'):
        yield Case(
            title,
            f'kernels --gamma {value}',
            lambda here, good, value=value: [
                'kernels',
                good.photo,
                '-o',
                'out.npz',
                '--weights',
                good.kpn,
                '--gamma',
                value,
            ],
            'gamma',
        )
    for option, values in {
        '-n': ('-1', '0', 'nan', '1e3', '99999999999999999999'),
        '--kernel-size': ('-1', '0', '4', '3', 'nan', '100001', '99999999999999999999'),
        '--seed': ('-1', 'nan', '9' * 400),
        '--workers': ('-1', 'nan', '99999999999'),
    }.items():
        for value in values:
            short = (option, value) in (('-n', '-1'), ('--kernel-size', '100001'))
            yield Case(
                title,
                f'prep-kernels {option} {value[:12]}',
                plain('prep-kernels', '-o', 'k.lmdb', '-n', '3', '--workers', '0', option, value),
                '',
                short=short,
            )
    yield Case(
        title,
        'prep-kernels without .lmdb',
        plain('prep-kernels', '-o', 'k', '-n', '3', '--workers', '0'),
        'k is not',
        whole=True,
    )
    for option, values in {
        '--min-size': ('-1', '0', 'nan', '99999999999'),
        '--workers': ('-1', 'nan', '99999999999'),
        '--mask-format': ('png', ''),
    }.items():
        for value in values:
            yield Case(
                title,
                f'prep-lmdb {option} {value!r}',
                lambda here, good, option=option, value=value: [
                    'prep-lmdb',
                    good.photos,
                    '-o',
                    'out',
                    '--workers',
                    '0',
                    option,
                    value,
                ],
                '',
                may_leave=(KEPT, 'out'),
            )
    for value in ('0x0', '-5x5', 'nanxnan', '256', '99999999x99999999', '9' * 30 + 'x1', '1x1e9'):
        yield Case(
            title,
            f'info --size {value[:20]}',
            plain('info', 'BasisKPN', '--set', 'num_feat=1', f'--size={value}'),
            'size',
        )
    for value in (
        'num_feat=-1',
        'num_feat=0',
        'num_feat=NaN',
        'num_feat=1e9',
        'num_feat=1000000000',
        'num_kernels=0',
        'num_kernels=99999999999',
        'kernel_size=4',
        'num_feat',
        '=',
        'norm=x',
        'num_feet=4',
        'in_channels=[1]',
        'num_feat={"a": 1}',
        'num_feat=' + '[' * 5000,
    ):
        yield Case(title, f'info --set {value[:30]}', plain('info', 'BasisKPN', '--set', value), '')
    for arch, value in (
        ('KernelFlow', 'kernel_size=100001'),
        ('NAFNet', 'width=-2'),
        ('NAFNet', 'enc_blocks=[0]'),
        ('NAFNet', 'enc_blocks=[-1]'),
        ('NAFNet', 'middle_blocks=100000000'),
        ('UFPNet', 'kernel_size=0'),
        ('UFPNet', 'enc_blocks="a"'),
        ('LatentKernelNet', 'width=0'),
        ('MIMOUNet', 'x=1'),
        ('KernelFlow', 'hidden=-3'),
        ('KernelFlow', 'num_blocks=0'),
    ):
        yield Case(title, f'info {arch} --set {value}', plain('info', arch, '--set', value), '')
    for more in (
        ['--size', '0x0'],
        ['--size', '99999999x99999999'],
        ['--size', 'big'],
        ['--gamma', 'nan'],
        ['--gamma', '-1'],
        ['--format', 'exe'],
        ['-o', 'o.exe'],
        ['-o', 'o'],
    ):
        yield Case(
            title,
            f'export {" ".join(more)}',
            lambda here, good, more=more: ['export', good.kpn, '-o', 'o.onnx', *more],
            '',
        )
    for words in (
        ['export', 'nowhere.pth', '-o', 'o.onnx'], ['export', '/dev/zero', '-o', 'o.onnx'], ['export', '', '-o', 'o.onnx'],
        ['info', 'Nothing'], ['info', ''], ['info', '/'], ['info', '/dev/zero'], ['nothing'], [''], ['deblur'], ['train'], ['train', ''], ['train', '/'],
        ['train', '/dev/zero'], ['train', 'a.yml', 'b.yml'], ['test', 'nowhere.yml'], ['prep-dataset', 'nothing'], ['prep-dataset', 'gopro', 'nowhere', '-o', 'o'],
        ['prep-dataset', 'gopro', '/dev/null', '-o', 'o'], ['evaluate', '--restored', 'a', '--gt', 'b', '--protocol', 'plain'],
        ['prep-lmdb', 'nowhere', '-o', 'o', '--workers', '0'], ['prep-lmdb', '', '-o', '', '--workers', '0'], ['kernels', 'nowhere.png', '-o', 'o.npz'], ['kernels', 'nowhere.png', '-o', 'o.txt'],
    ):  # fmt: skip
        yield Case(
            title,
            ' '.join(words) or 'empty word',
            plain(*words),
            '',
            whole=words in (['nothing'], ['train', '/dev/zero']),
        )


# ------------------------------------------------------------------------------------------------------- option files

TRAINING = """plugin: !!python/name:basis_blur.plugin.loaded
name: a_run
model_type: KernelFlowModel
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: kernels
    type: KernelDataset
    dataroot: {kernels}
    num_worker_per_gpu: 0
    batch_size_per_gpu: 2
network_g: {{type: KernelFlow, kernel_size: 5, num_blocks: 2, hidden: 4}}
path: {{pretrain_network_g: ~, resume_state: ~}}
train:
  total_iter: 1
  optim_g: {{type: Adam, lr: 0.001}}
  scheduler: {{type: CosineAnnealingRestartLR, periods: [1], eta_min: 0.000001}}
  nll_opt: {{type: FlowNLLLoss}}
val: {{save_img: false, val_freq: 1}}
logger: {{print_freq: 1, save_checkpoint_freq: 1, use_tb_logger: false}}
"""
BLURRING = """name: a_run
model_type: BasisBlurModel
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: photos
    type: SyntheticBlurDataset
    dataroot_gt: {photos}
    dataroot_masks: {masks}
    dataroot_kernels: {kernels}
    io_backend: {{type: lmdb}}
    kernel_size: {size}
    patch_size: 32
    num_worker_per_gpu: 0
    batch_size_per_gpu: 2
network_g: {{type: BasisKPN, num_feat: 1, num_kernels: 2}}
path: {{pretrain_network_g: {weights}}}
train:
  total_iter: 1
  optim_g: {{type: Adam, lr: 0.001}}
  scheduler: {{type: CosineAnnealingRestartLR, periods: [1], eta_min: 0.000001}}
  kernel_opt: {{type: KernelLoss}}
logger: {{print_freq: 1, save_checkpoint_freq: 1, use_tb_logger: false}}
"""
TESTING = """name: a_test
model_type: NonUniformRLModel
num_gpu: 0
datasets:
  test: {{name: photos, type: PairedImageDataset, dataroot_gt: {gt}, dataroot_lq: {lq}, io_backend: {{type: disk}}}}
network_g: {{type: BasisKPN, num_feat: 1, num_kernels: 2}}
path: {{pretrain_network_g: {weights}}}
scale: 1
val: {{save_img: true, suffix: ~, metrics: {{psnr: {{type: calculate_psnr, crop_border: 0}}}}}}
"""


def trains(change: Callable[[str, Path], str | bytes], *more: str) -> Callable[[Path, Good], list[Any]]:
    """A training by the sound option file as `change` makes it."""

    def maker(here: Path, good: Good) -> list[Any]:
        text = change(TRAINING.format(kernels=good.kernels), here)
        write('o.yml', text)(here)
        return ['train', 'o.yml', *more]

    return maker


def blurs(**changes: Any) -> Callable[[Path, Good], list[Any]]:
    """A training on blurred photos with other inputs: each change is made by a function of folder and sound inputs."""

    def maker(here: Path, good: Good) -> list[Any]:
        values = {
            'photos': good.photos_lmdb,
            'masks': good.masks_lmdb,
            'kernels': good.large_kernels,
            'weights': '~',
            'size': 33,
        }
        values.update({key: make(here, good) for key, make in changes.items()})
        write('o.yml', BLURRING.format(**values))(here)
        return ['train', 'o.yml']

    return maker


def hostile_options() -> Iterator[Case]:
    """Option files that would run code or take memory."""
    title = 'option files: hostile'
    touch = '["touch {here}/' + CANARY + '"]'
    tags = {
        'apply os.system': '!!python/object/apply:os.system ' + touch,
        'apply subprocess': '!!python/object/apply:subprocess.check_output [[touch, {here}/' + CANARY + ']]',
        'apply eval': '!!python/object/apply:builtins.eval ["open(\'{here}/' + CANARY + "', 'w')\"]",
        'new Popen': '!!python/object/new:subprocess.Popen [[touch, {here}/' + CANARY + ']]',
        'object': '!!python/object:pathlib.Path {{}}',
        'name': '!!python/name:os.system',
        'name of ours': '!!python/name:basis_blur.plugin.register',
        'name with a tail': '!!python/name:basis_blur.plugin.loaded.x',
        'module': '!!python/module:antigravity',
        'full tag': '!<tag:yaml.org,2002:python/object/apply:os.system> ' + touch,
        'tuple': '!!python/tuple [1, 2]',
        'another tag': '!Ref x',
        'binary': '!!binary aGVsbG8=',
        'set': '!!set {{a, b}}',
    }
    for name, text in tags.items():
        says = 'line' if name in ('binary', 'tuple', 'set') else r'tag.*line|line.*tag'
        yield Case(
            title, name, trains(lambda opt, here, text=text: opt + 'x: ' + text.format(here=here) + '\n'), says,
            short=name in ('apply os.system', 'name'), whole=name in ('apply os.system', 'full tag'),
        )  # fmt: skip
    declared = '%TAG !y! tag:yaml.org,2002:python/object/apply:\n---\n'
    yield Case(
        title,
        'declared tag',
        trains(lambda opt, here: declared + opt + f'x: !y!os.system ["touch {here}/{CANARY}"]\n'),
        'line',
    )
    yield Case(
        title,
        'as a key',
        trains(lambda opt, here: opt + f'? !!python/object/apply:os.system ["touch {here}/{CANARY}"]\n: 1\n'),
        'line',
    )
    yield Case(
        title,
        'in a merge',
        trains(lambda opt, here: opt + f'<<: !!python/object/apply:os.system ["touch {here}/{CANARY}"]\n'),
        'line',
    )
    yield Case(
        title,
        'in a test',
        lambda here, good: [
            'test',
            write(
                'o.yml',
                TESTING.format(gt=good.photos, lq=good.photos, weights=good.kpn)
                + f'x: !!python/object/apply:os.system ["touch {here}/{CANARY}"]\n',
            )(here),
        ],
        'line',
        whole=True,
    )
    yield Case(
        title, 'plugin of another', trains(lambda opt, here: opt.replace('plugin.loaded', 'cli.main.main')), 'line 1'
    )
    yield Case(
        title,
        'second document',
        trains(lambda opt, here: opt + f'---\nx: !!python/object/apply:os.system ["touch {here}/{CANARY}"]\n'),
        'line',
    )
    code = '__import__("os").system("touch {here}/' + CANARY + '")'
    for entry in ('train:x=[{code}]', 'x"]=1;{code}#=1', 'manual_seed=[{code}]'):
        yield Case(
            title,
            f'--force_yml {entry}',
            lambda here, good, entry=entry: [
                *trains(lambda opt, here: opt)(here, good),
                '--force_yml',
                entry.format(code=code.format(here=here)),
            ],
            '',
        )
    laughs = 'a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n' + ''.join(
        f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' for n in range(1, 12)
    )
    yield Case(title, 'bomb of aliases', trains(lambda opt, here: opt + laughs), 'alias', short=True, whole=True)
    yield Case(
        title,
        'bomb of aliases under a known key',
        trains(lambda opt, here: laughs + opt.replace('periods: [1]', 'periods: *a11')),
        'alias',
    )
    maps = 'b0: &b0 {x: 1}\n' + ''.join(
        f'b{n}: &b{n} {{' + ', '.join(f'k{m}: *b{n - 1}' for m in range(9)) + '}\n' for n in range(1, 12)
    )
    yield Case(title, 'bomb of mappings', trains(lambda opt, here: opt + maps), 'alias')
    merges = 'm0: &m0 {x: 1}\n' + ''.join(
        f'm{n}: &m{n} {{<<: [{", ".join([f"*m{n - 1}"] * 9)}]}}\n' for n in range(1, 12)
    )
    yield Case(title, 'bomb of merges', trains(lambda opt, here: opt + merges), 'alias')
    yield Case(title, 'recursive list', trains(lambda opt, here: opt + 'x: &x [*x]\n'), 'alias')
    yield Case(
        title,
        'recursive section',
        trains(
            lambda opt, here: opt.replace('\ntrain:\n', '\ntrain: &t\n').replace(
                'total_iter: 1', 'total_iter: 1\n  again: *t'
            )
        ),
        'alias',
    )
    yield Case(title, 'merge of itself', trains(lambda opt, here: opt + 'x: &x {<<: *x}\n'), 'alias')
    yield Case(title, 'deep lists', trains(lambda opt, here: opt + 'x: ' + '[' * 50000), 'nested|deep')
    yield Case(title, 'deep mappings', trains(lambda opt, here: opt + 'x: ' + '{a: ' * 20000), 'nested|deep')
    yield Case(
        title, 'long number', trains(lambda opt, here: opt.replace('total_iter: 1', 'total_iter: ' + '9' * 10000)), ''
    )
    yield Case(
        title,
        'number in base 60',
        trains(lambda opt, here: opt.replace('total_iter: 1', 'total_iter: 1' + ':59' * 3000)),
        '',
    )
    yield Case(title, '50 MB of comment', trains(lambda opt, here: opt + '#' * 50_000_000), 'MB|bytes')
    yield Case(
        title,
        'name that leaves the folder',
        trains(lambda opt, here: opt.replace('name: a_run', 'name: ../../outside')),
        'name',
    )
    yield Case(
        title, 'name with a zero byte', trains(lambda opt, here: opt.replace('name: a_run', 'name: "a\\0b"')), 'name'
    )
    yield Case(
        title, 'absolute name', trains(lambda opt, here: opt.replace('name: a_run', f'name: {here}/elsewhere')), 'name'
    )


def broken_options() -> Iterator[Case]:
    """Option files that are no YAML, lack something, or have values that no one can mean."""
    title = 'option files: broken'
    noise = random.Random(0).randbytes(2000)
    for name, text in {
        'empty': b'', 'binary': noise, 'zero bytes': bytes(100), 'photo': samples_of_forms()['png'], 'utf-16': TRAINING.encode('utf-16'),
        'latin': 'name: caf\xe9\n'.encode('latin1'), 'a list': b'- a\n- b\n', 'a word': b'hello\n', 'null': b'~\n', 'a number': b'5\n',
        'json cut off': b'{"name": "x", "train": {', 'control characters': b'name: a\x07b\n', 'unknown alias': b'a: *b\n', 'key twice': b'name: a\nname: b\n',
        'key of a list': b'? [a]\n: 1\n', 'key of a mapping': b'{{a: 1}: 2}\n', 'numbers as keys': b'1: 2\n3: 4\n', 'merge of a number': b'<<: 5\n', 'impossible date': b'a: 2023-99-99\n',
        'bad float': b'a: !!float x\n', 'bad int': b'a: !!int x\n', 'bad bool': b'a: !!bool x\n', 'bad timestamp': b'a: !!timestamp x\n', 'sign only': b'a: !!int "-"\n', 'empty float': b'a: !!float ""\n',
    }.items():  # fmt: skip
        yield Case(
            title,
            name,
            trains(lambda opt, here, text=text: text),
            r'o\.yml|option file',
            short=name in ('empty', 'binary'),
            whole=name == 'empty',
        )
    yield Case(title, 'tabs', trains(lambda opt, here: opt.replace('    name', '\tname')), 'line')
    yield Case(title, 'cut off', trains(lambda opt, here: opt[:400]), '')
    for section in ('name', 'model_type', 'num_gpu', 'datasets', 'network_g', 'path', 'train', 'logger'):
        yield Case(
            title,
            f'without {section}',
            trains(lambda opt, here, section=section: drop(opt, section)),
            section,
            short=section == 'train',
        )
    for section in ('datasets', 'network_g', 'path', 'train', 'val', 'logger'):
        for value in ('5', '[a, b]', 'text'):
            yield Case(
                title,
                f'{section}: {value}',
                trains(lambda opt, here, section=section, value=value: drop(opt, section) + f'{section}: {value}\n'),
                section,
            )
    values = {
        'manual_seed: 0': ('-1', '1e30', '99999999999999999999', '.nan', 'abc', '[1]'),
        'num_gpu: 0': ('-1', '99', '.inf', 'abc', '1.5'),
        'name: a_run': ('5', '~', '""', '.', '[a]', 'a/../../b'),
        'model_type: KernelFlowModel': ('Nothing', '~', '5'),
        'num_worker_per_gpu: 0': ('-1', '99999999', '1.5', 'two'),
        'batch_size_per_gpu: 2': ('-1', '0', '1.5', '99999999999999999999'),
        'total_iter: 1': ('-1', '0', '.nan', '.inf', '1e300', 'many'),
        'lr: 0.001': ('-1', '.nan', '.inf', 'x', '~', '1e400'),
        'periods: [1]': ('[]', '[0]', '[-1]', '[a]', '5', '~', '[.nan]'),
        'eta_min: 0.000001': ('.nan', '[1]'),
        'type: Adam': ('Adma', 'LBFGS', '5', '~'),
        'print_freq: 1': ('0', '-1', '.nan', 'x'),
        'save_checkpoint_freq: 1': ('0', '-1', '.nan'),
        'hidden: 4': ('0', '-1', '99999999999', '.nan', 'x'),
        'kernel_size: 5': ('0', '-5', '4', '7', '99999999', '.nan'),
        'num_blocks: 2': ('0', '-1', '100000000'),
        'type: FlowNLLLoss': ('KernelLoss', 'FlowNLLLoss, loss_weight: .nan', 'FlowNLLLoss, x: 1', 'Nothing'),
        'save_img: false': ('maybe', '5'),
        'pretrain_network_g: ~': ('nowhere.pth', '5', '/', '/dev/zero'),
        'resume_state: ~': ('nowhere.state', '5', '/', '/dev/zero'),
    }  # fmt: skip
    left = (RUN,)
    for line, wrongs in values.items():
        key = line.split(':')[0]
        for wrong in wrongs:
            name = f'{key}: {wrong}'
            yield Case(
                title,
                name,
                trains(lambda opt, here, line=line, key=key, wrong=wrong: opt.replace(line, f'{key}: {wrong}')),
                '',
                may_leave=left,
                talks=True,
                short=name == 'print_freq: 0',
            )
    for key, wrongs in {
        'ema_decay': ('2', '-1', '.nan'),
        'grad_clip_norm': ('-1', '0', '.inf'),
        'warmup_iter': ('.nan', '-99', 'x'),
        'amp': ('fp8',),
    }.items():
        for wrong in wrongs:
            yield Case(
                title,
                f'{key}: {wrong}',
                trains(
                    lambda opt, here, key=key, wrong=wrong: opt.replace(
                        'total_iter: 1', f'total_iter: 1\n  {key}: {wrong}'
                    )
                ),
                '',
                may_leave=left,
                talks=True,
            )
    for key, wrongs in {
        'dataset_enlarge_ratio': ('0', '-1', '.nan', '1e30'),
        'hold_out': ('-1', '6', '99', '1.5'),
        'prefetch_mode': ('gpu', 'cuda'),
        'persistent_workers': ('true',),
        'num_prefetch_queue': ('-1, prefetch_mode: cpu',),
        'io_backend': ('5', '{type: disk}', '{}'),
        'nothing': ('1',),
    }.items():
        for wrong in wrongs:
            if ',' in wrong:
                wrong = wrong.replace(', ', '\n    ')
            yield Case(
                title,
                f'{key}: {wrong.split(chr(10))[0]}',
                trains(
                    lambda opt, here, key=key, wrong=wrong: opt.replace(
                        'batch_size_per_gpu: 2', f'batch_size_per_gpu: 2\n    {key}: {wrong}'
                    )
                ),
                '',
                may_leave=left,
                talks=True,
            )
    yield Case(
        title,
        'val_freq: 0',
        trains(lambda opt, here: opt.replace('val_freq: 1', 'val_freq: 0')),
        'val_freq',
        may_leave=left,
        talks=True,
    )
    yield Case(
        title,
        'betas: [2, 2]',
        trains(lambda opt, here: opt.replace('lr: 0.001', 'lr: 0.001, betas: [2, 2]')),
        'betas?|beta',
        may_leave=left,
        talks=True,
    )
    yield Case(
        title,
        'betas: 5',
        trains(lambda opt, here: opt.replace('lr: 0.001', 'lr: 0.001, betas: 5')),
        'optim_g',
        may_leave=left,
        talks=True,
    )
    for entry in (
        '',
        '=',
        'a',
        'a=1=2',
        ':=',
        'nothing:x=1',
        'train:total_iter=',
        'train:total_iter=nan',
        'name=',
        'train=5',
        'datasets:train=~',
        'train:optim_g:lr=[',
        '"]=1',
    ):
        yield Case(
            title,
            f'--force_yml {entry!r}',
            trains(lambda opt, here: opt, '--force_yml', entry),
            '',
            may_leave=left,
            talks=True,
        )
    for more in (['--launcher', 'pytorch'], ['--launcher', 'slurm'], ['--launcher', 'x'], ['--local_rank', 'x']):
        yield Case(title, ' '.join(more), trains(lambda opt, here: opt, *more), '', may_leave=left, talks=True)


def drop(text: str, section: str) -> str:
    """Return an option file without one of its sections."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if not line.startswith(' '):
            inside = line.startswith(f'{section}:')
        if not inside:
            kept.append(line)
    return ''.join(kept)


# ------------------------------------------------------------------------------------------------------------ weights


class Hostile:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Callable, *arguments: Any):
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def safetensors_file(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None) -> bytes:
    """Return a safetensors file of tensors given as (dtype, shape, bytes)."""
    header, body = ({'__metadata__': metadata} if metadata else {}), b''
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {'dtype': dtype, 'shape': shape, 'data_offsets': [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + body


def uses(make: Callable[[Path, Good], Path]) -> Callable[[Path, Good], list[Any]]:
    """A deblur with the weights that `make` writes."""
    return lambda here, good: ['deblur', good.photo, '-o', here / 'out' / 'sharp.png', '--weights', make(here, good)]


def hostile_weights() -> Iterator[Case]:
    """Weights with code in them."""
    title = 'weights: with code'

    def objects(here: Path) -> dict[str, Hostile]:
        canary = str(here / CANARY)
        return {
            'os.system': Hostile(os.system, f'touch {canary}'),
            'eval': Hostile(eval, f'open({canary!r}, "w")'),
            'exec': Hostile(exec, f'open({canary!r}, "w")'),
            'Popen': Hostile(subprocess.Popen, ['touch', canary]),
            'open': Hostile(open, canary, 'w'),
        }

    def raw(name: str, suffix: str, protocol: int) -> Callable[[Path, Good], Path]:
        return lambda here, good: write(f'w{suffix}', pickle.dumps({'params': objects(here)[name]}, protocol))(here)

    def zipped(name: str, **options: Any) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            torch.save(
                {'params': {'stem.conv.weight': torch.zeros(1), 'x': objects(here)[name]}}, here / 'w.pth', **options
            )
            return here / 'w.pth'

        return maker

    for name in ('os.system', 'eval', 'exec', 'Popen', 'open'):
        yield Case(
            title,
            f'{name}, torch zip',
            uses(zipped(name)),
            r'w\.pth.*code',
            short=name == 'os.system',
            whole=name == 'os.system',
        )
    yield Case(title, 'torch before 1.6', uses(zipped('os.system', _use_new_zipfile_serialization=False)), r'w\.pth')
    for suffix in ('.pth', '.pt', '.safetensors', '.bin'):
        yield Case(
            title,
            f'pickle as {suffix}',
            uses(raw('os.system', suffix, 2)),
            rf'w\{suffix}',
            short=suffix == '.safetensors',
        )
    for protocol in (0, 4):
        yield Case(title, f'pickle of protocol {protocol}', uses(raw('eval', '.pth', protocol)), r'w\.pth')

    def scripted(here: Path, good: Good) -> Path:
        torch.jit.save(torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)), here / 'w.pt')
        return here / 'w.pt'

    yield Case(title, 'TorchScript', uses(scripted), r'w\.pt')

    def state(here: Path, good: Good) -> list[Any]:
        torch.save(
            {'epoch': 0, 'iter': 1, 'optimizers': objects(here)['os.system'], 'schedulers': []}, here / '1.state'
        )
        return trains(lambda opt, here: opt.replace('resume_state: ~', f'resume_state: {here}/1.state'))(here, good)

    yield Case(title, 'training state', state, r'1\.state', may_leave=(RUN,), talks=True, short=True)

    def automatic(here: Path, good: Good) -> list[Any]:
        (here / 'experiments/a_run/training_states').mkdir(parents=True)
        torch.save(
            {'epoch': 0, 'iter': 1, 'x': objects(here)['os.system']}, here / 'experiments/a_run/training_states/1.state'
        )
        return trains(lambda opt, here: opt, '--auto_resume')(here, good)

    yield Case(title, 'training state by --auto_resume', automatic, r'1\.state', may_leave=(RUN,), talks=True)
    yield Case(title, 'pretrain_network_g', blurs(weights=zipped('os.system')), r'w\.pth', may_leave=(RUN,), talks=True)
    yield Case(
        title, 'in export', lambda here, good: ['export', zipped('os.system')(here, good), '-o', 'o.onnx'], r'w\.pth'
    )
    yield Case(title, 'in info', lambda here, good: ['info', zipped('os.system')(here, good)], r'w\.pth')

    def arrays(here: Path, good: Good) -> list[Any]:
        np.savez(here / 'f.npz', kernels=np.array([objects(here)['os.system']], object), mixing=np.ones((1, 1, 40, 48)))
        return ['deblur', good.photo, '-o', 'out.png', '--kernels', 'f.npz']

    yield Case(title, 'blur field of objects', arrays, r'f\.npz', short=True)
    yield Case(
        title,
        'pickle as blur field',
        lambda here, good: [
            'deblur',
            good.photo,
            '-o',
            'out.png',
            '--kernels',
            raw('os.system', '.npz', 2)(here, good),
        ],
        r'w\.npz',
    )


def broken_weights() -> Iterator[Case]:
    """Weights that are cut off, of the wrong network, or described wrongly."""
    title = 'weights: broken'

    def changed(change: Callable[[bytes], bytes], name: str = 'w.safetensors') -> Callable[[Path, Good], Path]:
        source = 'kpn' if name.endswith('safetensors') else 'checkpoint'
        return lambda here, good: write(name, change(getattr(good, source).read_bytes()))(here)

    for share in (0, 0.0005, 0.01, 0.5, 0.99):
        for name in ('w.safetensors', 'w.pth'):
            yield Case(
                title,
                f'{name} at {share:.2%}',
                uses(changed(lambda data, share=share: data[: int(share * len(data))], name)),
                name.replace('.', r'\.'),
                short=share == 0.5,
                whole=share == 0.5,
            )
    for seed in range(4):
        yield Case(
            title,
            f'header of safetensors flipped, seed {seed}',
            uses(changed(lambda data, seed=seed: flipped(data, seed, 0, 1500))),
            r'w\.safetensors',
            (2, 0),
            ('out(/.*)?',),
        )
        yield Case(
            title,
            f'pth flipped, seed {seed}',
            uses(changed(lambda data, seed=seed: flipped(data, seed), 'w.pth')),
            r'w\.pth',
            (2, 0),
            ('out(/.*)?',),
        )
    for name, length in (('huge', 2**48 - 1), ('larger than the file', 10**8), ('zero', 0)):
        yield Case(
            title,
            f'safetensors header length {name}',
            uses(changed(lambda data, length=length: struct.pack('<Q', length) + data[8:])),
            r'w\.safetensors',
        )

    def rewritten(change: Callable[[dict], None], facts: dict[str, str] | None = None) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            import safetensors
            import safetensors.torch

            with safetensors.safe_open(good.kpn, 'pt') as file:
                tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
            change(tensors)
            safetensors.torch.save_file(tensors, here / 'w.safetensors', {**metadata, **(facts or {})})
            return here / 'w.safetensors'

        return maker

    def first(tensors: dict, value: Callable) -> None:
        key = sorted(tensors)[0]
        tensors[key] = value(tensors[key])

    for name, change in {
        'NaN': lambda t: first(t, lambda v: v * float('nan')),
        'infinite': lambda t: first(t, lambda v: v + float('inf')),
        'wrong shape': lambda t: first(t, lambda v: v[None]),
        'empty tensor': lambda t: first(t, lambda v: v[:0]),
        'whole numbers': lambda t: first(t, lambda v: v.long()),
        'complex': lambda t: first(t, lambda v: v.to(torch.complex64)),
        'missing': lambda t: t.pop(sorted(t)[0]),
        'additional': lambda t: t.update(x=torch.zeros(1)),
        'nothing': lambda t: t.clear(),
    }.items():
        yield Case(title, f'weights {name}', uses(rewritten(change)), r'w\.safetensors', short=name == 'NaN')
    facts = {
        'arch': ('Nothing', 'NAFNet', '', '\n\x1b[2J', '__import__("os")'),
        'hyper_parameters': ('', '[]', '{}', '5', '{"num_feat": -1}', '{"num_feat": 1e9}', '{"num_feat": 100000000, "num_kernels": 2}', '{"num_feat": NaN}', '{"num_kernels": 99999999999999}', '{"kernel_size": 4}', '{"kernel_size": "33"}', '{"x": 1}', '{"norm": ["none"]}', '[' * 100000),
    }  # fmt: skip
    for key, wrongs in facts.items():
        for wrong in wrongs:
            yield Case(
                title,
                f'{key} {wrong[:30]!r}',
                uses(rewritten(lambda t: None, {key: wrong})),
                r'w\.safetensors',
                short=wrong == '{"num_feat": -1}',
            )
    one = struct.pack('<f', 1)
    files = {
        'offsets beyond the end': safetensors_file({'stem.conv.weight': ('F32', [10**6], one)}),
        'shape of 2^60': safetensors_file({'stem.conv.weight': ('F32', [2**60], one)}),
        'negative shape': safetensors_file({'stem.conv.weight': ('F32', [-1], one)}),
        'unknown dtype': safetensors_file({'stem.conv.weight': ('F99', [1], one)}),
        'float8': safetensors_file({'mixing_head.tail.2.bias': ('F8_E4M3', [4], one)}),
        'foreign keys': safetensors_file({'conv1.weight': ('F32', [1], one)}),
        'header is a list': struct.pack('<Q', 2) + b'[]',
        'header is no JSON': struct.pack('<Q', 9) + b'{hello: x',
        'text': b'hello world, this is no network\n',
        'zeros': bytes(1000),
    }
    for name, data in files.items():
        yield Case(
            title,
            name,
            uses(lambda here, good, data=data: write('w.safetensors', data)(here)),
            r'w\.safetensors',
            short=name == 'shape of 2^60',
        )

    def saved(thing: Any) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            torch.save(thing, here / 'w.pth')
            return here / 'w.pth'

        return maker

    for name, thing in {
        'a list': [torch.zeros(1)], 'a tensor': torch.zeros(1), 'a number': 5, 'nothing': {}, 'empty params': {'params': {}}, 'params of numbers': {'params': {'stem.conv.weight': 5}},
        'numbers as keys': {'params': {5: torch.zeros(1)}}, 'scalar tensors': {'params': {'stem.conv.weight': torch.zeros(())}}, 'hyper-parameters a list': {'params': {'stem.conv.weight': torch.zeros(1)}, 'hyper_parameters': [1]},
        'hyper-parameters of nothing': {'params': {'mixing_head.x': torch.zeros(1)}, 'hyper_parameters': {'type': 'Nothing'}}, 'sparse': {'params': {'mixing_head.x': torch.eye(3).to_sparse()}},
        'meta': {'params': {'mixing_head.x': torch.empty(3, device='meta')}}, 'training state': {'optimizers': [], 'schedulers': []},
        'huge hyper-parameters': {'params': {'mixing_head.x': torch.zeros(1)}, 'hyper_parameters': {'type': 'BasisKPN', 'num_feat': 10**12}},
        'a flow of one pixel': {'params': {'net.0.s_net.0.weight': torch.zeros(3, 2)}}, 'wrong flow': {'model_state': {'net.0.s_net.0.weight': torch.zeros(3)}},
    }.items():  # fmt: skip
        yield Case(title, name, uses(saved(thing)), r'w\.pth')
    yield Case(title, 'a folder', uses(lambda here, good: here), '')
    yield Case(
        title,
        'weights of another network',
        lambda here, good: ['deblur', good.photo, '-o', 'out.png', '--weights', good.ufpnet],
        'ufpnet',
    )
    yield Case(
        title,
        'BasisKPN for --method ufpnet',
        lambda here, good: ['deblur', good.photo, '-o', 'out.png', '--method', 'ufpnet', '--weights', good.kpn],
        'kpn',
    )

    def zip_bomb(here: Path, good: Good) -> Path:
        with zipfile.ZipFile(here / 'w.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('w/data.pkl', bytes(300 * 10**6))
            archive.writestr('w/version', b'3')
        return here / 'w.pth'

    yield Case(title, 'zip bomb', uses(zip_bomb), r'w\.pth')
    for name, thing in {
        'no state': {'params': {}},
        'a list': [1],
        'wrong optimisers': {'epoch': 0, 'iter': 1, 'optimizers': 5, 'schedulers': []},
        'iteration a text': {'epoch': 0, 'iter': 'x', 'optimizers': [], 'schedulers': []},
        'negative iteration': {'epoch': -1, 'iter': -7, 'optimizers': [], 'schedulers': []},
    }.items():

        def state(here: Path, good: Good, thing: Any = thing) -> list[Any]:
            torch.save(thing, here / '1.state')
            torch.save({'params': {}}, here / 'net_g_1.pth')
            return trains(lambda opt, here: opt.replace('resume_state: ~', f'resume_state: {here}/1.state'))(here, good)

        yield Case(title, f'training state: {name}', state, '', may_leave=(RUN,), talks=True)
    for name, make in {
        'cut off': changed(lambda data: data[:3000], 'w.pth'),
        'of another network': lambda here, good: good.ufpnet,
        'text': lambda here, good: write('w.pth', 'hello')(here),
    }.items():
        yield Case(
            title, f'pretrain_network_g {name}', blurs(weights=make), r'w\.pth|ufpnet', may_leave=(RUN,), talks=True
        )


# -------------------------------------------------------------------------------------------------- LMDBs, masks, fields


def broken_lmdbs() -> Iterator[Case]:
    """LMDB folders that are cut off, incomplete or not what they say."""
    title = 'LMDBs'
    left = (RUN,)

    def damaged(change: Callable[[Path], Any], source: str = 'kernels') -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            target = copy(getattr(good, source), here)
            change(target)
            return target

        return maker

    def cut(share: float) -> Callable[[Path], Any]:
        return lambda folder: os.truncate(folder / 'data.mdb', int(share * (folder / 'data.mdb').stat().st_size))

    def replace(name: str, old: str, new: str) -> Callable[[Path], Any]:
        return lambda folder: (folder / name).write_text((folder / name).read_text().replace(old, new))

    def filled(entries: dict[bytes, bytes], lines: list[str]) -> Callable[[Path], Any]:
        def change(folder: Path) -> None:
            import lmdb

            shutil.rmtree(folder)
            with lmdb.open(str(folder), map_size=2**20) as store, store.begin(write=True) as transaction:
                for key, value in entries.items():
                    transaction.put(key, value)
            (folder / 'lock.mdb').unlink()
            (folder / 'meta_info.txt').write_text('\n'.join(lines) + '\n')

        return change

    def flip(seed: int) -> Callable[[Path], Any]:
        return lambda folder: (folder / 'data.mdb').write_bytes(
            flipped((folder / 'data.mdb').read_bytes(), seed, 0, 9000)
        )

    small, large = (encoded(np.full((side, side), 9, np.uint8), 'PNG') for side in (5, 7))
    keys = ['00000000.png (5,5,1) 1', '00000001.png (5,5,1) 1']
    changes = {
        'data.mdb empty': cut(0), 'data.mdb at 10%': cut(0.1), 'data.mdb at 50%': cut(0.5), 'data.mdb at 90%': cut(0.9),
        'without data.mdb': lambda folder: (folder / 'data.mdb').unlink(), 'data.mdb a folder': lambda folder: ((folder / 'data.mdb').unlink(), (folder / 'data.mdb').mkdir()),
        'data.mdb of text': lambda folder: (folder / 'data.mdb').write_text('hello' * 5000), 'data.mdb of zeros': lambda folder: (folder / 'data.mdb').write_bytes(bytes(40000)),
        'without meta_info': lambda folder: (folder / 'meta_info.txt').unlink(), 'meta_info empty': lambda folder: (folder / 'meta_info.txt').write_text(''),
        'meta_info of noise': lambda folder: (folder / 'meta_info.txt').write_bytes(random.Random(0).randbytes(500)), 'meta_info a folder': lambda folder: ((folder / 'meta_info.txt').unlink(), (folder / 'meta_info.txt').mkdir()),
        'meta_info with another key': replace('meta_info.txt', '00000000', '00000009'), 'meta_info with a line more': lambda folder: (folder / 'meta_info.txt').open('a').write('00000009.png (5,5,1) 1\n'),
        'meta_info with empty lines': replace('meta_info.txt', '\n', '\n\n'), 'meta_info with a long key': replace('meta_info.txt', '00000000', '0' * 3000),
        'entries of two sizes': filled({b'00000000': small, b'00000001': large}, keys), 'empty entries': filled({b'00000000': b'', b'00000001': b''}, keys),
        'entries of noise': filled({b'00000000': b'x' * 50, b'00000001': b'x' * 50}, keys), 'black entries': filled({b'00000000': encoded(np.zeros((5, 5), np.uint8), 'PNG'), b'00000001': small}, keys),
        'entries in colour': filled({b'00000000': encoded(picture(5, 5), 'PNG'), b'00000001': small}, keys), 'entries of an even size': filled({b'00000000': encoded(np.full((4, 4), 9, np.uint8), 'PNG'), b'00000001': small}, keys),
        'huge entry': filled({b'00000000': png_of_chunks(png_header(30001, 30001, 8, 0), (b'IDAT', zlib.compress(b'')), (b'IEND', b'')), b'00000001': small}, keys),
        'no entry': filled({}, []),
    }  # fmt: skip
    for name, change in changes.items():
        maker = damaged(change)
        yield Case(
            title,
            name,
            lambda here, good, maker=maker: trains(
                lambda opt, folder: opt.replace(str(good.kernels), str(maker(here, good)))
            )(here, good),
            r'kernels\.lmdb',
            may_leave=left,
            talks=True,
            short=name in ('data.mdb at 50%', 'without meta_info'),
            whole=name == 'data.mdb at 90%',
        )
    for seed in range(6):
        maker = damaged(flip(seed))
        yield Case(
            title,
            f'data.mdb flipped, seed {seed}',
            lambda here, good, maker=maker: trains(
                lambda opt, folder: opt.replace(str(good.kernels), str(maker(here, good)))
            )(here, good),
            r'kernels\.lmdb',
            (2, 0),
            (r'experiments.*',),
            talks=True,
        )
    yield Case(
        title, 'kernels of another size', blurs(size=lambda here, good: 7), 'kernel_size', may_leave=left, talks=True
    )
    yield Case(
        title,
        "kernels of another size than the network's",
        blurs(kernels=lambda here, good: good.kernels, size=lambda here, good: 5),
        '33',
        may_leave=left,
        talks=True,
    )
    yield Case(
        title,
        'photos for masks',
        blurs(masks=lambda here, good: good.photos_lmdb),
        'gray|mask',
        may_leave=left,
        talks=True,
    )
    yield Case(
        title,
        'kernels for photos',
        blurs(photos=lambda here, good: good.kernels),
        'kernels',
        may_leave=left,
        talks=True,
    )
    yield Case(
        title,
        'a folder of photos for an LMDB',
        blurs(photos=lambda here, good: good.photos),
        'photos',
        may_leave=left,
        talks=True,
    )
    yield Case(
        title,
        'meta_info of photos without sizes',
        blurs(photos=damaged(replace('meta_info.txt', '(40,48,3)', '(x)'), 'photos_lmdb')),
        'meta_info',
        may_leave=left,
        talks=True,
    )
    yield Case(
        title, 'photos at 60%', blurs(photos=damaged(cut(0.6), 'photos_lmdb')), 'photos', may_leave=left, talks=True
    )

    prepare = ['prep-kernels', '-o', 'k.lmdb', '-n', '6', '--kernel-size', '5', '--workers', '0']

    def begun(change: Callable[[Path], Any], finished: bool) -> Callable[[Path, Good], list[Any]]:
        def maker(here: Path, good: Good) -> list[Any]:
            target = copy(good.kernels, here, 'k.lmdb' if finished else '.k.lmdb.partial')
            change(target)
            return prepare

        return maker

    for finished in (True, False):
        state = 'finished' if finished else 'begun'
        for name, change in {
            'parameters cut off': lambda folder: (folder / 'basis_blur.json').write_text('{"kind": '), 'parameters a list': lambda folder: (folder / 'basis_blur.json').write_text('[1]'),
            'parameters of noise': lambda folder: (folder / 'basis_blur.json').write_bytes(b'\xff\xfe\x00x'), 'parameters deep': lambda folder: (folder / 'basis_blur.json').write_text('[' * 100000),
            'another seed': replace('basis_blur.json', '"seed": 0', '"seed": 1'), 'data.mdb cut off': cut(0.5), 'data.mdb of text': lambda folder: (folder / 'data.mdb').write_text('hello' * 5000),
            'data.mdb a folder': changes['data.mdb a folder'],
        }.items():  # fmt: skip
            yield Case(
                title,
                f'{state} preparation, {name}',
                begun(change, finished),
                'k.lmdb',
                may_leave=(r'\.k\.lmdb\.partial/.*',),
                short=name == 'parameters cut off',
            )
    yield Case(
        title,
        'begun preparation, lock a folder',
        begun(lambda folder: (folder / 'writer.lock').mkdir(), False),
        'lock',
        may_leave=(),
    )
    yield Case(
        title,
        'begun preparation, LMDB lock a folder',
        begun(lambda folder: (folder / 'lock.mdb').mkdir(), False),
        'k.lmdb',
        may_leave=(KEPT,),
    )
    yield Case(
        title,
        'begun preparation, lines of text',
        begun(lambda folder: write('lines/data.mdb', 'hello' * 5000)(folder), False),
        'k.lmdb',
        may_leave=(KEPT,),
    )


def broken_masks() -> Iterator[Case]:
    """Masks that cannot be read or do not belong to their photos."""
    title = 'masks'

    def masked(form: str, data: bytes | str, name: str = '0.png') -> Callable[[Path, Good], list[Any]]:
        def maker(here: Path, good: Good) -> list[Any]:
            write(f'masks/{name}', data)(here)
            masks = f'masks/{name}' if form == 'coco' else 'masks'
            return ['prep-lmdb', good.photos, '-o', 'out', '--workers', '0', '--mask-format', form, '--masks', masks]

        return maker

    left = (r'out', r'out/\.\w+\.lmdb\.partial(/.*)?')
    sound = encoded(np.ones((40, 48), np.uint8), 'PNG')
    for name, data in {
        'empty': b'', 'cut off': sound[:60], 'text': b'hello', 'of another size': encoded(np.ones((20, 48), np.uint8), 'PNG'), 'in colour': encoded(picture(), 'PNG'), 'huge': png_of_chunks(png_header(100000, 100000), (b'IDAT', b''), (b'IEND', b'')),
        'of floats': encoded(np.ones((40, 48), np.float32), 'TIFF'), 'of negative numbers': encoded(np.full((40, 48), -5, np.int32), 'TIFF'), 'flipped': flipped(sound, 1, 8, 60),
        'of huge numbers': encoded(np.full((40, 48), 2**31 - 1, np.int32), 'TIFF'),
    }.items():  # fmt: skip
        codes = (2, 0) if name == 'of huge numbers' else (2,)
        yield Case(
            title,
            name,
            masked('labels', data),
            r'0\.png',
            codes,
            ('out.*',) if 0 in codes else left,
            short=name == 'cut off',
        )
    yield Case(
        title,
        'class 200 of 150',
        masked('ade20k_2016', encoded(np.full((40, 48), 200, np.uint8), 'PNG')),
        r'0\.png',
        may_leave=left,
    )
    yield Case(title, 'gray for ade20k', masked('ade20k', sound, '0_seg.png'), r'0_seg\.png|photo', may_leave=left)
    yield Case(title, 'none fits', masked('labels', sound, 'x.png'), 'none of')
    image = {'id': 1, 'file_name': '0.png', 'height': 40, 'width': 48}

    def coco(segmentation: Any, image: dict = image) -> str:
        return json.dumps({'images': [image], 'annotations': [{'image_id': 1, 'segmentation': segmentation}]})

    for name, text in {
        'empty': '', 'cut off': '{"images": [', 'noise': b'\xff\xfe\x00\x01', 'a list': '[]', 'without images': '{}', 'images a number': '{"images": 5, "annotations": []}', 'deep': '[' * 100000, 'annotations of numbers': '{"images": [], "annotations": [5]}',
        'another size': coco([[0, 0, 5, 0, 5, 5]], {**image, 'height': 50}), 'unknown image': json.dumps({'images': [image], 'annotations': [{'image_id': 9, 'segmentation': []}]}),
        'odd polygon': coco([[1, 2, 3]]), 'polygon of texts': coco([['a', 'b']]), 'polygon of NaN': coco([[float('nan')] * 4 + [5, 5]]),
        'runs too long': coco({'size': [40, 48], 'counts': [10**9]}), 'runs negative': coco({'size': [40, 48], 'counts': [-5, 1925]}), 'runs of text': coco({'size': [40, 48], 'counts': 'zzzz\u1234'}), 'runs without counts': coco({'size': [40, 48]}),
        'runs of null': coco({'size': [40, 48], 'counts': [None]}), 'segmentation a number': coco(5), 'far polygon': coco([[1e300, 1e300, -1e300, 5, 3, 1e300]]), 'size of texts': coco([], {**image, 'height': 'x'}), 'size none': coco({'size': None, 'counts': [1920]}),
        'huge size': coco([[0, 0, 5, 0, 5, 5]], {**image, 'height': 10**9, 'width': 10**9}),
    }.items():  # fmt: skip
        codes = (2, 0) if name in ('far polygon',) else (2,)
        yield Case(
            title,
            f'coco: {name}',
            masked('coco', text, 'i.json'),
            r'i\.json',
            codes,
            ('out.*',) if 0 in codes else left,
            short=name == 'deep',
        )


def broken_fields() -> Iterator[Case]:
    """Blur fields in npz files that are cut off or no blur."""
    title = 'blur fields'

    def known(make: Callable[[Path, Good], Path]) -> Callable[[Path, Good], list[Any]]:
        return lambda here, good: ['deblur', good.photo, '-o', 'out.png', '--kernels', make(here, good)]

    def arrays(**values: Any) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            delta = np.zeros((1, 1, 5, 5), np.float32)
            delta[..., 2, 2] = 1
            made = {'kernels': delta, 'mixing': np.ones((1, 1, 40, 48), np.float32), **values}
            np.savez(here / 'f.npz', **{key: value for key, value in made.items() if value is not None})
            return here / 'f.npz'

        return maker

    for share in (0, 0.1, 0.5, 0.9):
        yield Case(
            title,
            f'at {share:.0%}',
            known(
                lambda here, good, share=share: write(
                    'f.npz', good.field.read_bytes()[: int(share * good.field.stat().st_size)]
                )(here)
            ),
            r'f\.npz',
            short=share == 0.5,
        )
    for seed in range(4):
        yield Case(
            title,
            f'flipped, seed {seed}',
            known(lambda here, good, seed=seed: write('f.npz', flipped(good.field.read_bytes(), seed))(here)),
            r'f\.npz',
            (2, 0),
            ('out.png',),
        )
    delta, ones = np.zeros((1, 1, 5, 5), np.float32), np.ones((1, 1, 40, 48), np.float32)
    delta[..., 2, 2] = 1
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"
    for name, values in {
        'without kernels': {'kernels': None}, 'without mixing': {'mixing': None}, 'kernels of texts': {'kernels': np.array('x')}, 'NaN': {'kernels': delta * np.nan}, 'negative': {'kernels': -delta}, 'kernels sum to 2': {'kernels': 2 * delta},
        'mixing sums to 3': {'mixing': 3 * ones}, 'infinite mixing': {'mixing': ones * np.inf}, 'even kernels': {'kernels': np.full((1, 1, 4, 4), 1 / 16, np.float32)}, 'flat kernels': {'kernels': np.ones((1, 1, 5), np.float32)}, 'two dtypes': {'mixing': ones.astype(np.float64)},
        'whole numbers': {'kernels': delta.astype(int), 'mixing': ones.astype(int)}, 'complex': {'kernels': delta * 1j, 'mixing': ones * 1j}, 'half': {'kernels': delta.astype(np.float16), 'mixing': ones.astype(np.float16)}, 'of another photo': {'mixing': np.ones((1, 1, 50, 50), np.float32)},
        'two photos': {'kernels': np.repeat(delta, 2, 0), 'mixing': np.repeat(ones, 2, 0)}, 'empty': {'kernels': delta[:, :0], 'mixing': ones[:, :0]}, 'big-endian': {'kernels': delta.astype('>f4'), 'mixing': ones.astype('>f4')}, 'dates': {'kernels': delta.astype('M8[s]')},
        'records': {'kernels': np.zeros(3, [('a', 'f4')])}, 'kernels larger than the photo': {'kernels': np.full((1, 1, 101, 101), 1 / 10201, np.float32)}, 'unsigned': {'kernels': delta.astype(np.uint16)},
    }.items():  # fmt: skip
        codes = (2, 0) if name == 'half' else (2,)
        yield Case(
            title,
            name,
            known(arrays(**values)),
            r'f\.npz|photo',
            codes,
            ('out.png',) if 0 in codes else (),
            short=name == 'NaN',
        )

    def declared(shape: bytes) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            with zipfile.ZipFile(here / 'f.npz', 'w') as archive:
                text = (header % shape)[10:].ljust(117) + b'\n'
                archive.writestr('kernels.npy', header[:8] + struct.pack('<H', len(text)) + text + bytes(100))
                archive.writestr('mixing.npy', b'x')
            return here / 'f.npz'

        return maker

    for name, shape in {
        'declared shape of 2^60': b'1152921504606846976,',
        'declared shape of 10^12': b'1000000000000,',
        'declared shape is negative': b'-1,',
        'declared shape is code': b'__import__("os"),',
        'declared shape is deep': b'(' * 90,
    }.items():
        yield Case(title, name, known(declared(shape)), r'f\.npz')

    def zip_bomb(member: str) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            with zipfile.ZipFile(here / 'f.npz', 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
                text = (header % b'1, 1, 20001, 20001')[10:].ljust(117) + b'\n'
                for name in {'kernels.npy': 1, 'mixing.npy': 1, 'estimated.npy': 1, member: 1}:
                    if name != member:
                        archive.writestr(name, sound[name])
                with archive.open(member, 'w', force_zip64=True) as file:
                    file.write(header[:8] + struct.pack('<H', len(text)) + text)
                    for _ in range(16):
                        file.write(bytes(10**8))
            return here / 'f.npz'

        return maker

    sound = {}
    for name, values in {'kernels': delta, 'mixing': ones, 'estimated': np.array(True)}.items():
        np.save(file := io.BytesIO(), values)
        sound[f'{name}.npy'] = file.getvalue()
    for member in ('kernels.npy', 'estimated.npy'):
        yield Case(
            title, f'zip bomb of 1.6 GB, {member}', known(zip_bomb(member)), r'f\.npz.* takes 1600 MB, more than'
        )
    yield Case(
        title,
        'npy for npz',
        known(lambda here, good: (np.save(here / 'f.npy', np.ones(3)), here / 'f.npy')[1]),
        r'f\.npy',
    )
    yield Case(
        title,
        'zip of other files',
        known(lambda here, good: write('f.npz', archive_of({'a.txt': b'x'}))(here)),
        r'f\.npz',
    )


def archive_of(members: dict[str, bytes]) -> bytes:
    """Return a zip of these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def benchmark() -> bytes:
    """Return an archive of one pair of GoPro, of random pixels, which do not pack."""
    photo = encoded(np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8), 'PNG')
    return archive_of({f'test/s/{kind}/0.png': photo for kind in ('blur', 'sharp')})


def broken_archives() -> Iterator[Case]:
    """Downloads of benchmarks that are cut off, encrypted, or want to be unpacked elsewhere."""
    title = 'archives of benchmarks'
    photo = samples_of_forms()['png']
    sound = archive_of({f'test/s/{kind}/0.png': photo for kind in ('blur', 'sharp')})
    bundle = io.BytesIO()
    with tarfile.open(fileobj=bundle, mode='w:gz') as archive:
        for name in ('../../test/s/blur/0.png', '/test/s/sharp/0.png'):
            info = tarfile.TarInfo(name)
            info.size = len(photo)
            archive.addfile(info, io.BytesIO(photo))
    encrypted = bytearray(sound)
    for mark, place in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        start = -1
        while (start := encrypted.find(mark, start + 1)) >= 0:
            encrypted[start + place] |= 1
    for name, data in {
        'empty.zip': b'', 'text.zip': b'hello', 'cut.zip': sound[: len(sound) // 2], 'flipped.zip': flipped(sound, 3), 'sound but incomplete.zip': sound, 'encrypted.zip': bytes(encrypted), 'empty.tar.gz': b'', 'cut.tar.gz': bundle.getvalue()[: len(bundle.getvalue()) // 2],
        'text.tar.xz': b'hello', 'outside.tar.gz': bundle.getvalue(), 'outside.zip': archive_of({f'../../test/s/{kind}/0.png': photo for kind in ('blur', 'sharp')}),
    }.items():  # fmt: skip
        for more in ([], ['--allow-incomplete']):
            if more and name.startswith(('empty', 'text', 'sound', 'outside')):
                continue
            yield Case(
                title,
                f'{name} {" ".join(more)}',
                lambda here, good, name=name, data=data, more=more: [
                    'prep-dataset',
                    'gopro',
                    write(name, data)(here),
                    '-o',
                    'out',
                    *more,
                ],
                '',
                talks=True,
                short=name == 'cut.zip',
            )


# ------------------------------------------------------------------------------------------------------------ outputs


def unwritable(mounts: bool) -> Iterator[Case]:
    """Places that cannot be written to, for root as well, and disks that are full."""
    title = 'outputs: unwritable'

    def commands(out: str) -> dict[str, Callable[[Path, Good], list[Any]]]:
        return {
            'deblur': lambda here, good: ['deblur', good.photo, '-o', f'{out}/sharp.png', '--weights', good.kpn],
            'deblur --save-kernels': lambda here, good: ['deblur', good.photo, '-o', f'{out}/sharp.tif', '--weights', good.kpn, '--save-kernels'],
            'kernels': lambda here, good: ['kernels', good.photo, '-o', f'{out}/f.npz', '--weights', good.kpn],
            'prep-kernels': lambda here, good: ['prep-kernels', '-o', f'{out}/k.lmdb', '-n', '3', '--kernel-size', '5', '--workers', '0'],
            'prep-lmdb': lambda here, good: ['prep-lmdb', good.photos, '-o', out, '--workers', '0'],
            'evaluate': lambda here, good: ['evaluate', '--restored', good.photos, '--gt', good.photos, '--protocol', 'plain', '--csv', f'{out}/s.csv', '--sheet', f'{out}/s.png'],
            'export': lambda here, good: ['export', good.kpn, '-o', f'{out}/k.onnx', '--size', '32x32'],
            'prep-dataset': lambda here, good: ['prep-dataset', 'gopro', write('d.zip', benchmark())(here), '-o', f'{out}/d', '--allow-incomplete'],
        }  # fmt: skip

    def prepared(prepare: Callable[[Path], Any], command: Callable) -> Callable[[Path, Good], list[Any]]:
        def maker(here: Path, good: Good) -> list[Any]:
            prepare(here)
            return command(here, good)

        return maker

    for name, command in commands('taken').items():
        yield Case(
            title,
            f'{name} into a file',
            prepared(lambda here: write('taken', 'x')(here), command),
            'taken',
            talks=name in TALKATIVE,
            seconds=60 if name == 'export' else 10,
            short=True,
        )
    for name, command in commands('loop').items():
        yield Case(
            title,
            f'{name} into a loop of links',
            prepared(lambda here: (here / 'loop').symlink_to('loop'), command),
            'loop',
            talks=name in TALKATIVE,
            seconds=60 if name == 'export' else 10,
            short=name == 'deblur',
        )
    for name, command in commands('/proc/self/nowhere').items():
        yield Case(
            title,
            f'{name} into /proc',
            command,
            '/proc',
            talks=name in TALKATIVE,
            seconds=60 if name == 'export' else 10,
            whole=name == 'prep-lmdb',
        )
    for name, command in commands('/dev/null/x').items():
        yield Case(
            title,
            f'{name} into /dev/null',
            command,
            '/dev/null',
            talks=name in TALKATIVE,
            seconds=60 if name == 'export' else 10,
        )
    results = {
        'deblur': 'out/sharp.png',
        'kernels': 'out/f.npz',
        'prep-kernels': 'out/k.lmdb',
        'prep-lmdb': 'out/photos.lmdb',
        'evaluate': 'out/s.csv',
    }
    for name, result in results.items():
        folder = prepared(lambda here, result=result: (here / result).mkdir(parents=True), commands('out')[name])
        codes = (2, 0) if name.startswith('prep') or name == 'deblur' else (2,)
        yield Case(
            title,
            f'{name} onto a folder',
            folder,
            '',
            codes,
            ('out.*',) if 0 in codes else (),
            talks=name in TALKATIVE,
            seconds=60 if name == 'export' else 10,
        )
        yield Case(
            title,
            f'{name} onto a dangling link',
            prepared(
                lambda here, result=result: ((here / 'out').mkdir(), (here / result).symlink_to('/nowhere/x')),
                commands('out')[name],
            ),
            '',
            (2, 0),
            ('out.*',),
            talks=True,
        )
    for section in ('experiments', 'tb_logger'):
        yield Case(
            title,
            f'train, {section} a file',
            prepared(
                lambda here, section=section: write(section, 'x')(here),
                trains(lambda opt, here: opt.replace('use_tb_logger: false', 'use_tb_logger: true')),
            ),
            '',
            may_leave=(RUN, r'experiments.*_archived.*') if section == 'tb_logger' else (r'experiments.*',),
            talks=True,
        )
    yield Case(
        title,
        'deblur to /dev/full',
        lambda here, good: ['deblur', good.photo, '-o', '/dev/full', '--weights', good.kpn],
        '/dev/full',
    )
    if not mounts:
        return

    def mount(options: str, content: str = '') -> Callable[[Path], Any]:
        def prepare(here: Path) -> None:
            (here / 'disk').mkdir()
            subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'none', here / 'disk'], check=True)
            if content:
                (here / 'disk' / 'filler').write_bytes(bytes(int(content)))

        return prepare

    title = 'outputs: disk full or read-only'
    for name, command in commands('disk').items():
        # 16 kB are free, and LMDB needs more for its first pages; the photos that are written are larger too.
        yield Case(
            title,
            f'{name}, disk full',
            prepared(mount('size=16k', '14000'), command),
            'No space|disk|full',
            may_leave=(r'disk/\.\w+\.lmdb\.partial(/.*)?',),
            talks=name in TALKATIVE,
            seconds=60 if name == 'export' else 10,
        )
        yield Case(
            title,
            f'{name}, read-only',
            prepared(mount('ro,size=1m'), command),
            'disk',
            talks=name in TALKATIVE,
            seconds=60 if name == 'export' else 10,
        )
    large = lambda here, good: ['prep-lmdb', 'photos', '-o', 'disk', '--workers', '0']  # noqa: E731

    def many_photos(here: Path) -> None:
        for number in range(20):
            write(
                f'photos/{number}.png',
                encoded(np.random.default_rng(number).integers(0, 256, (200, 200, 3), np.uint8), 'PNG'),
            )(here)

    yield Case(
        title,
        'prep-lmdb, disk filling up',
        prepared(lambda here: (mount('size=600k')(here), many_photos(here)), large),
        'disk',
        may_leave=(r'disk/\.\w+\.lmdb\.partial(/.*)?',),
    )
    yield Case(
        title,
        'prep-kernels, disk filling up',
        prepared(
            mount('size=300k'),
            lambda here, good: [
                'prep-kernels',
                '-o',
                'disk/k.lmdb',
                '-n',
                '20000',
                '--kernel-size',
                '15',
                '--workers',
                '0',
            ],
        ),
        'disk',
        may_leave=(r'disk/\.\w+\.lmdb\.partial(/.*)?',),
    )
    yield Case(
        title,
        'train, disk full',
        prepared(
            lambda here: (mount('size=40k')(here), (here / 'experiments').symlink_to('disk')),
            trains(lambda opt, here: opt.replace('hidden: 4', 'hidden: 400')),
        ),
        'No space',
        may_leave=(r'disk/a_run(.*(log|yml|models|training_states|visualization))?',),
        talks=True,
    )
    yield Case(
        title,
        'train, read-only',
        prepared(
            lambda here: (mount('ro,size=40k')(here), (here / 'experiments').symlink_to('disk')),
            trains(lambda opt, here: opt),
        ),
        'Read-only',
        talks=True,
    )


# ----------------------------------------------------------------------------------------------------------- controls


def controls() -> Iterator[Case]:
    """Sound inputs, which every command must take."""
    title = 'controls (sound inputs)'
    done = {'codes': (0,), 'may_leave': ('.*',)}
    for form, data in samples_of_forms().items():
        yield Case(
            title,
            f'deblur {form}',
            lambda here, good, form=form, data=data: [
                'deblur',
                write(f'p.{form.split(".")[-1]}', data)(here),
                '-o',
                'out.png',
                '--weights',
                write('w.safetensors', good.kpn.read_bytes())(here),
                '--iterations',
                '1',
            ],
            **done,
            short=form == 'png',
        )
    yield Case(
        title,
        'name that is no UTF-8',
        lambda here, good: [
            'deblur',
            copy(good.photo, here, 'caf\udce9.png'),
            '-o',
            'caf\udce9_out.png',
            '--weights',
            good.kpn,
        ],
        **done,
    )
    yield Case(
        title,
        'deblur with .pth',
        lambda here, good: ['deblur', good.photo, '-o', 'o.png', '--weights', good.checkpoint],
        **done,
    )
    yield Case(
        title,
        'deblur with a field',
        lambda here, good: ['deblur', good.photo, '-o', 'o.png', '--kernels', good.field],
        **done,
    )
    yield Case(
        title,
        'deblur --method ufpnet',
        lambda here, good: [
            'deblur',
            good.photo,
            '-o',
            'o.png',
            '--weights',
            good.ufpnet,
            '--method',
            'ufpnet',
            '--tile',
            '40',
        ],
        **done,
    )
    yield Case(
        title, 'kernels', lambda here, good: ['kernels', good.photo, '-o', 'o.npz', '--weights', good.kpn], **done
    )
    yield Case(
        title,
        'prep-kernels',
        lambda here, good: ['prep-kernels', '-o', 'k.lmdb', '-n', '3', '--kernel-size', '5', '--workers', '0'],
        **done,
        whole=True,
    )
    yield Case(
        title,
        'prep-lmdb',
        lambda here, good: [
            'prep-lmdb',
            good.photos,
            '-o',
            'out',
            '--workers',
            '0',
            '--mask-format',
            'labels',
            '--masks',
            good.masks,
        ],
        **done,
        short=True,
    )
    yield Case(
        title,
        'evaluate',
        lambda here, good: ['evaluate', '--restored', good.photos, '--gt', good.photos, '--protocol', 'plain'],
        **done,
    )
    yield Case(title, 'info', lambda here, good: ['info', 'BasisKPN', '--set', 'num_feat=1', '--size', '32x32'], **done)
    yield Case(
        title, 'export', lambda here, good: ['export', good.kpn, '-o', 'o.onnx', '--size', '64x64'], **done, seconds=60
    )
    yield Case(title, 'train a flow', trains(lambda opt, here: opt), **done, short=True)
    yield Case(title, 'train on blurred photos', blurs(), **done)
    yield Case(
        title,
        'test',
        lambda here, good: [
            'test',
            write('o.yml', TESTING.format(gt=good.photos, lq=good.photos, weights=good.kpn))(here),
        ],
        **done,
    )
    yield Case(
        title,
        'prep-dataset',
        lambda here, good: [
            'prep-dataset',
            'gopro',
            write('d.zip', benchmark())(here),
            '-o',
            'out',
            '--allow-incomplete',
        ],
        **done,
    )
    yield Case(title, 'train on pairs', pairs(), **done)
    with_rubbish = pairs(lambda here: write('gt/Thumbs.db', b'x')(here))
    yield Case(title, 'train on pairs beside a file that is no photo', with_rubbish, **done)


# Modules that a command, its workers or the interpreters that start them import, and folders called like our names.
MODULES = (
    'argparse', 'basis_blur', 'collections', 'concurrent', 'cv2', 'json', 'lmdb', 'logging', 'multiprocessing', 'numpy',
    'PIL', 'random', 'safetensors', 'selectors', 'signal', 'socket', 'struct', 'threading', 'torch', 'tqdm', 'yaml',
)  # fmt: skip


PAIRED = """name: a_run
model_type: UFPNetModel
num_gpu: 0
manual_seed: 0
scale: 1
datasets:
  train:
    name: pairs
    type: PairedImageDataset
    dataroot_gt: gt
    dataroot_lq: lq
    io_backend: {type: disk}
    gt_size: 32
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 0
    batch_size_per_gpu: 1
  val: {name: held_out, type: PairedImageDataset, dataroot_gt: gt, dataroot_lq: lq, io_backend: {type: disk}}
network_g: {type: NAFNet, width: 2, enc_blocks: [1], middle_blocks: 1, dec_blocks: [1]}
path: {pretrain_network_g: ~, resume_state: ~}
train:
  total_iter: 2
  optim_g: {type: Adam, lr: 0.001}
  scheduler: {type: CosineAnnealingRestartLR, periods: [2], eta_min: 0.000001}
  pixel_opt: {type: PSNRLoss}
val: {save_img: false, val_freq: 2, pbar: false, metrics: {psnr: {type: calculate_psnr, crop_border: 0}}}
logger: {print_freq: 1, save_checkpoint_freq: 1}
"""


def pairs(
    change: Callable[[Path], Any] = lambda here: None, *changes: tuple[str, str], more: tuple[str, ...] = ()
) -> Callable[[Path, Good], list[Any]]:
    """A training on two pairs of photos, after a change of its folder and replacements in its option file."""

    def maker(here: Path, good: Good) -> list[Any]:
        text = PAIRED
        for old, new in changes:
            if old not in text:
                raise ValueError(f'{old!r} is not in the option file.')
            text = text.replace(old, new)
        for side in ('gt', 'lq'):
            (here / side).mkdir()
            for name in ('a', 'b'):
                write(f'{side}/{name}.png', encoded(picture(seed=ord(name)), 'PNG'))(here)
        change(here)
        write('o.yml', text)(here)
        return ['train', 'o.yml', *more]

    return maker


def damaged_state(change: Callable[[Path], Any]) -> Callable[[Path, Good], list[Any]]:
    """A training that is to go on from a state that `change` has damaged, with another beside it."""

    def maker(here: Path, good: Good) -> list[Any]:
        folder = here / 'experiments' / 'a_run'
        for name in ('models', 'training_states'):
            (folder / name).mkdir(parents=True)
        for number in (1, 2):
            state = {'epoch': 0, 'iter': number, 'optimizers': [{'state': {}, 'param_groups': [{'lr': 0.1}]}]}
            torch.save({**state, 'schedulers': [{'last_epoch': 1}]}, folder / 'training_states' / f'{number}.state')
            torch.save({'params': {}}, folder / 'models' / f'net_g_{number}.pth')
        change(folder / 'training_states' / '2.state')
        return pairs(more=('--auto_resume',))(here, good)

    return maker


def trainings() -> Iterator[Case]:
    """Trainings that could not work, in their data, their options or the state that they would go on from."""
    title = 'trainings'

    def case(name: str, make: Callable[[Path, Good], list[Any]], says: str, **more: Any) -> Case:
        return Case(title, name, make, says, may_leave=more.pop('may_leave', (r'experiments',)), talks=True, **more)

    for name, change, says in (
        ('another name', lambda f: (f / 'lq/b.png').rename(f / 'lq/b_blur.png'), r'b\.png'),
        ('one less', lambda f: (f / 'lq/b.png').unlink(), r'b\.png'),
        ('one more', lambda f: shutil.copy(f / 'lq/b.png', f / 'lq/c.png'), r'c\.png'),
        ('another suffix', lambda f: (f / 'lq/b.png').rename(f / 'lq/b.jpg'), r'b\.jpg'),
        ('another size', lambda f: write('lq/b.png', encoded(picture(44), 'PNG'))(f), r'b\.png has'),
        ('too small', lambda f: [write(f'{s}/b.png', encoded(picture(20), 'PNG'))(f) for s in ('gt', 'lq')], '48x20'),
        ('no photo', lambda f: write('lq/b.png', b'no photo')(f), r'b\.png'),
        ('empty photo', lambda f: write('gt/b.png', b'')(f), r'b\.png'),
        ('bomb', lambda f: write('gt/b.png', png_of_chunks(png_header(60000, 60000)))(f), r'b\.png'),
        ('empty folder', lambda f: [(f / 'lq' / n).unlink() for n in ('a.png', 'b.png')], 'lq has no photo'),
        ('only Thumbs.db', lambda f: [(f / 'lq' / n).rename(f / f'lq/{n}.db') for n in ('a.png', 'b.png')], 'no photo'),
    ):
        yield case(f'pairs: {name}', pairs(change), says, short=name in ('another name', 'bomb'))
    for suffix, form in (('.png', 'PNG'), ('.jpg', 'JPEG')):
        yield case(
            f'pairs: cut off {form}',
            pairs(
                lambda f, suffix=suffix, form=form: [
                    [(f / side / f'{name}.png').unlink() for name in ('a', 'b')]
                    and write(f'{side}/a{suffix}', encoded(picture(), form)[: -40 if side == 'lq' else None])(f)
                    for side in ('gt', 'lq')
                ]
            ),
            rf'lq/a\{suffix} is cut off',
            may_leave=(RUN, r'experiments(/a_run(/(models|training_states|visualization))?)?'),
        )
    for name, old, new, says in (
        ('batch of 3 of 2 photos', 'batch_size_per_gpu: 1', 'batch_size_per_gpu: 3', 'fill one batch of 3'),
        ('half of 2 photos in batches of 2', 'batch_size_per_gpu: 1',
         'batch_size_per_gpu: 2\n    dataset_enlarge_ratio: 0.5', 'fill one batch of 2'),
        ('misspelt metric argument', 'crop_border', 'crop_borders', 'crop_borders'),
        ('impossible metric argument', 'crop_border: 0', 'crop_border: 24', 'val: metrics: psnr'),
        ('negative metric argument', 'crop_border: 0', 'crop_border: -3', 'val: metrics: psnr'),
        ('wandb without TensorBoard', 'print_freq: 1', 'print_freq: 1, wandb: {project: p}', 'wandb'),
        ('no gt_size', '    gt_size: 32\n', '', 'gt_size'),
        ('no scale', 'scale: 1\n', '', 'scale'),
        ('no io_backend', '    io_backend: {type: disk}\n', '', 'io_backend'),
        ('misspelt key of pairs', 'use_hflip', 'use_hflp', 'use_hflp'),
        ('LMDB that is a folder', 'io_backend: {type: disk}\n    gt', 'io_backend: {type: lmdb}\n    gt', 'LMDB'),
        ('misspelt key of a loss', '{type: PSNRLoss}', '{type: L1Loss, los_weight: 1}', 'los_weight'),
    ):  # fmt: skip
        yield case(name, pairs(lambda here: None, (old, new)), says, may_leave=(), short=name.startswith('batch of 3'))
    for name, change, says in (
        ('empty', lambda path: path.write_bytes(b''), 'goes on from 1.state'),
        ('cut off', lambda path: os.truncate(path, path.stat().st_size // 2), 'goes on from 1.state'),
        ('a flipped bit', lambda path: path.write_bytes(flipped(path.read_bytes(), 0, 64, 500)), 'state'),
        ('no state', lambda path: torch.save({'iter': 2}, path), 'is not a training state'),
        ('a text for the epoch', lambda path: torch.save({**torch.load(path), 'epoch': 'x'}, path), 'epoch'),
        ('no number', lambda path: path.rename(path.with_name('²0.state')), '1.state|net_g|does not fit|checkpoint'),
    ):
        yield case(f'state: {name}', damaged_state(change), says, may_leave=('.*',))


def traps() -> Iterator[Case]:
    """A current folder with modules that lie in wait to be imported, and files that are called like our networks."""
    title = 'traps in the current folder'

    def among_traps(make: Callable[[Path, Good], list[Any]], *, package: bool) -> Callable[[Path, Good], list[Any]]:
        def maker(here: Path, good: Good) -> list[Any]:
            for name in MODULES:
                # A whole process is started as "python -m basis_blur", which shall find the package.
                if package or name != 'basis_blur':
                    write(f'{name}.py', f'open({str(here / CANARY)!r}, "w")\nraise ImportError("a trap")\n')(here)
            for name in ('basis_kpn', 'correlation_kpn', 'iterate_fusion', 'ufpnet', 'train_basis'):
                write(name, 'no weights')(here)
            return make(here, good)

        return maker

    for name, make in {
        'prep-kernels': lambda here, good: ['prep-kernels', '-o', 'k.lmdb', '-n', '3', '--kernel-size', '5', '--workers', '1'],
        'prep-lmdb': lambda here, good: ['prep-lmdb', good.photos, '-o', 'out', '--workers', '1'],
        'deblur': lambda here, good: ['deblur', good.photo, '-o', 'o.png'],
        'deblur by name': lambda here, good: ['deblur', good.photo, '-o', 'o.png', '--method', 'ufpnet', '--weights', 'ufpnet'],
        'info by name': lambda here, good: ['info', 'correlation_kpn', '--size', '32x32'],
    }.items():  # fmt: skip
        for whole in (False, True):
            yield Case(
                title,
                f'{name}{", python -m" if whole else ""}',
                among_traps(make, package=not whole),
                codes=(0,),
                may_leave=('(?!CANARY).*',),
                whole=whole and name.startswith(('prep-', 'deblur by')),
                short=name == 'prep-kernels' and not whole,
                seconds=30,
            )


def all_cases(mounts: bool) -> list[Case]:
    """Return the whole corpus.

    Args:
        mounts: whether small disks can be mounted.
    """
    groups = (
        controls(), damaged_photos(), other_files(), odd_photos(), photo_formats(), absurd_values(), hostile_options(), broken_options(),
        hostile_weights(), broken_weights(), broken_lmdbs(), broken_masks(), broken_fields(), broken_archives(),
        unwritable(mounts), traps(), trainings(),
    )  # fmt: skip
    return [case for group in groups for case in group]
