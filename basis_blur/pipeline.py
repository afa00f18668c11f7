"""From photo to blur field and from blurred to sharp photo: the steps that a program calls.

    estimate_blur   photo --to_linear--> network --> BlurField
    deblur          photo --to_linear--> Richardson-Lucy with the field --> to_srgb --> photo
    restore         photo --> restoring network, such as UFPNet --> photo, tile by tile if wanted

Colour space: photos are sRGB-like in [0, 1], light = photo ** gamma; the conversion to light is made here, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from basis_blur.errors import InputError
from basis_blur.field import BlurField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.camera_response import to_linear, to_srgb
from basis_blur.restoration.noise import estimate_noise
from basis_blur.restoration.richardson_lucy import RichardsonLucy, richardson_lucy

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear light with the sRGB primaries, ITU-R BT.709
ITERATIONS = 11
TOLERANCE = 1e-3  # share of the data term; an iteration that improves it by less is the last
GRADIENT = 0.05  # b in `tv_weight_for`
OVERLAP = 32  # pixels, of tiles
LEAST_NOISE = 0.001  # standard deviation that rounding to 8 bits adds


def estimate_blur(net: nn.Module, photo: Tensor, gamma: float = 2.2) -> BlurField:
    """Estimate the blur of every pixel of a photo.

    The network runs in evaluation mode and without gradients; afterwards it is in the mode it was in before.
    A gray photo is repeated for a network that expects colour; a network that expects gray sees the luminance.

    Args:
        net: a network such as `load_network` returns: takes linear light (N, C, H, W), returns a BlurField, and has
            `hyper_parameters` with 'in_channels' and 'kernel_size'.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1]; any size from the size of the network's kernels.
        gamma: of the photo, light = photo ** gamma; 1 for photos in linear light.

    Returns:
        The field, on the device and in the dtype of the photo.

    Raises:
        ValueError: the photo has other dimensions, is not floating point, or has values outside [0, 1] or NaN.
        InputError: the photo is smaller than the network's kernels.
    """
    light = light_for(net, photo, gamma)
    with torch.no_grad(), _evaluation_mode(net):
        field = net(light)
    return field.to(photo)


def light_for(net: nn.Module, photo: Tensor, gamma: float) -> Tensor:
    """Return what a network sees of a photo: (N, C, H, W) linear light; arguments and errors as `estimate_blur`."""
    check_photo(photo)
    check_larger_than_kernel(photo, net.hyper_parameters['kernel_size'])
    return _with_channels(to_linear(photo.to(next(net.parameters())), gamma), net.hyper_parameters['in_channels'])


def deblur(
    photo: Tensor,
    field: BlurField,
    gamma: float = 2.2,
    iterations: int = ITERATIONS,
    tv_weight: float | None = None,
    callback: Callable[[int], None] | None = None,
) -> Tensor:
    """Remove a known blur from a photo by Richardson-Lucy iterations.

    Photos of a batch are restored one by one, each for its own noise. The border that the photo does not show is
    estimated with it, and saturated places are modelled as such.

    Args:
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1].
        field: of that photo, on its device.
        gamma: of the photo, light = photo ** gamma; 1 for photos in linear light.
        iterations: at most.
        tv_weight: of total variation, in linear light; by default it follows from the noise of the photo.
        callback: called with the number of each iteration, from 1.

    Returns:
        The sharp photo, as `photo` is.

    Raises:
        ValueError: the photo is not as described, or the field is of another size.
        InputError: the photo is smaller than the kernels.
    """
    check_photo(photo)
    check_larger_than_kernel(photo, field.kernel_size)
    if (len(photo), *photo.shape[-2:]) != (len(field), *field.image_size):
        raise ValueError(
            f'the photo is {tuple(photo.shape)} and the field {tuple(field.mixing.shape)}, expected the same N, H and '
            'W; give the field that was estimated from this photo.'
        )
    return torch.cat(
        [_deblur_one(photo[n : n + 1], field[n], gamma, iterations, tv_weight, callback) for n in range(len(photo))]
    )


@torch.no_grad()
def restore(
    net: nn.Module,
    photo: Tensor,
    tile: int | None = None,
    overlap: int = OVERLAP,
    callback: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Restore a photo with a network that maps photos to photos, such as UFPNet.

    A photo larger than `tile` is restored in tiles, kernels included, which fade into each other where they overlap;
    memory then depends on the tile alone. The network runs in evaluation mode and is afterwards in its mode of before.

    Args:
        net: takes (N, 3, h, w), sRGB-like in [0, 1], and returns such a photo, a result with `.image`, or a list of
            photos whose first is the restored one.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1]; gray is repeated, and the colours of the result averaged.
        tile: largest side of a tile, pixels; by default the photo is restored as a whole.
        overlap: of neighbouring tiles, pixels.
        callback: called after each tile with its number, from 1, and how many there are.

    Returns:
        The restored photo in [0, 1], as `photo` is.

    Raises:
        ValueError: the photo is not as described, or `tile` is not larger than `overlap`.
    """
    check_photo(photo)
    if tile is not None and not 0 <= overlap < tile:
        raise ValueError(f'tiles of {tile} pixels overlap by {overlap}, expected less than their size, and >= 0.')
    first = next(net.parameters(), photo)
    colour = photo.to(first).expand(-1, 3, -1, -1)
    total, weights = torch.zeros_like(colour), torch.zeros_like(colour[:, :1])
    rows, columns = (_tile_starts(side, tile, overlap) for side in photo.shape[-2:])
    windows = [(slice(*row), slice(*column)) for row in rows for column in columns]
    with _evaluation_mode(net):
        for number, window in enumerate(windows, 1):
            image = _restored_photo(net(colour[(..., *window)]))
            fade = _fade(window[0], photo.shape[-2], overlap)[:, None] * _fade(window[1], photo.shape[-1], overlap)
            fade = fade.to(colour)
            total[(..., *window)] += fade * image.to(colour)
            weights[(..., *window)] += fade
            if callback is not None:
                callback(number, len(windows))
    result = (total / weights).clamp(0, 1)
    return (result if photo.shape[1] == 3 else result.mean(1, keepdim=True)).to(photo)


