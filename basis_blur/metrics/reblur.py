"""How well an estimated blur explains a photo: the sharp photo, blurred by the estimate, against the blurred one."""

from __future__ import annotations

import torch
from torch import Tensor

from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.metrics.aligned import Score, plain_score
from basis_blur.metrics.psnr import psnr
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.photo import check_larger_than_kernel
from basis_blur.ops.reblurring import pixel_reblur, reblur, scene_of


@torch.no_grad()
def reblurred(blur: BlurField | PixelField, sharp: Tensor, gamma: float = GAMMA, pixel_gamma: float = 1.0) -> Tensor:
    """Return the photo of a sharp one through a blur, (N, C, H, W) in [0, 1].

    Args:
        blur: blur of N photos of size H, W.
        sharp: (N, C, H, W), or larger by a border of the same width on all sides; sRGB-like, >= 0. Where the border is
            narrower than the blur reaches, edge pixels are repeated.
        gamma: exponent of the photos, for a BlurField.
        pixel_gamma: the same for a PixelField, which has no saturation; 1 blurs the values of the photo as they are.

    Raises:
        ValueError: the sharp photo does not fit the blur.
    """
    if isinstance(blur, PixelField):
        return pixel_reblur(blur.pixel_kernels, sharp, pixel_gamma).clamp(0, 1)
    return reblur(blur, scene_of(sharp, blur), gamma)


def reblur_psnr(
    blur: BlurField | PixelField, sharp: Tensor, blurred: Tensor, gamma: float = GAMMA, pixel_gamma: float = 1.0
) -> Tensor:
    """Return the PSNR of the sharp photo, blurred by an estimate, against the blurred one, (N,) in dB.

    Args:
        blurred: (N, C, H, W); the photos whose blur was estimated, sRGB-like in [0, 1].
        blur, sharp, gamma, pixel_gamma: arguments of `reblurred`, whose errors are raised too.
    """
    return psnr(reblurred(blur, sharp, gamma, pixel_gamma), blurred)


def reblur_score(field: BlurField, sharp: Tensor, blurred: Tensor, gamma: float = GAMMA) -> Score:
    """Return PSNR and SSIM of the sharp photo, blurred by an estimate, against the blurred one.

    Beyond its border the sharp photo is continued by its mirror image.

    Args:
        field: blur of one photo.
        sharp: (1, C, H, W); sRGB-like in [0, 1].
        blurred: (1, C, H, W); the photo whose blur was estimated, sRGB-like in [0, 1].
        gamma: exponent of the photos.

    Raises:
        InputError: the photo is smaller than the kernels.
    """
    check_larger_than_kernel(sharp, field.kernel_size)
    return plain_score(reblur(field, ReflectPad(field)(sharp), gamma), blurred)
