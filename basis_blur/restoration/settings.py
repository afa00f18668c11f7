"""The settings of Richardson-Lucy for one photo, by its noise, its gamma and its scene.

With the true blur and with an estimated one, the best settings differ (docs/training_log.md).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.field.removal import (
    ESTIMATED_BLUR,
    ESTIMATED_ITERATIONS,
    ESTIMATED_STRENGTH,
    ITERATIONS,
    TRUE_BLUR,
    Removal,
    check_strength,
)
from basis_blur.foundation.errors import kind_of
from basis_blur.foundation.numbers import GAMMA, check_number
from basis_blur.ops.camera_response import to_linear
from basis_blur.ops.gradient import forward_difference
from basis_blur.restoration.noise import estimate_jpeg_error, estimate_noise
from basis_blur.restoration.richardson_lucy import RichardsonLucy

TOLERANCE = 1e-3  # least improvement of the data term by an iteration, as a share of it; one with less is the last
TV_FACTOR = 0.1  # factor of the weight of total variation, found by experiment
LEAST_CONTRAST = 0.005  # lower bound of the contrast by which that weight is divided, linear light
BRIGHT_PHOTO = 0.15  # mean light of a photo up to which the offset grows with the light
LEAST_NOISE = 0.001  # lower bound of a photo's noise, about the standard deviation of rounding to 8 bits
VISIBLE_NOISE = 0.0015  # noise from which on it is more than rounding to 8 bits
MOST_UNEXPLAINED = 1.2  # largest difference of an explained photo to the blurred scene, as a multiple of its noise
LEAST_LIGHT = 1e-4  # lower bound of the light in which the size of the noise is computed


__all__ = [
    'ESTIMATED_BLUR', 'ESTIMATED_ITERATIONS', 'ESTIMATED_STRENGTH', 'ITERATIONS', 'TRUE_BLUR', 'Removal',
    'Steps', 'check_strength', 'contrast_of', 'data_term_of_noise', 'offset_for', 'solver_settings', 'step_towards',
    'steps_for', 'tv_weight_for',
]  # fmt: skip


def tv_weight_for(noise: float, gamma: float = GAMMA, contrast: float = 0.05) -> float:
    """Return the weight of total variation that suits a noise level and a scene.

    Noise s of the photo is noise  s gamma v^(1 - 1/gamma)  of the light v. If the gradients of the scene have the mean
    size b, its most probable form has  weight = variance / (v b),  which for gamma near 2 hardly depends on v and is
    (s gamma)^2 / b. A solver that stops early leaves less noise in a noisy photo than this assumes; with the power 1.5
    in place of 2, one factor suits all noise levels:  weight = TV_FACTOR (s gamma)^1.5 / b.

    Args:
        noise: s, the standard deviation of the photo's noise, sRGB-like.
        gamma: exponent of the photo, light = photo ** gamma.
        contrast: b, linear light; see `contrast_of`.
    """
    return TV_FACTOR * (noise * gamma) ** 1.5 / max(contrast, LEAST_CONTRAST)


def contrast_of(light: Tensor) -> float:
    """Return the mean size of the gradient of a scene, as told by a blurred photo of it, (1, C, H, W) linear light.

    Differences are taken between means of 4 x 4 pixels, which hide the noise. In a blurred photo they are about as
    large as those between pixels of the sharp one. Squares are summed over three colours; the one of a gray photo
    counts three times.
    """
    coarse = F.avg_pool2d(light, 4, ceil_mode=True, count_include_pad=False)
    down, right = forward_difference(coarse, -2), forward_difference(coarse, -1)
    return down.square_().add_(right.square_()).mean(1).mul_(3).sqrt_().mean().item()


def offset_for(gamma: float, brightness: float = 1.0) -> float:
    """Return the offset of the likelihood that suits a gamma and a photo.

    The variance of the noise grows with the light v as v^(2 - 2/gamma). For gamma 2.2 that is nearly v, which
    Richardson-Lucy assumes, and a small offset is best (0.05). For gamma 1 it is the same at every v, and a large
    offset (0.2) keeps dark pixels from counting too much. Between these two a power of gamma is taken. In a photo that
    is dark as a whole, the dark pixels are all there is, so the offset shrinks with the mean light.

    Args:
        gamma: exponent of the photo, > 0.
        brightness: mean linear light of the photo.
    """
    return 0.2 * gamma**-1.75 * min(1.0, brightness / BRIGHT_PHOTO)


def data_term_of_noise(light: Tensor, noise: float, gamma: float, offset: float) -> float:
    """Return the data term of `richardson_lucy` at the true scene: half the variance of the noise over the light.

    Args:
        light: the photo; linear light.
        noise: standard deviation in the photo, sRGB-like.
        gamma: exponent of the photo.
        offset: c of the solver.
    """
    light = light.clamp_min(LEAST_LIGHT)
    deviation = noise * gamma * light ** (1 - 1 / gamma)
    return (deviation.square_() / (2 * (light + offset))).mean().item()


def solver_settings(
    photo: Tensor,
    gamma: float,
    iterations: int,
    tv_weight: float | None,
    least_tv_weight: float = 0.0,
    further: int = 0,
) -> RichardsonLucy:
    """Return the settings of the solver for one photo (1, C, H, W); arguments are those of `deblur_iterates`."""
    photo = photo.detach()
    light = to_linear(photo, gamma)
    offset = offset_for(gamma, light.mean().item())
    if tv_weight is not None:
        return RichardsonLucy(iterations, tv_weight, offset, tolerance=TOLERANCE)
    noise = max(estimate_noise(photo).item(), LEAST_NOISE)
    if further:
        noise = max(noise, estimate_jpeg_error(photo).item())
    tv_weight = max(tv_weight_for(noise, gamma, contrast_of(light)), least_tv_weight)
    if noise < VISIBLE_NOISE:
        further = 0
    explained = data_term_of_noise(light, MOST_UNEXPLAINED * noise, gamma, offset) if further else 0.0
    return RichardsonLucy(iterations, tv_weight, offset, tolerance=TOLERANCE, further=further, explained=explained)


class Steps(NamedTuple):
    """How far a restoration goes.

    Args:
        kept: numbers of the iterations whose results are kept, ascending.
        strength: length of the step from the blurred photo to the restored one, in [0, 1].
        further: largest number of iterations that may follow, see `Removal`.
    """

    kept: tuple[int, ...]
    strength: float
    further: int = 0


def steps_for(
    removal: Removal | None, iterations: int | None, strength: float | None, fusion: IterateFusion | None = None
) -> Steps:
    """Return how far a restoration goes.

    Args:
        removal: settings of the field, which hold where an argument is None; None itself for a known blur.
        iterations, strength, fusion: arguments of `deblur`.

    Raises:
        ValueError: `strength` is not in [0, 1], `iterations` is no whole number >= 1 or is given beside a fusion, which
            says how many are made, or `fusion` is no IterateFusion.
    """
    if fusion is not None and not (hasattr(fusion, 'iterations') and hasattr(fusion, 'fused')):
        raise ValueError(
            f'fusion is {kind_of(fusion)}, expected an IterateFusion, such as load_network("iterate_fusion").'
        )
    if fusion is not None and iterations is not None:
        raise ValueError(f'iterations is {iterations}, but the fusion is made for {fusion.iterations}; leave one out.')
    if strength is not None:
        check_strength(strength)
    if iterations is not None:
        check_number('iterations', iterations, least=1, whole=True, remedy='leave it out for the best number.')
    if fusion is not None:
        return Steps(fusion.iterations, 1.0 if strength is None else strength)
    usual = removal or TRUE_BLUR
    strength = usual.strength if strength is None else strength
    if iterations is not None:
        return Steps((iterations,), strength)
    return Steps((usual.iterations,), strength, usual.further)


def step_towards(restored: Tensor, photo: Tensor, strength: float | Tensor) -> Tensor:
    """Return photo + strength (restored - photo), for a strength in [0, 1].

    Args:
        restored, photo: (N, C, H, W).
        strength: a number, or one for each pixel, (N, 1, H, W).
    """
    if isinstance(strength, Tensor):
        return torch.lerp(photo, restored, strength.to(photo).expand_as(photo))
    return restored if strength == 1 else torch.lerp(photo, restored, strength)
