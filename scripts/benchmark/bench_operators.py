"""Claim: H and H^T are at least 5 times faster than direct convolution, and the memory of H does not grow with B.

    python scripts/benchmark/bench_operators.py [--json PATH]

Direct convolution is the usual way to apply a basis blur: for one channel at a time, `F.conv2d` with all B kernels,
then the mixing; its transpose is the mixing, then `F.conv_transpose2d`. Both are checked to give the same numbers as
the operator. Default size: 1024 x 1024 x 3, B = 25, K = 33, float32; seed 0. Times are medians.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import peak_mib, print_table, report_claims, time_alternately, write_json
from torch import Tensor

from basis_blur import BasisBlur, BlurField

FASTER = 5.0  # the bar
MEMORY_GROWTH = 1.1  # peak memory of H at the largest B over that at the smallest
BASIS_SIZES = (25, 50, 100)


def random_field(size: int, basis: int, kernel_size: int) -> BlurField:
    """A field with dense kernels and mixing, so that nothing can be skipped; built without temporaries (see memory)."""
    torch.manual_seed(0)
    kernels = torch.rand(1, basis, kernel_size, kernel_size)
    kernels /= kernels.sum((-2, -1), keepdim=True)
    mixing = torch.rand(1, basis, size, size)
    mixing /= mixing.sum(1, keepdim=True)
    return BlurField.unchecked(kernels, mixing)


def direct_blur(scene: Tensor, field: BlurField) -> Tensor:
    """H by direct convolution, one channel at a time."""
    weight = field.kernels[0].flip(-2, -1).unsqueeze(1)
    return torch.cat(
        [(F.conv2d(channel, weight) * field.mixing).sum(1, keepdim=True) for channel in scene.split(1, 1)], 1
    )


def direct_transpose(image: Tensor, field: BlurField) -> Tensor:
    """H^T by direct convolution, one channel at a time."""
    weight = field.kernels[0].flip(-2, -1).unsqueeze(1)
    return torch.cat([F.conv_transpose2d(channel * field.mixing, weight) for channel in image.split(1, 1)], 1)


def peak_memory_of_one_application(size: int, basis: int, kernel_size: int) -> float:
    """MiB that H needs on top of its inputs, in a process of its own."""
    command = [
        sys.executable,
        __file__,
        '--memory-of',
        str(basis),
        '--size',
        str(size),
        '--kernel-size',
        str(kernel_size),
    ]
    # The C library of Linux keeps freed memory, the more the larger a piece was; with this it gives large pieces back.
    environment = {**os.environ, 'MALLOC_MMAP_THRESHOLD_': '131072'}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def print_own_peak(size: int, basis: int, kernel_size: int) -> None:
    small = random_field(64, 2, kernel_size)
    BasisBlur(small)(torch.rand(1, 3, *small.scene_size))  # loads the FFT library
    field = random_field(size, basis, kernel_size)
    scene = torch.rand(1, 3, *field.scene_size)
    before = peak_mib()
    BasisBlur(field)(scene)
    print(peak_mib() - before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=1024, help='side of the image, in pixels')
    parser.add_argument('--basis', type=int, default=25, help='B')
    parser.add_argument('--kernel-size', type=int, default=33, help='K')
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument('--json', type=Path, help='also write the figures here')
    parser.add_argument('--memory-of', type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print_own_peak(args.size, args.memory_of, args.kernel_size)
        return 0

    field = random_field(args.size, args.basis, args.kernel_size)
    blur = BasisBlur(field)
    scene, image = torch.rand(1, 3, *field.scene_size), torch.rand(1, 3, *field.image_size)
    torch.testing.assert_close(blur(scene), direct_blur(scene, field), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(blur.T(image), direct_transpose(image, field), rtol=1e-4, atol=1e-5)
    timings = time_alternately(
        {
            'H': lambda: blur(scene),
            'H direct': lambda: direct_blur(scene, field),
            'H^T': lambda: blur.T(image),
            'H^T direct': lambda: direct_transpose(image, field),
        },
        args.repeats,
    )
    memory = {basis: peak_memory_of_one_application(args.size, basis, args.kernel_size) for basis in BASIS_SIZES}

    print(f'{args.size} x {args.size} x 3, B = {args.basis}, K = {args.kernel_size}, float32, CPU')
    gain = {name: timings[f'{name} direct'].median / timings[name].median for name in ('H', 'H^T')}
    print_table(
        ['operator', 'FFT', 'direct', 'times faster'],
        [[name, str(timings[name]), str(timings[f'{name} direct']), f'{gain[name]:.1f}'] for name in gain],
    )
    print()
    print_table(['B', 'peak memory of H beyond its inputs'], [[str(b), f'{mib:.0f} MiB'] for b, mib in memory.items()])
    print()
    growth = memory[BASIS_SIZES[-1]] / memory[BASIS_SIZES[0]]
    claims = {
        f'H is at least {FASTER:g} times faster than direct convolution ({gain["H"]:.1f})': gain['H'] >= FASTER,
        f'H^T is at least {FASTER:g} times faster than direct convolution ({gain["H^T"]:.1f})': gain['H^T'] >= FASTER,
        f'memory of H does not grow with B: factor {growth:.2f} from B = {BASIS_SIZES[0]} to {BASIS_SIZES[-1]}': (
            growth <= MEMORY_GROWTH
        ),
    }
    write_json(
        args.json,
        {
            'size': args.size,
            'basis': args.basis,
            'kernel_size': args.kernel_size,
            'timings': {name: timing.as_dict() for name, timing in timings.items()},
            'times_faster': gain,
            'peak_memory_mib': memory,
            'claims': claims,
        },
    )
    return report_claims(claims)


if __name__ == '__main__':
    sys.exit(main())
