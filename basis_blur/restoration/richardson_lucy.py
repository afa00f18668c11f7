"""Richardson-Lucy deconvolution with a blur that differs from pixel to pixel  [C21, Eq. 9, App. B].

    g = H'(1 - (v + c) / (H u + c)) + lambda D'(w D u)             gradient of what is minimised
    u <- max(u - g / (H' 1 / (u + c) + 8 lambda w), 0)             the step without acceleration

u is the scene, v the photo, H the blur and H' its transpose, all in linear light. D takes differences of neighbours, w
are their weights in the total variation (TV), see `total_variation`. The data term is minus the log-likelihood of
Poisson noise. Without TV and with c = 0 the step is that of Richardson and Lucy,  u <- u H'(v / H u) / H' 1,  and keeps
light positive. The solver differs from [C21] in:

1. H' 1 is computed, where [C21] assumes that it is 1; with a non-uniform field it is 0.3 to 1.7.
2. TV is minimised together with the data term. [C21, Eq. 14] divides the step of the data term by
   1 + lambda grad TV(u) instead, where u is the scene before the step; `as_printed` does that.
3. The unknown border is part of the solution: u extends beyond the photo by the reach of the blur. Pixels out there,
   where H' 1 is small, stay near the start.
4. Steps are accelerated (Kaufman, "Implementing and accelerating the EM algorithm for positron emission tomography",
   IEEE TMI, 1987): each is made conjugate to the one before, and its length is that of the lowest point on its way.
   Since H is linear, H of the new u is known without a further product. Six such steps do what twenty did.
5. An `offset` c is added to v and H u: the likelihood of noise that does not vanish in the dark.
6. Saturation (see `basis_blur.restoration.saturation`) costs no time where nothing is saturated.
7. The discrepancy principle (Morozov, "On the solution of functional equations by the method of regularization", 1966):
   what a solution leaves unexplained should be as large as the noise. Here it tells whether the blur is right, for late
   iterations fit its errors: `further` ones are made only while a photo is explained, or about to be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from basis_blur.field.tensors import check_tensor
from basis_blur.foundation.errors import kind_of
from basis_blur.foundation.numbers import check_number
from basis_blur.ops.camera_response import camera_response, camera_response_derivative
from basis_blur.ops.linear_operator import LinearOperator
from basis_blur.ops.photo import in_full_precision
from basis_blur.ops.rows import by_rows
from basis_blur.restoration.saturation import bright_scene, overexposed, saturated_photos, unreached
from basis_blur.restoration.total_variation import LARGEST_CURVATURE, tv_curvature, tv_slope

# Lower bound of the light of the start, as a share of the photo's mean light. Without an offset, 0 would stay 0.
LEAST_START = 1e-3
ROUNDING = 1e-6  # lower bound of H u + c in the ratio, as a share of the photo's largest light
LEAST_REACH = 0.5  # lower bound of H' 1 where the length of an accelerated step is computed
KNEE = 0.7  # light below which the camera response differs from light by less than rounding does
# Number that is added to H' 1 in steps without acceleration: where the photo tells little, the start stays.
UNKNOWN = 1e-3
FIRST_LENGTH = 4.0  # largest length of the first accelerated step
LENGTH_GROWTH = 3.0  # largest length of a later one, as a multiple of the one before
FAST = 0.1  # share by which the data term falls in an iteration where a photo is about to be explained
MOST_DIMMING = 0.999  # share of its light that a pixel can lose in an accelerated step


@dataclass(frozen=True)
class RichardsonLucy:
    """Settings of the solver.

    With `accelerate=False` and `saturation=False` the step is that of the formula, but for `UNKNOWN`: at the border,
    where H' 1 is small, light moves less (by up to 0.026 in a test).

    Args:
        iterations: largest number of iterations, >= 1.
        tv_weight: lambda, the weight of total variation in linear light; 0 for none. A good one is the variance of the
            noise over the light, divided by the usual difference between neighbours (0.05).
        offset: c, linear light >= 0.
        accelerate: whether steps are conjugate and of the best length, see 4. above.
        saturation: whether R is modelled, and the scene split, in photos where any pixel is saturated.
        tolerance: least improvement of the data term by an iteration, as a share of it, in [0, 1); a photo is done
            when an iteration improves it by less. With 0 all iterations are made.
        further: largest number of iterations after these, which are made while the data term of a photo is at most
            `explained` or falls by a tenth in each of them. With a wrong blur it falls slowly, far above the noise.
        explained: data term up to which a photo counts as explained, see `settings.data_term_of_noise`.

    Raises:
        ValueError: a number is out of its range, or a switch is neither True nor False.

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
    further: int = 0
    explained: float = 0.0

    def __post_init__(self) -> None:
        check_number('iterations', self.iterations, least=1, whole=True, remedy='the default is 30.')
        check_number('tv_weight', self.tv_weight, least=0)
        check_number('offset', self.offset, least=0)
        for name in ('accelerate', 'saturation'):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f'{name} is {getattr(self, name)!r}, expected True or False.')
        check_number('tolerance', self.tolerance, least=0, below=1, remedy='it is a share; 0 makes all iterations.')
        check_number('further', self.further, least=0, whole=True, remedy='0 is none.')
        check_number('explained', self.explained, least=0)


