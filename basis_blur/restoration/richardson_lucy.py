"""Richardson-Lucy deconvolution with a blur that differs from pixel to pixel  [C21, Eq. 9, App. B].

    g = H'(1 - (v + c) / (H u + c)) + lambda D'(w D u)             gradient of what is minimised; w, D as in TV
    u <- max(u - g / (H' 1 / (u + c) + 8 lambda w), 0)             the step without acceleration

It climbs the likelihood of Poisson noise, and keeps light positive. Without TV and with c = 0 the step is that of
Richardson and Lucy,  u <- u H'(v / H u) / H' 1.  [C21] assumes H' 1 = 1; with a non-uniform field it is 0.3 to 1.7, so
it is computed. TV is minimised with the data term, where [C21, Eq. 14] divides the step of the data term by
1 + lambda grad TV(u), one step late; `as_printed` has that. Differs from the paper further in:

1. The unknown border is part of the solution: u lives on the scene, H maps it to the photo, and pixels outside the
   photo, which H' 1 hardly reaches, stay near the start.
2. Accelerated (Kaufman, "Implementing and accelerating the EM algorithm for positron emission tomography", IEEE TMI,
   1987). The step above goes downhill by a fixed length. Successive steps are made conjugate and their length is that
   of the lowest point; since H is linear, H of the new u is known without a further product. Six steps do what twenty
   did.
3. An `offset` c is added to v and H u in the ratio: noise that does not vanish in the dark has this likelihood.
4. Saturation (see `basis_blur.restoration.saturation`) costs nothing where nothing is saturated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from basis_blur.foundation.numbers import check_number
from basis_blur.ops.camera_response import camera_response, camera_response_derivative
from basis_blur.ops.linear_operator import LinearOperator
from basis_blur.ops.photo import in_full_precision
from basis_blur.ops.rows import by_rows, row_blocks
from basis_blur.restoration.saturation import bright_scene, overexposed, saturated_photos, unreached
from basis_blur.restoration.total_variation import LARGEST_CURVATURE, edge_weights, tv_curvature, tv_gradient

# Least light of the start, as a share of the photo's mean light. A product never leaves 0, so nothing starts there.
LEAST_START = 1e-3
ROUNDING = 1e-6  # lower bound of divisors, as a share of the photo's largest light
LEAST_REACH = 0.5  # lower bound of H' 1 where the length of an accelerated step is computed
KNEE = 0.7  # light below which the camera response differs from light by less than rounding does
# Number that is added to H' 1 and to what it divides. Where it counts, the photo tells little and the start stays.
UNKNOWN = 1e-3
FIRST_LENGTH, LENGTH_GROWTH = 4.0, 3.0  # largest length of the first step, and of one as a multiple of the one before
MOST_DIMMING = 0.999  # share of its light that a pixel can lose in an accelerated step


@dataclass(frozen=True)
class RichardsonLucy:
    """Settings of the solver.

    With `accelerate=False` and the other defaults the step is that of the formula above, but for `UNKNOWN`, by which
    light at the border, where H' 1 is small, moves less (a change of up to 0.026 was seen there).

    Args:
        iterations: at most.
        tv_weight: lambda; 0 for none. The variance of the noise over the light, divided by the usual size of
            differences between neighbours (0.05), suits.
        offset: c, linear light >= 0.
        accelerate: conjugate steps of the best length, see 2. above.
        saturation: model R and split the scene in photos where any pixel is saturated.
        tolerance: number in [0, 1); a photo is done when its data term improves by less than this share in an
            iteration; 0 to go on.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> bb.RichardsonLucy(iterations=10, tv_weight=0.002).iterations
        10
    """

    iterations: int = 30
    tv_weight: float = 0.0
    offset: float = 0.0
    accelerate: bool = True
    saturation: bool = True
    tolerance: float = 0.0

    def __post_init__(self):
        check_number('iterations', self.iterations, least=1, whole=True, remedy='the default is 30.')
        check_number('tv_weight', self.tv_weight, least=0)
        check_number('offset', self.offset, least=0)
        check_number('tolerance', self.tolerance, least=0, below=1, remedy='it is a share; 0 makes all iterations.')


class Restoration(NamedTuple):
    """The result of the solver.

    Args:
        scene: (N, C, h, w) linear light >= 0, on the domain of the operator; may exceed 1 in saturated places.
        history: (N, iterations made + 1); the data term at the start and after each iteration. It is the mean of
            r - w + w log(w / r), where r = R(H u) + c and w = v + c: what Poisson noise makes of the difference.
    """

    scene: Tensor
    history: Tensor


@torch.no_grad()
def richardson_lucy(
    light: Tensor,
    blur: LinearOperator,
    start: Tensor,
    settings: RichardsonLucy = RichardsonLucy(),
    callback: Callable[[int, float], None] | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Restoration:
    """Find the scene whose blur is the photo.

    The photos of a batch do not influence one another; one that is done waits for the others. At most about ten numbers
    as large as the scene are in memory at once, `light` and `start` among them; a dozen where a scene is overexposed.

    Args:
        light: (N, C, H, W); the photo v, linear light in [0, 1].
        blur: H, from scene to photo.
        start: (N, C, h, w); the first scene, linear light >= 0; the photo with a mirrored border is a good one.
        settings: arguments of `RichardsonLucy`.
        callback: called after each iteration with its number, from 1, and the mean data term.
        watch: called before that with the number and the scene so far, (N, C, h, w), which the next iteration changes.

    Raises:
        ValueError: shapes do not fit the operator, or light is negative, NaN or infinite.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> scene = torch.rand(1, 1, 34, 50)
        >>> blur = bb.BasisBlur(field)
        >>> found = bb.richardson_lucy(blur(scene), blur, torch.full_like(scene, 0.5), bb.RichardsonLucy(iterations=5))
        >>> (blur(found.scene) - blur(scene)).abs().mean() < 0.05
        tensor(True)
    """
    return richardson_lucy_with_graph(light, blur, start, settings, callback, watch)


class Iterates:
    """Some scenes on the way of a restoration, each as a view of it is taken at that time.

    Args:
        kept: after which iterations, ascending to the last.
        view: part of a scene that is kept, which the next iteration changes.
    """

    def __init__(self, kept: Sequence[int], view: Callable[[Tensor], Tensor]):
        self._kept = kept
        self._view = view
        self._found: list[Tensor] = []

    def watch(self, iteration: int, scene: Tensor) -> None:
        """Look at a scene, as `watch` of `richardson_lucy`; the last is left to `joined`."""
        if iteration in self._kept[:-1]:
            self._found.append(self._view(scene))

    def joined(self, last: Tensor) -> Tensor:
        """Return all views in dim 1; where the stop rule ended before, later ones are that of the last scene."""
        found = self._found + [self._view(last)] * (len(self._kept) - len(self._found))
        return found[0] if len(found) == 1 else torch.cat(found, 1)


def richardson_lucy_with_graph(
    light: Tensor,
    blur: LinearOperator,
    start: Tensor,
    settings: RichardsonLucy = RichardsonLucy(),
    callback: Callable[[int, float], None] | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Restoration:
    """Return what `richardson_lucy` does, recorded for gradients of the scene by all that it was computed from.

    Memory is used again in place, so where gradients are wanted, this must be called under `recording.keep_copies`.
    """
    given, light, start = light.dtype, in_full_precision(light), in_full_precision(start)
    for name, values in (('light', light), ('start', start)):
        if not (values.isfinite().all() and (values >= 0).all()):
            raise ValueError(f'{name} has values that are negative, NaN or infinite; expected linear light >= 0.')
    model = _Photo(light, blur, settings)
    scene = torch.maximum(start, LEAST_START * light.mean((1, 2, 3), keepdim=True))
    blurred = blur(scene)
    slope, data_term = model.compare(blurred)
    history = [data_term]
    steps = _Steps(model, settings)
    busy = torch.ones_like(model.floor)
    for iteration in range(1, settings.iterations + 1):
        gradient = model.gradient(scene, slope, iteration)
        slope = None  # type: ignore[assignment]  # its memory is needed for what follows
        direction = steps.direction(scene, gradient)
        del gradient
        change = blur(direction)
        length = steps.length(direction, change, blurred) * busy
        scene.addcmul_(direction, length).clamp_min_(0)
        blurred.addcmul_(change, length)
        del direction, change
        slope, data_term = model.compare(blurred)
        history.append(data_term)
        if watch is not None:
            watch(iteration, scene)
        if callback is not None:
            callback(iteration, history[-1].mean().item())
        if settings.tolerance:
            settled = history[-1] > (1 - settings.tolerance) * history[-2]
            busy = busy * (~settled).view_as(busy)
            if not busy.any():
                break
    return Restoration(scene.to(given), torch.stack(history, 1))


class _Photo:
    """The photos, how they came from a scene, and what the difference says about it."""

    def __init__(self, light: Tensor, blur: LinearOperator, settings: RichardsonLucy):
        self.blur = blur
        self.offset = settings.offset
        self.light = light
        peak = light.amax((1, 2, 3), keepdim=True)
        self.floor = (ROUNDING * peak).clamp_min(torch.finfo(light.dtype).tiny)
        self.reach = blur.T(torch.ones_like(light[:, :1])).clamp_min_(0)
        self.saturated = saturated_photos(light) if settings.saturation else None
        if self.saturated is not None and not self.saturated.any():
            self.saturated = None
        self.unreached: Tensor | None = None

    def compare(self, blurred: Tensor) -> tuple[Tensor, Tensor]:
        """Return how well H u explains the photos: the slope of the data term by H u, and the data term, (N,)."""
        slope = torch.empty_like(blurred)
        deviance = blurred.new_zeros(len(blurred))
        for rows in row_blocks(blurred):
            part = blurred[..., rows, :]
            light, shown, bent = self._shown(part, rows)
            ratio = light / shown
            deviance = deviance + torch.xlogy(light, ratio).add_(shown).sub_(light).sum((1, 2, 3))
            slope[..., rows, :] = self._passed_on(ratio.neg_().add_(1), part, bent)
        return slope, deviance / blurred[0].numel()

    def curvature(self, blurred: Tensor, change: Tensor) -> Tensor:
        """Return <change, C change>, (N, 1, 1, 1), with the second derivative C of the data term by H u."""
        total = torch.zeros_like(self.floor)
        for rows in row_blocks(blurred):
            part, moved = blurred[..., rows, :], change[..., rows, :]
            light, shown, bent = self._shown(part, rows)
            moved = moved / shown
            total = total + _inner(self._passed_on(light, part, bent).mul_(moved), moved)
        return total

    def _shown(self, blurred: Tensor, rows: slice) -> tuple[Tensor, Tensor, tuple[Tensor, ...] | None]:
        """Return for some rows what the photos show, what they should, and where saturation makes it other than H u."""
        shown, bent = blurred + self.offset, None
        if self.saturated is not None:  # few pixels are near the knee; elsewhere R(x) = x and R'(x) = 1
            bent = ((blurred > KNEE) & self.saturated).nonzero(as_tuple=True)
            shown[bent] = camera_response(blurred[bent]) + self.offset
        return self.light[..., rows, :] + self.offset, shown.clamp_min_(self.floor), bent

    def _passed_on(self, values: Tensor, blurred: Tensor, bent: tuple[Tensor, ...] | None) -> Tensor:
        if bent is not None:
            values[bent] *= camera_response_derivative(blurred[bent])
        return values

    def gradient(self, scene: Tensor, slope: Tensor, iteration: int) -> Tensor:
        """Apply H' to the slope, which is overwritten. Pixels that overexposed places reach update only those places.

        What overexposed places reach changes less and less; it is computed in iterations 1, 2, 3, 4, 8, 16, ...
        """
        if self.saturated is not None and (iteration < 4 or iteration.bit_count() == 1):
            split = self.saturated & overexposed(scene)
            self.unreached = None  # its memory is needed for the next
            self.unreached = torch.where(split, unreached(scene, self.blur), 1.0) if split.any() else None
        if self.unreached is None:
            return self.blur.T(slope)
        unreached_slope = self.unreached * slope
        of_all = self.blur.T(unreached_slope)
        slope.sub_(unreached_slope)
        del unreached_slope
        of_bright = self.blur.T(slope)
        return by_rows(lambda a, b, s: torch.addcmul(a, bright_scene(s), b), of_all, of_bright, scene)


class _Steps:
    """The direction and the length of a step from a scene."""

    def __init__(self, model: _Photo, settings: RichardsonLucy):
        self.model = model
        self.settings = settings
        self.reach = model.reach.clamp_min(LEAST_REACH) if settings.accelerate else model.reach + UNKNOWN
        self.weights: Tensor | None = None
        self.before: tuple[Tensor, Tensor, Tensor] | None = None  # gradient, direction, <gradient, D gradient>
        self.longest = torch.full_like(model.floor, FIRST_LENGTH)

    def direction(self, scene: Tensor, gradient: Tensor) -> Tensor:
        """Return where to go; `gradient` is that of the data term, and then of all."""
        if self.settings.tv_weight:
            self.weights = self.settings.tv_weight * edge_weights(scene)
            gradient.add_(tv_gradient(scene, self.weights))
            scaled = by_rows(self._scaled, gradient, scene, self.reach, self.weights)
        else:
            scaled = by_rows(self._scaled, gradient, scene, self.reach)
        if not self.settings.accelerate:
            return by_rows(lambda step, light: torch.maximum(-step, -light), scaled, scene)
        direction = self._conjugate(gradient, scaled)
        most = -MOST_DIMMING / self.longest
        return by_rows(lambda step, light: torch.maximum(step, light * most), direction, scene)

    def _scaled(self, gradient: Tensor, scene: Tensor, reach: Tensor, weights: Tensor | None = None) -> Tensor:
        divisor = reach / (scene + self.settings.offset).clamp_min_(torch.finfo(scene.dtype).tiny)
        if weights is not None:
            divisor.add_(weights, alpha=LARGEST_CURVATURE)
        return gradient / divisor

    def _conjugate(self, gradient: Tensor, scaled: Tensor) -> Tensor:
        """Polak and Ribiere's direction, restarted where its share of the last one is negative or it leads uphill.

        It takes the memory of `scaled`.
        """
        energy = _inner(gradient, scaled)
        before = self.before
        if before is None:
            direction = scaled.neg_()
        else:
            last_gradient, last_direction, last_energy = before
            share = ((energy - _inner(last_gradient, scaled)) / _positive(last_energy)).clamp_min_(0)
            uphill = share * _inner(last_direction, gradient) - energy
            direction = scaled.neg_().addcmul_(last_direction, torch.where(uphill < 0, share, 0))
        self.before = gradient, direction, energy
        return direction

    def length(self, direction: Tensor, change: Tensor, blurred: Tensor) -> Tensor:
        """Return the length (N, 1, 1, 1) to the lowest point of a parabola; 1 where the formula says so."""
        if self.before is None:  # steps are not accelerated
            return torch.ones_like(self.longest)
        curvature = self.model.curvature(blurred, change)
        if self.weights is not None:
            curvature = curvature + tv_curvature(direction, self.weights).view_as(curvature)
        length = (-_inner(self.before[0], direction) / _positive(curvature)).clamp_min_(0)
        length = torch.minimum(length, self.longest)
        self.longest = (LENGTH_GROWTH * length).clamp_min_(1)
        return length


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each photo of the batch, (N, 1, 1, 1)."""
    return torch.stack([torch.dot(*pair) for pair in zip(a.flatten(1), b.flatten(1), strict=True)]).view(-1, 1, 1, 1)


def _positive(values: Tensor) -> Tensor:
    return values.clamp_min(torch.finfo(values.dtype).tiny)
