"""Score networks on synthetic scenes whose blur is known  [C21, Alg. 1], beside trivial estimates and the true field.

    python scripts/evaluate/score_synthetic.py --photos val/photos.lmdb --masks val/masks.lmdb W.safetensors --json OUT

Scenes: SyntheticBlurDataset, phase val: each depends on the seed and its number only. Every estimate of a scene's blur

    true    the blur that made the scene: the ceiling
    delta   no blur: the same delta kernel everywhere
    mean    the mean of many camera-shake kernels of another seed, everywhere
    W       the field that `estimate_blur` returns for the blurred photo, one for each weights file; for a UFPNet, its
            kernels and its restored photo
    W + F   the same, and with --fusion, `deblur` with that network

is scored by the kernel errors of `metrics.kernel` (grid of 8 pixels, means over it), by the PSNR of the scene blurred
again by it against the blurred photo, and by PSNR and SSIM of `deblur` against the sharp scene, clipped to what a photo
can show; for W with the settings that it has for an estimated blur. The blurred photo itself is scored too. Photos are
not rounded to 8 bits.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from records import (
    add_record_arguments,
    check_output,
    facts_of,
    finite,
    load_fusion,
    load_scored,
    means_of,
    run_script,
    table,
    write_record,
)
from torch import Tensor, nn
from tqdm import tqdm

import basis_blur as bb
from basis_blur.archs.network_facts import ESTIMATOR, RESTORER
from basis_blur.cli.estimation import gamma as gamma_argument
from basis_blur.data.segmentation import FORMS
from basis_blur.data.synthetic_blur_dataset import SyntheticBlurDataset
from basis_blur.estimation.estimators import KnownField
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.metrics.aligned import plain_score
from basis_blur.metrics.kernel import field_errors
from basis_blur.metrics.reblur import reblur_psnr

TRUE, DELTA, MEAN, BLURRED = 'true', 'delta', 'mean', 'blurred'
MEAN_KERNELS = 10_000  # number of kernels of which the mean kernel is made
MEAN_SEED = 20_000_000  # their seed; scenes and training data are drawn from other generators
COLUMNS = {
    'kernel_l1': ('kernel L1', '.3f'),
    'kernel_l2': ('kernel L2', '.4f'),
    'kernel_correlation': ('correlation', '.3f'),
    'reblur_psnr': ('reblur PSNR', '.2f'),
    'psnr': ('restored PSNR', '.2f'),
    'ssim': ('restored SSIM', '.4f'),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', nargs='*', type=Path, metavar='W', help='weights files; without, the baselines only')
    parser.add_argument('--fusion', type=Path, metavar='F', help='weights of an IterateFusion, for each W but UFPNets')
    parser.add_argument('--photos', required=True, help='photos.lmdb of prep-lmdb, or a folder of photos')
    parser.add_argument('--masks', help='masks.lmdb, or a folder of masks; without, scenes have no objects')
    parser.add_argument('--mask-format', choices=FORMS, help='format of a folder of masks')
    parser.add_argument('--scenes', type=int, default=100, metavar='N', help='number of scenes (default: 100)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the scenes (default: 0)')
    parser.add_argument('--patch-size', type=int, default=256, help='side of a scene, pixels (default: 256)')
    parser.add_argument('--kernel-size', type=int, default=33, help='side of the true kernels, pixels (default: 33)')
    parser.add_argument('--max-objects', type=int, default=3, help='largest number of objects in a scene (default: 3)')
    parser.add_argument(
        '--gamma', type=gamma_argument, default=GAMMA, help='light = photo ** gamma (default: %(default)s)'
    )
    parser.add_argument(
        '--noise', type=float, default=0.0, help='standard deviation of noise in linear light (default: 0)'
    )
    parser.add_argument(
        '--mean-kernels',
        type=int,
        default=MEAN_KERNELS,
        help=f'number of kernels in the mean (default: {MEAN_KERNELS})',
    )
    parser.add_argument('--device', default='cpu', help='device that computes (default: cpu)')
    add_record_arguments(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Score all scenes, print the table, write the record."""
    args = build_parser().parse_args(arguments)
    check_output(args.json, ['.json'], args.overwrite)
    if args.mean_kernels < 1:
        raise InputError(f'--mean-kernels is {args.mean_kernels}, expected at least 1.')
    nets = {path.name: load_scored(path, args.device) for path in args.weights}
    check_networks(args.weights, nets, args.kernel_size)
    fusion = load_fusion(args.fusion, args.device)
    dataset = SyntheticBlurDataset(options_of_scenes(args))
    trivial = trivial_kernels(args.kernel_size, args.mean_kernels)
    scenes = []
    for number in tqdm(range(len(dataset)), unit='scene', disable=None):
        sample = dataset[number]
        scenes.append({'scene': number, 'photo': sample['key'], **score_scene(sample, nets, fusion, trivial, args)})
    estimators = [name for name, net in nets.items() if net.facts.kind == ESTIMATOR]
    fused = [fused_name(name, args.fusion) for name in estimators] if fusion is not None else []
    means = {name: means_of(scene[name] for scene in scenes) for name in (BLURRED, TRUE, DELTA, MEAN, *nets, *fused)}
    print(f'{len(scenes)} scenes of {args.patch_size} pixels a side, seed {args.seed}; means')
    print(table_of(means))
    if args.json is not None:
        record = {
            'kind': 'synthetic',
            'weights': [facts_of(path, nets[path.name]) for path in args.weights]
            + ([] if fusion is None else [facts_of(args.fusion, fusion)]),
            'config': {
                'photos': len({scene['photo'] for scene in scenes}),
                'masks': args.masks is not None,
                **{key: getattr(args, key) for key in ('scenes', 'seed', 'patch_size', 'kernel_size', 'max_objects')},
                **{key: getattr(args, key) for key in ('gamma', 'noise', 'mean_kernels')},
                'mean_seed': MEAN_SEED,
            },
            'means': means,
            'scenes': scenes,
        }
        write_record(args.json, record, 'scenes')
    return 0