class Restoration(NamedTuple):
    """The result of the solver.

    Args:
        scene: (N, C, h, w) linear light >= 0, on the domain of the operator; may exceed 1 in saturated places.
        history: (N, iterations made + 1); the data term at the start and after each iteration: the mean over pixels of
            r - w + w log(w / r), where r = R(H u) + c and w = v + c.
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

    The photos of a batch do not influence one another; one that is done waits for the others. About ten tensors of the
    size of the scene are in memory at once, `light` and `start` among them; a dozen where a scene is overexposed.

    Args:
        light: (N, C, H, W); the photo v, linear light in [0, 1].
        blur: H, from scene to photo.
        start: (N, C, h, w); the first scene, linear light >= 0; the photo with a mirrored border is a good one.
        settings: settings of the solver.
        callback: function that is called after each iteration with its number, from 1, and the mean data term.
        watch: function that is called before `callback` with the number and the scene so far, (N, C, h, w), which the
            next iteration changes.

    Raises:
        ValueError: shapes do not fit the operator; light is negative, NaN, infinite or no floating point; or `blur` or
            `settings` is of another kind.

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
    """Iterates of a restoration: what is kept of the scene after some of the iterations.

    Args:
        kept: numbers of these iterations, ascending to the last.
        view: function that returns what is kept of a scene, such as a photo. It has to copy, since the next iteration
            changes the scene.
    """

    def __init__(self, kept: Sequence[int], view: Callable[[Tensor], Tensor]):
        self._kept = kept
        self._view = view
        self._found: list[Tensor] = []

    def watch(self, iteration: int, scene: Tensor) -> None:
        """Keep a scene; to be given to `richardson_lucy` as `watch`. The last scene is given to `joined` instead."""
        if iteration in self._kept[:-1]:
            self._found.append(self._view(scene))

    def joined(self, last: Tensor) -> Tensor:
        """Return all iterates, one after the other in dim 1; the last scene stands for those that were not reached."""
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
    """Return what `richardson_lucy` returns, and record it for autograd.

    Since memory is overwritten in place, a call whose gradients are wanted has to be made under
    `recording.keep_copies`.
    """
    if not isinstance(blur, LinearOperator):
        raise ValueError(f'blur is {kind_of(blur)}, expected an operator, such as BasisBlur(field).')
    if not isinstance(settings, RichardsonLucy):
        raise ValueError(f'settings is {kind_of(settings)}, expected such as RichardsonLucy(iterations=30).')
    check_tensor('light', light)
    check_tensor('start', start)
    given = light.dtype
    light, start = _as_light('light', light), _as_light('start', start)
    model = _Photo(light, blur, settings)
    scene = torch.maximum(start, LEAST_START * light.mean((1, 2, 3), keepdim=True))
    blurred = blur(scene)
    slope, data_term = model.compare(blurred)
    history = [data_term]
    steps = _Steps(model, settings)
    busy = torch.ones_like(model.floor)  # 1 for each photo that still changes, 0 for one that is done
    direction = None
    for iteration in range(1, settings.iterations + settings.further + 1):
        if iteration > settings.iterations:
            is_promising = (history[-1] <= settings.explained) | (history[-1] < (1 - FAST) * history[-2])
            busy = busy * is_promising.view_as(busy)
            if not busy.any():
                break
        # Each large array is written over one that is no longer needed: new memory takes as long as the work.
        gradient = model.gradient(scene, slope, iteration, direction)
        direction = steps.direction(scene, gradient)
        del gradient
        change = blur.into(slope, direction)
        length = steps.length(direction, change, blurred) * busy
        _go(scene, direction, length)
        slope, data_term = model.compare(blurred, change, length)
        del change
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


def _as_light(name: str, values: Tensor) -> Tensor:
    """Return light in full precision, in one piece of memory; raise ValueError where it is negative or not finite."""
    # A photo that was an array (H, W, C) has the numbers of a row apart in memory, which work by rows does not allow.
    values = in_full_precision(values).contiguous()
    if not (values.isfinite().all() and (values >= 0).all()):
        raise ValueError(f'{name} has values that are negative, NaN or infinite; expected linear light >= 0.')
    return values


class _Photo:
    """The photos v and the model of them, R(H u) + c: the data term, its slope and its curvature."""

    def __init__(self, light: Tensor, blur: LinearOperator, settings: RichardsonLucy):
        self.blur = blur
        self.offset = settings.offset
        self.light = light
        peak = light.amax((1, 2, 3), keepdim=True)
        self.tiny = torch.finfo(light.dtype).tiny
        self.floor = (ROUNDING * peak).clamp_min(self.tiny)
        self.reach = blur.T(torch.ones_like(light[:, :1])).clamp_min_(0)
        self.saturated = saturated_photos(light) if settings.saturation else None
        if self.saturated is not None and not self.saturated.any():
            self.saturated = None
        self.unreached: Tensor | None = None

    def compare(
        self, blurred: Tensor, change: Tensor | None = None, length: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the slope of the data term by H u, and the data term, (N,).

        Args:
            blurred: H u. Where a step is given, it is made first, in place: `length` times `change` is added.
            change: H of the direction of u; its memory becomes that of the slope.
            length: (N, 1, 1, 1); length of the step.
        """
        slope = torch.empty_like(blurred) if change is None else change

        def work(rows: slice) -> Tensor:
            part, place = blurred[..., rows, :], slope[..., rows, :]
            if length is not None:
                part.addcmul_(place, length)
            light, shown, bent = self._shown(part, rows)
            ratio = light / shown
            place.copy_(_passed_on(1 - ratio, bent))
            return ratio.clamp_min_(self.tiny).log_().mul_(light).add_(shown).sub_(light).sum((1, 2, 3))

        return slope, torch.stack(by_rows(work, blurred)).sum(0) / blurred[0].numel()

    def curvature(self, blurred: Tensor, change: Tensor) -> Tensor:
        """Return <change, C change>, (N, 1, 1, 1), where C is the second derivative of the data term by H u."""

        def work(rows: slice) -> Tensor:
            light, shown, bent = self._shown(blurred[..., rows, :], rows)
            moved = change[..., rows, :] / shown
            return _inner(_passed_on(light, bent) * moved, moved)

        return torch.stack(by_rows(work, blurred)).sum(0)

    def _shown(self, blurred: Tensor, rows: slice) -> tuple[Tensor, Tensor, _Bent | None]:
        """Return for some rows v + c, its model R(H u) + c, and the pixels where R(H u) is not H u, or None."""
        shown, bent = (blurred + self.offset).contiguous(), None
        if self.saturated is not None and blurred.amax() > KNEE:  # elsewhere R(x) = x and R'(x) = 1
            place = ((blurred > KNEE) & self.saturated).flatten().nonzero().flatten()
            bright = blurred.flatten()[place]
            shown.view(-1)[place] = camera_response(bright) + self.offset
            bent = _Bent(place, bright)
        return self.light[..., rows, :] + self.offset, shown.clamp_min_(self.floor), bent

    def gradient(self, scene: Tensor, slope: Tensor, iteration: int, memory: Tensor | None = None) -> Tensor:
        """Apply H' to the slope, which is overwritten. Pixels that overexposed places reach update only those places.

        The result is written to `memory` if that fits. Which pixels these are changes less and less; they are computed
        again in iterations 1, 2, 3, 4, 8, 16, ...
        """
        if self.saturated is not None and (iteration < 4 or iteration.bit_count() == 1):
            split = self.saturated & overexposed(scene)
            self.unreached = None  # its memory is needed for the next
            self.unreached = torch.where(split, unreached(scene, self.blur), 1.0) if split.any() else None
        if self.unreached is None:
            return self.blur.T.into(memory, slope)
        unreached_pixels = self.unreached
        of_all = self.blur.T.into(memory, unreached_pixels * slope)

        def leave_reached(rows: slice) -> None:
            slope[..., rows, :].sub_(unreached_pixels[..., rows, :] * slope[..., rows, :])

        by_rows(leave_reached, slope)
        of_bright = self.blur.T(slope)

        def add_bright(rows: slice) -> None:
            of_all[..., rows, :].addcmul_(bright_scene(scene[..., rows, :]), of_bright[..., rows, :])

        by_rows(add_bright, scene)
        return of_all