def _restored_photo(result) -> Tensor:
    image = getattr(result, 'image', result)
    return image if isinstance(image, Tensor) else image[0]


def _tile_starts(side: int, tile: int | None, overlap: int) -> list[tuple[int, int]]:
    """Cut a side into equal pieces of at most `tile` pixels that overlap by at least `overlap`: (start, stop)."""
    if tile is None or side <= tile:
        return [(0, side)]
    number = math.ceil((side - overlap) / (tile - overlap))
    return [(start, start + tile) for start in torch.linspace(0, side - tile, number).round().long().tolist()]


def _fade(window: slice, side: int, overlap: int) -> Tensor:
    """Weights of a tile along one side: 1 inside, falling towards neighbours within the overlap, never 0."""
    size = window.stop - window.start
    distance = torch.arange(size, dtype=torch.float64)
    ramp = torch.ones(size, dtype=torch.float64)
    if window.start > 0:
        ramp = torch.minimum(ramp, (distance + 1) / (overlap + 1))
    if window.stop < side:
        ramp = torch.minimum(ramp, (size - distance) / (overlap + 1))
    return ramp


def tv_weight_for(noise: float, gamma: float = 2.2) -> float:
    """Return the weight of total variation that suits a noise level.

    Noise s of the photo is  s gamma v^(1 - 1/gamma)  in light v. With gradients of a mean size b, the most probable
    scene has  weight = variance / (v b),  which for gamma near 2 hardly depends on v:  (s gamma)^2 / b.

    Args:
        noise: standard deviation in the photo, sRGB-like.
        gamma: of the photo.
    """
    return (noise * gamma) ** 2 / GRADIENT


def offset_for(gamma: float) -> float:
    """Return the offset of the likelihood that suits a gamma.

    The variance of the noise in light v goes like v^(2 - 2/gamma): about like v for gamma 2.2, where Richardson-Lucy
    is right almost as it is, and not at all for gamma 1, where a large offset takes the dark pixels less seriously.
    The two values that were best there, 0.05 and 0.2, are joined by a power.

    Args:
        gamma: of the photo, > 0.
    """
    return 0.2 * gamma**-1.75


def solver_settings(photo: Tensor, gamma: float, iterations: int, tv_weight: float | None) -> RichardsonLucy:
    """Return how one photo is restored; arguments as `deblur`."""
    if tv_weight is None:
        tv_weight = tv_weight_for(max(estimate_noise(photo).item(), LEAST_NOISE), gamma)
    return RichardsonLucy(iterations, tv_weight, offset_for(gamma), tolerance=TOLERANCE)


def _deblur_one(
    photo: Tensor,
    field: BlurField,
    gamma: float,
    iterations: int,
    tv_weight: float | None,
    callback: Callable[[int], None] | None,
) -> Tensor:
    settings = solver_settings(photo, gamma, iterations, tv_weight)
    light = to_linear(photo, gamma)
    watch = None if callback is None else lambda iteration, _: callback(iteration)
    scene = richardson_lucy(light, BasisBlur(field), ReflectPad(field)(light), settings, watch).scene
    radius = field.kernel_size // 2
    height, width = field.image_size
    return to_srgb(scene[..., radius : radius + height, radius : radius + width].clamp(0, 1), gamma).to(photo.dtype)


def check_photo(photo: Tensor) -> None:
    """Raise ValueError unless `photo` is (N, 3 or 1, H, W), floating point and within [0, 1]."""
    if photo.ndim != 4 or photo.shape[1] not in (1, 3):
        raise ValueError(f'the photo has shape {tuple(photo.shape)}, expected (N, 3, H, W) or (N, 1, H, W).')
    if not photo.is_floating_point():
        raise ValueError(f'the photo is {photo.dtype}, expected floating point in [0, 1]; divide 8-bit values by 255.')
    if photo.numel() == 0:
        raise ValueError(f'the photo is empty: shape {tuple(photo.shape)}.')
    low, high = (value.item() for value in photo.detach().aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons
        raise ValueError(
            f'the photo has values from {low:.4g} to {high:.4g}, expected sRGB-like values in [0, 1]; '
            'divide 8-bit values by 255, and clamp or remove values that are out of range or NaN.'
        )


def check_larger_than_kernel(photo: Tensor, kernel_size: int) -> None:
    """Raise InputError if a side of `photo` (..., H, W) has fewer pixels than a kernel of side `kernel_size`."""
    height, width = photo.shape[-2:]
    if min(height, width) < kernel_size:
        raise InputError(
            f'the photo is {width}x{height} pixels (width x height), expected at least {kernel_size} on each side, '
            'the size of the blur kernels; give a larger photo or a network with smaller kernels.'
        )


def _with_channels(light: Tensor, channels: int) -> Tensor:
    if channels == light.shape[1]:
        return light
    if channels == 3:
        return light.expand(-1, 3, -1, -1)
    if channels == 1:
        return (light * light.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
    raise ValueError(f'the network expects {channels} channels, a photo has 3 or 1.')


@contextmanager
def _evaluation_mode(net: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