def check_networks(paths: Sequence[Path], nets: dict[str, nn.Module], kernel_size: int) -> None:
    """Raise InputError for two files of one name, and for kernels larger than the true ones."""
    twice = [name for name, count in Counter(path.name for path in paths).items() if count > 1]
    if twice:
        raise InputError(f'{twice[0]} is given more than once; give each weights file a name of its own.')
    for name, net in nets.items():
        own = net.hyper_parameters['kernel_size']
        if own > kernel_size:
            raise InputError(
                f'the kernels of {name} have {own} pixels a side and those of the scenes {kernel_size}; '
                f'give --kernel-size {own}.'
            )


def options_of_scenes(args: argparse.Namespace) -> dict[str, Any]:
    """Return the section of an option file that describes the scenes."""
    return {
        'phase': 'val',
        'dataroot_gt': args.photos,
        'dataroot_masks': args.masks,
        'mask_format': args.mask_format,
        'io_backend': {'type': 'lmdb' if str(args.photos).rstrip('/').endswith('.lmdb') else 'disk'},
        'kernel_size': args.kernel_size,
        'patch_size': args.patch_size,
        'max_objects': args.max_objects,
        'gamma': args.gamma,
        'noise_std': [args.noise, args.noise],
        'seed': args.seed,
        'samples_per_epoch': args.scenes,
    }


