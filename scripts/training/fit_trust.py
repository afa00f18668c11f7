"""Fit the part of an IterateFusion that decides how far the network is trusted, on scenes of fusion_scenes.py.

    python scripts/training/fit_trust.py SCENES --val VAL_SCENES -o iterate_fusion.safetensors

The network makes its photo of every scene once, and stays as it is. What is fitted are the shares of three photos at
each pixel, of what is measured around: the blurred photo, the first step, and what the network makes; see
`IterateFusion`. So of a scene only the products of the errors of the three are kept, their means in squares of 32
pixels, and the measures there. The loss of a scene is that of tune_fusion.py.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm
from tune_fusion import LEAST_ERROR, Score, scene_of, score_of

from basis_blur.archs.iterate_fusion_arch import COLOURS, FIRST_STEP, SIZE_MULTIPLE, IterateFusion
from basis_blur.weights.checkpoints import load_fusion, save_network

SQUARE = 32  # side of the squares in which a scene is kept, pixels
MEMBERS = 8  # networks that are averaged
SEEN = 0.7  # share of the scenes that each of them sees
BATCH = 150  # scenes in a step
NOISE = 0.5  # standard deviation of what is added to the measures of a scene, in theirs
WARM_UP = 30  # steps until the learning rate is reached
DROPPED = 0.2  # share of the hidden channels that are left out in a step
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # of the photo, the first step and the network


class Kept(NamedTuple):
    """What is kept of n scenes.

    Args:
        products: (n, 6, h, w); means of products of the errors of `PAIRS` in squares of 32 pixels.
        measured: (n, 24, h, w); see `measures`.
        alone: (n, 2); errors of the photo and of the solver alone, dB.
    """

    products: Tensor
    measured: Tensor
    alone: Tensor


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('scenes', type=Path, help='folder of fusion_scenes.py, all of one size')
    parser.add_argument('--val', required=True, type=Path, help='folder of scenes of other photos, of that size')
    parser.add_argument('--weights', default='iterate_fusion', help='weights of the network (default: %(default)s)')
    parser.add_argument('-o', '--output', required=True, type=Path, help='file of the weights with the new part')
    parser.add_argument('--width', type=int, default=16, help='hidden channels of each member (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=300, help='steps of each member (default: %(default)s)')
    parser.add_argument('--lr', type=float, default=5e-3, help='learning rate, falling as a cosine (default: 0.005)')
    parser.add_argument('--harm', type=float, default=4.0, help='weight of harm in the loss (default: %(default)s)')
    parser.add_argument(
        '--favour',
        type=float,
        default=0.0,
        help="number that is added afterwards to the softmax's input for the network, which trusts it more "
        '(default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed (default: %(default)s)')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at all scenes, fit, score, write."""
    args = build_parser().parse_args(arguments)
    old = load_fusion(args.weights).eval()
    net = IterateFusion(**{**old.hyper_parameters, 'trust_width': MEMBERS * args.width}).float()
    net.load_state_dict(old.state_dict() | {f'trust.{key}': x for key, x in net.trust.state_dict().items()})
    kept, held_out = (kept_of(net, sorted(folder.glob('*.pt'))) for folder in (args.scenes, args.val))
    print(f'trusted: {scored(None, held_out, args.harm)}', flush=True)
    fit(net, kept, args)
    with torch.no_grad():
        net.trust.out.bias[2] += args.favour
    print(f'fitted: {scored(net, held_out, args.harm)}', flush=True)
    save_network(net.half(), args.output)
    return 0


