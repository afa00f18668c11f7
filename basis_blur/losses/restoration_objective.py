"""The objective of networks that restore photos, independent of any training framework [F23; C21, Sec. 7.3].

    L = sum_s pixel(image_s, sharp_s) + reblur(K, image, blurred) + consistency(B, image, blurred)

s are the scales of the result, of which the first is the restored photo. K are the network's own kernels, and B is the
blur that a second, frozen network estimates.
"""

from __future__ import annotations

import functools
import inspect
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs import names_of
from basis_blur.archs.network_facts import ESTIMATOR, FIELD, PHOTO, PIXEL_KERNELS, facts_of
from basis_blur.field.blur_field import BlurField
from basis_blur.losses.consistency_loss import ConsistencyLoss
from basis_blur.losses.sample import needed
from basis_blur.ops.camera_response import to_linear

FIELD_NETWORKS = names_of(ESTIMATOR, returns=FIELD)  # networks that return a blur field
BLUR_NETWORKS = names_of(ESTIMATOR)  # networks that `estimated_blur` takes


def restoration_losses(
    result: Any,
    lq: Tensor,
    gt: Tensor | None,
    pixel: nn.Module | None = None,
    reblur: ConsistencyLoss | None = None,
    trust: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the losses of the result of a network for blurred photos, each one number.

    Args:
        result: result of the network: a photo (N, C, H, W), several, or a result with `.image` and `.pixel_kernels`.
        lq: (N, C, H, W); the blurred photos.
        gt: (N, C, H, W); the sharp ones; only `pixel` reads them.
        pixel: loss of a restored and a sharp photo.
        reblur: loss of the restored photo, blurred by the network's own kernels, and the blurred one.
        trust: (N, 1, H, W) in [0, 1]; trust in each pixel of `gt`, where that is a guess; only `pixel` reads it.

    Returns:
        'l_pixel' and 'l_reblur', as far as they are wanted.

    Raises:
        ValueError: `reblur` is wanted, but the result has no kernels; or `pixel`, and there are no sharp photos, or
            there is a trust, of which `pixel` knows nothing.
    """
    losses = {}
    if pixel is not None:
        sharp = needed(gt)
        if trust is None:
            each = (pixel(image.float(), _resized(sharp, image)) for image in images_of(result))
        else:
            check_takes_trust(pixel)
            each = (
                pixel(image.float(), _resized(sharp, image), trust=_resized(trust, image))
                for image in images_of(result)
            )
        losses['l_pixel'] = functools.reduce(operator.add, each)
    if reblur is not None:
        kernels = getattr(result, 'pixel_kernels', None)
        if kernels is None:
            raise ValueError('the reblur loss needs kernels, but the network returns none; train without it.')
        losses['l_reblur'] = reblur(kernels.float(), images_of(result)[0], lq)
    return losses


def check_takes_trust(pixel: nn.Module) -> None:
    """Raise ValueError unless a loss knows the trust of pixels."""
    if 'trust' not in inspect.signature(pixel.forward).parameters:
        raise ValueError(
            f'the sharp photos are guesses with a trust, of which {type(pixel).__name__} knows nothing; take PSNRLoss.'
        )


def images_of(result: Any) -> list[Tensor]:
    """Return the photos in the result of a network: the restored one, and any of smaller scales or earlier stages."""
    if isinstance(result, Tensor):
        return [result]
    if hasattr(result, 'image'):
        return images_of(result.image)
    return list(result)


@torch.no_grad()
def estimated_blur(net: nn.Module, photo: Tensor, gamma: float) -> BlurField | Tensor:
    """Return the blur of photos: a field, or convolution kernels (N, K*K, H, W).

    Args:
        net: an estimator, such as one of `BLUR_NETWORKS`; it sees what its facts say, light or the photo.
        photo: (N, 3, H, W); sRGB-like in [0, 1].
        gamma: light = photo ** gamma.
    """
    facts = facts_of(net)
    found = net(photo if facts.takes == PHOTO else to_linear(photo, gamma))
    return found.pixel_kernels if facts.returns == PIXEL_KERNELS else found


def _resized(gt: Tensor, image: Tensor) -> Tensor:
    if gt.shape[-2:] == image.shape[-2:]:
        return gt
    return F.interpolate(gt, size=image.shape[-2:], mode='bilinear', align_corners=False, antialias=True)