class _Bent(NamedTuple):
    """Pixels near saturation, where R is not the identity: their places in the flattened rows, and H u there."""

    place: Tensor
    light: Tensor


def _passed_on(values: Tensor, bent: _Bent | None) -> Tensor:
    """Multiply values by R'(H u), in place, and return them."""
    if bent is not None:
        values.view(-1)[bent.place] *= camera_response_derivative(bent.light)
    return values


class _Steps:
    """The direction and the length of each step, with what is remembered of the step before."""

    def __init__(self, model: _Photo, settings: RichardsonLucy):
        self.model = model
        self.settings = settings
        self.reach = model.reach.clamp_min(LEAST_REACH) if settings.accelerate else model.reach + UNKNOWN
        self.weights: Tensor | None = None
        self.before: _Step | None = None
        self.longest = torch.full_like(model.floor, FIRST_LENGTH)

    def direction(self, scene: Tensor, gradient: Tensor) -> Tensor:
        """Return the direction of the next step.

        With acceleration it is Polak and Ribiere's: the scaled gradient plus a share of the direction before. The share
        is 0 where it would be negative or lead uphill. Where a pixel would lose too much light, the returned direction
        is shortened; the one that is remembered is not.

        Args:
            scene: u.
            gradient: gradient of the data term, to which that of TV is added in place.
        """
        before = self.before
        weight = self.settings.tv_weight
        if weight and self.weights is None:
            self.weights = torch.empty_like(scene[:, :1])
        # D g is written over the last gradient, once the two have been compared, and the direction over D g.
        scaled = torch.empty_like(scene) if before is None else before.gradient
        conjugate = torch.empty_like(scene) if before is None else before.direction

        def look(rows: slice) -> Tensor:
            own, place = gradient[..., rows, :], scaled[..., rows, :]
            if self.weights is not None:
                added, weights = tv_slope(scene, factor=weight, rows=rows)
                own.add_(added)
                self.weights[..., rows, :] = weights
            now = self._scaled(own, scene, rows)
            found = [_inner(own, now)]
            if before is not None:
                found += [_inner(place, now), _inner(conjugate[..., rows, :], own)]
            place.copy_(now)
            return torch.stack(found)

        energy, *others = torch.stack(by_rows(look, scene)).sum(0)
        share, most = None, torch.full_like(self.longest, -1)
        if self.settings.accelerate:
            most = -MOST_DIMMING / self.longest
        if before is not None:
            share = ((energy - others[0]) / _positive(before.energy)).clamp_min_(0)
            share = torch.where(share * others[1] < energy, share, 0)

        def step(rows: slice) -> Tensor:
            own, place, kept = (images[..., rows, :] for images in (gradient, scaled, conjugate))
            if share is None:
                kept.copy_(-place)
            else:
                kept.mul_(share).sub_(place)
            place.copy_(torch.maximum(kept, scene[..., rows, :] * most))
            return _inner(own, place)

        descent = -torch.stack(by_rows(step, scene)).sum(0)
        if self.settings.accelerate:
            self.before = _Step(gradient, conjugate, energy, descent)
        return scaled

    def _scaled(self, gradient: Tensor, scene: Tensor, rows: slice) -> Tensor:
        """Return some rows of the scaled gradient S g = g / (H' 1 / (u + c) + 8 lambda w)."""
        light = scene[..., rows, :] + self.settings.offset
        if self.weights is None:
            return light.mul_(gradient).div_(self.reach[..., rows, :])
        divisor = torch.addcmul(self.reach[..., rows, :], self.weights[..., rows, :], light, value=LARGEST_CURVATURE)
        return light.mul_(gradient).div_(divisor)

    def length(self, direction: Tensor, change: Tensor, blurred: Tensor) -> Tensor:
        """Return the length to the lowest point of a parabola, (N, 1, 1, 1); 1 for steps without acceleration."""
        if self.before is None:
            return torch.ones_like(self.longest)
        curvature = self.model.curvature(blurred, change)
        if self.weights is not None:
            curvature = curvature + tv_curvature(direction, self.weights).view_as(curvature)
        length = (self.before.descent / _positive(curvature)).clamp_min_(0)
        length = torch.minimum(length, self.longest)
        self.longest = (LENGTH_GROWTH * length).clamp_min_(1)
        return length


class _Step(NamedTuple):
    """A step: the gradient g where it began; its conjugate direction before any shortening; its energy <g, S g>, with S
    of `_scaled`; and its descent -<g, d> along the direction d that was taken. The last two are (N, 1, 1, 1)."""

    gradient: Tensor
    direction: Tensor
    energy: Tensor
    descent: Tensor


def _go(scene: Tensor, direction: Tensor, length: Tensor) -> None:
    """Move a scene in place by `length` times `direction`; light that would be negative becomes 0."""
    by_rows(lambda rows: scene[..., rows, :].addcmul_(direction[..., rows, :], length).clamp_min_(0), scene)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each photo of the batch, (N, 1, 1, 1)."""
    planes = zip(a.flatten(0, 1), b.flatten(0, 1), strict=True)
    found = torch.stack([torch.dot(one.flatten(), other.flatten()) for one, other in planes])
    return found.view(len(a), -1, 1, 1).sum(1, keepdim=True)


def _positive(values: Tensor) -> Tensor:
    return values.clamp_min(torch.finfo(values.dtype).tiny)
