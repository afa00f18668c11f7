"""The restoration of [C21] as it is printed, Eq. 9 to 14, for comparisons with `deblur`, this package's own.

    f_U = H'(z v R'(Hu) / R(Hu) + 1 - z R'(Hu))            factor of the rest              [C21, Eq. 11-13; W14]
    f_S = H'(  v R'(Hu) / R(Hu) + 1 -   R'(Hu))            factor of overexposed places
    u  <- u ((1 - s) f_U + s f_S) / (1 + lambda grad TV(u))                                [C21, Eq. 9, 14]

u is the scene and begins as the blurred photo v. s is a smooth mask of the places where the scene is at least 0.99. z
is 1 at pixels of the photo that no such place reaches, and 0 elsewhere. Where nothing is overexposed, s = 0 and z = 1.
The division by 1 + lambda grad TV is Green's one-step-late rule, with the gradient at the scene before the step; each
colour has a total variation of its own. There are 30 iterations at most; an earlier one is the last if after it the
reblur loss, the mean square of  R(Hu) ** (1 / gamma) - photo,  stalls.

[C21] does not print the following, which was chosen here. H and H' continue what they are applied to by reflection, so
that H' 1 = 1 for a uniform field, as [C21] assumes. lambda is 0.001. The loss stalls if it improves by less than 1e-6.
s is the sigmoid of `saturation.bright_scene`. But for the border, H' = sum_b K_b' M_b is the exact adjoint. Where
kernels differ from place to place H' 1 is not 1, and since nothing is divided by it, the update then changes the light
of the scene even if H u = v.

Convention: that of `deblur`; gamma is 2.2 for photos, and [C21] takes 1 for the Koehler set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.camera_response import (
    camera_response,
    camera_response_derivative,
    photo_of,
    to_linear,
    to_srgb,
)
from basis_blur.ops.photo import check_larger_than_kernel, check_photo
from basis_blur.restoration.richardson_lucy import Iterates
from basis_blur.restoration.saturation import THRESHOLD, bright_scene, saturated_photos
from basis_blur.restoration.settings import Removal
from basis_blur.restoration.total_variation import tv_slope

REMOVAL = Removal(iterations=30)  # iterations and strength of [C21]
TV_WEIGHT = 1e-3  # weight of total variation, lambda
STALL = 1e-6  # decrease of the reblur loss; an iteration that brings less is the last
SMALLEST_EDGE = 1e-6  # lower bound of the length of the gradient, by which Eq. 14 divides, linear light
SMALLEST_LIGHT = 1e-8  # lower bound of divisors, linear light
REACH = 1e-3  # share of a pixel's kernel in overexposed places from which on it counts as reached; rounding is less


@torch.no_grad()
def deblur_as_printed(
    photo: Tensor,
    field: BlurField,
    iterations: Sequence[int] = (REMOVAL.iterations,),
    gamma: float = GAMMA,
    *,
    tv_weight: float | None = None,
    least_tv_weight: float = 0.0,
    further: int = 0,
    callback: Callable[[int], None] | None = None,
) -> Tensor:
    """Return the restored photos after some numbers of iterations, (N, C len(iterations), H, W).

    Photos of a batch are restored one by one. Where the stop rule ends the work before, the iterates after it equal the
    last one.

    Args:
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1].
        field: blur of that photo, on its device.
        iterations: numbers of iterations, >= 1, ascending.
        gamma: exponent of the photo, light = photo ** gamma.
        tv_weight: lambda, < 0.25, beyond which the divisor may be 0; 0.001 unless given.
        least_tv_weight: lower bound of `tv_weight` where that is not given.
        further: not used; the stop rule of [C21] says how many iterations are made.
        callback: function that is called with the number of each iteration, from 1.

    Raises:
        ValueError: the photo is not as described, the field is of another size, or `tv_weight` is out of its range.
        InputError: the photo is smaller than the kernels.
    """
    check_photo(photo)
    check_larger_than_kernel(photo, field.kernel_size)
    if (len(photo), *photo.shape[-2:]) != (len(field), *field.image_size):
        raise ValueError(
            f'the photo is {tuple(photo.shape)} and the field {tuple(field.mixing.shape)}, expected the same N, H and '
            'W; give the field that was estimated from this photo.'
        )
    weight = max(TV_WEIGHT, least_tv_weight) if tv_weight is None else tv_weight
    if not 0 <= weight < 0.25:
        raise ValueError(f'tv_weight is {weight}, expected 0 <= tv_weight < 0.25; {TV_WEIGHT:g} is usual.')
    results = []
    for n, one in enumerate(photo.split(1)):
        iterates = Iterates(iterations, lambda light: to_srgb(light.clamp(0, 1), gamma).to(photo.dtype))
        solver = _Solver(one, field[n], gamma, weight)
        results.append(iterates.joined(solver.solve(iterations[-1], callback, iterates.watch)))
    return torch.cat(results)


class _Solver:
    """The iteration, on one photo."""

    def __init__(self, photo: Tensor, field: BlurField, gamma: float, tv_weight: float):
        self.photo = photo
        self.light = to_linear(photo, gamma)
        self.field = field
        self.gamma = gamma
        self.tv_weight = tv_weight
        self.split = bool(saturated_photos(self.light).any())
        self.blur = BasisBlur(field) @ ReflectPad(field)

    def solve(
        self, iterations: int, callback: Callable[[int], None] | None, watch: Callable[[int, Tensor], None]
    ) -> Tensor:
        """Return the scene after the last iteration, in linear light."""
        scene, blurred = self.light, self.blur(self.light)
        loss = self._reblur_loss(blurred)
        for iteration in range(1, iterations + 1):
            factor = self._factor(scene, blurred)
            if self.tv_weight:
                factor = factor / (1 + self.tv_weight * _tv_gradient(scene))
            scene = scene * factor
            blurred = self.blur(scene)
            watch(iteration, scene)
            if callback is not None:
                callback(iteration)
            before, loss = loss, self._reblur_loss(blurred)
            if before - loss < STALL:
                break
        return scene

    def _factor(self, scene: Tensor, blurred: Tensor) -> Tensor:
        """Return (1 - s) f_U + s f_S."""
        slope = camera_response_derivative(blurred)
        ratio = self.light * slope / camera_response(blurred).clamp_min(SMALLEST_LIGHT)
        everywhere = self._transposed(ratio + 1 - slope)
        bright = (scene >= THRESHOLD).to(scene.dtype)
        if not self.split or not bright.any():
            return everywhere
        clear = (self.blur(bright) < REACH).to(scene.dtype)  # z
        return torch.lerp(self._transposed(clear * ratio + 1 - clear * slope), everywhere, bright_scene(scene))

    def _transposed(self, values: Tensor) -> Tensor:
        """Return H' of values >= 0 of the photo: sum_b K_b' (m_b values), each continued by reflection."""
        ones = torch.ones_like(self.field.mixing[:, :1])
        total = torch.zeros_like(values)
        for kernel, mixing in zip(self.field.kernels.split(1, 1), self.field.mixing.split(1, 1), strict=True):
            turned = BlurField.unchecked(kernel.flip(-2, -1), ones)
            total += BasisBlur(turned)(ReflectPad(turned)(mixing * values))
        return total.clamp_min_(0)  # rounding of the transforms

    def _reblur_loss(self, blurred: Tensor) -> Tensor:
        return (photo_of(camera_response(blurred), self.gamma) - self.photo).square().mean()


def _tv_gradient(scene: Tensor) -> Tensor:
    """Return grad TV of each colour by itself: minus the divergence of grad u / |grad u|."""
    colours = scene.flatten(0, 1)[:, None]
    return tv_slope(colours, SMALLEST_EDGE).gradient.view_as(scene)
