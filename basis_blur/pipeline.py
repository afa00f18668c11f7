"""From photo to blur field and from blurred to sharp photo: the two steps that a program calls.

    estimate_blur   photo --to_linear--> network --> BlurField

Colour space: photos are sRGB-like in [0, 1], light = photo ** gamma; the conversion to light is made here, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from basis_blur.errors import InputError
from basis_blur.field import BlurField
from basis_blur.ops.camera_response import to_linear

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear light with the sRGB primaries, ITU-R BT.709


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
    check_photo(photo)
    kernel_size = net.hyper_parameters['kernel_size']
    check_larger_than_kernel(photo, kernel_size)
    first = next(net.parameters())
    light = _with_channels(to_linear(photo.to(first), gamma), net.hyper_parameters['in_channels'])
    with torch.no_grad(), _evaluation_mode(net):
        field = net(light)
    return field.to(photo)


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