@torch.no_grad()
def kept_of(net: IterateFusion, paths: Sequence[Path]) -> Kept:
    """Return what is kept of the scenes of some files."""
    rows = []
    for path in tqdm(paths, unit='scene', disable=None):
        scene = scene_of(path, net)
        stack, sharp = scene.stack.float(), scene.sharp.float()
        images = stack.unflatten(1, (-1, COLOURS))
        photo = images[:, 0]
        step = photo + FIRST_STEP * (images[:, 1:].mean(1) - photo)
        errors = [image - sharp for image in (photo, step, net.combined(stack, scene.features.float(), None))]
        products = torch.cat([(errors[i] * errors[j]).mean(1, keepdim=True) for i, j in PAIRS], 1)
        products = F.avg_pool2d(products, SQUARE)
        measured = F.avg_pool2d(scene.measured, SQUARE // SIZE_MULTIPLE)
        measured = measured[..., : products.shape[-2], : products.shape[-1]]
        rows.append(Kept(products, measured, torch.tensor([scene.alone])))
    return Kept(*(torch.cat(each) for each in zip(*rows, strict=True)))


def fit(net: IterateFusion, kept: Kept, args: argparse.Namespace) -> None:
    """Fit the shares to what was kept: `MEMBERS` networks, each to some of the scenes, whose outputs are averaged.

    Together they are one network with as many times the hidden channels.
    """
    deviation, mean = torch.std_mean(kept.measured, (0, 2, 3), keepdim=True)
    members = []
    for member in range(MEMBERS):
        torch.manual_seed(args.seed + member)
        trust = IterateFusion(**{**net.hyper_parameters, 'trust_width': args.width}).float().trust
        trust.mean.copy_(mean)
        trust.scale.copy_(deviation.clamp_min(1e-4))
        chosen = torch.randperm(len(kept.alone))[: round(SEEN * len(kept.alone))]
        fit_member(trust, Kept(*(each[chosen] for each in kept)), args)
        members.append(trust.state_dict())
    state = {key: members[0][key] for key in ('mean', 'scale')}
    state |= {f'hidden.{key}': torch.cat([each[f'hidden.{key}'] for each in members]) for key in ('weight', 'bias')}
    state['out.weight'] = torch.cat([each['out.weight'] for each in members], 1) / MEMBERS
    state['out.bias'] = torch.stack([each['out.bias'] for each in members]).mean(0)
    net.trust.load_state_dict(state)


def fit_member(trust: nn.Module, kept: Kept, args: argparse.Namespace) -> None:
    """Fit one network to what was kept, by draws from the global generator."""
    optimiser = torch.optim.AdamW(trust.parameters(), args.lr, weight_decay=0.1)
    for step in range(args.steps):
        for group in optimiser.param_groups:
            warm = min(1, (step + 1) / WARM_UP)
            group['lr'] = args.lr * warm * (1 + math.cos(math.pi * step / args.steps)) / 2
        chosen = torch.randint(len(kept.alone), (BATCH,))
        some = Kept(*(each[chosen] for each in kept))
        noise = NOISE * trust.scale * torch.randn(len(some.alone), some.measured.shape[1], 1, 1)
        error = errors_of(trust.shares_of(some.measured + noise, DROPPED), some)
        loss = (error + args.harm * (error - some.alone.amin(1)).clamp_min(0)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def errors_of(shares: Tensor, kept: Kept) -> Tensor:
    """Return e of scenes, (n,), dB; see tune_fusion.py.

    Args:
        shares: (n, 3, h, w); of the photo, of the first step and of the network.
        kept: what is kept of the scenes.
    """
    square = sum(
        (2 - (i == j)) * kept.products[:, number] * shares[:, i] * shares[:, j] for number, (i, j) in enumerate(PAIRS)
    )
    return 10 * (square.mean((-2, -1)).clamp_min(0) + LEAST_ERROR).log10()


@torch.no_grad()
def scored(net: IterateFusion | None, kept: Kept, harm: float) -> Score:
    """Return the score of a network, or of one that is trusted everywhere."""
    if net is None:
        shares = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(len(kept.alone), -1, *kept.products.shape[-2:])
    else:
        shares = net.trust.shares_of(kept.measured)
    return score_of(errors_of(shares, kept).tolist(), kept.alone.tolist(), harm)


if __name__ == '__main__':
    sys.exit(main())
