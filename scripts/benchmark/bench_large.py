"""Claim: `basis-blur deblur` with its defaults takes a 24-megapixel photo on two cores in 90 s and 5 GB, 12 in 40 s.

    python scripts/benchmark/bench_large.py [--size WIDTHxHEIGHT ...] [--estimator NAME] [--against COMMIT]

The photo is made up, with structure at every scale and one camera shake, so that the search explains all of it; seed 0.
Each run is a process of its own. Seconds on a computer that does other things too say little; so the seconds of all
cores, user and system, are told beside them; half of them is the least that two cores take. `--estimator network` times
the way of photos whose places differ, with the network's field, in place of the search. `--against` runs the program of
another commit, or of a folder, in turn, on the same files, and tells how far its photos differ.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import print_table, report_claims, write_json

import basis_blur as bb
from basis_blur.ops.tiled_blur import TiledBlur
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

HERE = Path(__file__).resolve().parents[2]
LIMITS = {
    '6000x4000': (90.0, 5.0),
    '4032x3024': (40.0, 5.0),
}  # by size of the photo: largest time, s, and memory, GB
NOISE = 0.005


def save_photo(path: Path, width: int, height: int) -> None:
    """Write a photo with structure at every scale, shaken by one kernel, with noise."""
    generator = torch.Generator().manual_seed(0)
    sharp = torch.full((1, 3, height + 32, width + 32), 0.4)
    for step in (512, 128, 32, 8):
        size = (height // step + 6, width // step + 6)
        coarse = torch.rand(1, 3, *size, generator=generator) - 0.5
        sharp += 0.35 * F.interpolate(coarse, size=sharp.shape[-2:], mode='nearest')
    kernels = torch.from_numpy(bb.shake_kernels(12, 33, seed=5)).float()
    across = (torch.arange(33.0) - 16) ** 2
    spread = (kernels * (across[:, None] + across)).sum((1, 2))
    kernel = kernels[spread.argsort()[7]]
    blur = TiledBlur(bb.BlurField(kernel[None, None], torch.ones(1, 1, height, width)), 1024)
    photo = bb.to_srgb(blur(bb.to_linear(sharp.clamp_(0, 1))).clamp_(0, 1))
    photo += NOISE * torch.randn(photo.shape, generator=generator)
    write_photo(path, photo.clamp_(0, 1))


def run(checkout: Path, photo: Path, result: Path, estimator: str) -> dict:
    """Run the command of a checkout: {'seconds', 'cpu_seconds', 'peak_gb'}."""
    command = [sys.executable, '-m', 'basis_blur', 'deblur', str(photo), '-o', str(result), '--device', 'cpu']
    command += ['--estimator', estimator]
    code = (
        'import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; '
        'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)'
    )
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, '-c', code, *command], cwd=checkout, capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': str(checkout)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f'{" ".join(command)} failed: {done.stderr[-2000:]}')
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        'seconds': time.perf_counter() - started,
        'cpu_seconds': after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        'peak_gb': int(done.stdout.splitlines()[-1]) * 1024 / 1e9,
        'notes': done.stdout.splitlines()[:-1],
    }


def checkout_of(commit: str, folder: Path) -> Path:
    """Return the folder of another program: the one that is named, or one with the files of a commit."""
    if Path(commit).is_dir():
        return Path(commit).resolve()
    files = subprocess.run(['git', 'archive', commit, 'basis_blur'], cwd=HERE, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(folder, filter='data')
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', nargs='+', default=list(LIMITS), help='sizes of the photos, pixels')
    parser.add_argument('--estimator', default='auto', help='--estimator of the command (default: auto, as there)')
    parser.add_argument('--against', metavar='COMMIT', help='another program: a commit, or a folder with a checkout')
    parser.add_argument('--json', type=Path, help='also write the figures here')
    args = parser.parse_args()
    result, rows, claims = {}, [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkouts = {'this': HERE}
        if args.against:
            checkouts['other'] = checkout_of(args.against, folder / 'other')
        for size in args.size:
            photo = folder / f'{size}.png'
            save_photo(photo, *map(int, size.split('x')))
            found = {}
            for which, checkout in checkouts.items():
                found[which] = run(checkout, photo, folder / f'{size}_{which}.png', args.estimator)
                told = found[which]
                rows.append(
                    (size, which, f'{told["seconds"]:.0f}', f'{told["cpu_seconds"]:.0f}', f'{told["peak_gb"]:.2f}')
                )
            if args.against:
                pair = [read_photo(folder / f'{size}_{which}.png').pixels for which in found]
                found['largest_difference'] = (pair[0] - pair[1]).abs().max().item() * 255
                print(f'{size}: the photos differ by at most {found["largest_difference"]:.0f} levels of 255')
            if size in LIMITS:
                seconds, memory = LIMITS[size]
                claims[f'{size} takes at most {seconds:.0f} s'] = found['this']['seconds'] <= seconds
                claims[f'{size} takes at most {memory:.0f} GB'] = found['this']['peak_gb'] <= memory
            result[size] = found
    print_table(('photo', 'program', 'seconds', 'seconds of cores', 'GB'), rows)
    if args.json:
        write_json(args.json, {'estimator': args.estimator, **result})
    return report_claims(claims)


if __name__ == '__main__':
    sys.exit(main())