def trivial_kernels(kernel_size: int, count: int) -> dict[str, Tensor]:
    """Return the kernels (K, K) of the trivial estimates; float32."""
    delta = torch.zeros(kernel_size, kernel_size, dtype=torch.float32)
    delta[kernel_size // 2, kernel_size // 2] = 1
    mean = torch.from_numpy(bb.shake_kernels(count, kernel_size, MEAN_SEED)).double().mean(0).float()
    return {DELTA: delta, MEAN: mean / mean.sum()}


@torch.no_grad()
def score_scene(
    sample: dict[str, Any],
    nets: dict[str, nn.Module],
    fusion: nn.Module | None,
    trivial: dict[str, Tensor],
    args: argparse.Namespace,
) -> dict[str, dict[str, float]]:
    """Return the scores of the blurred photo and of every estimate of its blur."""
    photo, scene, kernels, mixing = (sample[key][None].to(args.device) for key in ('lq', 'gt', 'kernels', 'mixing'))
    true_field = bb.BlurField.unchecked(kernels, mixing)
    radius = true_field.kernel_size // 2
    sharp = scene[..., radius:-radius, radius:-radius].clamp(0, 1)
    fields = {TRUE: true_field}
    for name, kernel in trivial.items():
        fields[name] = bb.BlurField.unchecked(kernel.to(photo)[None, None], torch.ones_like(photo[:, :1]))
    restorers = {name: net for name, net in nets.items() if net.facts.kind == RESTORER}
    estimators = {name: net for name, net in nets.items() if name not in restorers}
    for name, net in estimators.items():
        fields[name] = amid_zeros(bb.estimate_blur(net, photo, args.gamma), true_field.kernel_size)
    scores = {BLURRED: photo_scores(photo, sharp)}
    for name, field in fields.items():
        errors = {key: finite(value.item()) for key, value in field_errors(field, true_field).items()}
        again = finite(reblur_psnr(field, scene, photo, args.gamma).item())
        scores[name] = {**errors, 'reblur_psnr': again, **photo_scores(restored(photo, field, args.gamma), sharp)}
        if fusion is not None and name in estimators:
            fused = restored(photo, field, args.gamma, fusion)
            scores[fused_name(name, args.fusion)] = photo_scores(fused, sharp)
    for name, net in restorers.items():
        found = net(photo)
        scores[name] = photo_scores(found.image, sharp)
        if found.pixel_kernels is not None:
            own = bb.PixelField(found.pixel_kernels)
            errors, again = field_errors(own, true_field), reblur_psnr(own, scene, photo, pixel_gamma=args.gamma)
            scores[name] |= {key: finite(value.item()) for key, value in errors.items()}
            scores[name]['reblur_psnr'] = finite(again.item())
    return scores


def restored(photo: Tensor, field: bb.BlurField, gamma: float, fusion: nn.Module | None = None) -> Tensor:
    """Return what a Deblurrer makes of a photo whose blur is told, with a fusion or without."""
    settings = bb.DeblurSettings(gamma, fusion=fusion is not None)
    return bb.Deblurrer(KnownField(field), settings, fusion, device=str(photo.device))(photo).photo


def fused_name(name: str, fusion: Path) -> str:
    """Return what the row of an estimate is called whose restoration a network makes of iterates."""
    return f'{name} + {fusion.name}'


def amid_zeros(field: bb.BlurField, kernel_size: int) -> bb.BlurField:
    """Return the same field with kernels in a larger frame."""
    border = (kernel_size - field.kernel_size) // 2
    return bb.BlurField.unchecked(F.pad(field.kernels, [border] * 4), field.mixing, removal=field.removal)


def photo_scores(photo: Tensor, sharp: Tensor) -> dict[str, float]:
    """Return PSNR and SSIM of a photo."""
    score = plain_score(photo, sharp)
    return {'psnr': finite(score.psnr), 'ssim': finite(score.ssim)}


def table_of(means: dict[str, dict[str, float]]) -> str:
    """Return the means as a table of text, one row for each estimate."""
    rows = [
        [name, *(f'{row[key]:{form}}' if key in row else '' for key, (_, form) in COLUMNS.items())]
        for name, row in means.items()
    ]
    return table(['', *(title for title, _ in COLUMNS.values())], rows)


if __name__ == '__main__':
    sys.exit(run_script(main))
