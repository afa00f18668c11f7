"""Train the last blocks of an IterateFusion on scenes of fusion_scenes.py, so that it gains and does not harm.

    python scripts/training/tune_fusion.py SCENES --val VAL_SCENES -o iterate_fusion.safetensors

With e(x) = 10 log10(mean square error of x + 1e-5), in dB, the loss of a scene is

    e(restored) + harm max(0, e(restored) - min(e(photo), e(solver alone)))

Where the weights have a part that decides how far the network is trusted (fit_trust.py), it is trained too. Everything
before the last blocks stays as it is in the weights that the training begins with; what it sees in a scene
is computed once and kept in memory, with the shipped size of the network 16 bytes for each pixel.

The weights are averaged over the steps. Every `--every` steps the average is scored on the scenes of `--val`, and
written to the output if no earlier one had a smaller loss there. A line of each score goes to standard output.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from basis_blur.archs.iterate_fusion_arch import COLOURS, IterateFusion
from basis_blur.field.removal import ESTIMATED_STRENGTH
from basis_blur.weights.checkpoints import load_fusion, save_network

LEAST_ERROR = 1e-5  # mean square error that is added to each, 50 dB
DECAY = 0.99  # decay of the averaged weights
SLOPE_LIMIT = 1.0  # largest norm of a gradient


class Scene(NamedTuple):
    """A scene with what the frozen part of the network sees in it.

    Args:
        stack: (1, 9, H, W) float16; the photo, iterates 2 and 4.
        features: (1, width, H/4, W/4) float16; see `IterateFusion.features`.
        measured: result of `IterateFusion.measured`.
        sharp: (1, 3, H, W) float16.
        alone: errors of the photo and of the solver alone, dB.
    """

    stack: Tensor
    features: Tensor
    measured: Tensor | None
    sharp: Tensor
    alone: tuple[float, float]


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('scenes', type=Path, help='folder of fusion_scenes.py')
    parser.add_argument('--val', required=True, type=Path, help='folder of scenes of other photos')
    parser.add_argument('--weights', default='iterate_fusion', help='weights to begin with (default: %(default)s)')
    parser.add_argument('-o', '--output', required=True, type=Path, help='file of the best weights')
    parser.add_argument('--steps', type=int, default=600, help='number of steps (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=4, help='scenes in a step (default: %(default)s)')
    parser.add_argument('--lr', type=float, default=1e-3, help='learning rate, falling as a cosine (default: 0.001)')
    parser.add_argument('--harm', type=float, default=2.0, help='weight of harm in the loss (default: %(default)s)')
    parser.add_argument('--every', type=int, default=50, help='steps between scores (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=41, help='seed of the order (default: %(default)s)')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, score, write."""
    args = build_parser().parse_args(arguments)
    net = load_fusion(args.weights).eval().requires_grad_(False)
    trained = [*net.after.parameters(), *net.tail.parameters()]
    if net.trust is not None:
        trained += net.trust.parameters()
    for parameter in trained:
        parameter.requires_grad_(True)
    average = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(trained, args.lr, betas=(0.9, 0.99), weight_decay=1e-3)
    generator = torch.Generator().manual_seed(args.seed)
    paths = sorted(args.scenes.glob('*.pt'))
    held_out = [scene_of(path, net) for path in sorted(args.val.glob('*.pt'))]
    seen: dict[Path, Scene] = {}
    best = math.inf
    order: list[int] = []
    for step in range(args.steps + 1):
        if step % args.every == 0 or step == args.steps:
            score = scored(average, held_out, args.harm)
            print(f'step {step}: {score}', flush=True)
            if score.loss < best:
                best = score.loss
                save_network(copy.deepcopy(average).half(), args.output)
        if step == args.steps:
            break
        for group in optimiser.param_groups:
            group['lr'] = args.lr * min(1, (step + 1) / 20) * (1 + math.cos(math.pi * step / args.steps)) / 2
        net.train()
        for _ in range(args.batch):
            order = order or torch.randperm(len(paths), generator=generator).tolist()
            path = paths[order.pop()]
            if path not in seen:
                seen[path] = scene_of(path, net)
            scene = seen[path]
            error = error_of(combined(net, scene), scene.sharp.float())
            loss = error + args.harm * (error - min(scene.alone)).clamp_min(0)
            (loss / args.batch).backward()
        torch.nn.utils.clip_grad_norm_(trained, SLOPE_LIMIT * args.batch)
        optimiser.step()
        optimiser.zero_grad()
        decay = min(DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, parameter in zip(average.parameters(), net.parameters(), strict=True):
                mean.lerp_(parameter, 1 - decay)
    return 0


@torch.no_grad()
def scene_of(path: Path, net: IterateFusion) -> Scene:
    """Return a scene of a file; one in gray is repeated in three colours."""
    images = torch.load(path, weights_only=True)['images'].float().expand(-1, COLOURS, -1, -1)
    photo, second, third, fourth, sharp = images.split(1)
    stack = torch.cat([photo, second, fourth], 1)
    alone = tuple(error_of(image, sharp).item() for image in (photo, torch.lerp(photo, third, ESTIMATED_STRENGTH)))
    return Scene(stack.half(), net.features(stack).half(), net.measured(stack), sharp.half(), alone)


def combined(net: IterateFusion, scene: Scene) -> Tensor:
    """Return the restored photo of a scene."""
    return net.combined(scene.stack.float(), scene.features.float(), scene.measured)


def error_of(image: Tensor, sharp: Tensor) -> Tensor:
    """Return e, in dB; see the head of this module."""
    return 10 * ((image - sharp).square().mean() + LEAST_ERROR).log10()


class Score(NamedTuple):
    """The score on the scenes that are held out: the mean loss, and gains in dB.

    Args:
        loss: mean loss.
        gain: mean gain over the photo.
        solver: that of the solver alone.
        worst: smallest gain over the better of the photo and the solver alone.
        harmed: number of scenes in which that is below -0.3 dB.
    """

    loss: float
    gain: float
    solver: float
    worst: float
    harmed: int

    def __str__(self) -> str:
        return (
            f'loss {self.loss:.3f}, gain {self.gain:+.3f} dB, the solver alone {self.solver:+.3f} dB; '
            f'over the better of both at worst {self.worst:+.2f} dB, {self.harmed} below -0.3 dB'
        )


@torch.no_grad()
def scored(net: IterateFusion, scenes: Sequence[Scene], harm: float) -> Score:
    """Return the score of a network."""
    net.eval()
    found = [error_of(combined(net, one), one.sharp.float()).item() for one in scenes]
    return score_of(found, [one.alone for one in scenes], harm)


def score_of(errors: Sequence[float], alone: Sequence[Sequence[float]], harm: float) -> Score:
    """Return the score of errors of restored scenes.

    Args:
        errors: e of each scene, dB.
        alone: e of the photo and of the solver alone, of each scene, dB.
        harm: weight of harm in the loss.
    """
    over = [min(both) - error for error, both in zip(errors, alone, strict=True)]
    losses = [error + harm * max(0, -each) for error, each in zip(errors, over, strict=True)]
    gains = [photo - error for error, (photo, _) in zip(errors, alone, strict=True)]
    of_solver = [photo - solver for photo, solver in alone]
    mean = 1 / len(errors)
    return Score(mean * sum(losses), mean * sum(gains), mean * sum(of_solver), min(over), sum(x < -0.3 for x in over))


if __name__ == '__main__':
    sys.exit(main())
