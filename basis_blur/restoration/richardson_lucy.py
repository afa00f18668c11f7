"""Richardson-Lucy deconvolution with a blur that differs from pixel to pixel  [C21, Eq. 9, App. B].

    u <- u * H^T(v / H u) / (H^T 1 + lambda grad TV(u))

It climbs the likelihood of Poisson noise, and keeps light positive. [C21] assumes H^T 1 = 1; with a non-uniform field
it is 0.3 to 1.7, so it is computed. Differs from the paper further in:

1. The unknown border is part of the solution: u lives on the scene, H maps it to the photo, and pixels outside the
   photo, which H^T 1 hardly reaches, keep the mirror image that they start from.
2. Each step starts from a point extrapolated along the last one, which saves two of three iterations
   (Biggs and Andrews, "Acceleration of iterative image restoration algorithms", Applied Optics, 1997).
3. Saturation costs nothing where nothing is saturated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from basis_blur.ops.camera_response import camera_response
from basis_blur.ops.linear_operator import LinearOperator
from basis_blur.restoration.saturation import bright_scene, is_saturated, saturated_ratio, unreached
from basis_blur.restoration.total_variation import tv_gradient

FLOOR = 1e-4  # linear light; divisors are raised to it
WEAKEST = 0.02  # where H^T 1 is less, the photo does not tell and the start stays
LEAST_DIVISOR = 0.3  # of H^T 1; a strong TV must not turn the divisor's sign


@dataclass(frozen=True)
class RichardsonLucy:
    """Settings of the solver.

    Args:
        iterations: at most.
        tv_weight: lambda, per pixel; 0 for none. About a fifth of the noise's standard deviation suits.
        accelerate: extrapolate, see 2. above.
        saturation: model R and split the scene, if any pixel is saturated.
        tolerance: stop when the data term has improved by less than this share in an iteration; 0 to go on.

    Raises:
        ValueError: a number is out of its range.
    """

    iterations: int = 30
    tv_weight: float = 0.0
    accelerate: bool = True
    saturation: bool = True
    tolerance: float = 0.0

    def __post_init__(self):
        if self.iterations < 1:
            raise ValueError(f'iterations is {self.iterations}, expected >= 1; the default is 30.')
        for name in ('tv_weight', 'tolerance'):
            if not getattr(self, name) >= 0:
                raise ValueError(f'{name} is {getattr(self, name)}, expected >= 0.')


class Restoration(NamedTuple):
    """What the solver returns.

    Args:
        scene: (N, C, h, w) linear light >= 0, on the domain of the operator; may exceed 1 in saturated places.
        history: the data term, mean squared R(H u) - v, at the start of each iteration.
    """

    scene: Tensor
    history: list[float]


@torch.no_grad()
def richardson_lucy(
    light: Tensor,
    blur: LinearOperator,
    start: Tensor,
    settings: RichardsonLucy = RichardsonLucy(),
    callback: Callable[[int, float], None] | None = None,
) -> Restoration:
    """Find the scene whose blur is the photo.

    Args:
        light: (N, C, H, W); the photo v, linear light in [0, 1].
        blur: H, from scene to photo.
        start: (N, C, h, w); the first scene, linear light >= 0; the photo with a mirrored border is a good one.
        settings: see `RichardsonLucy`.
        callback: called with the iteration, from 1, and the data term before it.

    Raises:
        ValueError: shapes do not fit the operator, or light is negative, NaN or infinite.
    """
    for name, values in (('light', light), ('start', start)):
        if not (values.isfinite().all() and (values >= 0).all()):
            raise ValueError(f'{name} has values that are negative, NaN or infinite; expected linear light >= 0.')
    saturated = settings.saturation and is_saturated(light)
    reach = blur.T(torch.ones_like(light))
    silent = (WEAKEST - reach).clamp_min(0)
    scene, before, steps = start.clamp_min(FLOOR), None, (None, None)
    history: list[float] = []
    for iteration in range(1, settings.iterations + 1):
        point = _extrapolate(scene, before, steps) if settings.accelerate else scene
        blurred = blur(point)
        shown = camera_response(blurred) if saturated else blurred
        history.append((shown - light).square().mean().item())
        if callback is not None:
            callback(iteration, history[-1])
        if _has_settled(history, settings.tolerance):
            break
        correction = _correction(light, blurred, blur, point, saturated)
        divisor = reach + silent
        if settings.tv_weight:
            divisor = torch.maximum(divisor + settings.tv_weight * tv_gradient(point), LEAST_DIVISOR * divisor)
        updated = point * (correction + silent) / divisor
        steps = (updated - point, steps[0])
        before, scene = scene, updated
    return Restoration(scene, history)


def _correction(light: Tensor, blurred: Tensor, blur: LinearOperator, point: Tensor, saturated: bool) -> Tensor:
    """H^T of the ratio of photo and blurred scene; in saturated photos separately for the bright scene and the rest."""
    if not saturated:
        return blur.T(light / blurred.clamp_min(FLOOR))
    ratio = saturated_ratio(light, blurred, FLOOR)
    weights = bright_scene(point)
    if not weights.any():
        return blur.T(ratio)
    heard = unreached(weights, blur)
    return torch.lerp(blur.T(heard * ratio + 1 - heard), blur.T(ratio), weights)


def _extrapolate(scene: Tensor, before: Tensor | None, steps: tuple[Tensor | None, Tensor | None]) -> Tensor:
    """Go on along the last change, by the share that the last two steps have in common."""
    if before is None or steps[1] is None:
        return scene
    last, previous = (each.flatten(1) for each in steps)
    share = (last * previous).sum(1) / previous.square().sum(1).clamp_min(torch.finfo(scene.dtype).tiny)
    share = share.clamp(0, 1).view(-1, 1, 1, 1)
    return (scene + share * (scene - before)).clamp_min(0)


def _has_settled(history: list[float], tolerance: float) -> bool:
    if len(history) < 3 or tolerance == 0:
        return False
    best = min(history[:-1])
    return history[-1] > (1 - tolerance) * best
