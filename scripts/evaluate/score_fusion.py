"""Score fusions beside the solver alone, by what they gain and by how they harm.

    python scripts/evaluate/score_fusion.py F.safetensors [MORE...] --scenes SCENES --levin DIR --photos PHOTOS... \
        --json OUT.json

For every photo the shipped network estimates the blur and the solver removes it, once; each fusion makes a photo of the
same iterates. Three parts, each left out where its option is:

    --scenes    folder of scripts/training/fusion_scenes.py, whose sharp photos are known
    --levin     DIR/{blurred,sharp} of Levin et al. 2009, gray photos of one kernel each; gamma 1
    --photos    blurred photos or folders of them, with no sharp ones; of each, the middle `--side` pixels a side

Where the sharp photo is known: the gain in PSNR over the photo, of the solver alone (3 iterations, strength 0.6) and of
each fusion, and the harm, by which a fusion is below the better of the photo and the solver alone. Scenes above 50 dB
count as 50 dB, and Levin's photos are compared at the best shift. Everywhere: the largest distance of a pixel outside
the range of the photo and the iterates, and the windows with a grid (`grid_windows`).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from records import add_record_arguments, check_output, facts_of, finite, load_fusion, run_script, table, write_record
from score_shake import aligned_psnr
from torch import Tensor, nn
from tqdm import tqdm

import basis_blur as bb
from basis_blur.estimation.estimators import NetworkEstimator
from basis_blur.field.removal import ESTIMATED_ITERATIONS, ESTIMATED_STRENGTH
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.photos.formats import SUFFIXES
from basis_blur.photos.reading import read_photo
from basis_blur.restoration.deblur import deblur_iterates
from basis_blur.restoration.fusion import fuse

SCENES, LEVIN, PHOTOS = 'scenes', 'levin', 'photos'
LEAST_ERROR = 1e-5  # mean square error that is added to each, 50 dB
HARM = 0.3  # harm that counts, dB
WINDOW = 32  # side of a window in which a grid is looked for, pixels
CELL = 4  # period of the grid, pixels
LEAST_GRID = 1 / 255  # standard deviation of what has that period, from which on it can be seen
OVER_OTHERS = 2.0  # factor of it over that in the photo and each iterate
OVER_AROUND = 10.0  # factor of its power over that of the frequencies around


class Case(NamedTuple):
    """A photo with its iterates.

    Args:
        part: one of 'scenes', 'levin', 'photos'.
        name: name of the photo.
        kind: what it is counted among, within its part.
        photo: (1, C, H, W).
        iterates: iterates by their numbers, each in the shape of the photo.
        sharp: the sharp photo, or None.
    """

    part: str
    name: str
    kind: str
    photo: Tensor
    iterates: dict[int, Tensor]
    sharp: Tensor | None


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('fusions', nargs='+', type=Path, metavar='F', help='weights of an IterateFusion')
    parser.add_argument('--scenes', type=Path, help='folder of fusion_scenes.py')
    parser.add_argument('--levin', type=Path, metavar='DIR', help='folder of blurred/ and sharp/')
    parser.add_argument('--photos', type=Path, nargs='+', default=[], help='blurred photos or folders of them')
    parser.add_argument(
        '--side', type=int, default=512, help='largest side of what is scored of a photo (default: 512)'
    )
    add_record_arguments(parser)
    return parser


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> int:
    """Score all photos, print the table, write the record."""
    args = build_parser().parse_args(arguments)
    check_output(args.json, ['.json'], args.overwrite)
    nets = {str(path): load_fusion(path, 'cpu') for path in args.fusions}
    kept = sorted({ESTIMATED_ITERATIONS, *(number for net in nets.values() for number in net.iterations)})
    rows = []
    for case in tqdm(cases(args, kept), unit='photo', disable=None):
        scores = {str(number): scores_of(nets[path], case) for number, path in enumerate(nets, 1)}
        alone = torch.lerp(case.photo, case.iterates[ESTIMATED_ITERATIONS], ESTIMATED_STRENGTH)
        row: dict[str, Any] = {'part': case.part, 'name': case.name, 'kind': case.kind}
        if case.sharp is not None:
            row |= {'photo': psnr_of(case, case.photo), 'solver': psnr_of(case, alone)}
        rows.append({**row, 'fusions': scores})
    summary = summary_of(rows, len(nets))
    print(text_of(summary, list(nets)))
    if args.json is not None:
        record = {
            'kind': 'fusion',
            'weights': [facts_of(path, nets[str(path)]) for path in args.fusions],
            'config': {'side': args.side, 'harm': HARM, 'least_grid': LEAST_GRID, 'window': WINDOW},
            'means': summary,
            'photos': rows,
        }
        write_record(args.json, record, 'photos')
    return 0


def cases(args: argparse.Namespace, kept: Sequence[int]) -> Iterator[Case]:
    """Yield the photos of all parts."""
    if args.scenes is not None:
        for path in sorted(args.scenes.glob('*.pt')):
            found = torch.load(path, weights_only=True)
            photo, *iterates, sharp = found['images'].float().split(1)
            kind = found['kind'] + ' gray' * found['gray'] + ' wrong' * found['wrong']
            yield Case(SCENES, path.stem, kind, photo, dict(zip((2, 3, 4), iterates, strict=True)), sharp)
    net = bb.load_network('correlation_kpn') if args.levin or args.photos else None
    if args.levin is not None:
        for path in sorted((args.levin / 'blurred').glob('*.png')):
            match = re.match(r'(im\d+)_kernel\d+', path.name)
            if match is None:
                raise InputError(f'{path} is not named like im1_kernel1_img.png; give the folder of Levin et al.')
            sharp = read_photo(args.levin / 'sharp' / f'{match[1]}.png').pixels
            photo = read_photo(path).pixels
            yield case_of(LEVIN, path.stem, gray(photo), net, kept, 1.0, gray(sharp))
    for folder in args.photos:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES) if folder.is_dir() else [folder]
        for path in paths:
            yield case_of(PHOTOS, path.stem, middle(read_photo(path).pixels, args.side), net, kept, GAMMA, None)


def case_of(
    part: str, name: str, photo: Tensor, net: nn.Module | None, kept: Sequence[int], gamma: float, sharp: Tensor | None
) -> Case:
    """Return a photo with the iterates of its restoration by the blur that a network estimates."""
    field = NetworkEstimator(net)(photo, gamma).field
    iterates = deblur_iterates(photo, field, kept, gamma).split(photo.shape[1], 1)
    return Case(part, name, part, photo, dict(zip(kept, iterates, strict=True)), sharp)


def gray(photo: Tensor) -> Tensor:
    """Return the mean of the colours of a photo, which are all the same."""
    return photo.mean(1, keepdim=True)


def middle(photo: Tensor, side: int) -> Tensor:
    """Return the middle of a photo, at most `side` pixels a side."""
    top, left = (max(0, size - side) // 2 for size in photo.shape[-2:])
    return photo[..., top : top + side, left : left + side]


def scores_of(net: Any, case: Case) -> dict[str, float]:
    """Return the scores of a fusion on a photo."""
    iterates = [case.iterates[number] for number in net.iterations]
    fused = fuse(net, case.photo, torch.cat(iterates, 1))
    images = torch.stack([case.photo, *iterates])
    outside = torch.maximum(images.amin(0) - fused, fused - images.amax(0)).amax().clamp_min(0).item()
    with_grid, windows = grid_windows(fused, [case.photo, *case.iterates.values()])
    found = {'outside': finite(outside), 'with_grid': with_grid, 'windows': windows}
    return found if case.sharp is None else {'psnr': psnr_of(case, fused), **found}


def psnr_of(case: Case, image: Tensor) -> float:
    """Return the PSNR of an image of a case, at most 50 dB; of Levin's at the best shift."""
    assert case.sharp is not None
    if case.part == LEVIN:
        return finite(aligned_psnr(image, case.sharp))
    return finite(-10 * ((image - case.sharp).square().mean() + LEAST_ERROR).log10().item())


