# ruff: noqa: E501  A case is read best as a line.
"""Values of the command line, places that cannot be written to, traps in the current folder, and controls."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from case_parts import CANARY, KEPT, RUN, TALKATIVE, Case, Good, copy, encoded, samples_of_forms, write
from data_cases import benchmark
from option_cases import TESTING, blurs, trains
from training_cases import pairs


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
