"""Claim: with a tolerance of 1e-4, `BasisBlur` of a lens with 9 x 9 kernels is at least twice as fast, and keeps to it.

    python scripts/benchmark/bench_low_rank.py [--size SIDE] [--tolerance T] [--repeats N] [--json PATH]

Fields of a photo of SIDE x SIDE x 3, K = 33, float32:

    lens, W x W         Gaussians whose width grows from 1 pixel in the middle to 3 at the corners
    defocus, 9 x 9      discs whose radius grows from 2 to 6 pixels
    shake, 9 x 9        a camera that shook for 8 pixels and rolled, by 0.25 to 5 pixels at the corners
    windows, W x W      kernels of unrelated shakes
    network             what `correlation_kpn` sees in a photo with the blur of the first lens

B is the number of kernels, `used` the mean number of those that a tile uses, `rank` the number of kernels that the
tolerance needs, and the error |H_r u - H u| / |H u| for a photo u. 'All' is H with all kernels everywhere, as mixing
without zeros makes it; 'H' leaves out what a tile does not use. Where the rank is not below `used`, `BasisBlur` keeps
to H, and the speed is 1. Times are of the processor, for H and H^T together, the least of some; other work on the
computer changes them less than those on the clock. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import print_table, report_claims, write_json
from torch import Tensor

import basis_blur as bb
from basis_blur.estimation.shake.rotations import PoseKernels, middles, normalised, ways
from basis_blur.field.other_forms import field_of_window_kernels
from basis_blur.ops.basis_blur import mean_kernels_used
from basis_blur.ops.low_rank import low_rank

K = 33
FASTER = 2.0  # the bar


def photo_of(side: int) -> Tensor:
    """A photo with structure at every scale, (1, 3, side, side)."""
    generator = torch.Generator().manual_seed(0)
    photo = torch.full((1, 3, side, side), 0.5)
    for step in (256, 64, 16, 4):
        coarse = torch.rand(1, 3, side // step + 2, side // step + 2, generator=generator) - 0.5
        photo += 0.4 * F.interpolate(coarse, size=(side, side), mode='bilinear')
    return photo.clamp_(0, 1)


def distances(side: int, places: int) -> list[float]:
    """Distance of the middle of each window from that of the photo, 1 at the corners of the photo."""
    at = middles((side, side), places, torch.empty(0))
    return (at.norm(dim=1) / (side / math.sqrt(2))).tolist()


def gaussian(width: float) -> Tensor:
    line = torch.exp(-((torch.arange(K, dtype=torch.float64) - K // 2) ** 2) / (2 * width**2))
    return normalised(torch.outer(line, line))


def disc(radius: float) -> Tensor:
    fine = (torch.arange(8 * K, dtype=torch.float64) + 0.5) / 8 - K / 2
    inside = (fine[:, None] ** 2 + fine**2 < radius**2).double()
    return normalised(inside.view(K, 8, K, 8).mean((1, 3)))


def shake(side: int, places: int, roll: float) -> Tensor:
    """Kernels (places^2, K, K) of a camera of 28 mm that shook for 8 pixels and rolled by some at the corners."""
    generator, focal = torch.Generator().manual_seed(3), side * 28 / 36
    at = torch.linspace(0, 1, 2000, dtype=torch.float64)
    turns = torch.zeros(3, len(at), dtype=torch.float64)
    for step in range(1, 16):  # half cycles of an exposure
        amplitude = torch.randn(3, generator=generator, dtype=torch.float64) / (1 + step / 2) ** 2
        phase = 2 * math.pi * torch.rand(3, generator=generator, dtype=torch.float64)
        turns += amplitude[:, None] * torch.sin(math.pi * step * at + phase[:, None])
    turns -= turns.mean(1, keepdim=True)
    reach = torch.tensor([8 / focal, 8 / focal, roll / (side / math.sqrt(2))], dtype=torch.float64)
    angles = (turns / turns.abs().amax(1, keepdim=True) * reach[:, None]).T
    poses = PoseKernels(ways(angles, focal, middles((side, side), places, at)), K, torch.float64)
    return normalised(poses(torch.full_like(at, 1 / len(at))))


def fields(side: int) -> dict[str, bb.BlurField]:
    """Return the fields of the table by their names."""

    def windows(kernels: Tensor) -> bb.BlurField:
        places = math.isqrt(len(kernels))
        return field_of_window_kernels(kernels.float().view(1, places, places, K, K), (side, side))

    found = {}
    for places in (5, 9, 17):
        found[f'lens, {places} x {places}'] = windows(
            torch.stack([gaussian(1 + 2 * distance) for distance in distances(side, places)])
        )
    found['defocus, 9 x 9'] = windows(torch.stack([disc(2 + 4 * distance) for distance in distances(side, 9)]))
    for roll in (0.25, 1.0, 5.0):
        found[f'shake, 9 x 9, roll of {roll:g}'] = windows(shake(side, 9, roll))
    for places in (3, 5, 7):
        kernels = torch.from_numpy(bb.shake_kernels(places**2, K, seed=0))
        found[f'windows, {places} x {places}'] = windows(kernels)
    lens = found['lens, 5 x 5']
    blurred = (bb.BasisBlur(lens) @ bb.ReflectPad(lens))(photo_of(side)).clamp(0, 1)
    found['network'] = bb.estimate_blur(bb.load_network('correlation_kpn'), blurred, gamma=1.0)
    return found


def all_kernels(field: bb.BlurField) -> bb.BasisBlur:
    """H with the same kernels, of which every tile uses all."""
    everywhere = field.mixing.clamp_min(1e-6)
    return bb.BasisBlur(bb.BlurField.unchecked(field.kernels, everywhere / everywhere.sum(1, keepdim=True)))


def least_seconds(blur: bb.BasisBlur, scene: Tensor, image: Tensor, repeats: int) -> float:
    """Return the least processor time of H and H^T, one after the other."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        blur(scene)
        blur.T(image)
        found.append(time.process_time() - started)
    return min(found)


