"""Score estimators of kernels, and UFPNets, on blurred photos that were kept out of a training without sharp ones.

    python scripts/evaluate/score_unseen.py DIR W.safetensors [W2.safetensors ...] --json OUT.json

DIR is a folder of hand_shakes.py, whose sharp photos and blurs are known, or one of "basis-blur prep-guesses", where
guesses stand for the sharp photos and a pixel counts by its trust; those with a mean trust below --least-trust are left
out. Scores, means over the photos:

    reblur       PSNR of the sharp photo, blurred with the estimated kernels, and the blurred one, dB
    aligned      the same at the best shift of two pixels at most, since a photo does not tell where its scene lies;
                 where the blur is known
    correlation  of the estimated and the true kernels, see `metrics.kernel`; where these are known
    gain         PSNR of the restored photo minus that of the blurred one, dB; of a UFPNet
    worst        the smallest gain
    lose         number of photos whose gain is below -0.05 dB

W is a LatentKernelNet, a UFPNet, or another estimator of fields. With guesses, 'gain' says how much nearer the restored
photo is to the guess, which is no sharp photo.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from records import add_record_arguments, check_output, facts_of, finite, run_script, table, write_record
from score_shake import aligned_psnr
from torch import Tensor, nn
from tqdm import tqdm

import basis_blur as bb
from basis_blur.archs.latent_kernel_arch import LatentKernels
from basis_blur.archs.network_facts import PHOTO
from basis_blur.archs.network_facts import facts_of as facts_of_network
from basis_blur.data.guesses import BLURRED, GuessFiles, names_in, read_told
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.losses.self_supervised_objective import estimate_of
from basis_blur.metrics.kernel import field_errors
from basis_blur.metrics.reblur import reblurred
from basis_blur.photos.reading import read_photo

REACH = 2  # largest shift, pixels
LOSS = -0.05  # gain below which a photo loses, dB


class Unseen(NamedTuple):
    """A blurred photo, its sharp one or a guess of it, trust in each pixel of that, and the true blur where known."""

    name: str
    blurred: Tensor
    sharp: Tensor
    trust: Tensor
    field: bb.BlurField | None


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, metavar='DIR', help='folder of hand_shakes.py or of prep-guesses')
    parser.add_argument('weights', type=Path, nargs='+', metavar='W', help='weights of networks')
    parser.add_argument('--number', type=int, metavar='N', help='photos that are scored (default: all)')
    parser.add_argument('--least-trust', type=float, default=0.05, help='of guesses (default: 0.05)')
    add_record_arguments(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Score all networks, print the table and write the record."""
    args = build_parser().parse_args(arguments)
    check_output(args.json, ['.json'], args.overwrite)
    if len({path.stem for path in args.weights}) < len(args.weights):
        raise InputError('two of the weights have one name; rename one, so that the record can tell them apart.')
    nets = {path.stem: bb.load_network(path).eval() for path in args.weights}
    rows = []
    photos = list(unseen(args.folder, args.least_trust))[: args.number]
    for photo in tqdm(photos, unit='photo', disable=None):
        rows.append({'photo': photo.name, **{name: scored(net, photo) for name, net in nets.items()}})
    means = {name: means_of([row[name] for row in rows]) for name in nets}
    header = ('network', 'reblur', 'aligned', 'correlation', 'gain', 'worst', 'lose')
    print(table(header, [[name, *(str(means[name].get(key, '')) for key in header[1:])] for name in nets]))
    if args.json is not None:
        weights = [facts_of(path, nets[path.stem]) for path in args.weights]
        config = {'folder': args.folder.name, 'number': len(rows), 'least_trust': args.least_trust}
        record = {'kind': 'score_unseen', 'weights': weights, 'config': config, 'means': means, 'photos': rows}
        write_record(args.json, record, 'photos')
    return 0


def unseen(folder: Path, least_trust: float) -> Iterator[Unseen]:
    """Yield the photos of a folder in the order of their names.

    Raises:
        InputError: there is none.
    """
    fields = folder / 'fields'
    if not fields.is_dir():
        for name in names_in(folder):
            files = GuessFiles.of(folder, name)
            if read_told(files.told)['mean_trust'] >= least_trust:
                blurred, guess, trust = (read_photo(path).pixels for path in files[:3])
                yield Unseen(name, blurred, guess, trust, None)
        return
    names = sorted(path.stem for path in fields.glob('*.npz'))
    if not names:
        raise InputError(f'{fields} holds no fields, expected a folder of hand_shakes.py.')
    for name in names:
        blurred, sharp = (read_photo(folder / kind / f'{name}.png').pixels for kind in (BLURRED, 'sharp'))
        yield Unseen(name, blurred, sharp, torch.ones_like(blurred[:, :1]), bb.BlurField.load(fields / f'{name}.npz'))


@torch.no_grad()
def scored(net: nn.Module, photo: Unseen) -> dict[str, float]:
    """Return the scores of a network on a photo."""
    scores: dict[str, float] = {}
    if facts_of_network(net).returns == PHOTO:
        before = trusted_psnr(photo.blurred, photo.sharp, photo.trust)
        found = bb.restore(net, photo.blurred)
        return {'gain': finite(trusted_psnr(found, photo.sharp, photo.trust) - before)}
    estimate: Any = estimate_of(net, photo.blurred, GAMMA)
    blur = bb.PixelField(estimate.pixel_kernels) if isinstance(estimate, LatentKernels) else estimate
    radius = blur.kernel_size // 2
    inside = (..., slice(radius, -radius), slice(radius, -radius))
    again = reblurred(blur, photo.sharp, GAMMA, GAMMA)
    scores['reblur'] = finite(trusted_psnr(again[inside], photo.blurred[inside], photo.trust[inside]))
    if photo.field is not None:
        scores['aligned'] = finite(aligned_psnr(again, photo.blurred, REACH))
        scores['correlation'] = finite(field_errors(blur, photo.field)['kernel_correlation'].item())
    return scores


def trusted_psnr(photo: Tensor, truth: Tensor, trust: Tensor) -> float:
    """Return the PSNR over the pixels of a photo, each weighted by its trust, dB."""
    squares = (trust * (photo - truth).square()).sum() / (trust.sum().clamp_min(1e-9) * photo.shape[1])
    return -10 * torch.log10(squares.clamp_min(1e-10)).item()


def means_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the means of the scores, the smallest gain, and how many photos lose."""
    means = {key: finite(sum(row[key] for row in rows) / len(rows)) for key in (rows[0] if rows else ())}
    if 'gain' in means:
        gains = [row['gain'] for row in rows]
        means |= {'worst': min(gains), 'lose': sum(gain < LOSS for gain in gains)}
    return means


if __name__ == '__main__':
    sys.exit(run_script(main))
