"""Claim: `basis-blur deblur` stays within 6 GB on a 24-megapixel photo, and a folder of mixed sizes does not grow it.

    python scripts/benchmark/bench_memory.py [--only NAME ...] [--size WIDTHxHEIGHT] [--json PATH]

Every case is a process of its own on the CPU, with the program's defaults, on a made-up photo with structure at every
scale; seed 0. Peak is the resident memory that the system reports for the whole process, start to end. But for the
shipped one, networks are fresh: what they hold in memory does not depend on what they have learned. For the mixed
folder, resident memory is also told after each of 12 photos, of which the last six repeat the sizes of the first six.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import peak_mib, print_table, report_claims, write_json

from basis_blur import BasisKPN, UFPNet, save_network
from basis_blur.photos.writing import write_photo

LIMIT = 6.0  # GB, the bar
GROWTH = 1.1  # resident memory after the second time of all sizes, over that after the first
MIXED = ((640, 480), (321, 481), (1024, 680), (500, 375), (800, 1200), (1280, 720))  # width, height
LIGHT_UFPNET = {
    'width': 12, 'enc_blocks': (1, 1, 2), 'dec_blocks': (1, 1, 1), 'attention_levels': (0, 1), 'estimator_width': 16,
}  # fmt: skip
CASES = {
    'shipped network': (None, ()),
    'shipped network, kernels saved': (None, ('--save-kernels',)),
    'rl, 16 features': ('kpn16', ()),
    'rl, 16 features, group norm': ('kpn16group', ()),
    'rl, 16 features, kernels saved': ('kpn16', ('--save-kernels',)),
    'rl, 64 features': ('kpn64', ()),
    'ufpnet, light': ('ufpnet', ('--method', 'ufpnet')),
    'ufpnet, light, kernels saved': ('ufpnet', ('--method', 'ufpnet', '--save-kernels')),
}


def save_weights(name: str, folder: Path) -> Path:
    """Write a fresh network, once, and return its path."""
    path = folder / f'{name}.safetensors'
    if not path.exists():
        torch.manual_seed(0)
        if name == 'ufpnet':
            save_network(UFPNet(**LIGHT_UFPNET), path)
        else:
            norm = 'group' if name.endswith('group') else 'none'
            save_network(BasisKPN(num_feat=int(name[3:5]), norm=norm), path)
    return path


def save_photo(path: Path, width: int, height: int) -> None:
    """Write a photo with structure at every scale."""
    generator = torch.Generator().manual_seed(0)
    photo = torch.full((1, 3, height, width), 0.5)
    for step in (256, 64, 16):
        coarse = torch.rand(1, 3, height // step + 2, width // step + 2, generator=generator) - 0.5
        photo += 0.4 * F.interpolate(coarse, size=(height, width), mode='bilinear')
    write_photo(path, photo.clamp_(0, 1))


def run_alone(arguments: list[str]) -> dict:
    """Run `basis-blur deblur` in a process of its own: {'peak_gb', 'seconds', 'after_mib': after each photo}."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, '--inside', *arguments], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f'basis-blur deblur {" ".join(arguments)} failed: {done.stderr[-2000:]}')
    return {**json.loads(done.stdout.splitlines()[-1]), 'seconds': time.perf_counter() - started}


def run_inside(arguments: list[str]) -> int:
    """Be that process: the command as it is, with a look at its memory after each photo."""
    from basis_blur.cli import deblur
    from basis_blur.cli.main import main as basis_blur

    after, deblur_photo = [], deblur.deblur_photo

    def watched(*args, **more):
        line = deblur_photo(*args, **more)
        after.append(resident_mib())
        return line

    deblur.deblur_photo = watched
    code = basis_blur(['deblur', *arguments])
    print(json.dumps({'peak_gb': peak_mib() * 2**20 / 1e9, 'after_mib': after}))
    return code


def resident_mib() -> float:
    """Return what this process holds in memory now."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def main() -> int:
    if sys.argv[1:2] == ['--inside']:
        return run_inside(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', help='cases: ' + '; '.join([*CASES, 'mixed rl', 'mixed ufpnet']))
    parser.add_argument('--size', default='6000x4000', help='size of the large photo, pixels')
    parser.add_argument('--json', type=Path, help='also write the figures here')
    args = parser.parse_args()
    result, rows, claims = {}, [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_photo(folder / 'large.png', *map(int, args.size.split('x')))
        (folder / 'mixed').mkdir()
        for index, size in enumerate(2 * MIXED):
            save_photo(folder / 'mixed' / f'{index:02d}.png', *size)
        for case, (weights, options) in {
            **CASES, 'mixed rl': (None, ()), 'mixed ufpnet': ('ufpnet', ('--method', 'ufpnet')),
        }.items():  # fmt: skip
            if args.only and case not in args.only:
                continue
            mixed = case.startswith('mixed')
            source, target = (folder / 'mixed', folder / 'out') if mixed else (folder / 'large.png', folder / 'out.png')
            chosen = ('--weights', str(save_weights(weights, folder))) if weights else ()
            found = run_alone([str(source), '-o', str(target), '--overwrite', '--device', 'cpu', *options, *chosen])
            result[case] = found
            rows.append([case, f'{found["peak_gb"]:.2f} GB', f'{found["seconds"]:.0f} s'])
            print(rows[-1], flush=True)
            if mixed:
                after = found['after_mib']
                print('  MiB after each photo:', ', '.join(f'{mib:.0f}' for mib in after), flush=True)
                growth = after[-1] / after[len(MIXED) - 1]
                claims[f'{case}: memory does not grow (factor {growth:.2f})'] = growth <= GROWTH
            else:
                claims[f'{case}: within {LIMIT:g} GB ({found["peak_gb"]:.2f})'] = found['peak_gb'] <= LIMIT
    print(f'{args.size} pixels, CPU')
    print_table(['deblur', 'peak', 'time'], rows)
    write_json(args.json, {'size': args.size, 'cases': result, 'claims': claims})
    return report_claims(claims)


if __name__ == '__main__':
    sys.exit(main())
