"""Make scenes for an IterateFusion once and keep them, so that a training need not estimate and restore them again.

    python scripts/training/fusion_scenes.py --photos train/photos.lmdb --masks train/masks.lmdb -o SCENES -n 1000

A scene is a file NUMBER.pt: {'images': (5, 3 or 1, H, W) float16, the photo, iterates 2, 3 and 4 of its restoration and
the sharp photo, sRGB-like; 'kind', 'gray', 'wrong', 'photo'}. It depends on its number and the seed only, so scenes can
be added to a folder. The kinds, each drawn as often as `KINDS` says:

    usual     noise, JPEG or neither; a quarter in no colour
    clean     neither noise nor JPEG
    linear    gamma 1
    still     most cameras and objects stood still, of photos that are enlarged
    slight    kernels of 9 pixels a side
    lamps     discs far brighter than white
    large     kernels of 65 pixels a side, estimated at half size

The blur is estimated by the shipped network. Of every eighth scene the estimate is turned by a half or a quarter, as a
wrong one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import basis_blur as bb
from basis_blur.data.synthetic_blur_dataset import SyntheticBlurDataset
from basis_blur.estimation.by_network import estimate_blur, estimate_blur_at_half_size
from basis_blur.foundation.files import atomic_path
from basis_blur.restoration.deblur import deblur_iterates

ITERATIONS = (2, 3, 4)  # iterates that are kept; 3 is that of the solver alone
GRAY, WRONG = 0.25, 0.125  # shares of scenes without colour, and of wrong estimates
USUAL: dict[str, Any] = {
    'illumination': [0.5, 1.5],
    'noise_std': [0.0, 0.02],
    'resize': [0.5, 2.0],
    'still_share': 0.15,
    'jpeg_quality': [60, 100],
    'clean_share': 0.25,
}
# What differs in a kind, and how often it is drawn.
KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    'usual': (4, {}),
    'clean': (2, {'noise_std': [0.0, 0.0], 'jpeg_quality': None, 'clean_share': 0.0}),
    'linear': (2, {'gamma': 1.0, 'noise_std': [0.0, 0.01]}),
    'still': (2, {'still_share': 0.7, 'resize': [1.0, 2.5], 'noise_std': [0.0, 0.01]}),
    'slight': (1, {'kernel_size': 9, 'noise_std': [0.0, 0.01]}),
    'lamps': (1, {'light_sources': 4}),
    'large': (1, {'kernel_size': 65, 'resize': [1.0, 2.0]}),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--photos', required=True, help='photos.lmdb of prep-lmdb, or a folder of photos')
    parser.add_argument('--masks', help='masks.lmdb beside photos.lmdb; without, scenes have no objects')
    parser.add_argument('-o', '--output', required=True, type=Path, help='folder of the scenes')
    parser.add_argument('-n', '--scenes', type=int, default=1000, help='number of scenes (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=31, help='seed of the scenes (default: %(default)s)')
    parser.add_argument('--patch-size', type=int, default=224, help='side of a scene, pixels (default: %(default)s)')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the scenes that are not there yet."""
    args = build_parser().parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    shared = {
        'phase': 'val',
        'io_backend': {'type': 'lmdb' if args.photos.rstrip('/').endswith('.lmdb') else 'disk'},
        'dataroot_gt': args.photos,
        'dataroot_masks': args.masks,
        'patch_size': args.patch_size,
        'seed': args.seed,
        'samples_per_epoch': 10**6,
    }
    datasets = {kind: SyntheticBlurDataset({**shared, **USUAL, **changed}) for kind, (_, changed) in KINDS.items()}
    net = bb.load_network('correlation_kpn')
    for number in tqdm(range(args.scenes), unit='scene', disable=None):
        path = args.output / f'{number:05}.pt'
        if not path.exists():
            with atomic_path(path) as partial:
                torch.save(scene_of(number, args.seed, datasets, net), partial)
    return 0


@torch.no_grad()
def scene_of(number: int, seed: int, datasets: dict[str, SyntheticBlurDataset], net: torch.nn.Module) -> dict[str, Any]:
    """Return what is kept of a scene; see the head of this module."""
    generator = np.random.default_rng((seed, number))
    often = np.array([share for share, _ in KINDS.values()], float)
    kind = str(generator.choice(list(KINDS), p=often / often.sum()))
    gray, wrong = generator.random() < GRAY, generator.random() < WRONG
    turns = int(generator.integers(1, 3))
    index = int(generator.integers(10**6))
    sample = datasets[kind][index]
    gamma = float(datasets[kind].opt['gamma'])
    border = datasets[kind].opt['kernel_size'] // 2
    photo, sharp = sample['lq'][None].clamp(0, 1), sample['gt'][None, :, border:-border, border:-border].clamp(0, 1)
    if gray:
        photo, sharp = photo.mean(1, keepdim=True), sharp.mean(1, keepdim=True)
    look = estimate_blur_at_half_size if kind == 'large' else estimate_blur
    field = look(net, photo, gamma)
    if wrong:
        field = bb.BlurField.unchecked(field.kernels.rot90(turns, (-2, -1)), field.mixing, removal=field.removal)
    iterates = deblur_iterates(photo, field, ITERATIONS, gamma)
    images = torch.cat([photo, iterates, sharp], 1).unflatten(1, (-1, photo.shape[1]))[0]
    return {'images': images.half(), 'kind': kind, 'gray': gray, 'wrong': wrong, 'photo': sample['key']}


if __name__ == '__main__':
    sys.exit(main())
