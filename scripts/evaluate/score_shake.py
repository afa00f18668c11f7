"""Score the default of `basis-blur deblur` on photos of a camera that shook, beside the network and the true blur.

    python scripts/evaluate/score_shake.py uniform PHOTOS --json OUT.json
    python scripts/evaluate/score_shake.py levin DIR --json OUT.json

Sets; photos are sharp ones of at least 420 pixels a side, of which windows of up to 800 pixels are taken:

    uniform   one simulated shake for a whole photo: kernels of 25 to 65 pixels, noise 0.003 to 0.01, gamma 2.2, 8 bits
    roll2     512 pixels, kernels of 33, noise 0.003, and a roll with a standard deviation of 2 pixels at the corners
    roll5     as roll2, with 5 pixels
    turns3    as roll2, with 3 pixels, by rotations of a lens of 28 mm about three axes
    gyro      800 pixels, linear light, noise 0.002, kernels of 25 to 129 pixels: a hand that rotated a lens of 28 mm
              about three axes, as in the recordings of `--recordings`
    near      nearly sharp: 512 pixels, kernels made smaller, noise 0.0005 to 0.004, blurred photos of 33 to 46 dB
    levin     DIR/{blurred,sharp,kernels} of Levin et al. 2009, "Understanding and evaluating blind deconvolution
              algorithms", gamma 1

Each blurred photo is restored by `Deblurrer.pretrained`, with the estimator `auto` and others that are asked for, and
by `deblur` with the true blur. Scores are gains in PSNR over the blurred photo, dB: plain, and aligned, at the best
shift of at most 6 pixels in steps of a quarter, since a photo does not tell where its scene lies; 20 pixels at the
sides are left out of both. `alike` is the largest normalised correlation of the estimated and the true kernel in the
middle of the photo. Everything is drawn from the seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from records import add_record_arguments, check_output, finite, run_script, table, write_record
from torch import Tensor
from tqdm import tqdm

import basis_blur as bb
from basis_blur.estimation.shake.kernels import best_shift, on_canvas
from basis_blur.estimation.shake.rotations import USUAL_FOCAL, Poses, field_of_poses, focal_in_pixels
from basis_blur.foundation.choices import WITH_LENS
from basis_blur.foundation.errors import InputError
from basis_blur.metrics.psnr import psnr
from basis_blur.photos.formats import SUFFIXES
from basis_blur.photos.reading import read_photo

SETS = ('uniform', 'roll2', 'roll5', 'turns3', 'gyro', 'near', 'levin')
ESTIMATORS = ('auto', 'network', 'shake', 'rotations')
CROP, REACH = 20, 6  # pixels: width of the border that is not scored, largest shift
TRUE_NOISE = 0.002  # least noise of which the true blur is removed
PLACES = 9  # number of places a side at which a rolling camera has a kernel of its own
LEAST_PHOTO = 420  # pixels; shortest side of a photo that is used
GYRO_SIDE = 800  # pixels; side of the photos of recorded shakes


class Scene(NamedTuple):
    """A blurred photo, its sharp one, and its blur."""

    name: str
    blurred: Tensor
    sharp: Tensor
    field: bb.BlurField
    gamma: float
    film: float | None = None  # mm; focal length that a camera would tell, converted to film of 36 x 24 mm


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('set', choices=SETS, help='set of photos')
    parser.add_argument('photos', type=Path, nargs='+', metavar='PHOTOS', help='sharp photos or folders; DIR of levin')
    parser.add_argument('--number', type=int, metavar='N', help='scenes (default: 60 uniform, 8 rolling, 30 near)')
    parser.add_argument('--estimators', nargs='+', choices=ESTIMATORS, default=['auto'], help='(default: auto)')
    parser.add_argument(
        '--recordings',
        type=Path,
        metavar='DIR',
        help='for the set gyro: folders with a gyro.txt each, whose columns 4 to 7 are the rates (rad/s) about the '
        'axes to the right, down and ahead, and the time (s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the scenes (default: 0)')
    add_record_arguments(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Restore and score all scenes, print the table and write the record."""
    args = build_parser().parse_args(arguments)
    check_output(args.json, ['.json'], args.overwrite)
    number = args.number or {'uniform': 60, 'near': 30, 'levin': 32}.get(args.set, 8)
    if args.set == 'levin':
        scenes = levin(args.photos[0])
    elif args.set == 'gyro':
        scenes = recorded(args.photos, args.recordings, args.seed)
    else:
        scenes = synthetic(args.set, args.photos, args.seed)
    deblurrers: dict[tuple[str, float, float | None], bb.Deblurrer] = {}
    rows = []
    for _, scene in zip(tqdm(range(number), unit='scene', disable=None), scenes, strict=False):
        methods = {}
        for name in args.estimators:
            key = (name, scene.gamma, scene.film if name in WITH_LENS else None)
            if key not in deblurrers:
                deblurrers[key] = bb.Deblurrer.pretrained(estimator=name, gamma=scene.gamma, focal_length=key[2])
            methods[name] = deblurrers[key](scene.blurred)
        rows.append(scored(scene, methods))
    summary = summary_of(rows, args.estimators)
    print(table(('method', 'gain', 'aligned', 'worst', 'lose', 'alike'), [list(map(str, row)) for row in summary]))
    if args.json is not None:
        means = {
            str(row[0]): dict(zip(('gain', 'aligned', 'worst', 'lose', 'alike'), row[1:], strict=True))
            for row in summary
        }
        config = {'set': args.set, 'number': len(rows), 'seed': args.seed}
        write_record(args.json, {'kind': 'score_shake', 'config': config, 'means': means, 'scenes': rows}, 'scenes')
    return 0


