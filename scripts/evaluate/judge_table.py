"""Make the table from which the judge of estimates is fitted: what is known of each estimate, and what it gains.

    python scripts/evaluate/judge_table.py simulated PHOTOS --lines OUT.jsonl [--objects PHOTOS MASKS FORMAT]
    python scripts/evaluate/judge_table.py levin DIR --lines OUT.jsonl
    python scripts/evaluate/judge_table.py pairs DIR --lines OUT.jsonl

A line of JSON is appended for each scene, so the script can be stopped and begun again at any time; scenes that are
there already are skipped. `fit_judge.py` reads the lines.

Sets: `levin` is that of `score_shake.py`; `pairs` are photos DIR/blur/NAME and DIR/sharp/NAME. `simulated` draws, for
each number of a scene, a kind and what happened to the photo:

    uniform   one simulated shake for the whole photo, kernels of 9 to 45 pixels
    roll      the same with a roll, or with rotations about three axes
    objects   objects that move on their own (`SyntheticBlurDataset`), photos and masks of `--objects`
    near      nearly sharp: kernels made smaller
    sharp     no blur at all

    side 176 to 256 pixels; gamma 2.2 or 1, sometimes another than the one that is told; noise 0 to 0.02; often JPEG of
    quality 70 to 97, sometimes gray, sometimes with lights brighter than white

The estimates of a scene are those that `--estimator auto` chooses among: the kernel of the search, where `auto`
searches, and the field of the network, restored with and without fusion. Rolls are not looked for. Their gains are
those of `score_shake.py`: PSNR at the best shift over that of the blurred photo; for `pairs` by RealBlur's protocol.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from records import finite, run_script
from score_shake import aligned_psnr, levin, photo_files, rolling, turning, uniform
from torch import Tensor
from tqdm import tqdm

import basis_blur as bb
from basis_blur.data.synthetic_blur_dataset import SyntheticBlurDataset
from basis_blur.estimation import choice
from basis_blur.estimation.estimate import Estimate
from basis_blur.estimation.estimators import NetworkEstimator
from basis_blur.estimation.judge import evidence_of
from basis_blur.estimation.shake.consistency import consistency
from basis_blur.estimation.shake.kernels import on_canvas, spread
from basis_blur.estimation.shake.search import estimate_shake, gray_light, network_start
from basis_blur.foundation.errors import InputError
from basis_blur.metrics.aligned import realblur_score
from basis_blur.photos.reading import read_photo
from basis_blur.restoration.deblur import deblur_iterates
from basis_blur.restoration.fusion import fuse
from basis_blur.restoration.settings import step_towards

KINDS = {'uniform': 0.55, 'roll': 0.14, 'objects': 0.18, 'near': 0.11, 'sharp': 0.02}  # shares of the scenes
KERNEL_SIZES = (9, 15, 21, 25, 33, 33, 45)
SIDES = (176, 257)  # range of a side, pixels


class Scene(NamedTuple):
    """A blurred photo, its sharp one, the gamma that the estimators are told, and what was drawn."""

    name: str
    photo: str
    kind: str
    blurred: Tensor
    sharp: Tensor
    gamma: float
    drawn: dict[str, Any]


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('set', choices=('simulated', 'levin', 'pairs'), help='set of scenes')
    parser.add_argument('photos', type=Path, nargs='+', metavar='PHOTOS', help='sharp photos or folders, or DIR')
    parser.add_argument('--lines', type=Path, required=True, metavar='OUT.jsonl', help='file to which lines are added')
    parser.add_argument(
        '--objects', nargs=3, action='append', default=[], metavar=('PHOTOS', 'MASKS', 'FORMAT'), help='for objects'
    )
    parser.add_argument('--number', type=int, default=300, metavar='N', help='simulated scenes (default: 300)')
    parser.add_argument('--kind', choices=tuple(KINDS), help='draw scenes of this kind only')
    parser.add_argument('--seed', type=int, default=0, help='seed of the scenes (default: 0)')
    parser.add_argument(
        '--searched',
        action='store_true',
        help='pass over scenes in which the network sees so little blur that none is removed',
    )
    parser.add_argument('--keep', type=Path, metavar='DIR', help='also keep the photos and kernels of each scene here')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Estimate and score all scenes that have no line yet."""
    args = build_parser().parse_args(arguments)
    lines = args.lines.read_text().splitlines() if args.lines.exists() else []
    done = {json.loads(line)['scene'] for line in lines}
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
    makers = Makers(bb.load_network('correlation_kpn'), bb.load_network('iterate_fusion'))
    for scene in tqdm(scenes_of(args, done), unit='scene', disable=None):
        began = time.perf_counter()
        if args.searched and is_small(scene, makers):
            continue
        row, kept = scored(scene, makers, scene.kind == 'pairs')
        row['seconds'] = round(time.perf_counter() - began, 1)
        with args.lines.open('a') as file:
            file.write(json.dumps(row, allow_nan=False) + '\n')
        if args.keep is not None:
            torch.save(kept, args.keep / f'{scene.name}.pt')
    return 0


