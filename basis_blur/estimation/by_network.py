"""The blur of a photo as a network estimates it.

    estimate_blur                   photo --to_linear--> network --> BlurField
    estimate_blur_at_half_size      the same for the photo at half size; the kernels are then enlarged

Colour space: photos are sRGB-like in [0, 1], light = photo ** gamma; the conversion to light is made here, once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs.modes import evaluation_mode
from basis_blur.archs.network_facts import FIELD, facts_of
from basis_blur.estimation.tiles import blur_of_tiles, blur_tile, first_blur_tile
from basis_blur.field.blur_field import WHOLE_PIXELS, BlurField, CompactField, pack
from basis_blur.field.removal import ESTIMATED_BLUR, Removal
from basis_blur.foundation.errors import kind_of
from basis_blur.foundation.numbers import GAMMA, check_number
from basis_blur.ops.camera_response import to_linear, to_srgb
from basis_blur.ops.memory import with_smaller_tiles
from basis_blur.ops.photo import check_larger_than_kernel, check_photo

# Advice where a network is of another kind.
EXPECTED = 'give a BasisKPN or CorrelationKPN, such as load_network("correlation_kpn")'
LUMINANCE = (0.2126, 0.7152, 0.0722)  # weights of the colours in linear light with the sRGB primaries, ITU-R BT.709


def estimate_blur(net: nn.Module, photo: Tensor, gamma: float = GAMMA, tile: int | None = None) -> BlurField:
    """Estimate the blur of every pixel of a photo.

    The network runs in evaluation mode and without gradients; afterwards it is in the mode it was in before.
    A gray photo is repeated for a network that expects colour; a network that expects gray sees the luminance.

    Args:
        net: network that takes linear light (N, C, H, W) and returns a BlurField, such as `load_network` returns. It
            has `facts`, or else `hyper_parameters` with 'kernel_size', and with 'in_channels' unless it takes gray and
            colour alike.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1]; any size from the size of the network's kernels.
        gamma: exponent of the photo, light = photo ** gamma; 1 for photos in linear light.
        tile: side of the tiles, pixels, for a network that works in tiles (`facts.in_tiles`); by default such a network
            sees a large photo in tiles of a moderate size. Any other network sees the photo as a whole. What difference
            tiles make stands in `basis_blur.estimation.tiles`.

    Returns:
        The field, on the device and in the dtype of the photo; a `CompactField` for more than 8 megapixels. Its
        `removal` is that of the network, or `ESTIMATED_BLUR` if the network has none.

    Raises:
        ValueError: the photo has other dimensions, is not floating point, or has values outside [0, 1] or NaN; or
            `net` is a network of another kind.
        InputError: the photo is smaller than the network's kernels, or memory does not suffice for small tiles.

    Example:
        >>> net = bb.load_network('correlation_kpn')
        >>> field = bb.estimate_blur(net, torch.rand(1, 3, 48, 64))
        >>> field.kernels.shape[-2:], field.mixing.shape[-2:]
        (torch.Size([33, 33]), torch.Size([48, 64]))
    """
    light = light_for(net, photo, gamma)
    if tile is not None:
        check_number('tile', tile, least=1, whole=True, remedy='it is a side in pixels.')

    large = photo.shape[-2] * photo.shape[-1] > WHOLE_PIXELS
    bare: Any = net  # without a type, since what it has depends on its facts

    def estimate(side: int | None) -> BlurField:
        if side is None:
            field = checked_field(net, net(light))
            return CompactField.of(field) if large and not isinstance(field, CompactField) else field
        shape = (len(light), bare.hyper_parameters['num_kernels'], *light.shape[-2:])
        mixing = light.new_empty(shape, dtype=torch.int16 if large else light.dtype)
        parts = zip(light.split(1), mixing.split(1), strict=True)
        kernels = torch.cat([blur_of_tiles(bare, one, side, place) for one, place in parts])
        return CompactField(kernels, mixing) if large else BlurField.unchecked(kernels, mixing)

    with torch.no_grad(), evaluation_mode(net):
        if facts_of(net).in_tiles:
            tile = tile or blur_tile(net, photo.shape[-2:])
            field = with_smaller_tiles(estimate, tile, first_blur_tile(bare), 'estimating the blur').to(photo)
        else:
            field = estimate(None).to(photo)
    return field.with_removal(removal_of(net))


def removal_of(net: nn.Module) -> Removal:
    """Return the settings that suit the blurs of a network, or those for estimates of unknown worth if it has none."""
    return facts_of(net).removal or ESTIMATED_BLUR


def estimate_blur_at_half_size(net: nn.Module, photo: Tensor, gamma: float = GAMMA) -> BlurField:
    """Estimate a blur that is larger than the network's kernels, from the photo at half its size.

    Pixels of the small photo are means of 2 x 2, in linear light. Its kernels are enlarged by linear interpolation from
    K to 2K - 1 pixels, of which every second one has an old value, up to a factor that makes the sum 1. A point becomes
    a kernel 2 pixels wide, since half size does not tell the two apart.

    Args:
        net: network that takes linear light and returns a BlurField, see `estimate_blur`.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1]; any size from 2K - 1 pixels.
        gamma: exponent of the photo.

    Returns:
        The field of the photo, with kernels of 2K - 1 pixels a side.

    Raises:
        ValueError: see `estimate_blur`.
        InputError: the photo is smaller than the enlarged kernels, or memory does not suffice for small tiles.
    """
    side = 2 * kernel_size_of(net) - 1
    check_photo(photo)
    check_larger_than_kernel(photo, side)
    light = F.avg_pool2d(to_linear(photo.detach(), gamma), 2, ceil_mode=True, count_include_pad=False)
    field = estimate_blur(net, to_srgb(light, gamma).clamp_(0, 1), gamma)
    kernels = F.interpolate(field.kernels, size=(side, side), mode='bilinear', align_corners=True)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True)
    large = photo.shape[-2] * photo.shape[-1] > WHOLE_PIXELS
    shape = (*field.mixing.shape[:2], *photo.shape[-2:])
    mixing = torch.empty(shape, dtype=torch.int16 if large else field.mixing.dtype, device=field.device)
    for place, small in zip(mixing.split(1, 1), field.mixing.split(1, 1), strict=True):
        whole = F.interpolate(small, scale_factor=2, mode='bilinear', align_corners=False)
        whole = whole[..., : shape[-2], : shape[-1]]
        place.copy_(pack(whole) if large else whole)
    return (CompactField if large else BlurField.unchecked)(kernels, mixing, removal=field.removal)


def kernel_size_of(net: nn.Module) -> int:
    """Return K of a network that estimates blur fields.

    Raises:
        ValueError: the network estimates something else, or `net` is no network.
    """
    if not isinstance(net, nn.Module):
        remedy = f'write load_network("{net}")' if isinstance(net, str) else EXPECTED
        raise ValueError(f'net is {kind_of(net)}, expected a network; {remedy}.')
    facts = facts_of(net)
    if facts.kernel_size is None and not hasattr(net, 'facts'):
        raise ValueError(f'net is {kind_of(net)}, which does not tell the size of its kernels; {EXPECTED}.')
    if facts.returns != FIELD or facts.kernel_size is None:
        raise ValueError(f'net is {kind_of(net)}, which returns {facts.returns} and no blur fields; {EXPECTED}.')
    return facts.kernel_size


def checked_field(net: nn.Module, result: object) -> BlurField:
    """Return the result of a network, which has to be a BlurField.

    Raises:
        ValueError: it is something else, so the network is of another kind.
    """
    if not isinstance(result, BlurField):
        raise ValueError(f'net is {kind_of(net)}, which returns {kind_of(result)} and not a BlurField; {EXPECTED}.')
    return result


def light_for(net: nn.Module, photo: Tensor, gamma: float) -> Tensor:
    """Return the light (N, C, H, W) that a network is given; arguments and errors are those of `estimate_blur`."""
    side = kernel_size_of(net)  # first, since with a network of the wrong kind other errors do not matter
    check_photo(photo)
    check_larger_than_kernel(photo, side)
    facts = facts_of(net)
    channels = photo.shape[1] if photo.shape[1] in facts.channels else facts.channels[0]
    return _with_channels(to_linear(photo.to(next(net.parameters())), gamma), channels)


def _with_channels(light: Tensor, channels: int) -> Tensor:
    if channels == light.shape[1]:
        return light
    if channels == 3:
        return light.expand(-1, 3, -1, -1)
    if channels == 1:
        return (light * light.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
    raise ValueError(f'the network expects {channels} channels, a photo has 3 or 1.')
