"""Claim: a step of training takes at most twice as long in the precision of `amp: auto` as in the other one.

Which is to say: where bfloat16 is slow, it is far slower than what float32 ever loses.

    python scripts/benchmark/bench_precision.py [--json PATH]
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python ... --part 12     # as on a processor without AVX512

A step is forward, sum of squares, backward, under `torch.autocast` to bfloat16 or without, each network in the size of
its option file: what IterateFusion is shown of 6 scenes (24 views of 160 x 160), what the decoder of CorrelationKPN is
shown of 8 scenes (32 windows), UFPNet with 6 photos of 160 x 160, its kernels not trained. Weights are those in the
box, inputs from seed 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measure import print_table, report_claims, time_alternately, write_json
from torch import Tensor, nn

import basis_blur as bb
from basis_blur.archs.correlation_kpn_arch import CHANNELS
from basis_blur.archs.precision import multiplies_bfloat16

MOST = 2  # the bar
PRECISIONS = {'float32': False, 'bfloat16': True}


def problems(part: int) -> dict[str, tuple[nn.Module, Tensor]]:
    """The networks and their inputs, one `part`-th of the batches, by what they are called in the table."""
    torch.manual_seed(0)
    fusion, estimator, ufpnet = (
        bb.load_network(name).train() for name in ('iterate_fusion', 'correlation_kpn', 'ufpnet')
    )
    shifts = 2 * estimator.reach + 1
    ufpnet.latent_kernels.requires_grad_(False)
    return {
        'IterateFusion': (fusion, torch.rand(max(1, 24 // part), fusion.in_channels, 160, 160)),
        'decoder of CorrelationKPN': (estimator.decoder, torch.randn(max(1, 32 // part), 2 * CHANNELS, shifts, shifts)),
        'UFPNet': (ufpnet, torch.rand(max(1, 6 // part), 3, 160, 160)),
    }


def step(net: nn.Module, inputs: Tensor, mixed: bool) -> None:
    """One step of training without the optimiser's."""
    with torch.autocast('cpu', torch.bfloat16, enabled=mixed):
        result = net(inputs)
    net.zero_grad(set_to_none=True)
    getattr(result, 'image', result).float().square().sum().backward()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--part', type=int, default=1, metavar='N', help='measure one N-th of the batches')
    parser.add_argument('--json', type=Path, help='also write the figures here')
    args = parser.parse_args()
    cases = problems(args.part)
    functions: dict[tuple[str, str], Callable[[], None]] = {
        (name, precision): partial(step, *case, mixed)
        for name, case in cases.items()
        for precision, mixed in PRECISIONS.items()
    }
    timings = time_alternately(functions, args.repeats)
    chosen = 'bfloat16' if multiplies_bfloat16(torch.device('cpu')) else 'float32'
    shares = {name: timings[name, 'bfloat16'].median / timings[name, 'float32'].median for name in cases}
    print(f'a step of training on {torch.get_num_threads()} threads; `amp: auto` takes {chosen}')
    print_table(
        ['network', *PRECISIONS, 'bfloat16 / float32'],
        [[name, *(str(timings[name, each]) for each in PRECISIONS), f'{shares[name]:.2f}'] for name in cases],
    )
    claims = {
        f'{name} takes at most {MOST:g} times as long in {chosen}': (
            (share if chosen == 'bfloat16' else 1 / share) <= MOST
        )
        for name, share in shares.items()
    }
    rows = [
        {'network': name, 'precision': precision, **timing.as_dict()} for (name, precision), timing in timings.items()
    ]
    write_json(args.json, {'part': args.part, 'chosen': chosen, 'seed': 0, 'rows': rows, 'claims': claims})
    return report_claims(claims)


if __name__ == '__main__':
    sys.exit(main())
