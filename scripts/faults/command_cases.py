# ruff: noqa: E501  A case is read best as a line.
"""Values of the command line, places that cannot be written to, traps in the current folder, and controls."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from case_parts import CANARY, KEPT, RUN, TALKATIVE, Case, Good, Make, cases, command
from data_cases import benchmark
from option_cases import blurs, runs_test, trains
from small_files import copy, encoded, samples_of_forms, write
from training_cases import pairs

DEBLUR = 'deblur {photo} -o out.png --weights {kpn}'
BY_NETWORK = 'deblur {photo} -o out.png --weights {ufpnet} --method ufpnet'
PREP_KERNELS = 'prep-kernels -o k.lmdb -n 3 --workers 0'
# Command line -> option -> its absurd values; the value follows the option as a word of its own.
ABSURD = {
    DEBLUR: {
        '--gamma': ('-1', '0', 'nan', 'inf', '1e308', '1e-300', 'much', ''),
        '--iterations': ('-1', '0', 'nan', '1e3', '99999999999', '9' * 5000),
        '--refine': ('-5', '0', 'inf', '99999999999'),
        '--device': ('gpu9', 'cuda:99', 'cpu:-1', 'meta', ''),
        '--weights': ('', 'nowhere.pth', '/', '/dev/zero', '/proc/self/mem', 'a\0b'),
        '--kernels': ('', 'nowhere.npz', '/', '/dev/zero', '/proc/self/mem'),
        '--fusion': ('', 'nowhere.pth', '/', '/dev/zero', 'correlation_kpn'),
        '--method': ('magic',),
    },
    BY_NETWORK: {'--tile': ('-1', '0', '1', '32', 'nan', '99999999999999999999')},
    'kernels {photo} -o out.npz --weights {kpn}': {'--gamma': ('nan', '-1', '1e308')},
    PREP_KERNELS: {
        '-n': ('-1', '0', 'nan', '1e3', '99999999999999999999'),
        '--kernel-size': ('-1', '0', '4', '3', 'nan', '100001', '99999999999999999999'),
        '--seed': ('-1', 'nan', '9' * 400),
        '--workers': ('-1', 'nan', '99999999999'),
    },
    'prep-lmdb {photos} -o out --workers 0': {
        '--min-size': ('-1', '0', 'nan', '99999999999'), '--workers': ('-1', 'nan', '99999999999'), '--mask-format': ('png', ''),
    },
    'export {kpn} -o o.onnx': {
        '--size': ('0x0', '99999999x99999999', 'big'), '--gamma': ('nan', '-1'), '--format': ('exe',), '-o': ('o.exe', 'o'),
    },
    'info BasisKPN': {
        '--set': (
            'num_feat=-1', 'num_feat=0', 'num_feat=NaN', 'num_feat=1e9', 'num_feat=1000000000', 'num_kernels=0', 'num_kernels=99999999999', 'kernel_size=4',
            'num_feat', '=', 'norm=x', 'num_feet=4', 'in_channels=[1]', 'num_feat={"a": 1}', 'num_feat=' + '[' * 5000,
        ),
    },
    'info KernelFlow': {'--set': ('kernel_size=100001', 'hidden=-3', 'num_blocks=0')},
    'info NAFNet': {'--set': ('width=-2', 'enc_blocks=[0]', 'enc_blocks=[-1]', 'middle_blocks=100000000')},
    'info UFPNet': {'--set': ('kernel_size=0', 'enc_blocks="a"')},
    'info LatentKernelNet': {'--set': ('width=0',)},
    'info MIMOUNet': {'--set': ('x=1',)},
}  # fmt: skip
SAID = {'kernels': 'gamma'}  # words on an absurd value, by command, where the value alone says nothing
SHORT = (
    '--gamma nan', '--iterations 99999999999', '--weights /dev/zero', '-n -1', '--kernel-size 100001',
)  # fmt: skip
SENSELESS = (
    'export nowhere.pth -o o.onnx', 'export /dev/zero -o o.onnx', 'info Nothing', 'info /', 'info /dev/zero', 'nothing', 'deblur', 'train', 'train /', 'train /dev/zero', 'train a.yml b.yml', 'test nowhere.yml',
    'prep-dataset nothing', 'prep-dataset gopro nowhere -o o', 'prep-dataset gopro /dev/null -o o', 'evaluate --restored a --gt b --protocol plain', 'prep-lmdb nowhere -o o --workers 0', 'kernels nowhere.png -o o.npz', 'kernels nowhere.png -o o.txt',
)  # fmt: skip


def absurd_values() -> Iterator[Case]:
    """Values on the command line that no one can mean."""
    title = 'command line'
    for line, options in ABSURD.items():
        name = line.split()[0]
        left = (KEPT, 'out') if name == 'prep-lmdb' else ()
        for option, values in options.items():
            for value in values:
                short = f'{option} {value}' in SHORT and name in ('deblur', 'prep-kernels')
                told = f'{" ".join(line.split()[:2]) if name == "info" else name} {option} {value[:30]!r}'
                yield Case(title, told, command(line, option, value), SAID.get(name, ''), may_leave=left, short=short)
    yield Case(title, 'prep-kernels without .lmdb', command(PREP_KERNELS.replace('.lmdb', '')), 'k is not', whole=True)
    for value in ('0x0', '-5x5', 'nanxnan', '256', '99999999x99999999', '9' * 30 + 'x1', '1x1e9'):
        yield Case(
            title, f'info --size {value[:20]}', command('info BasisKPN --set num_feat=1', f'--size={value}'), 'size'
        )
    for line in SENSELESS:
        yield Case(title, line, command(line), '', whole=line in ('nothing', 'train /dev/zero'))
    for words in (
        ['export', '', '-o', 'o.onnx'],
        ['info', ''],
        [''],
        ['train', ''],
        ['prep-lmdb', '', '-o', '', '--workers', '0'],
    ):
        yield Case(title, ' '.join(words) or 'empty word', command('', *words), '')


def unwritable(mounts: bool) -> Iterator[Case]:
    """Places that cannot be written to, for root as well, and disks that are full."""
    title = 'outputs: unwritable'

    def commands(out: str) -> dict[str, Make]:
        sets = command(
            'prep-dataset gopro d.zip --allow-incomplete', '-o', f'{out}/d', before=write('d.zip', benchmark())
        )
        return {
            'deblur': command('deblur {photo} --weights {kpn} -o', f'{out}/sharp.png'),
            'deblur --save-kernels': command('deblur {photo} --weights {kpn} --save-kernels -o', f'{out}/sharp.tif'),
            'kernels': command('kernels {photo} --weights {kpn} -o', f'{out}/f.npz'),
            'prep-kernels': command('prep-kernels -n 3 --kernel-size 5 --workers 0 -o', f'{out}/k.lmdb'),
            'prep-lmdb': command('prep-lmdb {photos} --workers 0 -o', out),
            'evaluate': command('evaluate --restored {photos} --gt {photos} --protocol plain', '--csv', f'{out}/s.csv', '--sheet', f'{out}/s.png'),
            'export': command('export {kpn} --size 32x32 -o', f'{out}/k.onnx'),
            'prep-dataset': sets,
        }  # fmt: skip

    def fields(name: str) -> dict[str, Any]:
        return {'talks': name in TALKATIVE, 'seconds': 60 if name == 'export' else 10}

    def prepared(prepare: Callable[[Path], Any], make: Make) -> Make:
        def maker(here: Path, good: Good) -> list[Any]:
            prepare(here)
            return make(here, good)

        return maker

    for name, make in commands('taken').items():
        into_a_file = prepared(write('taken', 'x'), make)
        yield Case(title, f'{name} into a file', into_a_file, 'taken', short=True, **fields(name))
    for name, make in commands('loop').items():
        into_a_loop = prepared(lambda here: (here / 'loop').symlink_to('loop'), make)
        yield Case(title, f'{name} into a loop of links', into_a_loop, 'loop', short=name == 'deblur', **fields(name))
    for name, make in commands('/proc/self/nowhere').items():
        yield Case(title, f'{name} into /proc', make, '/proc', whole=name == 'prep-lmdb', **fields(name))
    for name, make in commands('/dev/null/x').items():
        yield Case(title, f'{name} into /dev/null', make, '/dev/null', **fields(name))
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
        left = ('out.*',) if 0 in codes else ()
        yield Case(title, f'{name} onto a folder', folder, '', codes, left, **fields(name))
        link = prepared(
            lambda here, result=result: ((here / 'out').mkdir(), (here / result).symlink_to('/nowhere/x')),
            commands('out')[name],
        )
        yield Case(title, f'{name} onto a dangling link', link, '', (2, 0), ('out.*',), talks=True)
    logging = trains(lambda opt, here: opt.replace('use_tb_logger: false', 'use_tb_logger: true'))
    for section, left in {
        'experiments': (r'experiments.*',),
        'tb_logger': (RUN, r'experiments.*_archived.*'),
    }.items():
        train = prepared(write(section, 'x'), logging)
        yield Case(title, f'train, {section} a file', train, '', may_leave=left, talks=True)
    yield Case(title, 'deblur to /dev/full', command('deblur {photo} -o /dev/full --weights {kpn}'), '/dev/full')
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
    kept = (r'disk/\.\w+\.lmdb\.partial(/.*)?',)
    for name, make in commands('disk').items():
        # 16 kB are free, and LMDB needs more for its first pages; the photos that are written are larger too.
        full = prepared(mount('size=16k', '14000'), make)
        yield Case(title, f'{name}, disk full', full, 'No space|disk|full', may_leave=kept, **fields(name))
        yield Case(title, f'{name}, read-only', prepared(mount('ro,size=1m'), make), 'disk', **fields(name))

    def many_photos(here: Path) -> None:
        mount('size=600k')(here)
        for number in range(20):
            photo = np.random.default_rng(number).integers(0, 256, (200, 200, 3), np.uint8)
            write(f'photos/{number}.png', encoded(photo, 'PNG'))(here)

    def run_on_disk(options: str) -> Callable[[Path], Any]:
        return lambda here: (mount(options)(here), (here / 'experiments').symlink_to('disk'))

    wide = trains(lambda opt, here: opt.replace('hidden: 4', 'hidden: 400'))
    run = (r'disk/a_run(.*(log|yml|models|training_states|visualization))?',)
    yield from cases(title, {
        'prep-lmdb, disk filling up': (command('prep-lmdb photos -o disk --workers 0', before=many_photos), 'disk', {'may_leave': kept}),
        'prep-kernels, disk filling up': (command('prep-kernels -o disk/k.lmdb -n 20000 --kernel-size 15 --workers 0', before=mount('size=300k')), 'disk', {'may_leave': kept}),
        'train, disk full': (prepared(run_on_disk('size=40k'), wide), 'No space', {'may_leave': run, 'talks': True}),
        'train, read-only': (prepared(run_on_disk('ro,size=40k'), trains(lambda opt, here: opt)), 'Read-only', {'talks': True}),
    })  # fmt: skip


def controls() -> Iterator[Case]:
    """Sound inputs, which every command must take."""
    title = 'controls (sound inputs)'
    rubbish = pairs(lambda here: write('gt/Thumbs.db', b'x')(here))
    table = {
        f'deblur {form}': (
            lambda here, good, form=form, data=data: [
                'deblur',
                write(f'p.{form.split(".")[-1]}', data)(here),
                '-o',
                'out.png',
                '--iterations',
                '1',
                '--weights',
                write('w.safetensors', good.kpn.read_bytes())(here),
            ],
            '',
            {'short': form == 'png'},
        )
        for form, data in samples_of_forms().items()
    }
    table |= {
        'name that is no UTF-8': (lambda here, good: ['deblur', copy(good.photo, here, 'caf\udce9.png'), '-o', 'caf\udce9_out.png', '--weights', good.kpn], ''),
        'deblur with .pth': (command('deblur {photo} -o o.png --weights {checkpoint}'), ''),
        'deblur with a field': (command('deblur {photo} -o o.png --kernels {field}'), ''),
        'deblur --method ufpnet': (command(f'{BY_NETWORK} --tile 40'), ''),
        'kernels': (command('kernels {photo} -o o.npz --weights {kpn}'), ''),
        'prep-kernels': (command(f'{PREP_KERNELS} --kernel-size 5'), '', {'whole': True}),
        'prep-lmdb': (command('prep-lmdb {photos} -o out --workers 0 --mask-format labels --masks {masks}'), '', {'short': True}),
        'evaluate': (command('evaluate --restored {photos} --gt {photos} --protocol plain'), ''),
        'info': (command('info BasisKPN --set num_feat=1 --size 32x32'), ''),
        'export': (command('export {kpn} -o o.onnx --size 64x64'), '', {'seconds': 60}),
        'train a flow': (trains(lambda opt, here: opt), '', {'short': True}),
        'train on blurred photos': (blurs(), ''),
        'test': (runs_test(), ''),
        'prep-dataset': (command('prep-dataset gopro d.zip -o out --allow-incomplete', before=write('d.zip', benchmark())), ''),
        'train on pairs': (pairs(), ''),
        'train on pairs beside a file that is no photo': (rubbish, ''),
    }  # fmt: skip
    yield from cases(title, table, codes=(0,), may_leave=('.*',))


# Modules that a command, its workers or the interpreters that start them import, and folders called like our names.
MODULES = (
    'argparse', 'basis_blur', 'collections', 'concurrent', 'cv2', 'json', 'lmdb', 'logging', 'multiprocessing', 'numpy',
    'PIL', 'random', 'safetensors', 'selectors', 'signal', 'socket', 'struct', 'threading', 'torch', 'tqdm', 'yaml',
)  # fmt: skip


def traps() -> Iterator[Case]:
    """A current folder with modules that lie in wait to be imported, and files that are called like our networks."""
    title = 'traps in the current folder'

    def among_traps(make: Make, *, package: bool) -> Make:
        def maker(here: Path, good: Good) -> list[Any]:
            for name in MODULES:
                # A whole process is started as "python -m basis_blur", which shall find the package.
                if package or name != 'basis_blur':
                    write(f'{name}.py', f'open({str(here / CANARY)!r}, "w")\nraise ImportError("a trap")\n')(here)
            for name in ('basis_kpn', 'correlation_kpn', 'iterate_fusion', 'ufpnet', 'train_basis'):
                write(name, 'no weights')(here)
            return make(here, good)

        return maker

    for name, line in {
        'prep-kernels': 'prep-kernels -o k.lmdb -n 3 --kernel-size 5 --workers 1',
        'prep-lmdb': 'prep-lmdb {photos} -o out --workers 1',
        'deblur': 'deblur {photo} -o o.png',
        'deblur by name': 'deblur {photo} -o o.png --method ufpnet --weights ufpnet',
        'info by name': 'info correlation_kpn --size 32x32',
    }.items():
        for whole in (False, True):
            yield Case(
                title,
                f'{name}{", python -m" if whole else ""}',
                among_traps(command(line), package=not whole),
                codes=(0,),
                may_leave=('(?!CANARY).*',),
                whole=whole and name.startswith(('prep-', 'deblur by')),
                short=name == 'prep-kernels' and not whole,
                seconds=30,
            )
