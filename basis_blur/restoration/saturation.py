"""Where a photo is saturated, and how to keep that from spoiling what lies around  [W14], [C21, Eq. 11-13].

A saturated pixel tells only that its light is at least 1. The forward model is then R(H u), and the ratio that
Richardson-Lucy sends back through H^T becomes

    v R'(H u) / R(H u) + 1 - R'(H u)                                              [W14, Eq. 12]

which is v / H u in the dark and 1, no opinion, in saturation. Errors of bright places still leak to their neighbours
as ringing; so the scene is split into S, bright, and U, the rest, and U listens only to pixels that S does not reach.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.ops.camera_response import camera_response, camera_response_derivative
from basis_blur.ops.linear_operator import LinearOperator

THRESHOLD = 0.99  # light of a saturated pixel [C21]
REACHED = 0.02  # a pixel that gets this share of its light from S is left to S
SOFTNESS = 3  # pixels over which S fades into U


def is_saturated(light: Tensor, threshold: float = THRESHOLD) -> bool:
    """Tell whether any pixel is saturated; without one, nothing of this module need be computed.

    Args:
        light: any shape; linear light, where 1 is full well.
        threshold: from which light on.
    """
    return bool((light >= threshold).any())


def saturated_ratio(light: Tensor, blurred: Tensor, floor: float) -> Tensor:
    """Return the ratio above.

    Args:
        light: (N, C, H, W); the photo v, linear light.
        blurred: H u, of the same shape.
        floor: > 0; divisors are raised to it.
    """
    slope = camera_response_derivative(blurred)
    return light * slope / camera_response(blurred).clamp_min(floor) + 1 - slope


def bright_scene(scene: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Return S as soft weights (N, 1, h, w) in [0, 1]: 1 where any colour of the scene is bright, fading outwards.

    Args:
        scene: (N, C, h, w); linear light.
        threshold: from which light on.
    """
    bright = (scene >= threshold).any(1, keepdim=True).to(scene.dtype)
    size = 2 * SOFTNESS + 1
    grown = F.max_pool2d(bright, size, 1, SOFTNESS)
    return torch.maximum(F.avg_pool2d(grown, size, 1, SOFTNESS, count_include_pad=False), bright)


def unreached(weights: Tensor, blur: LinearOperator) -> Tensor:
    """Return z (N, 1, H, W): 1 at pixels of the photo that the bright scene does not reach, 0 elsewhere.

    Args:
        weights: S, (N, 1, h, w).
        blur: H, scene to photo.
    """
    return (blur(weights) < REACHED).to(weights.dtype)
