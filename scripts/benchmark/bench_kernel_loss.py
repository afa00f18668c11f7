"""Claim: KernelLoss with its gradient needs at most a tenth of the memory of the kernels of all pixels.

    python scripts/benchmark/bench_kernel_loss.py [--json PATH]

Those kernels are the product of (K*K, B) and (B, H*W), which the plain loss, sum_i w_i |sum_b m_b^i k_b - k_i|^p, holds
for the prediction and for the truth. Values and gradients of both are checked to agree, and those of p = 2 close to
the truth, where float32 cancels, against float64. Default size: 256 x 256, B = 25, 4 true kernels, K = 33, float32, one
photo; seed 0. Memory is the peak of a process beyond its inputs, for one value and gradient.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from measure import peak_mib, print_table, report_claims, time_alternately, write_json
from torch import Tensor

from basis_blur import BlurField, KernelLoss

SHARE = 0.1  # the bar
TRUE_KERNELS = 4
METHODS = ('ours', 'plain')


def plain_loss(field: BlurField, true_field: BlurField, weight: Tensor, p: int) -> Tensor:
    """The loss from the kernels of all pixels."""
    predicted = torch.einsum('nbhw,nbs->nshw', field.mixing, field.kernels.flatten(2))
    true = torch.einsum('nbhw,nbs->nshw', true_field.mixing, true_field.kernels.flatten(2))
    return (weight * (predicted - true).abs() ** p).sum() / len(field)


def value_and_gradients(method: str, p: int, field: BlurField, true_field: BlurField, weight: Tensor) -> list[Tensor]:
    loss = KernelLoss(p)(field, true_field, weight) if method == 'ours' else plain_loss(field, true_field, weight, p)
    return [loss.detach(), *torch.autograd.grad(loss, [field.kernels, field.mixing])]


def problem(size: int, basis: int, kernel_size: int) -> tuple[BlurField, BlurField, Tensor]:
    """A prediction that can be differentiated, a truth, and weights; dense, from seed 0."""
    torch.manual_seed(0)
    fields = [random_field(size, number, kernel_size) for number in (basis, TRUE_KERNELS)]
    fields[0].kernels.requires_grad_()
    fields[0].mixing.requires_grad_()
    return *fields, torch.full((1, 1, size, size), 1 / size**2)


def random_field(size: int, basis: int, kernel_size: int) -> BlurField:
    """A dense field, built without temporaries, which would hide memory of the loss."""
    kernels = torch.rand(1, basis, kernel_size, kernel_size)
    kernels /= kernels.sum((-2, -1), keepdim=True)
    mixing = torch.rand(1, basis, size, size)
    mixing /= mixing.sum(1, keepdim=True)
    return BlurField.unchecked(kernels, mixing)


def peak_memory(method: str, p: int, args: argparse.Namespace) -> float:
    """MiB beyond the inputs, in a process of its own."""
    sizes = ['--size', str(args.size), '--basis', str(args.basis), '--kernel-size', str(args.kernel_size)]
    command = [sys.executable, __file__, '--memory-of', method, str(p), *sizes]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_own_peak(method: str, p: int, args: argparse.Namespace) -> None:
    value_and_gradients(method, p, *problem(32, 2, 3))  # loads the libraries
    inputs = problem(args.size, args.basis, args.kernel_size)
    before = peak_mib()
    value_and_gradients(method, p, *inputs)
    print(peak_mib() - before)


def check_that_methods_agree(p: int, field: BlurField, true_field: BlurField, weight: Tensor) -> None:
    both = [value_and_gradients(method, p, field, true_field, weight) for method in METHODS]
    for found, expected in zip(*both, strict=True):
        error = ((found - expected).norm() / expected.norm()).item()
        if error > 1e-3:  # for p = 1 the sign of a difference that is nearly 0 may differ
            raise RuntimeError(
                f'p = {p}: the two losses or their gradients differ by {error:.1e}, expected rounding only.'
            )


def error_close_to_the_truth(method: str, distance: float) -> float:
    """Relative error of the p = 2 value in float32 for a prediction whose kernels are off by `distance`, relatively."""
    torch.manual_seed(0)
    true_field = random_field(32, TRUE_KERNELS, 33)
    kernels = true_field.kernels * (1 + distance * torch.randn_like(true_field.kernels))
    field = BlurField.unchecked(kernels.requires_grad_(), true_field.mixing.clone().requires_grad_())
    weight = torch.full((1, 1, 32, 32), 1 / 32**2)
    exact = plain_loss(field.to(torch.float64), true_field.to(torch.float64), weight.double(), 2).item()
    return abs(value_and_gradients(method, 2, field, true_field, weight)[0].item() / exact - 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=256, help='side of the photo, in pixels')
    parser.add_argument('--basis', type=int, default=25, help='B')
    parser.add_argument('--kernel-size', type=int, default=33, help='K')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--json', type=Path, help='also write the figures here')
    parser.add_argument('--memory-of', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print_own_peak(args.memory_of[0], int(args.memory_of[1]), args)
        return 0

    rows = [(p, method) for p in (2, 1) for method in METHODS]
    inputs = problem(args.size, args.basis, args.kernel_size)
    for p in (2, 1):
        check_that_methods_agree(p, *inputs)
    timings = time_alternately(
        {row: lambda row=row: value_and_gradients(row[1], row[0], *inputs) for row in rows}, args.repeats
    )
    memory = {(p, method): peak_memory(method, p, args) for p, method in rows}
    product = 4 * args.kernel_size**2 * args.size**2 / 2**20
    errors = {method: error_close_to_the_truth(method, 1e-4) for method in METHODS}

    print(f'{args.size} x {args.size}, B = {args.basis}, K = {args.kernel_size}, float32, CPU, value and gradient')
    print(f'the kernels of all pixels: {product:.0f} MiB')
    print_table(
        ['p', 'loss', 'time', 'peak memory', 'share of the kernels of all pixels'],
        [
            [
                str(p),
                method,
                str(timings[p, method]),
                f'{memory[p, method]:.0f} MiB',
                f'{memory[p, method] / product:.3f}',
            ]
            for p, method in rows
        ],
    )
    print(f'relative error of p = 2, 1e-4 from the truth: ours {errors["ours"]:.1e}, plain {errors["plain"]:.1e}')
    claims = {
        f'p = {p} needs at most {SHARE:g} of the kernels of all pixels ({memory[p, "ours"] / product:.3f})': (
            memory[p, 'ours'] <= SHARE * product
        )
        for p in (2, 1)
    }
    claims |= {
        f'p = {p} is faster than the plain loss ({timings[p, "plain"].median / timings[p, "ours"].median:.1f} times)': (
            timings[p, 'ours'].median < timings[p, 'plain'].median
        )
        for p in (2, 1)
    }
    claims['p = 2 is exact to 1e-6 close to the truth'] = errors['ours'] < 1e-6
    write_json(
        args.json,
        {
            'size': args.size,
            'basis': args.basis,
            'kernel_size': args.kernel_size,
            'seed': 0,
            'product_mib': product,
            'rows': [
                {'p': p, 'loss': method, **timings[p, method].as_dict(), 'peak_memory_mib': memory[p, method]}
                for p, method in rows
            ],
            'relative_error_close_to_the_truth': errors,
            'claims': claims,
        },
    )
    return report_claims(claims)


if __name__ == '__main__':
    sys.exit(main())
