# ruff: noqa: E501  A case is read best as a line.
"""LMDBs, masks, blur fields and archives that are damaged or not what they say."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from case_parts import KEPT, RUN, Case, Good, Make, cases, command
from option_cases import blurs, trains
from small_files import copy, encoded, flipped, picture, png_header, png_of_chunks, samples_of_forms, write


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

    def learns(change: Callable[[Path], Any]) -> Make:
        """A training on damaged kernels."""
        maker = damaged(change)
        return lambda here, good: trains(lambda opt, folder: opt.replace(str(good.kernels), str(maker(here, good))))(
            here, good
        )

    of_run = {'may_leave': (RUN,), 'talks': True}
    for name, change in changes.items():
        short, whole = name in ('data.mdb at 50%', 'without meta_info'), name == 'data.mdb at 90%'
        yield Case(title, name, learns(change), r'kernels\.lmdb', short=short, whole=whole, **of_run)
    for seed in range(6):
        left = (r'experiments.*',)
        yield Case(
            title, f'data.mdb flipped, seed {seed}', learns(flip(seed)), r'kernels\.lmdb', (2, 0), left, talks=True
        )

    def given(name: str) -> Callable[[Path, Good], Path]:
        return lambda here, good: getattr(good, name)

    def size(number: int) -> Callable[[Path, Good], int]:
        return lambda here, good: number

    yield from cases(title, {
        'kernels of another size': (blurs(size=size(7)), 'kernel_size'),
        "kernels of another size than the network's": (blurs(kernels=given('kernels'), size=size(5)), '33'),
        'photos for masks': (blurs(masks=given('photos_lmdb')), 'gray|mask'),
        'kernels for photos': (blurs(photos=given('kernels')), 'kernels'),
        'a folder of photos for an LMDB': (blurs(photos=given('photos')), 'photos'),
        'meta_info of photos without sizes': (blurs(photos=damaged(replace('meta_info.txt', '(40,48,3)', '(x)'), 'photos_lmdb')), 'meta_info'),
        'photos at 60%': (blurs(photos=damaged(cut(0.6), 'photos_lmdb')), 'photos'),
    }, **of_run)  # fmt: skip

    prepare = ['prep-kernels', '-o', 'k.lmdb', '-n', '6', '--kernel-size', '5', '--workers', '0']

    def begun(change: Callable[[Path], Any], finished: bool) -> Make:
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
            short = name == 'parameters cut off'
            left = (r'\.k\.lmdb\.partial/.*',)
            yield Case(
                title, f'{state} preparation, {name}', begun(change, finished), 'k.lmdb', may_leave=left, short=short
            )
    yield from cases(title, {
        'begun preparation, lock a folder': (begun(lambda folder: (folder / 'writer.lock').mkdir(), False), 'lock'),
        'begun preparation, LMDB lock a folder': (begun(lambda folder: (folder / 'lock.mdb').mkdir(), False), 'k.lmdb', {'may_leave': (KEPT,)}),
        'begun preparation, lines of text': (begun(write('lines/data.mdb', 'hello' * 5000), False), 'k.lmdb', {'may_leave': (KEPT,)}),
    })  # fmt: skip


def broken_masks() -> Iterator[Case]:
    """Masks that cannot be read or do not belong to their photos."""
    title = 'masks'

    def masked(form: str, data: bytes | str, name: str = '0.png') -> Make:
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
        may = ('out.*',) if 0 in codes else left
        yield Case(title, name, masked('labels', data), r'0\.png', codes, may, short=name == 'cut off')
    yield from cases(title, {
        'class 200 of 150': (masked('ade20k_2016', encoded(np.full((40, 48), 200, np.uint8), 'PNG')), r'0\.png', {'may_leave': left}),
        'gray for ade20k': (masked('ade20k', sound, '0_seg.png'), r'0_seg\.png|photo', {'may_leave': left}),
        'none fits': (masked('labels', sound, 'x.png'), 'none of'),
    })  # fmt: skip
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
        may = ('out.*',) if 0 in codes else left
        yield Case(title, f'coco: {name}', masked('coco', text, 'i.json'), r'i\.json', codes, may, short=name == 'deep')


def broken_fields() -> Iterator[Case]:
    """Blur fields in npz files that are cut off or no blur."""
    title = 'blur fields'

    def known(make: Callable[[Path, Good], Path]) -> Make:
        return lambda here, good: ['deblur', good.photo, '-o', 'out.png', '--kernels', make(here, good)]

    def arrays(**values: Any) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            delta = np.zeros((1, 1, 5, 5), np.float32)
            delta[..., 2, 2] = 1
            made = {'kernels': delta, 'mixing': np.ones((1, 1, 40, 48), np.float32), **values}
            np.savez(here / 'f.npz', **{key: value for key, value in made.items() if value is not None})
            return here / 'f.npz'

        return maker

    def changed(change: Callable[[bytes], bytes]) -> Make:
        return known(lambda here, good: write('f.npz', change(good.field.read_bytes()))(here))

    for share in (0, 0.1, 0.5, 0.9):
        cut = changed(lambda data, share=share: data[: int(share * len(data))])
        yield Case(title, f'at {share:.0%}', cut, r'f\.npz', short=share == 0.5)
    for seed in range(4):
        noisy = changed(lambda data, seed=seed: flipped(data, seed))
        yield Case(title, f'flipped, seed {seed}', noisy, r'f\.npz', (2, 0), ('out.png',))
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
        left = ('out.png',) if 0 in codes else ()
        yield Case(title, name, known(arrays(**values)), r'f\.npz|photo', codes, left, short=name == 'NaN')

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
        says = r'f\.npz.* takes 1600 MB, more than'
        yield Case(title, f'zip bomb of 1.6 GB, {member}', known(zip_bomb(member)), says)
    array = known(lambda here, good: (np.save(here / 'f.npy', np.ones(3)), here / 'f.npy')[1])
    yield Case(title, 'npy for npz', array, r'f\.npy')
    yield Case(title, 'zip of other files', changed(lambda data: archive_of({'a.txt': b'x'})), r'f\.npz')


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
            make = command('prep-dataset gopro', name, '-o', 'out', *more, before=write(name, data))
            yield Case(title, f'{name} {" ".join(more)}', make, '', talks=True, short=name == 'cut.zip')
