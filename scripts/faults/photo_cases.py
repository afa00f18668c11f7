# ruff: noqa: E501  A case is read best as a line.
"""Photos that are damaged, are none, or hold what few photos hold."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from case_parts import KEPT, Case, Good, Make
from PIL import Image
from small_files import copy, encoded, flipped, picture, png_header, png_of_chunks, samples_of_forms, tiff, write


def deblurs(make: Callable[[Path], Path]) -> Make:
    """A deblur of the photo that `make` writes, with a sound network."""
    return lambda here, good: ['deblur', make(here), '-o', here / 'out' / 'sharp.png', '--weights', good.kpn]


def draws(make: Callable[[Path], Path]) -> Make:
    """The kernels of the photo that `make` writes."""
    return lambda here, good: ['kernels', make(here), '-o', here / 'out.npz', '--weights', good.kpn]


def prepares(make: Callable[[Path], Path], *more: str) -> Make:
    """A preparation of a folder that holds the file that `make` writes."""

    def maker(here: Path, good: Good) -> list[Any]:
        make(here / 'photos')
        return ['prep-lmdb', 'photos', '-o', 'out', '--workers', '0', *more]

    return maker


def evaluates(make: Callable[[Path], Path]) -> Make:
    """An evaluation in which the file that `make` writes is a restored photo."""

    def maker(here: Path, good: Good) -> list[Any]:
        path = make(here / 'restored')
        (here / 'gt').mkdir()
        copy(good.photo, here / 'gt', path.with_suffix('.png').name)
        return ['evaluate', '--restored', 'restored', '--gt', 'gt', '--protocol', 'plain', '--csv', 'scores.csv']

    return maker


READERS = {'deblur': deblurs, 'kernels': draws, 'prep-lmdb': prepares, 'evaluate': evaluates}


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
            make = reader(write('cut.jpg', cut))
            yield Case('photos: truncated', f'jpg in {command}', make, 'cut', talks=talks, may_leave=left)
    for form, data in samples_of_forms().items():
        for seed in range(5):
            # In the head a flip is nearly always noticed; in the pixels of a JPEG, which have no sums, seldom.
            make = deblurs(write(f'flipped.{form.split(".")[-1]}', flipped(data, seed, 0, 60 if seed < 3 else None)))
            short, left = (form, seed) == ('png', 0), ('out(/.*)?',)
            yield Case('photos: flipped bits', f'{form}, seed {seed}', make, r'flipped\.', (2, 0), left, short=short)
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
        'pointer.jpg': 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n',
        'new.jpg': b'\xff\x0a\xfa' + bytes(60),
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
    # In these, the pixels that are asked for are there.
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

    def called(*words: str) -> Make:
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
