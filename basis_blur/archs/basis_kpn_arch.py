"""BasisKPN: the network that sees a blurred photo and predicts its blur field [C21, A.1, Fig. 3].

    light - 0.5 -> stem -> encoder (5 x: two convs = skip, max pool) -> bottleneck = features
    features, skips -> mixing head: U-Net decoder, tail, softmax over B at every pixel      -> mixing
    features, skips -> spatial means -> kernel head: 5 or 6 x upsampling from 1x1, tail,
                       softmax over the K*K pixels of every kernel                          -> kernels

With n = `num_feat` the encoder has n-2n-4n-8n-16n channels; n = 64 is the network of the paper.
LeakyReLU 0.01 follows every convolution but the last of each head and the transposed ones.

Differs from the paper in:

1. Features are enlarged by transposed convolutions, as in the published weights.
2. The weights of a fresh network are such that layers keep the size of signals (He initialisation) and kernels and
   mixing are nearly uniform. With torch's own initialisation every layer shrinks the signal, and it takes hundreds of
   steps of a training to undo that.

Convention: the kernels are convolution kernels, as everywhere here. The published weights predict correlation
    kernels; `load_network` turns them over when it reads them, see `basis_blur.weights.checkpoints`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from basis_blur.archs.network_facts import ESTIMATOR, FIELD, FIELD_TENSORS, LIGHT, DescribedNetwork, NetworkFacts
from basis_blur.field.blur_field import BlurField

SIZE_MULTIPLE = 32  # multiple of pixels that sides are padded to, since five poolings halve them
GROUPS = 8  # largest number of groups of a group normalisation
SLOPE = 0.01  # slope of the activation for negative values
LAST_GAIN = 0.1  # factor on the weights of the last convolutions of a fresh network


class BasisKPN(DescribedNetwork):
    """Predict basis kernels and mixing coefficients from a blurred photo in linear light.

    Args:
        in_channels: number of channels of the photo, 3 or 1.
        num_feat: n, the width; 64 makes 79.8 M parameters, 16 makes 5 M.
        num_kernels: B, the number of basis kernels.
        kernel_size: K, the side of a kernel in pixels: 33, since the kernel head doubles one pixel five times and adds
            one, or 65 with one more doubling.
        norm: 'group' for a group normalisation after every convolution that an activation follows; 'none' for the
            network of the paper.
        gray_stem: whether there is also a first convolution for gray light, as in the published weights, so that the
            network takes both (N, 3, H, W) and (N, 1, H, W). It needs `in_channels` 3.

    Raises:
        ValueError: a hyper-parameter is outside its range.

    Example:
        >>> net = bb.BasisKPN(num_kernels=4, num_feat=2)
        >>> net(torch.rand(1, 3, 40, 56)).kernels.shape
        torch.Size([1, 4, 33, 33])
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(ESTIMATOR, LIGHT, FIELD, in_tiles=True, tensors=FIELD_TENSORS)

    def __init__(
        self,
        in_channels: Literal[3, 1] = 3,
        num_feat: int = 64,
        num_kernels: int = 25,
        kernel_size: Literal[33, 65] = 33,
        norm: Literal['none', 'group'] = 'none',
        gray_stem: bool = False,
    ):
        super().__init__()
        _check(in_channels, num_feat, num_kernels, kernel_size, norm, gray_stem)
        self._hyper_parameters = {
            'in_channels': in_channels,
            'num_feat': num_feat,
            'num_kernels': num_kernels,
            'kernel_size': kernel_size,
            'norm': norm,
            'gray_stem': gray_stem,
        }
        n = num_feat
        skips = (n, 2 * n, 4 * n, 8 * n, 16 * n)
        self.stem = _conv_act(in_channels, n, norm)
        self.gray_stem = _conv_act(1, n, norm) if gray_stem else None
        self.encoder = nn.ModuleList(
            _double_conv(before, after, norm) for before, after in zip((n, *skips[:-1]), skips, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = _conv_act(skips[-1], skips[-1], norm)

        deepest_first = skips[::-1]
        more = (0,) if kernel_size == 65 else ()
        self.mixing_head = _Head(skips[-1], (8 * n, 4 * n, 2 * n, n, n), deepest_first, num_kernels, 3, norm)
        self.kernel_head = _Head(
            skips[-1],
            (8 * n, 4 * n, 4 * n, 2 * n, n, n)[: 5 + len(more)],
            (*deepest_first, *more),
            num_kernels,
            2,
            norm,
        )

        self.apply(_initialise)
        for head in (self.mixing_head, self.kernel_head):
            with torch.no_grad():
                head.tail[-1].get_parameter('weight').mul_(LAST_GAIN)

    def forward(self, light: Tensor) -> BlurField:
        """Predict the blur field of a batch of photos.

        Args:
            light: (N, C, H, W); linear light in [0, 1], C = `in_channels`; any H, W >= 1. Sides that are no multiple
                of 32 are continued by reflection, and the mixing is cropped back.

        Returns:
            The field; its sums are 1 because of the softmax. It is float32 also under automatic mixed precision.

        Raises:
            ValueError: `light` has other dimensions or channels.
        """
        return BlurField.unchecked(*self.predict(light))

    def predict(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `forward` does as plain tensors, (kernels, mixing), for `torch.export` and the like."""
        stem = self.stem_for(light)
        height, width = light.shape[-2:]
        x = stem(reflect_to_multiple(light - 0.5, SIZE_MULTIPLE))
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        features = self.bottleneck(x)

        skips.reverse()
        mixing = cropped(self.mixing_head(features, skips), height, width)
        kernels = self.kernel_head(_spatial_mean(features), [_spatial_mean(skip) for skip in skips])
        return _softmax(kernels.flatten(2), 2).view(kernels.shape), _softmax(mixing, 1)

    plain = predict  # the function that an export contains

    def stem_for(self, light: Tensor) -> nn.Module:
        """Return the first convolution for the channels of `light`; errors are those of `forward`."""
        if light.ndim == 4 and light.shape[1] == self._hyper_parameters['in_channels']:
            return self.stem
        if light.ndim == 4 and light.shape[1] == 1 and self.gray_stem is not None:
            return self.gray_stem
        channels = '3 or 1' if self.gray_stem is not None else self._hyper_parameters['in_channels']
        raise ValueError(
            f'light has shape {tuple(light.shape)}, expected (N, C, H, W) with C = {channels}; '
            'bring the photo to that number of channels.'
        )


class _Head(nn.Module):
    """A head, from features and skips to the logits of B maps: upsampling blocks and three last convolutions.

    Args:
        channels: number of channels of the features.
        widths: numbers of channels after each block.
        skips: numbers of channels of the skip that each block takes, deepest first; 0 for none.
        num_kernels: B, the number of maps.
        tail_size: side of the tail's first convolution; 3 keeps the map's size, 2 adds one pixel.
        norm: kind of normalisation, see `BasisKPN`.
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        skips: tuple[int, ...],
        num_kernels: int,
        tail_size: int,
        norm: str,
    ):
        super().__init__()
        self.ups = nn.ModuleList()
        for width, skip in zip(widths, skips, strict=True):
            self.ups.append(_Up(channels, width, skip, norm))
            channels = width
        self.tail = nn.Sequential(
            _conv_act(channels, channels, norm, tail_size),
            _conv_act(channels, channels, norm),
            nn.Conv2d(channels, num_kernels, 3, padding=1),
        )

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        for index, up in enumerate(self.ups):
            x = up(x, skips[index] if index < len(skips) else None)
        return self.tail(x)


class _Up(nn.Module):
    """A block that doubles the size: transposed conv, two convs, then a conv over [skip, x].

    A skip of one pixel, a spatial mean, is repeated to the size of x.
    """

    def __init__(self, before: int, after: int, skip: int, norm: str):
        super().__init__()
        self.up = nn.ConvTranspose2d(before, before, 2, stride=2)
        self.convs = _double_conv(before, after, norm)
        self.merge = _conv_act(skip + after, after, norm)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.convs(self.up(x))
        if skip is not None:
            x = torch.cat([skip.expand(-1, -1, *x.shape[-2:]), x], 1)
        return self.merge(x)


def _double_conv(before: int, after: int, norm: str) -> nn.Sequential:
    return nn.Sequential(_conv_act(before, after, norm), _conv_act(after, after, norm))


def _conv_act(before: int, after: int, norm: str, size: int = 3) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(before, after, size, padding=1))
    if norm == 'group':
        layers['norm'] = nn.GroupNorm(math.gcd(GROUPS, after), after)
    layers['act'] = nn.LeakyReLU(SLOPE, inplace=True)
    return nn.Sequential(layers)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
    elif isinstance(module, nn.ConvTranspose2d):
        # No activation follows, and each of its pixels is a sum of one number per channel.
        nn.init.normal_(module.weight, std=module.in_channels**-0.5)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _spatial_mean(x: Tensor) -> Tensor:
    return x.mean((-2, -1), keepdim=True)


def _softmax(logits: Tensor, dim: int) -> Tensor:
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return logits.softmax(dim)


def reflect_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Continue the bottom and right of an image by reflection until its sides are multiples of a number.

    Row H + j is row H - 2 - j, back and forth as often as needed, so images smaller than `multiple` work too.

    Args:
        x: (..., H, W).
        multiple: number that sides become multiples of, >= 1, pixels.
    """
    for dim in (-2, -1):
        size = x.shape[dim]
        if isinstance(size, int) and size % multiple == 0:
            continue  # In an export for any size, where a size is a symbol, the rule below serves all.
        whole = (size + multiple - 1) // multiple * multiple
        there = 2 * torch.arange(size, device=x.device)[-1:]
        index = torch.arange(whole, device=x.device) % there.clamp_min(1)
        x = x.index_select(dim, torch.minimum(index, there - index))
    return x


def cropped(x: Tensor, height: int, width: int) -> Tensor:
    """Return the upper left `height` x `width` pixels of x (..., H, W), which has at least as many."""
    if isinstance(height, int) and isinstance(width, int):
        return x[..., :height, :width]
    # In an export for any size they are symbols, and a slice would ask how they compare to those of x.
    for dim, size in ((-2, height), (-1, width)):
        x = x.index_select(dim, torch.arange(size, device=x.device))
    return x


def _check(in_channels: int, num_feat: int, num_kernels: int, kernel_size: int, norm: str, gray_stem: bool) -> None:
    if in_channels not in (3, 1):
        raise ValueError(f'in_channels is {in_channels}, expected 3 for colour or 1 for gray.')
    if num_feat < 1:
        raise ValueError(f'num_feat is {num_feat}, expected at least 1; the default is 64.')
    if num_kernels < 1:
        raise ValueError(f'num_kernels is {num_kernels}, expected at least 1; the default is 25.')
    if kernel_size not in (33, 65):
        raise ValueError(
            f'kernel_size is {kernel_size}, expected 33 or 65: the kernel head doubles a pixel five or six times '
            'and adds one.'
        )
    if norm not in ('none', 'group'):
        raise ValueError(f'norm is {norm!r}, expected "none" or "group".')
    if gray_stem and in_channels != 3:
        raise ValueError('gray_stem adds gray photos to a network of colour; leave it out if in_channels is 1.')
