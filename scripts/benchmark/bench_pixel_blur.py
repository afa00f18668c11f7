"""Claim: PixelBlur with its gradients needs at most a third of the memory of `F.unfold`, and is no slower.

    python scripts/benchmark/bench_pixel_blur.py [--json PATH]

The usual way to blur every pixel with its own kernel makes K*K shifted copies of the scene by `F.unfold`, multiplies
them with the kernels and sums. Both blur once and differentiate with respect to scene and kernels; values and gradients
are checked to agree. Default size: 256 x 256 x 3, K = 19, float32, one photo, two threads; seed 0. Memory is the most
that tensors made on the way hold at any time, result and gradients among them, as torch's profiler traces it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import print_table, report_claims, time_alternately, write_json
from torch import Tensor

from basis_blur import PixelBlur

SHARE = 1 / 3  # the bar
METHODS = ('ours', 'unfold')


def blur_by_unfold(pixel_kernels: Tensor, scene: Tensor) -> Tensor:
    """H by windows of the scene, one correlation kernel for each."""
    number, taps, height, width = pixel_kernels.shape
    windows = F.unfold(scene, round(taps**0.5)).view(number, -1, taps, height, width)
    return (windows * pixel_kernels.unsqueeze(1)).sum(2)


def image_and_gradients(method: str, pixel_kernels: Tensor, scene: Tensor, image_gradient: Tensor) -> list[Tensor]:
    """Blur and differentiate; `pixel_kernels` are already turned for `unfold`, which correlates."""
    image = PixelBlur(pixel_kernels)(scene) if method == 'ours' else blur_by_unfold(pixel_kernels, scene)
    gradients = torch.autograd.grad(image, [scene, pixel_kernels], image_gradient)
    return [image.detach(), *gradients]


def problem(method: str, size: int, kernel_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Kernels, a scene and a gradient of the image; dense, from seed 0."""
    generator = torch.Generator().manual_seed(0)
    kernels = torch.rand(1, kernel_size**2, size, size, generator=generator).softmax(1)
    scene = torch.rand(1, 3, size + kernel_size - 1, size + kernel_size - 1, generator=generator)
    image_gradient = torch.rand(1, 3, size, size, generator=generator)
    kernels = kernels if method == 'ours' else kernels.flip(1)
    return kernels.requires_grad_(), scene.requires_grad_(), image_gradient


def check_that_methods_agree(problems: dict[str, tuple[Tensor, ...]]) -> None:
    ours, other = (image_and_gradients(method, *problems[method]) for method in METHODS)
    other[2] = other[2].flip(1)
    for found, expected in zip(ours, other, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def peak_memory(method: str, inputs: tuple[Tensor, ...]) -> float:
    """MiB of all tensors made on the way, at most at one time."""
    with torch.profiler.profile(profile_memory=True) as profile:
        image_and_gradients(method, *inputs)
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == '[memory]':
            held += event.nbytes()
            peak = max(peak, held)
    return peak / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=256, help='side of the photo, in pixels')
    parser.add_argument('--kernel-size', type=int, default=19, help='K')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--json', type=Path, help='also write the figures here')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    problems = {method: problem(method, args.size, args.kernel_size) for method in METHODS}
    check_that_methods_agree(problems)
    timings = time_alternately(
        {method: lambda method=method: image_and_gradients(method, *problems[method]) for method in METHODS},
        args.repeats,
    )
    memory = {method: peak_memory(method, problems[method]) for method in METHODS}
    kernels = 4 * args.kernel_size**2 * args.size**2 / 2**20

    print(
        f'{args.size} x {args.size} x 3, K = {args.kernel_size}, float32, CPU, {args.threads} threads, with gradients'
    )
    print(f'the kernels, an input, and so their gradient: {kernels:.0f} MiB')
    print_table(
        ['method', 'time', 'peak memory beyond the inputs'],
        [[method, str(timings[method]), f'{memory[method]:.0f} MiB'] for method in METHODS],
    )
    share = memory['ours'] / memory['unfold']
    gain = timings['unfold'].median / timings['ours'].median
    claims = {
        f'it needs at most {SHARE:.3f} of the memory of unfold ({share:.3f})': share <= SHARE,
        f'it is no slower than unfold ({gain:.1f} times faster)': gain >= 1,
    }
    write_json(
        args.json,
        {
            'size': args.size,
            'kernel_size': args.kernel_size,
            'seed': 0,
            'kernels_mib': kernels,
            'timings': {method: timing.as_dict() for method, timing in timings.items()},
            'peak_memory_mib': memory,
            'claims': claims,
        },
    )
    return report_claims(claims)


if __name__ == '__main__':
    sys.exit(main())