# ------------------------------------------------------------------------------------------------------------- scores


def scored(scene: Scene, methods: dict) -> dict:
    """Return the scores of one scene: those of each method, and of the true blur."""
    before = inner(scene.blurred), aligned_psnr(scene.blurred, scene.sharp)
    plain = psnr(before[0], inner(scene.sharp)).item()
    truth = bb.deblur(scene.blurred, scene.field, scene.gamma)
    row = {'scene': scene.name, 'blurred': finite(plain)}
    middle = torch.tensor([[side // 2 for side in scene.blurred.shape[-2:]]])
    true_kernel = scene.field.kernels_at(middle)[0, 0]
    for name, restored in {**{n: r.pixels for n, r in methods.items()}, 'true blur': truth}.items():
        gain = psnr(inner(restored), inner(scene.sharp)).item() - plain
        row[name] = {'gain': finite(gain), 'aligned': finite(aligned_psnr(restored, scene.sharp) - before[1])}
        if name in methods:
            estimate = methods[name].estimates[0]
            kernel = estimate.field.kernels_at(middle)[0, 0]
            size = max(kernel.shape[-1], true_kernel.shape[-1])
            pair = (on_canvas(each[None], size)[0] for each in (kernel, true_kernel))
            row[name] |= {'alike': finite(best_shift(*pair)[2]), 'source': estimate.source}
            if hasattr(estimate, 'agreement'):
                row[name]['agreement'] = finite(estimate.agreement)
    return row


def summary_of(rows: list[dict], estimators: Sequence[str]) -> list[tuple]:
    """Return the means of each method, its worst aligned gain, and how many scenes lose more than 0.05 dB."""
    found = []
    for name in (*estimators, 'true blur'):
        gains = [row[name]['aligned'] for row in rows]
        alike = [row[name].get('alike', 1.0) for row in rows]
        mean_gain = sum(row[name]['gain'] for row in rows) / len(rows)
        lose = sum(gain < -0.05 for gain in gains)
        means = (mean_gain, sum(gains) / len(gains), min(gains), lose, sum(alike) / len(alike))
        found.append((name, *(round(value, 3) for value in means)))
    return found


def inner(photo: Tensor) -> Tensor:
    """Return a photo without the pixels at its sides that are not scored."""
    return photo[..., CROP:-CROP, CROP:-CROP]


def aligned_psnr(photo: Tensor, sharp: Tensor, reach: int = REACH) -> float:
    """Return the PSNR at the best shift, found in whole pixels, `reach` at most, and then in halves and quarters."""
    reference = inner(sharp)
    height, width = photo.shape[-2:]

    def at(down: float, right: float) -> float:
        top, left = int(np.floor(down)), int(np.floor(right))
        y, x = down - top, right - left
        moved = 0
        for extra_y, extra_x, weight in (
            (0, 0, (1 - y) * (1 - x)),
            (0, 1, (1 - y) * x),
            (1, 0, y * (1 - x)),
            (1, 1, y * x),
        ):
            if weight > 0:
                rows = slice(CROP + top + extra_y, height - CROP + top + extra_y)
                columns = slice(CROP + left + extra_x, width - CROP + left + extra_x)
                moved = moved + weight * photo[..., rows, columns]
        return psnr(moved, reference).item()

    steps = range(-reach, reach + 1)
    best = max((at(y, x), y, x) for y in steps for x in steps)
    for step in (0.5, 0.25):
        near = [(best[1] + i * step, best[2] + j * step) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        best = max((at(y, x), y, x) for y, x in near)
    return best[0]


# --------------------------------------------------------------------------------------------------------------- sets


def levin(folder: Path) -> Iterator[Scene]:
    """Yield the scenes of Levin et al.; a kernel is taken the way round in which it reblurs better."""
    for blurred_file in sorted((folder / 'blurred').glob('im*_kernel*_img.png')):
        image, kernel_name = blurred_file.stem.split('_')[:2]
        blurred = read_photo(blurred_file).pixels
        sharp = read_photo(folder / 'sharp' / f'{image}.png').pixels
        kernel = read_photo(folder / 'kernels' / f'{kernel_name}.png').pixels[0, 0]
        kernel = kernel / kernel.sum()
        fields = [uniform(each, blurred.shape[-2:]) for each in (kernel, kernel.flip(0, 1))]
        errors = [-aligned_psnr(bb.BasisBlur(field)(bb.ReflectPad(field)(sharp)), blurred) for field in fields]
        yield Scene(blurred_file.stem, blurred, sharp, fields[errors.index(min(errors))], 1.0)


def recorded(places: Sequence[Path], recordings: Path | None, seed: int) -> Iterator[Scene]:
    """Yield scenes of recorded rotations: each photo that is large enough is taken with each recording."""
    if recordings is None:
        raise InputError('the set gyro needs --recordings DIR, folders with a gyro.txt each.')
    for index, (file, recording) in enumerate(product(photo_files(places), rates_of(recordings))):
        photo = read_photo(file).pixels
        generator = np.random.default_rng((seed, index, 4))
        size = int(generator.choice([25, 33, 49, 65, 97, 129]))
        side = GYRO_SIDE + size - 1
        if photo.shape[1] == 3 and min(photo.shape[-2:]) >= side:
            field = hand(recording, size, generator)
            top, left = (int(generator.integers(0, have - side + 1)) for have in photo.shape[-2:])
            sharp = photo[..., top : top + side, left : left + side]
            scene = exposed(f'gyro_{index}_{size}', sharp, field, 0.002, 1.0, generator)
            yield scene._replace(film=USUAL_FOCAL)


def rates_of(recordings: Path) -> list[np.ndarray]:
    """Return the recordings under a folder, (n, 4) each; see `hand`.

    Raises:
        InputError: there is none.
    """
    rates = [np.loadtxt(file)[:, 3:7] for file in sorted(recordings.rglob('gyro.txt'))]
    if not rates:
        raise InputError(f'{recordings} holds no gyro.txt, expected folders with one each.')
    return rates


def hand(
    recording: np.ndarray,
    size: int,
    generator: np.random.Generator,
    photo_size: tuple[int, int] = (GYRO_SIDE, GYRO_SIDE),
) -> bb.BlurField:
    """Return the field of a part of a recording, which lasts until a kernel has about `size` pixels.

    Args:
        recording: (n, 4); rates about the axes to the right, down and ahead, rad/s, and time, s.
        size: K of the field.
        generator: draws where the part begins.
        photo_size: (H, W) of the photo, pixels.
    """
    step = 0.001  # s
    times = np.arange(recording[0, 3], recording[-1, 3], step)
    rates = np.stack([np.interp(times, recording[:, 3], recording[:, axis]) for axis in range(3)], 1)
    angles = np.cumsum(rates, 0) * step * (1, -1, 1)  # pitch, yaw and roll of the picture
    begin = int(generator.integers(0, len(angles) * 2 // 3))
    path = angles[begin:] - angles[begin]
    focal = focal_in_pixels(photo_size)
    corner = np.hypot(path[:, 0], path[:, 1]) * focal + np.abs(path[:, 2]) * np.hypot(*photo_size) / 2
    reach = np.maximum.accumulate(corner)
    path = path[: max(10, int(np.searchsorted(reach, 0.9 * size)))]
    path = path - (path.max(0) + path.min(0)) / 2
    poses = Poses(torch.from_numpy(path), torch.full((len(path),), 1 / len(path)), focal)
    return field_of_poses(poses, photo_size, size).to(torch.float32)


def photo_files(places: Sequence[Path]) -> list[Path]:
    """Return the photos among files and in folders, in the order of their names."""
    files = sorted(file for place in places for file in ([place] if place.is_file() else place.rglob('*')))
    files = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not files:
        raise InputError(f'{places[0]} holds no photos, expected sharp photos of at least {LEAST_PHOTO} pixels a side.')
    return files


def exposed(
    name: str, sharp: Tensor, field: bb.BlurField, noise: float, gamma: float, generator: np.random.Generator
) -> Scene:
    """Return the scene of a sharp photo (with its border), blurred in linear light, with noise, in 8 bits."""
    light = bb.BasisBlur(field)(bb.to_linear(sharp, gamma)).clamp(0, 1)
    noise_map = torch.from_numpy(generator.standard_normal(light.shape, np.float32))
    blurred = ((bb.to_srgb(light, gamma) + noise * noise_map).clamp(0, 1) * 255).round() / 255
    return Scene(name, blurred, field.inside(sharp).contiguous(), field, gamma)


def synthetic(kind: str, places: Sequence[Path], seed: int) -> Iterator[Scene]:
    """Yield simulated scenes without end, photo by photo."""
    files = photo_files(places)
    index, misses = 0, 0
    while misses <= 4 * len(files):
        generator = np.random.default_rng((seed, index))
        photo = read_photo(files[index % len(files)]).pixels
        index += 1
        if min(photo.shape[-2:]) >= 2 * LEAST_PHOTO and generator.random() < 0.7:
            photo = F.avg_pool2d(photo, 2)
        found = None
        if photo.shape[1] == 3 and min(photo.shape[-2:]) >= LEAST_PHOTO:
            found = make(kind, photo, generator, seed, index)
        misses = misses + 1 if found is None else 0
        if found is not None:
            yield found
    raise InputError(f'no photo of {places[0]} suits; give sharp photos of at least {LEAST_PHOTO} pixels a side.')


def make(kind: str, photo: Tensor, generator: np.random.Generator, seed: int, index: int) -> Scene | None:
    """Return a scene of a photo, or None where the photo does not suit."""
    size = int(generator.choice([25, 33, 33, 33, 49, 65])) if kind == 'uniform' else 33
    border = size - 1
    wanted = generator.integers(512, 801, 2) if kind == 'uniform' else np.array([512, 512])
    high, wide = (int(min(side, have - border)) for side, have in zip(wanted, photo.shape[-2:], strict=True))
    top, left = (
        int(generator.integers(0, have - border - side + 1))
        for have, side in zip(photo.shape[-2:], (high, wide), strict=True)
    )
    sharp = photo[..., top : top + high + border, left : left + wide + border]
    noise = float(np.exp(generator.uniform(np.log(0.003), np.log(0.01)))) if kind == 'uniform' else 0.003
    kernel = torch.from_numpy(bb.shake_kernels(1, size, 7 + seed, index)[0])
    if kind == 'near':
        scale, noise = generator.uniform(0.25, 1.5), float(generator.choice([0.0005, 0.001, 0.002, 0.004]))
        small = F.interpolate(kernel[None, None], scale_factor=scale / 5, mode='area')[0]
        small = F.pad(small, (0, 1 - small.shape[-1] % 2) * 2)
        kernel = on_canvas(small, 33)[0]
    if kind.startswith('roll'):
        field = rolling(seed + 7, index, float(kind[4:]), (high, wide), size)
    elif kind.startswith('turns'):
        field = turning(seed + 7, index, float(kind[5:]), (high, wide), size)
    else:
        field = uniform(kernel, (high, wide))
    scene = exposed(f'{kind}_{index}', sharp, field, noise, 2.2, generator)
    if kind.startswith('turns'):
        scene = scene._replace(film=USUAL_FOCAL)
    if kind == 'near' and not 33 <= psnr(scene.blurred, scene.sharp).item() <= 46:
        return None
    return scene


def uniform(kernel: Tensor, size: tuple[int, int]) -> bb.BlurField:
    """Return the field that has one kernel everywhere."""
    return bb.BlurField(kernel[None, None], torch.ones(1, 1, *size))


def rolling(seed: int, index: int, deviation: float, size: tuple[int, int], kernel_size: int) -> bb.BlurField:
    """Return the field of a shake with a roll whose standard deviation at the corners is given, pixels.

    Light at (y, x) from the middle moves along the path of the shake, plus the roll times (x, -y).
    """
    shift, roll = shift_and_roll(seed, index, deviation, size, kernel_size)
    rows, columns = (np.linspace(0, side - 1, PLACES) for side in size)
    kernels = []
    for y in rows:
        for x in columns:
            moved = shift + roll * np.array([[x - (size[1] - 1) / 2], [-(y - (size[0] - 1) / 2)]])
            kernels.append(drawn(moved, kernel_size))
    weights = [tent(side, places) for side, places in zip(size, (rows, columns), strict=True)]
    mixing = torch.einsum('ah,bw->abhw', *weights).flatten(0, 1)[None]
    return bb.BlurField(torch.stack(kernels)[None], mixing / mixing.sum(1, keepdim=True))


def turning(seed: int, index: int, deviation: float, size: tuple[int, int], kernel_size: int) -> bb.BlurField:
    """Return the field of a camera that rotates about three axes; arguments are those of `rolling`."""
    focal = focal_in_pixels(size)
    (down, right), roll = shift_and_roll(seed, index, deviation, size, kernel_size)
    angles = torch.from_numpy(np.stack([np.arctan(down / focal), np.arctan(right / focal), roll], 1))
    field = field_of_poses(Poses(angles, torch.full((len(angles),), 1 / len(angles)), focal), size, kernel_size)
    return field.to(torch.float32)


def shift_and_roll(
    seed: int, index: int, deviation: float, size: tuple[int, int], kernel_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a path of the middle (2, n), down and right in pixels, and a roll (n,) in radians."""
    generator = np.random.default_rng((seed, index, 3))
    steps = 800
    smooth = np.fft.rfftfreq(steps, 1 / steps)
    spectrum = (generator.standard_normal((3, len(smooth))) + 1j * generator.standard_normal((3, len(smooth)))) / (
        1 + smooth**2
    )
    paths = np.fft.irfft(spectrum, steps)[:, : steps // 2]
    paths -= paths.mean(1, keepdims=True)
    reach = np.abs(paths[:2]).max()
    shift = paths[:2] / reach * (kernel_size / 2 - 2 - 2.5 * deviation) * generator.uniform(0.5, 1)
    return shift, paths[2] / paths[2].std() * deviation / (np.hypot(*size) / 2)


def tent(side: int, places: np.ndarray) -> Tensor:
    """Return the weights (places, side) by which pixels take the values of places, linearly."""
    distance = np.abs(np.arange(side) - places[:, None]) / (places[1] - places[0])
    return torch.from_numpy(np.clip(1 - distance, 0, 1)).float()


def drawn(path: np.ndarray, size: int) -> Tensor:
    """Spread the light of the points of a path (2, n), in pixels from the middle, over their four nearest pixels."""
    place = np.clip(path + size // 2, 0, size - 1.001)
    corner = place.astype(int)
    part = place - corner
    kernel = np.zeros((size, size))
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = np.abs(1 - y - part[0]) * np.abs(1 - x - part[1])
        np.add.at(kernel, (corner[0] + y, corner[1] + x), weight)
    return torch.from_numpy(kernel / kernel.sum()).float()


if __name__ == '__main__':
    sys.exit(run_script(main))
