"""The training data of an IterateFusion: photos with iterates of their restoration, in several views.

    lq --network--> field;    lq, field --Richardson-Lucy--> iterates;    stack = lq, iterates
    views: random windows of stack and sharp photo, mirrored, turned, their colours exchanged

Iterates take far more time than a step of the training, so each scene is used in several views.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basis_blur.archs.iterate_fusion_arch import COLOURS, IterateFusion
from basis_blur.estimation.by_network import estimate_blur, removal_of
from basis_blur.restoration.deblur import deblur, deblur_iterates


@torch.no_grad()
def iterate_stack(blur_net: nn.Module, lq: Tensor, iterations: Sequence[int], gamma: float) -> Tensor:
    """Return the input of an IterateFusion for blurred photos: each with its n iterates, (N, 3 (1 + n), H, W).

    Args:
        blur_net: network that estimates the blur, such as a CorrelationKPN; see `estimate_blur`.
        lq: (N, 3, H, W); sRGB-like; what is outside [0, 1] is clipped.
        iterations: numbers of the n iterates.
        gamma: light = photo ** gamma.
    """
    photo = lq.clamp(0, 1)
    field, least = estimate_blur(blur_net, photo, gamma), removal_of(blur_net).least_tv_weight
    return torch.cat([photo, deblur_iterates(photo, field, iterations, gamma, least_tv_weight=least)], 1)


@torch.no_grad()
def fused_and_alone(net: IterateFusion, blur_net: nn.Module, photo: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return the photos that `deblur` makes with a fusion, and those that it makes without.

    Args:
        net: the fusion.
        blur_net: network that estimates the blur, as in `iterate_stack`.
        photo: (N, 3, H, W); sRGB-like in [0, 1].
        gamma: exponent of the photos.
    """
    field = estimate_blur(blur_net, photo, gamma)
    return deblur(photo, field, gamma, fusion=net), deblur(photo, field, gamma)


def random_views(stack: Tensor, gt: Tensor, side: int, number: int) -> tuple[Tensor, Tensor]:
    """Return random views of stacks, and the same views of their sharp photos; torch's global generator draws them.

    Args:
        stack: (N, 3 m, H, W).
        gt: (N, 3, H, W).
        side: side of the windows, pixels; at most that of the photos.
        number: number of views of each photo.

    Returns:
        (N number, 3 m, side, side) and (N number, 3, side, side).

    Raises:
        ValueError: the photos are smaller than `side`.
    """
    height, width = stack.shape[-2:]
    if min(height, width) < side:
        raise ValueError(f'the photos are {width}x{height} pixels (width x height), expected at least {side} a side.')
    images = torch.cat([stack, gt], 1).unflatten(1, (-1, COLOURS))
    views = []
    for one in images:
        for _ in range(number):
            top, left = (int(torch.randint(size - side + 1, ())) for size in (height, width))
            view = one[:, torch.randperm(COLOURS, device=one.device), top : top + side, left : left + side]
            turns, mirror = int(torch.randint(4, ())), bool(torch.randint(2, ()))
            view = view.rot90(turns, (-2, -1))
            views.append(view.flip(-1) if mirror else view)
    joined = torch.stack(views).flatten(1, 2)
    return joined[:, :-COLOURS], joined[:, -COLOURS:]
