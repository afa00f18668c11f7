"""Figures: the restoration of [C21] as printed (`--method rl-c21`) and `deblur`, on the same ten fields.

    python scripts/benchmark/bench_as_printed.py [--json PATH]

Scenes: photos of scikit-image that no setting was chosen on, 256 px, as in bench_restoration.py: three blurred by one
kernel, four by smooth fields of 25 camera-shake kernels, three by fields of four objects; gamma 1 and 2.2, noise of
0.002 to 0.01, three with a part of the scene far beyond white. Each is restored with the true field, and with the field
that the shipped network estimates; `deblur` has its defaults for either. The shortcut is that of bench_restoration.py:
30 iterations with flipped kernels in place of the transpose. PSNR in sRGB over the whole photo; seed 0. No claim is
made, so nothing can fail.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean

import torch
from bench_restoration import (
    HELD_OUT,
    KERNEL_SIZE,
    PHOTOS,
    SIZE,
    make_scene,
    object_field,
    shortcut,
    smooth_field,
)
from measure import print_table, write_json

import basis_blur as bb
from basis_blur.metrics.psnr import psnr
from basis_blur.photos.reading import read_photo
from basis_blur.restoration.as_printed import deblur_as_printed

CASES = (  # field, gamma, noise, saturated
    ('one kernel', 1.0, 0.002, False), ('one kernel', 2.2, 0.005, False), ('one kernel', 2.2, 0.004, True),
    ('smooth', 1.0, 0.005, False), ('smooth', 2.2, 0.002, False), ('smooth', 2.2, 0.01, False),
    ('smooth', 2.2, 0.004, True), ('objects', 1.0, 0.005, False), ('objects', 2.2, 0.005, False),
    ('objects', 1.0, 0.004, True),
)  # fmt: skip
COLUMNS = (
    'blurred', 'as printed', 'iterations', 'shortcut', 'deblur',
    'estimated: as printed', 'estimated: shortcut', 'estimated: deblur',
)  # fmt: skip


def one_kernel(size: int, seed: int) -> bb.BlurField:
    """The same camera-shake kernel everywhere."""
    return bb.BlurField(torch.from_numpy(bb.shake_kernels(1, KERNEL_SIZE, seed))[None], torch.ones(1, 1, size, size))


def scores_of(number: int, net: torch.nn.Module) -> dict[str, float]:
    """Return the PSNR of what is made of a scene, by the names in COLUMNS."""
    kind, gamma, noise, saturated = CASES[number]
    maker = {'one kernel': one_kernel, 'smooth': smooth_field, 'objects': object_field}[kind]
    photo = read_photo(PHOTOS / HELD_OUT[number % len(HELD_OUT)]).pixels
    photo = photo.expand(-1, 3, -1, -1) if photo.shape[1] == 1 else photo
    true = maker(SIZE, number)
    blurred, sharp = make_scene(photo, true, gamma, noise, saturated, number)
    scores, steps = {'blurred': psnr(blurred, sharp).item()}, []
    for name, field in (('', true), ('estimated: ', bb.estimate_blur(net, blurred, gamma))):
        printed = deblur_as_printed(blurred, field, gamma=gamma, callback=steps.append)
        scores[f'{name}as printed'] = psnr(printed, sharp).item()
        if not name:
            scores['iterations'] = float(steps[-1])
        scores[f'{name}shortcut'] = psnr(shortcut(blurred, field, gamma, direct=False), sharp).item()
        scores[f'{name}deblur'] = psnr(bb.deblur(blurred, field, gamma), sharp).item()
    return scores


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', type=Path, help='also write the figures here')
    args = parser.parse_args()
    net = bb.load_network('correlation_kpn')
    with torch.no_grad():
        rows = [scores_of(number, net) for number in range(len(CASES))]
    rows.append({key: mean(row[key] for row in rows) for key in COLUMNS})
    names = [', '.join((kind, f'gamma {gamma:g}', f'noise {noise:g}', *(['saturated'] if saturated else [])))
             for kind, gamma, noise, saturated in CASES]  # fmt: skip
    print_table(
        ['field', *COLUMNS],
        [
            [name, *(f'{row[key]:.0f}' if key == 'iterations' else f'{row[key]:.2f}' for key in COLUMNS)]
            for name, row in zip([*names, 'mean'], rows, strict=True)
        ],
    )
    write_json(args.json, {'scenes': rows[:-1], 'mean': rows[-1]})
    return 0


if __name__ == '__main__':
    sys.exit(main())
