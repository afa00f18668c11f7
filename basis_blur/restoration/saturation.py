"""Where a photo is saturated, and how to keep that from spoiling what lies around  [W14], [C21, Eq. 11-13].

A saturated pixel tells only that its light is at least 1. The model of the photo is then R(H u), and what
Richardson-Lucy sends back through H' is, instead of the ratio v / H u,

    v R'(H u) / R(H u) + 1 - R'(H u)                                              [W14, Eq. 12]

which is v / H u in the dark and 1, no opinion, in saturation. Errors of bright places still leak to their neighbours
as ringing; so the scene is split into S, bright, and U, the rest, and U listens only to pixels that S does not reach.

Unlike the papers, colours are split one by one: a red lamp leaves the blue around it to be restored. And a scene whose
bright places are hardly brighter than white, as those of most photos, is not split: the errors are small, and U would
lose more by listening to less.
"""

from __future__ import annotations

import torch
from torch import Tensor

from basis_blur.ops.linear_operator import LinearOperator

THRESHOLD = 0.99  # light of a saturated pixel [C21]
SHARPNESS = 20.0  # steepness of the border between S and U, in 1/light
BEYOND_WHITE = 1.2  # light beyond which a place of the scene is far brighter than white
OVEREXPOSED_SHARE = 0.03  # share of such places in the bright scene above which the scene is overexposed
REACHED = 0.15  # share of a pixel's blur in S from which on the pixel has no effect on U


def saturated_photos(light: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Tell which photos of a batch have saturated pixels, (N, 1, 1, 1); the others need nothing of this module.

    Args:
        light: (N, C, H, W); linear light, where 1 is full well.
        threshold: light from which on a scene is bright.
    """
    return (light >= threshold).flatten(1).any(1).view(-1, 1, 1, 1)


def bright_scene(scene: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Return S as weights in [0, 1], with a smooth border: 1/2 at the threshold; same shape as `scene`.

    Args:
        scene: (N, C, h, w); linear light.
        threshold: light from which on a scene is bright.
    """
    return torch.sigmoid(SHARPNESS * (scene - threshold))


def overexposed(scene: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Tell which scenes of a batch have bright places far brighter than white, (N, 1, 1, 1).

    Args:
        scene: (N, C, h, w); linear light.
        threshold: light from which on a place is bright.
    """
    bright, far = ((scene >= light).flatten(1).sum(1) for light in (threshold, BEYOND_WHITE))
    return (far > OVEREXPOSED_SHARE * bright).view(-1, 1, 1, 1)


def unreached(scene: Tensor, blur: LinearOperator, threshold: float = THRESHOLD) -> Tensor:
    """Return z (N, C, H, W): 1 at pixels of the photo that the bright scene does not reach, falling to 0 at `REACHED`.

    Args:
        scene: (N, C, h, w); linear light.
        blur: H, from scene to photo.
        threshold: light from which on a scene is bright.
    """
    share = blur((scene >= threshold).to(scene.dtype))
    return share.div_(-REACHED).add_(1).clamp_(0, 1)
