"""Compare the ways to deblur a photo: the command, `Deblurrer` and the lines of the README have to agree.

    python scripts/benchmark/bench_one_way.py FOLDER [--number N] [--pixels P] [--threads T ...] [--json PATH]

The first N photos of the folder are reduced to P megapixels and written as PNG. Each is restored by `basis-blur deblur`
as a process of its own, by `Deblurrer` from an array, and by the first lines of Python in README.md, which read a file.
The table has the largest difference of each from the command with T threads, of 255 levels; all of them are to be 0.
With several T the command runs once with each, and a column tells how far their results are apart; these may differ,
since sums of floating point depend on their order. The exit code is 1 where a way differs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measure import print_table, write_json

import basis_blur as bb
from basis_blur.photos.folders import list_photos
from basis_blur.photos.formats import READ_SUFFIXES
from basis_blur.photos.reading import read_photo

README = Path(__file__).parents[2] / 'README.md'
PHOTO = 'photo.jpg'  # name of the photo in the lines of the README; its content decides its format


def lines_of_readme() -> str:
    """Return the first lines of Python in README.md."""
    found = re.search(r'```python\n(.*?)```', README.read_text(encoding='utf-8'), re.DOTALL)
    if found is None or PHOTO not in found[1]:
        raise SystemExit(f'{README} has no lines of Python that read {PHOTO}.')
    return found[1]


def reduced(path: Path, pixels: float) -> np.ndarray:
    """Return a photo of at most so many pixels, (H, W, 3) uint8 RGB."""
    levels = levels_of(read_photo(path).pixels.expand(-1, 3, -1, -1))
    factor = min(1.0, (pixels / levels[..., 0].size) ** 0.5)
    size = [max(1, round(factor * side)) for side in (levels.shape[1], levels.shape[0])]
    return levels if factor == 1 else cv2.resize(levels, size, interpolation=cv2.INTER_AREA)


def levels_of(pixels: torch.Tensor) -> np.ndarray:
    """Return (1, C, H, W) in [0, 1] as (H, W, C) uint8."""
    return np.rint(255 * pixels[0].permute(1, 2, 0).double().numpy()).astype(np.uint8)


def by_command(photo: Path, result: Path, threads: int) -> np.ndarray:
    """Return what the command makes of a file."""
    call = [sys.executable, '-m', 'basis_blur', 'deblur', str(photo), '-o', str(result), '--device', 'cpu']
    subprocess.run(call, env={**os.environ, 'OMP_NUM_THREADS': str(threads)}, check=True, capture_output=True)
    return levels_of(read_photo(result).pixels)


def by_readme(folder: Path) -> np.ndarray:
    """Return what the lines of the README make of the photo in a folder."""
    names: dict[str, Any] = {}
    with working_in(folder):
        exec(lines_of_readme(), names)
        if not Path('sharp.jpg').is_file():
            raise SystemExit('the lines of the README wrote no sharp.jpg.')
    return levels_of(names['result'].pixels)


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Change the working directory for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def apart(one: np.ndarray, other: np.ndarray) -> int:
    """Return the largest difference, levels."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def compare(photo: Path, pixels: float, threads: list[int], deblurrer: bb.Deblurrer) -> dict[str, int]:
    """Return the differences of the ways for a photo, levels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = reduced(photo, pixels)
        cv2.imwrite(str(folder / 'photo.png'), given[..., ::-1])
        (folder / 'photo.png').rename(folder / PHOTO)
        command = {many: by_command(folder / PHOTO, folder / f'{many}.png', many) for many in threads}
        first = command[threads[0]]
        return {
            'Deblurrer': apart(deblurrer(given).photo, first),
            'README': apart(by_readme(folder), first),
            **{f'{many} threads': apart(found, first) for many, found in list(command.items())[1:]},
            'changed': apart(given, first),
        }


def main() -> int:
    """Print the table; return 1 where a way differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of photos')
    parser.add_argument('--number', type=int, default=10, help='number of photos (default: 10)')
    parser.add_argument('--pixels', type=float, default=0.25, help='size of a photo, megapixels (default: 0.25)')
    parser.add_argument('--threads', type=int, nargs='+', default=[1], help='threads of the command (default: 1)')
    parser.add_argument('--json', type=Path, help='also write the figures here')
    args = parser.parse_args()
    torch.set_num_threads(args.threads[0])
    deblurrer, rows = bb.Deblurrer.pretrained(), {}
    for photo in list_photos(args.folder, READ_SUFFIXES).photos[: args.number]:
        rows[photo.name] = compare(photo, 1e6 * args.pixels, args.threads, deblurrer)
        print(photo.name, rows[photo.name], file=sys.stderr, flush=True)
    columns = list(next(iter(rows.values()), {}))
    print_table(['photo', *columns], [[name, *(str(row[key]) for key in columns)] for name, row in rows.items()])
    write_json(args.json, {'photos': rows})
    return int(any(row['Deblurrer'] or row['README'] for row in rows.values()))


if __name__ == '__main__':
    sys.exit(main())
