"""The objective of kernel estimators without true kernels: blur the sharp photo again [F23, stage II; C21, Eq. 5].

L = | blur(gt, estimate) - lq |

a kernel for every pixel (LatentKernelNet):     PixelReblurLoss
a blur field (BasisKPN; LatentKernelNet with
"estimator: correlation", of its windows):      ReblurLoss, every pixel weighted alike

Where gt is a guess of the sharp photo, made from the blurred one alone, a pixel counts by how far it is trusted.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from basis_blur.archs.latent_kernel_arch import LatentKernels
from basis_blur.archs.network_facts import PHOTO, PIXEL_KERNELS, facts_of
from basis_blur.field.blur_field import BlurField
from basis_blur.losses.pixel_weight import check_trust
from basis_blur.ops.camera_response import to_linear
from basis_blur.ops.reblurring import scene_of

Estimate = LatentKernels | BlurField


def has_pixel_kernels(net: nn.Module) -> bool:
    """Tell whether a network estimates a kernel for every pixel, for a PixelReblurLoss, and not a field."""
    facts = facts_of(net)
    return facts.returns == PIXEL_KERNELS and not facts.by_cells


def estimate_of(net: nn.Module, photo: Tensor, gamma: float, bare: nn.Module | None = None) -> Estimate:
    """Return the estimate of a network, in the form in which it is trained.

    Args:
        net: the network.
        photo: (N, C, H, W); sRGB-like.
        gamma: exponent of the photo, for a network that sees light.
        bare: the network itself, where `net` wraps it.
    """
    bare = net if bare is None else bare
    facts = facts_of(bare)
    seen = photo if facts.takes == PHOTO else to_linear(photo, gamma)
    return net(seen, as_field=True) if facts.by_cells else net(seen)


def self_supervised_loss(
    estimate: Estimate, lq: Tensor, gt: Tensor, loss: nn.Module, gamma: float, trust: Tensor | None = None
) -> Tensor:
    """Return how badly an estimate explains blurred photos, one number.

    Args:
        estimate: estimated blur of N photos.
        lq: (N, C, H, W); the blurred photos.
        gt: (N, C, H, W), or larger by a border of the same width on all sides; the sharp ones.
        loss: a PixelReblurLoss for latent kernels, a ReblurLoss for a field.
        gamma: exponent of the photos, for a field; a PixelReblurLoss has its own.
        trust: (N, 1, H, W) in [0, 1]; trust in each pixel of `gt`; by default all count alike.

    Raises:
        ValueError: the trust is of another size.
    """
    if isinstance(estimate, LatentKernels):
        return loss(estimate.pixel_kernels, gt, lq, trust)
    weight = torch.full_like(lq[:, :1], 1 / (lq.shape[-2] * lq.shape[-1]))
    if trust is not None:
        check_trust(trust, lq)
        weight = weight * trust
    return loss(estimate, to_linear(scene_of(gt, estimate), gamma), lq, weight)