def grid_windows(fused: Tensor, others: Sequence[Tensor]) -> tuple[int, int]:
    """Return the number of windows of a photo with a grid of a period of 4 pixels, and the number of all windows.

    A window has a grid if the power at the frequencies i/4, j/4 of what the fusion changed (but for that at 0) has the
    standard deviation `LEAST_GRID`, is `OVER_AROUND` times that of frequencies beside these, and if the deviation in
    the fused photo is `OVER_OTHERS` times that in each of the others, in which the scene or JPEG may have made it.

    Args:
        fused: (1, C, H, W).
        others: the photo, first, and its iterates.
    """
    changed, around = grid_power(fused - others[0])
    own = grid_power(fused)[0]
    of_others = torch.stack([grid_power(image)[0] for image in others]).amax(0)
    found = (changed.sqrt() >= LEAST_GRID) & (changed >= OVER_AROUND * around)
    found &= own >= OVER_OTHERS**2 * of_others
    return int(found.sum()), found.numel()


def grid_power(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the power at the frequencies of a grid in each window of the mean of the colours, and that beside them.

    Args:
        image: (1, C, H, W); windows that its sides do not fill are left out.
    """
    tiles = image.mean((0, 1)).unfold(0, WINDOW, WINDOW // 2).unfold(1, WINDOW, WINDOW // 2)
    hann = torch.hann_window(WINDOW, dtype=tiles.dtype)
    hann = hann[:, None] * hann
    spectrum = torch.fft.fft2((tiles - tiles.mean((-2, -1), keepdim=True)) * hann).abs().square()
    step = WINDOW // CELL
    offsets = [(i, j) for i in (-2, 0, 2) for j in (-2, 0, 2) if (i, j) != (0, 0)]
    beside = torch.stack([spectrum.roll((i, j), (-2, -1))[..., ::step, ::step] for i, j in offsets]).median(0).values
    # The power of a wave of unit deviation is in its peak and, by the window, beside it: the peak has (sum of hann)^2.
    scale = hann.sum().square()
    at = [each.flatten(-2)[..., 1:].sum(-1) / scale for each in (spectrum[..., ::step, ::step], beside)]
    return at[0], at[1]


def summary_of(rows: Sequence[dict[str, Any]], number: int) -> dict[str, Any]:
    """Return, for each part and kind, means of gains and harm; counts of windows and the largest distance outside."""
    summary: dict[str, Any] = {}
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for name in dict.fromkeys((row['part'], f'{row["part"]}: {row["kind"].split()[0]}')):
            groups.setdefault(name, []).append(row)
    for name, group in groups.items():
        entry: dict[str, Any] = {'photos': len(group)}
        known = 'photo' in group[0]
        if known:
            entry['photo'] = mean(row['photo'] for row in group)
            entry['solver'] = gains([row['solver'] - row['photo'] for row in group])
        for fusion in map(str, range(1, number + 1)):
            scores = [row['fusions'][fusion] for row in group]
            entry[fusion] = {
                'outside': max(score['outside'] for score in scores),
                'with_grid': sum(score['with_grid'] for score in scores),
                'windows': sum(score['windows'] for score in scores),
                'photos_with_grid': sum(score['with_grid'] > 0 for score in scores),
            }
            if known:
                over = [s['psnr'] - max(row['photo'], row['solver']) for row, s in zip(group, scores, strict=True)]
                entry[fusion] |= gains([s['psnr'] - row['photo'] for row, s in zip(group, scores, strict=True)])
                entry[fusion] |= {'harmed': sum(each < -HARM for each in over), 'most_harm': finite(min(over))}
        summary[name] = entry
    return summary


def gains(values: Sequence[float]) -> dict[str, float]:
    """Return the mean, the smallest, and the number below 0 of some gains."""
    return {'gain': mean(values), 'worst': finite(min(values)), 'lose': sum(each < 0 for each in values)}


def mean(values: Any) -> float:
    """Return the mean of some numbers."""
    values = list(values)
    return finite(sum(values) / len(values))


def text_of(summary: dict[str, Any], names: Sequence[str]) -> str:
    """Return the summary as a table of text."""
    header = ['', 'photos', 'PSNR', 'gain', 'worst', 'lose', 'harmed', 'most harm', 'outside', 'with grid', 'windows']
    lines = []
    for name, entry in summary.items():
        shown = {'solver': entry.get('solver'), **{path: entry[str(i)] for i, path in enumerate(names, 1)}}
        for label, row in shown.items():
            if row is None:
                continue
            cells = [f'{row[key]:{form}}' if key in row else '' for key, form in FORMS.items()]
            start = [str(entry['photos']), f'{entry["photo"]:.2f}' if 'photo' in entry else '']
            lines.append([f'{name}, {Path(label).stem}', *start, *cells])
    return table(header, lines)


FORMS = {  # formats of the columns of the table
    'gain': '+.3f', 'worst': '+.2f', 'lose': 'd', 'harmed': 'd', 'most_harm': '+.2f', 'outside': '.4f',
    'with_grid': 'd', 'windows': 'd',
}  # fmt: skip


if __name__ == '__main__':
    sys.exit(run_script(main))