# ------------------------------------------------------------------------------------------------------------- scores


class Makers(NamedTuple):
    """The networks."""

    net: torch.nn.Module
    fusion: Any


@torch.no_grad()
def scored(scene: Scene, makers: Makers, by_realblur: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the line of a scene, and what may be kept of it."""

    def score(photo: Tensor) -> float:
        return realblur_score(photo, scene.sharp).psnr if by_realblur else aligned_psnr(photo, scene.sharp)

    photo, gamma = scene.blurred, scene.gamma
    before = score(photo)
    row: dict[str, Any] = {
        'scene': scene.name, 'photo': scene.photo, 'kind': scene.kind, 'size': list(photo.shape[-3:]), 'gamma': gamma,
        'drawn': scene.drawn, 'blurred': finite(before), 'gains': {}, 'evidence': {},
    }  # fmt: skip
    kept: dict[str, Any] = {'blurred': photo, 'sharp': scene.sharp, 'gamma': gamma}

    def add(name: str, restored: Tensor, estimate: Estimate) -> None:
        row['gains'][name] = finite(score(restored) - before)
        known = evidence_of(photo, restored, estimate, gamma)
        row['evidence'][name] = {key: finite(value) for key, value in known.items()}
        kept[name] = restored.half()

    by_network = NetworkEstimator(makers.net)(photo, gamma)
    removal, field = by_network.removal, by_network.field
    steps = sorted({*makers.fusion.iterations, removal.iterations})
    iterates = deblur_iterates(photo, field, steps, gamma, least_tv_weight=removal.least_tv_weight)
    parts = dict(zip(steps, iterates.split(photo.shape[1], 1), strict=True))
    add('network', fuse(makers.fusion, photo, torch.cat([parts[n] for n in makers.fusion.iterations], 1)), by_network)
    add('solver', step_towards(parts[removal.iterations], photo, removal.strength), by_network)
    row['network'] = {
        'likeness': finite(choice.likeness(field)),
        'size': field.kernel_size,
        'doubts': [doubt.code for doubt in by_network.doubts],
        'half': bool(by_network.notes),
    }
    kept['network_kernels'] = field.kernels
    kept['network_places'] = field.kernels_at(grid(photo)).half()
    start = network_start(makers.net, photo, gamma)
    row['start'] = finite(spread(start[0]))
    kept['start'] = start
    if spread(start[0]) < choice.LEAST_EXTENT:
        return row, kept
    try:
        found = estimate_shake(photo, gamma, start)
    except InputError:
        return row, kept
    restored = deblur_iterates(
        photo, found.field, (found.removal.iterations,), gamma, least_tv_weight=found.removal.least_tv_weight
    )
    add('search', restored, found)
    if photo.shape[-2] * photo.shape[-1] <= choice.PROBES * choice.PROBE_SIDE**2:  # one window, which is the photo
        excess = math.exp(row['evidence']['search']['residual'])
    else:
        excess = choice.excess_of(photo, found, gamma)
    row['search'] = {
        'agreement': finite(found.agreement),
        'share_of_wrong': finite(found.share_of_wrong),
        'extent': finite(spread(found.kernel)),
        'size': found.kernel.shape[-1],
        'excess': finite(excess),
        'mismatch': finite((1 - consistency(gray_light(photo, gamma), found.kernel)) / max(spread(found.kernel), 0.1)),
        'steps': len(found.tried),
        'failed': choice.why_failed(found, spread(start[0])),
    }
    kept['tried'] = {f'{n} {each.name}': each.kernel for n, each in enumerate(found.tried)}
    kept['kernel'] = found.kernel
    return row, kept


def is_small(scene: Scene, makers: Makers) -> bool:
    """Tell whether `auto` leaves a photo alone because its blur is small."""
    return spread(network_start(makers.net, scene.blurred, scene.gamma)[0]) < choice.LEAST_EXTENT


def grid(photo: Tensor) -> Tensor:
    """Return 9 x 9 places of a photo, rows and columns."""
    rows, columns = (torch.linspace(0, side - 1, 9).round().long() for side in photo.shape[-2:])
    return torch.cartesian_prod(rows, columns)


# ------------------------------------------------------------------------------------------------------------- scenes


def scenes_of(args: argparse.Namespace, done: set[str]) -> Iterator[Scene]:
    """Yield the scenes that have no line yet."""
    if args.set == 'levin':
        for each in levin(args.photos[0]):
            if each.name not in done:
                yield Scene(each.name, each.name.split('_')[0], 'levin', each.blurred, each.sharp, 1.0, {})
    elif args.set == 'pairs':
        for file in sorted((args.photos[0] / 'blur').iterdir()):
            if file.stem not in done:
                blurred, sharp = (read_photo(path).pixels for path in (file, args.photos[0] / 'sharp' / file.name))
                yield Scene(file.stem, file.stem, 'pairs', blurred, sharp, 2.2, {})
    else:
        files = photo_files(args.photos)
        for index in range(args.number):
            name = f'simulated_{args.seed}_{index}'
            if name not in done:
                yield simulated(name, files, args, np.random.default_rng((args.seed, index, 21)))


def simulated(name: str, files: list[Path], args: argparse.Namespace, generator: np.random.Generator) -> Scene:
    """Return a scene that a generator draws; see the head of the script."""
    kind, objects = str(generator.choice(list(KINDS), p=list(KINDS.values()))), args.objects
    kind = args.kind or kind
    while True:
        size = int(generator.choice(KERNEL_SIZES))
        size = min(size, 33) if kind in ('roll', 'objects', 'near') else size
        true_gamma = told = 1.0 if generator.random() < 0.2 else 2.2
        if told == 2.2 and generator.random() < 0.12:
            true_gamma = float(generator.uniform(1.6, 2.8))
        drawn: dict[str, Any] = {'kernel_size': size, 'true_gamma': round(true_gamma, 2)}
        if kind == 'objects' and objects:
            photo, light, sharp = of_objects(objects, size, true_gamma, drawn, generator)
        else:
            made = of_camera(files, kind, size, true_gamma, drawn, generator)
            if made is None:
                continue
            photo, light, sharp = made
        break
    noise = 0.0 if generator.random() < 0.15 else float(np.exp(generator.uniform(np.log(0.001), np.log(0.02))))
    blurred = bb.to_srgb(light.clamp(0, 1), true_gamma)
    if generator.random() < 0.15:
        sharp, blurred = sharp.mean(1, keepdim=True), blurred.mean(1, keepdim=True)
    blurred = blurred + noise * torch.from_numpy(generator.standard_normal(blurred.shape, np.float32))
    blurred = (blurred.clamp(0, 1) * 255).round()
    quality = int(generator.integers(70, 98)) if generator.random() < 0.35 else None
    if quality is not None:
        blurred = as_jpeg(blurred, quality)
    drawn |= {'noise': round(noise, 5), 'jpeg': quality, 'gray': blurred.shape[1] == 1}
    return Scene(name, photo, kind, blurred / 255, sharp.clamp(0, 1), told, drawn)


def of_objects(
    objects: list[list[str]], size: int, gamma: float, drawn: dict[str, Any], generator: np.random.Generator
) -> tuple[str, Tensor, Tensor]:
    """Return the name of the photo, blurred light and sharp photo of a scene with objects."""
    photos, masks, form = objects[int(generator.integers(len(objects)))]
    side = int(generator.integers(*SIDES))
    options = {
        'dataroot_gt': photos, 'dataroot_masks': masks, 'mask_format': form, 'kernel_size': size, 'patch_size': side,
        'gamma': gamma, 'illumination': [0.8, 1.2], 'still_share': 0.25, 'resize': [0.8, 1.0], 'phase': 'val',
        'seed': int(generator.integers(2**31)), 'light_sources': 4 if generator.random() < 0.1 else 0,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        data = SyntheticBlurDataset(options)
        sample = data[int(generator.integers(len(data)))]
    border = size // 2
    drawn['objects'] = int((sample['mixing'].amax((1, 2)) > 0.5).sum()) - 1
    sharp = sample['gt'][None, :, border:-border, border:-border].clamp(0, 1)
    return str(sample['key']), bb.to_linear(sample['lq'][None], gamma), sharp.contiguous()


def of_camera(
    files: list[Path], kind: str, size: int, gamma: float, drawn: dict[str, Any], generator: np.random.Generator
) -> tuple[str, Tensor, Tensor] | None:
    """Return the same of a scene in which the camera alone moved, or None where the photo is too small for it."""
    file = files[int(generator.integers(len(files)))]
    photo = read_photo(file).pixels
    if min(photo.shape[-2:]) >= 840 and generator.random() < 0.7:
        photo = F.avg_pool2d(photo, 2)
    border, wanted = size - 1, generator.integers(*SIDES, 2)
    high, wide = (int(min(side, have - border)) for side, have in zip(wanted, photo.shape[-2:], strict=True))
    if photo.shape[1] != 3 or min(high, wide) < max(SIDES[0], 3 * size):
        return None
    spare = (have - border - side + 1 for have, side in zip(photo.shape[-2:], (high, wide), strict=True))
    top, left = (int(generator.integers(0, each)) for each in spare)
    scene = bb.to_linear(photo[..., top : top + high + border, left : left + wide + border], gamma)
    if generator.random() < 0.1:
        factor = float(generator.uniform(3, 15))
        scene = torch.where(scene > 0.85, factor * scene, scene)
        drawn['lights'] = round(factor, 1)
    seed, number = int(generator.integers(2**31)), int(generator.integers(2**31))
    kernel = torch.from_numpy(bb.shake_kernels(1, size, seed, number)[0])
    if kind == 'near':
        scale = float(generator.uniform(0.05, 0.35))
        small = F.interpolate(kernel[None, None], scale_factor=scale, mode='area')[0]
        small = F.pad(small, (0, 1 - small.shape[-1] % 2) * 2)
        kernel = on_canvas(small, size)[0]
    elif kind == 'sharp':
        kernel = torch.zeros(size, size)
        kernel[size // 2, size // 2] = 1
    if kind == 'roll':
        deviation = float(generator.uniform(0.5, 4.5)) * min(1.0, size / 33)
        drawn['roll'] = round(deviation, 2)
        field = (rolling if generator.random() < 0.6 else turning)(seed, number, deviation, (high, wide), size)
    else:
        field = uniform(kernel, (high, wide))
    middle = torch.tensor([[high // 2, wide // 2]])
    drawn['extent'] = round(spread(field.kernels_at(middle)[0, 0]), 2)
    sharp = bb.to_srgb(field.inside(scene).clamp(0, 1), gamma)
    return file.name, bb.BasisBlur(field)(scene), sharp.contiguous()


def as_jpeg(photo: Tensor, quality: int) -> Tensor:
    """Return a photo (1, C, H, W) of whole numbers to 255, compressed and read again."""
    array = photo[0].permute(1, 2, 0).numpy().astype(np.uint8)[..., ::-1]
    flag = cv2.IMREAD_COLOR if photo.shape[1] == 3 else cv2.IMREAD_GRAYSCALE
    again = cv2.imdecode(cv2.imencode('.jpg', array, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], flag)
    again = again.reshape(array.shape)[..., ::-1]
    return torch.from_numpy(again.transpose(2, 0, 1).astype(np.float32))[None]


if __name__ == '__main__':
    sys.exit(run_script(main))
