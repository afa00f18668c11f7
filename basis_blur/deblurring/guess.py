"""A restored photo as a guess of the sharp one, and how far each of its pixels is trusted, for trainings without truth.

    trust_i = T / (1 + (r_i / s)^2),      s = max(3 noise, 0.02)

T is the trust in the estimate, from 0 to 1. r_i is the residual around pixel i: the root mean square, over the colours
and 9 x 9 pixels, of the guess blurred again minus the photo, sRGB-like. Pixels whose light is not known have no trust:
those that may be clipped in the photo, and those that the blur reaches from a place that may be clipped in the guess.

    estimate                        T
    with a doubt, or not removed    0
    of the search, or of streaks    confidence * share, which falls from 1 at a `share_of_wrong` of 0.5 to 0 at 0.95
    of a camera that turned         0.5; `auto` believes it where it explains the photo better than its reverse does
    of windows (`shake.local`)      the share, up to 0.7, that the photo restored by their kernels has of pixel i
    of a network                    0; its guess would teach a network what a network believes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.deblurring.deblurrer import Deblurred
from basis_blur.estimation.choice import GOOD, NOT_BETTER
from basis_blur.estimation.estimate import Doubt, Estimate
from basis_blur.estimation.shake.search import ShakeEstimate
from basis_blur.estimation.trust import UNKNOWN_LIGHT
from basis_blur.field.blur_field import BlurField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReplicatePad
from basis_blur.ops.camera_response import to_linear, to_srgb
from basis_blur.restoration.noise import BRIGHT, estimate_noise

TRUST_OF_TURNED = 0.5  # trust in an estimate of a camera that rolled, or rotated about three axes
TURNED = ('roll', 'rotations')  # sources of such estimates
PLACES = 'places'  # source of an estimate whose first part was searched for in windows, and the other by a network
NOISE_RATIO, LEAST_SCALE = 3.0, 0.02  # ratio of s to the noise, and lower bound of s, sRGB-like
AROUND = 9  # side of the window in which the residual of a pixel is taken, pixels; odd


@dataclass(frozen=True, eq=False)
class Guess:
    """A guess of a sharp photo.

    Args:
        photo: (1, C, H, W); the guess, sRGB-like in [0, 1].
        trust: (1, 1, H, W); how far each pixel is trusted, in [0, 1].
    """

    photo: Tensor
    trust: Tensor


@torch.no_grad()
def guess_of(photo: Tensor, result: Deblurred[BlurField], gamma: float) -> Guess:
    """Return the result of a deblurrer as a guess.

    Args:
        photo: (1, C, H, W); the blurred photo, sRGB-like in [0, 1].
        result: what a `Deblurrer` made of it.
        gamma: exponent of the photo.

    Raises:
        ValueError: there are several photos.
    """
    if len(photo) != 1 or len(result.estimates) != 1:
        raise ValueError(f'there are {len(photo)} photos, expected one; make the guesses one by one.')
    estimate = result.estimates[0]
    trust = trust_of(estimate, result.doubts) * trust_of_pixels(photo, result.pixels, result.field, gamma)
    if estimate.source == PLACES:
        trust = trust * estimate.parts[0].weight.to(trust)
    return Guess(result.pixels, trust)


def trust_of(estimate: Estimate, doubts: tuple[Doubt, ...] = ()) -> float:
    """Return how far an estimate is trusted, from 0 to 1, by the table at the head of this module.

    Of an estimate in parts it is the trust in those parts that were searched for.

    Args:
        estimate: blur of a photo.
        doubts: reasons not to trust what was restored with it.
    """
    if doubts or estimate.doubts or estimate.removal.strength == 0:
        return 0.0
    if isinstance(estimate, ShakeEstimate):
        share = (NOT_BETTER - estimate.share_of_wrong) / (NOT_BETTER - GOOD)
        return float(estimate.confidence or 0.0) * min(1.0, max(0.0, share))
    return {**dict.fromkeys(TURNED, TRUST_OF_TURNED), PLACES: 1.0}.get(estimate.source, 0.0)


@torch.no_grad()
def trust_of_pixels(photo: Tensor, guess: Tensor, field: BlurField, gamma: float) -> Tensor:
    """Return how well a guess, blurred again, explains each pixel of a photo, (1, 1, H, W) in [0, 1].

    Args:
        photo: (1, C, H, W); sRGB-like in [0, 1].
        guess: the guess of its sharp photo, of the same shape.
        field: blur by which the guess was made.
        gamma: exponent of both.

    Raises:
        ValueError: the guess or the field is of another size.
    """
    if photo.shape != guess.shape or tuple(photo.shape[-2:]) != tuple(field.image_size):
        raise ValueError(
            f'the photo is {tuple(photo.shape)}, the guess {tuple(guess.shape)} and the field of '
            f'{tuple(field.image_size)} pixels, expected one size.'
        )
    blur = BasisBlur(field) @ ReplicatePad(field)
    again = to_srgb(blur(to_linear(guess, gamma)).clamp(0, 1), gamma)
    squares = (again - photo).square().mean(1, keepdim=True)
    around = F.avg_pool2d(squares, AROUND, 1, AROUND // 2, count_include_pad=False)
    scale = max(NOISE_RATIO * estimate_noise(photo).item(), LEAST_SCALE)
    bright = (guess >= BRIGHT).to(guess).amax(1, keepdim=True)
    known = (photo.amax(1, keepdim=True) < BRIGHT) & (blur(bright) <= UNKNOWN_LIGHT)
    return known / (1 + around / scale**2)


def record_of(guess: Guess, estimate: Estimate, doubts: tuple[Doubt, ...] = ()) -> dict[str, Any]:
    """Return what is known of how a guess was made, as JSON holds it.

    Args:
        guess: the guess.
        estimate: blur of its photo.
        doubts: reasons not to trust what was restored with it.
    """
    told: dict[str, Any] = {'source': estimate.source, 'confidence': estimate.confidence}
    if isinstance(estimate, ShakeEstimate):
        told |= {'agreement': estimate.agreement, 'share_of_wrong': estimate.share_of_wrong}
    codes = sorted({doubt.code for doubt in (*estimate.doubts, *doubts)})
    whole = trust_of(estimate, doubts)
    return {**told, 'doubts': codes, 'trust': whole, 'mean_trust': guess.trust.mean().item()}
