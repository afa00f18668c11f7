"""The edges of a scene that tell the kernel: strong ones, and enough of them in every direction.

There are two rules. By noise, an edge counts if it is 60 times as high as the noise, which is good where there is
little noise. By count, the threshold is such that each of four directions has at least K^2 / 2 edge pixels, which is
good where the photo is noisy or small. Both thresholds fall by a tenth with every round.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from basis_blur.estimation.shake.extension import differences

OVER_NOISE = 60.0  # height of an edge that counts, over the noise
DIRECTIONS = 4  # number of directions of edges that are told apart
PIXELS_OF_KERNEL = 0.5  # number of edge pixels a direction, over the number of pixels of the kernel
DECAY = 1.1  # divisor of a threshold from one round to the next


def telling_edges(scene: Tensor, weights: Tensor, kernel_size: int, noise: float | None, number: int) -> Tensor:
    """Return the differences of scenes where they tell the kernel, and 0 elsewhere.

    Args:
        scene: (N, 1, h, w).
        weights: (h, w); how much each place counts (`extension.inner_ramp`).
        kernel_size: K.
        noise: standard deviation of the photo's noise at this size, light; None for the rule by count.
        number: number of the round, from 0.

    Returns:
        (N, 2, h, w); down and right.
    """
    edges = torch.cat(differences(scene), 1)
    height = edges.square().sum(1, keepdim=True).sqrt_()
    least: Tensor | float
    if noise is None:
        least = _by_count(edges, height, weights, kernel_size) / DECAY**number
    else:
        least = OVER_NOISE * noise / DECAY**number
    return edges * ((height >= least) * weights)


def _by_count(edges: Tensor, height: Tensor, weights: Tensor, kernel_size: int) -> Tensor:
    wanted = max(1, int(PIXELS_OF_KERNEL * kernel_size**2))
    turn = torch.atan2(edges[:, :1], edges[:, 1:]).remainder(math.pi) / (math.pi / DIRECTIONS)
    direction = turn.round().remainder(DIRECTIONS)
    inside = weights > 0
    thresholds = []
    for one, its_direction in zip(height, direction, strict=True):
        least = one.new_full((), math.inf)
        for each in range(DIRECTIONS):
            found = one[(its_direction == each) & inside]
            least = torch.minimum(least, found.topk(wanted).values[-1] if len(found) > wanted else least.new_zeros(()))
        thresholds.append(least)
    return torch.stack(thresholds).view(-1, 1, 1, 1)
