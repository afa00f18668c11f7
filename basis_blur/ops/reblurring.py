"""The photo that a camera takes of a sharp scene through a blur.

    v' = g(R(H u)),     u = scene ** gamma,     g(light) = light ** (1 / gamma)        [C21, Eq. 3, 4]

R is the saturation of the camera. H is the operator of a field or of pixel kernels. g is a straight line below one step
of 8 bits (`camera_response.photo_of`).

photo_through    by any operator, from light
reblur           by a field, from a scene with the border that the blur reaches into
pixel_reblur     by a kernel for every pixel, from a scene with or without that border
error_inside     by either, from a photo without that border: the error where the blur lies within the photo
"""

from __future__ import annotations

import torch
from torch import Tensor

from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReplicatePad
from basis_blur.ops.camera_response import camera_response, photo_of, to_linear
from basis_blur.ops.linear_operator import LinearOperator
from basis_blur.ops.pixel_blur import PixelBlur


def photo_through(operator: LinearOperator, light: Tensor, gamma: float, saturation: bool = True) -> Tensor:
    """Return g(R(H u)), the photo of a scene through a blur.

    Args:
        operator: H, from scene to photo.
        light: u, (N, C, h, w); linear light.
        gamma: exponent of the photo, >= 1.
        saturation: whether R is applied.
    """
    blurred = operator(light)
    return photo_of(camera_response(blurred) if saturation else blurred, gamma)


@torch.no_grad()
def reblur(field: BlurField, scene: Tensor, gamma: float = GAMMA) -> Tensor:
    """Return the photo that a camera would take of a scene under this blur, without noise.

    Args:
        field: blur of N photos of size H, W.
        scene: (N, C, H+K-1, W+K-1); sRGB-like, >= 0, may exceed 1.
        gamma: light = srgb ** gamma.

    Returns:
        (N, C, H, W); sRGB-like in [0, 1].
    """
    return photo_through(BasisBlur(field), to_linear(scene, gamma), gamma).clamp(0, 1)


def pixel_reblur(pixel_kernels: Tensor, sharp: Tensor, gamma: float = 1.0) -> Tensor:
    """Return g(H u), the sharp photo blurred by its pixel kernels, (N, C, H, W).

    Args:
        pixel_kernels: (N, K*K, H, W); convolution kernels.
        sharp: (N, C, H, W), or larger by a border of the same width on all sides; sRGB-like, >= 0. Where the border is
            narrower than the blur reaches, edge pixels are repeated.
        gamma: exponent of the photos, >= 1.

    Raises:
        ValueError: the sharp photo does not fit the kernels.
    """
    field = PixelField(pixel_kernels)
    return photo_through(PixelBlur(field), to_linear(scene_of(sharp, field), gamma), gamma, saturation=False)


def scene_of(sharp: Tensor, field: BlurField | PixelField) -> Tensor:
    """Return the sharp photo with the border that a blur reaches into; without one, its edge pixels are repeated.

    Args:
        sharp: (N, C, H, W), or larger by a border of the same width on all sides.
        field: blur of the same photos.

    Raises:
        ValueError: the sharp photo is smaller than the blurred one, or larger by other borders.
    """
    scene = with_border(sharp, field.image_size, field.kernel_size // 2)
    return scene if tuple(scene.shape[-2:]) == field.scene_size else ReplicatePad(field)(scene)


def with_border(sharp: Tensor, image_size: tuple[int, int], radius: int) -> Tensor:
    """Return the part of the sharp photo that the blurred one shows, with a border of `radius` pixels if there is one.

    Args:
        sharp: (N, C, H + 2 r, W + 2 r), with any r >= 0. The result has no border if r < `radius`.
        image_size: (H, W) of the blurred photo.
        radius: width of the border, pixels.

    Raises:
        ValueError: the sharp photo is smaller than the blurred one, or larger by other borders.
    """
    borders = [found - size for found, size in zip(sharp.shape[-2:], image_size, strict=True)]
    if borders[0] != borders[1] or borders[0] < 0 or borders[0] % 2:
        raise ValueError(
            f'the sharp photo has {tuple(sharp.shape[-2:])} pixels and the blurred one {tuple(image_size)}; expected '
            'equal sizes, or the same border on all sides of the sharp one.'
        )
    radius = radius if borders[0] >= 2 * radius else 0
    first = borders[0] // 2 - radius
    height, width = (size + 2 * radius for size in image_size)
    return sharp[..., first : first + height, first : first + width]


def error_inside(
    blur: BlurField | Tensor, sharp: Tensor, blurred: Tensor, gamma: float, saturation: bool = True
) -> Tensor:
    """Return mean_i | g(R((H u)_i)) - v_i | over the pixels i whose kernels lie within the sharp photo, one number.

    Its gradient flows to the sharp photo and the blur. Nothing is assumed of what lies beyond the border of the photo.

    Args:
        blur: H, the blur of N photos of size H, W: a field, or convolution kernels (N, K*K, H, W).
        sharp: (N, C, H, W); the sharp photo, sRGB-like; u = sharp ** gamma.
        blurred: v, (N, C, H, W); the blurred photo, sRGB-like in [0, 1].
        gamma: exponent of the photos, >= 1.
        saturation: whether R is applied.

    Raises:
        ValueError: the shapes differ, or the photo is not larger than the kernels.
    """
    if sharp.shape != blurred.shape:
        raise ValueError(
            f'the sharp photo has shape {tuple(sharp.shape)}, the blurred one {tuple(blurred.shape)}; give equal ones.'
        )
    inner, operator = inner_blur(blur)
    again = photo_through(operator, to_linear(sharp.float(), gamma), gamma, saturation)
    return (again - blurred[(..., *inner)]).abs().mean()


def inner_blur(blur: BlurField | Tensor) -> tuple[tuple[slice, slice], BasisBlur | PixelBlur]:
    """Return the rows and columns of the photo whose blur lies within it, and the operator from the photo to them.

    Args:
        blur: blur of N photos of size H, W: a field, or convolution kernels (N, K*K, H, W).

    Raises:
        ValueError: the photo is not larger than the kernels.
    """
    if isinstance(blur, BlurField):
        (height, width), kernel_size = blur.image_size, blur.kernel_size
    else:
        (height, width), kernel_size = blur.shape[-2:], round(blur.shape[1] ** 0.5)
    radius = kernel_size // 2
    if min(height, width) < kernel_size:
        raise ValueError(
            f'the photo has {width}x{height} pixels and the kernels {kernel_size}x{kernel_size}; give larger photos.'
        )
    inner = slice(radius, height - radius), slice(radius, width - radius)
    if isinstance(blur, BlurField):
        return inner, BasisBlur(BlurField.unchecked(blur.kernels, blur.mixing[(..., *inner)]))
    return inner, PixelBlur(blur[(..., *inner)])
