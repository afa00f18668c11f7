"""Test-time refinement: fit the estimated blur of one photo to that photo alone.

    repeat:   u = restoration of v with the present blur;     some steps of the blur down  mean | g(R(H u)) - v |

The blur is a field, or the latent code of every pixel. g turns light into the photo, light ** (1 / gamma).

The truth is not known, only this reblur loss. So a refined blur is kept only if the loss of the last restoration is
smaller than that of the first, and the result says whether it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from basis_blur.archs.latent_kernel_arch import LatentKernels, decoded
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA, check_number
from basis_blur.ops.photo import check_photo
from basis_blur.ops.reblurring import error_inside
from basis_blur.restoration.deblur import deblur
from basis_blur.restoration.settings import ITERATIONS

STEPS = 30  # number of steps of the descent
STEPS_PER_RESTORATION = 10  # number of steps after which the photo is restored again
LEARNING_RATE = 0.05  # learning rate of kernels and mixing, for their logarithms
CODE_LEARNING_RATE = 0.02  # learning rate of codes; their standard deviation is 1
LEAST = 1e-6  # lower bound of values of kernels and mixing before their logarithm is taken
RESTORATION_ITERATIONS = 6  # number of iterations of a restoration while the field still changes


@dataclass(frozen=True)
class Gain:
    """The gain of a refinement.

    Args:
        before: reblur loss of the photo restored with the estimated blur.
        after: reblur loss of the photo restored with the refined blur.
        improved: whether `after` is smaller, so that the refined blur is returned and not the estimated one.
    """

    before: float
    after: float
    improved: bool

    @property
    def sentence(self) -> str:
        """Say whether the refinement was of use, in a sentence for a person."""
        losses = f'{self.before:.5f} -> {self.after:.5f}'
        if self.improved:
            return f'the refined blur explains the photo better: reblur loss {losses}.'
        return (
            f'refining did not lower the reblur loss ({losses}); the photo is restored with the blur as it was '
            'estimated.'
        )


@dataclass(frozen=True)
class Refinement(Gain):
    """The result of the refinement of a field.

    Args:
        field: the refined field, or the given one if `improved` is false.
    """

    field: BlurField


def refine_field(
    photo: Tensor,
    field: BlurField,
    gamma: float = GAMMA,
    steps: int = STEPS,
    callback: Callable[[int, float], None] | None = None,
) -> Refinement:
    """Refine the estimated blur of a photo by the reblur loss of its restoration.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1]; larger than the kernels.
        field: blur of that photo, on its device.
        gamma: exponent of the photo, light = photo ** gamma, >= 1.
        steps: number of steps of the descent, >= 1; the photo is restored again after every ten.
        callback: function that is called after each step with its number, from 1, and the loss.

    Raises:
        ValueError: there are several photos, or they are not as described.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> found = bb.refine_field(torch.rand(1, 3, 32, 48), field, steps=2)
        >>> found.field.image_size
        (32, 48)
    """
    _check(photo, steps, gamma)

    def judge(candidate: BlurField) -> float:
        with torch.no_grad():
            best = deblur(photo, candidate, gamma, ITERATIONS, strength=1.0)
            return error_inside(candidate, best, photo, gamma).item()

    logits = [each.detach().clamp_min(LEAST).log().requires_grad_() for each in (field.kernels, field.mixing)]
    optimizer = torch.optim.Adam(logits, LEARNING_RATE)
    restored = photo
    for step in range(steps):
        if step % STEPS_PER_RESTORATION == 0:
            with torch.no_grad():
                restored = deblur(photo, _field_of(logits), gamma, RESTORATION_ITERATIONS)
        error = error_inside(_field_of(logits), restored, photo, gamma)
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        optimizer.step()
        if callback is not None:
            callback(step + 1, error.item())
    refined = _field_of([each.detach() for each in logits]).with_removal(field.removal)
    before, after = judge(field), judge(refined)
    improved = after < before
    return Refinement(before, after, improved, refined if improved else field)


@dataclass(frozen=True)
class CodeRefinement(Gain):
    """The result of the refinement of codes.

    Args:
        image: (1, 3, H, W); the restored photo, sRGB-like in [0, 1]: by the refined kernels if `improved` is true, and
            by the estimated ones if not.
        pixel_kernels: (1, K*K, H, W); the convolution kernels it was restored with.
    """

    image: Tensor
    pixel_kernels: Tensor


def refine_codes(
    net: Any,
    photo: Tensor,
    gamma: float = GAMMA,
    steps: int = STEPS,
    callback: Callable[[int, float], None] | None = None,
) -> CodeRefinement:
    """Refine the latent codes that a UFPNet estimated from a photo, by the reblur loss of its restoration.

    Args:
        net: a UFPNet with kernel attention and flow prior, in evaluation mode.
        photo: (1, 3, H, W); sRGB-like in [0, 1]; larger than the kernels.
        gamma: exponent of the photo, light = photo ** gamma, >= 1.
        steps: number of steps of the descent, >= 1; the photo is restored again after every ten.
        callback: function that is called after each step with its number, from 1, and the loss.

    Raises:
        ValueError: there are several photos, they are not as described, or the network has no codes.
    """
    _check(photo, steps, gamma)
    if getattr(net, 'latent_kernels', None) is None or net.latent_kernels.flow is None:
        raise ValueError('the network has no latent codes; give a UFPNet with kernel attention and flow prior.')
    estimator = net.latent_kernels
    with torch.no_grad():
        estimate = estimator(photo)

    def kernels_of(code: Tensor) -> LatentKernels:
        raw = decoded(code, estimate.cell_sigma, estimator.flow)
        return estimator.in_pixels(code, estimate.cell_sigma, raw, tuple(photo.shape[-2:]))

    def restored(raw: Tensor) -> Tensor:
        with torch.no_grad():
            return net.restorer(photo, raw.detach()).clamp(0, 1)

    code = estimate.code.clone().requires_grad_()
    optimizer = torch.optim.Adam([code], CODE_LEARNING_RATE)
    first = image = restored(estimate.raw)
    for step in range(steps):
        kernels = kernels_of(code)
        if step and step % STEPS_PER_RESTORATION == 0:
            image = restored(kernels.raw)
        error = error_inside(kernels.pixel_kernels, image, photo, gamma)
        (code.grad,) = torch.autograd.grad(error, code)
        optimizer.step()
        if callback is not None:
            callback(step + 1, error.item())
    with torch.no_grad():
        refined = kernels_of(code.detach())
        last = restored(refined.raw)
        before = error_inside(estimate.pixel_kernels, first, photo, gamma).item()
        after = error_inside(refined.pixel_kernels, last, photo, gamma).item()
    if after < before:
        return CodeRefinement(before, after, True, last, refined.pixel_kernels)
    return CodeRefinement(before, after, False, first, estimate.pixel_kernels)


def _check(photo: Tensor, steps: int, gamma: float) -> None:
    check_photo(photo)
    if len(photo) != 1:
        raise ValueError(f'{len(photo)} photos are given, expected one; refine them one by one.')
    check_number('gamma', gamma, least=1, remedy='photos have 2.2, linear data 1.')
    check_number('steps', steps, least=1, whole=True, remedy=f'the default is {STEPS}.')


def _field_of(logits: list[Tensor]) -> BlurField:
    kernels, mixing = logits
    return BlurField.unchecked(kernels.flatten(2).softmax(-1).view_as(kernels), mixing.softmax(1))
