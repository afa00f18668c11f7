"""Saturated places of a photo, and a split of the scene that contains their errors  [W14], [C21, Eq. 11-13].

A saturated pixel tells only that its light is at least 1. So the photo is modelled as R(H u), with the camera response
R, and Richardson-Lucy applies H' not to the ratio v / H u but to

    v R'(H u) / R(H u) + 1 - R'(H u)                                              [W14, Eq. 12]

which is v / H u in the dark, and in saturation 1, which changes nothing. Errors of bright places still leak to their
neighbours as ringing. So the scene is split into its bright part S and the rest U, and only pixels that S does not
reach update U.

Differs from the papers in:

1. Each colour is split by itself, so that blue light around a red lamp is still restored.
2. A scene whose bright places are hardly brighter than white, as in most photos, is not split: its errors are small,
   and U would lose more by having fewer pixels that update it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from basis_blur.ops.linear_operator import LinearOperator

THRESHOLD = 0.99  # least light of a saturated pixel, and of S [C21]
SHARPNESS = 20.0  # steepness of the sigmoid between U and S, in 1/light
BEYOND_WHITE = 1.2  # least light of a place that counts as far brighter than white
OVEREXPOSED_SHARE = 0.03  # share of S that is far brighter than white, above which a scene is overexposed
REACHED = 0.15  # share of a pixel's kernel that lies in S; from it on the pixel does not update U


def saturated_photos(light: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Tell which photos of a batch have saturated pixels, (N, 1, 1, 1).

    Args:
        light: (N, C, H, W); linear light, where 1 is full well.
        threshold: least light of a saturated pixel.
    """
    return (light >= threshold).flatten(1).any(1).view(-1, 1, 1, 1)


def bright_scene(scene: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Return S as weights in [0, 1], in the shape of `scene`: 1/2 at the threshold, more in brighter places.

    Args:
        scene: (N, C, h, w); linear light.
        threshold: light at which a weight is 1/2.
    """
    return torch.sigmoid(SHARPNESS * (scene - threshold))


def overexposed(scene: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Tell which scenes of a batch are overexposed: more than 3 % of S is far brighter than white; (N, 1, 1, 1).

    Args:
        scene: (N, C, h, w); linear light.
        threshold: least light of S.
    """
    bright, far = ((scene >= light).flatten(1).sum(1) for light in (threshold, BEYOND_WHITE))
    return (far > OVEREXPOSED_SHARE * bright).view(-1, 1, 1, 1)


def unreached(scene: Tensor, blur: LinearOperator, threshold: float = THRESHOLD) -> Tensor:
    """Return z (N, C, H, W): 1 at pixels of the photo that S does not reach, falling to 0 at `REACHED`.

    Args:
        scene: (N, C, h, w); linear light.
        blur: H, from scene to photo.
        threshold: least light of S.
    """
    share = blur((scene >= threshold).to(scene.dtype))
    return share.div_(-REACHED).add_(1).clamp_(0, 1)