@torch.no_grad()
def look_at(field: bb.BlurField, scene: Tensor, tolerance: float, repeats: int) -> dict:
    """Return the figures of a row."""
    started = time.process_time()
    reduced = bb.BasisBlur(field, tolerance=tolerance)
    made = time.process_time() - started
    plain, whole = bb.BasisBlur(field), all_kernels(field)
    exact, image = plain(scene), scene[..., : field.image_size[0], : field.image_size[1]].contiguous()
    seconds = {
        'all': least_seconds(whole, scene, image, 1),
        'plain': least_seconds(plain, scene, image, repeats),
        'reduced': least_seconds(reduced, scene, image, repeats),
    }
    found = low_rank(field, tolerance, field.kernels.shape[1])
    return {
        'kernels': field.kernels.shape[1],
        'used': mean_kernels_used(field),
        'rank': None if found is None else found.kernels.shape[1],
        'error_of_h': 0.0 if reduced._factors is None else reduced._factors.error.item(),
        'error_of_photo': ((reduced(scene) - exact).norm() / exact.norm()).item(),
        'seconds_to_make': made,
        'seconds': seconds,
        'skipping': seconds['all'] / seconds['plain'],
        'speed': seconds['plain'] / seconds['reduced'],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=1024, help='side of the photo, pixels')
    parser.add_argument('--tolerance', type=float, default=1e-4)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--json', type=Path, help='also write the figures here')
    args = parser.parse_args()
    scene = photo_of(args.size + K - 1)
    result, rows = {}, []
    for name, field in fields(args.size).items():
        found = result[name] = look_at(field, scene, args.tolerance, args.repeats)
        rows.append(
            [name, str(found['kernels']), f'{found["used"]:.1f}', str(found['rank']), f'{found["error_of_photo"]:.0e}']
            + [f'{seconds:.2f} s' for seconds in found['seconds'].values()]
            + [f'{found["skipping"]:.1f}', f'{found["speed"]:.1f}', f'{found["seconds_to_make"]:.1f} s']
        )
        print(rows[-1], flush=True)
    print(
        f'{args.size} x {args.size} x 3, K = {K}, float32, CPU, {torch.get_num_threads()} threads; H and H^T together'
    )
    header = ['field', 'B', 'used', 'rank', 'error', 'all', 'H', 'H_r', 'all / H', 'H / H_r', 'to make']
    print_table(header, rows)
    lens = result['lens, 9 x 9']
    worst = max(found['error_of_h'] for found in result.values())
    claims = {
        f'a lens with 9 x 9 kernels is at least {FASTER:g} times faster ({lens["speed"]:.1f})': lens['speed'] >= FASTER,
        f'no H is further from the exact one than {args.tolerance:g} ({worst:.1e})': worst <= args.tolerance,
    }
    write_json(args.json, {'size': args.size, 'tolerance': args.tolerance, 'fields': result, 'claims': claims})
    return report_claims(claims)


if __name__ == '__main__':
    sys.exit(main())
