"""MIMO-UNet: one U-Net that sees a photo at three sizes and restores it at three sizes.

    [Cho21] Cho, Ji, Hong, Jung, Ko, "Rethinking Coarse-to-Fine Approach in Single Image Deblurring", ICCV 2021.
    Kernel attention in the encoder: [F23].

    full, half, quarter photo -> three encoder levels of w, 2 w, 4 w channels; the smaller photos enter their levels by
    _PhotoStem and _Attend -> every decoder level gets all encoder levels by _Fuse -> an image at each size

The default sizes are those of MIMO-UNet+ in the paper, with 16.11 M parameters; with `num_res` 8 it is MIMO-UNet, with
6.81 M.
Photos and features are halved by taking every second pixel, and features enlarged by repeating each, as in the
published network.
With `kernel_size`, the first residual block of every encoder level looks at its features through a kernel attention;
its skip connection comes from before the attention, as in the NAFNet of [F23].
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import reflect_to_multiple
from basis_blur.archs.kernel_attention import KernelAttention, check_inputs, check_sizes, halving
from basis_blur.archs.network_facts import PHOTO, RESTORER, DescribedNetwork, NetworkFacts

SIZE_MULTIPLE = 4  # multiple of pixels that sides are padded to, since they are halved twice
LEVELS = 3  # number of sizes


class ImagesBySize(NamedTuple):
    """The images that training compares with the sharp photo; the first is the one that evaluation returns.

    Args:
        full: (N, C, H, W).
        half: (N, C, H / 2, W / 2), rounded up.
        quarter: (N, C, H / 4, W / 4), rounded up.
    """

    full: Tensor
    half: Tensor
    quarter: Tensor


class MIMOUNet(DescribedNetwork):
    """Restore a blurred photo.

    Args:
        in_channels: channels of the photo and of the image, 3 or 1.
        width: w, channels at full size; an even number.
        num_res: number of residual blocks of each encoder and decoder level.
        kernel_size: K of the kernels that the attention of each encoder level looks at; None for no attention.
        multi_scale: whether it restores at three sizes in training, which therefore returns `ImagesBySize`; otherwise
            only the image, as in evaluation.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(RESTORER, PHOTO, PHOTO)

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 32,
        num_res: int = 20,
        kernel_size: int | None = None,
        multi_scale: bool = True,
    ):
        super().__init__()
        self._hyper_parameters = {
            'in_channels': in_channels,
            'width': width,
            'num_res': num_res,
            'kernel_size': kernel_size,
            'multi_scale': multi_scale,
        }
        _check(in_channels, width, num_res, kernel_size)
        widths = [width * 2**level for level in range(LEVELS)]
        self.stems = nn.ModuleList(
            [
                _conv(in_channels, width),
                _PhotoStem(in_channels, widths[1]),
                _PhotoStem(in_channels, widths[2]),
            ]
        )
        self.downs = nn.ModuleList(_conv(before, 2 * before, stride=2) for before in widths[:-1])
        self.attends = nn.ModuleList(_Attend(channels) for channels in widths[1:])
        self.encoders = nn.ModuleList(_ResidualBlocks(channels, num_res) for channels in widths)
        self.fuses = nn.ModuleList(_Fuse(sum(widths), channels) for channels in widths[:-1])
        self.ups = nn.ModuleList(_up(channels) for channels in widths[:-1])
        self.merges = nn.ModuleList(_conv(2 * channels, channels, size=1) for channels in widths[:-1])
        self.decoders = nn.ModuleList(_ResidualBlocks(channels, num_res) for channels in widths)
        ends = widths if multi_scale else widths[:1]
        self.ends = nn.ModuleList(nn.Conv2d(channels, in_channels, 3, padding=1) for channels in ends)
        if kernel_size is not None:
            self.kernel_attentions = nn.ModuleList(KernelAttention(channels, kernel_size**2) for channels in widths)
            self.kernel_down = nn.ModuleList(halving(kernel_size**2) for _ in widths[1:])

    def forward(self, photo: Tensor, raw_kernels: Tensor | None = None) -> Tensor | ImagesBySize:
        """Return the restored image, (N, C, H, W); sRGB, not clamped. In training with `multi_scale`, three of them.

        Args:
            photo: (N, C, H, W); sRGB in [0, 1], any H, W >= 1. Sides that are no multiple of 4 are continued by
                reflection, and the image is cropped back.
            raw_kernels: (N, K*K, H, W), see `KernelAttention`; needed if and only if the network has `kernel_size`.

        Raises:
            ValueError: a shape is another.
        """
        kernel_size = self._hyper_parameters['kernel_size']
        check_inputs(photo, raw_kernels, self._hyper_parameters['in_channels'], kernel_size)
        height, width = photo.shape[-2:]
        photos = [reflect_to_multiple(photo, SIZE_MULTIPLE)]
        for _ in range(1, LEVELS):
            photos.append(_scaled(photos[-1], 0.5))

        features = self._encode(photos, raw_kernels)
        first, second, x = features
        skips = [
            self.fuses[0]([first, _scaled(second, 2), _scaled(x, 4)]),
            self.fuses[1]([_scaled(first, 0.5), second, _scaled(x, 2)]),
        ]
        images = []
        for level in reversed(range(LEVELS)):
            if level < LEVELS - 1:
                x = self.merges[level](torch.cat([self.ups[level](x), skips[level]], 1))
            x = self.decoders[level](x)
            if level == 0 or (self.training and self._hyper_parameters['multi_scale']):
                image = photos[level] + self.ends[level](x)
                images.append(image[..., : -(-height // 2**level), : -(-width // 2**level)])
        return images[0] if len(images) == 1 else ImagesBySize(*reversed(images))

    def _encode(self, photos: list[Tensor], kernels: Tensor | None) -> list[Tensor]:
        if kernels is not None:
            kernels = reflect_to_multiple(kernels, SIZE_MULTIPLE)
        features: list[Tensor] = []
        for level, photo in enumerate(photos):
            x = self.stems[level](photo)
            if level > 0:
                x = self.attends[level - 1](self.downs[level - 1](features[-1]), x)
            seen = None
            if kernels is not None:
                kernels = kernels if level == 0 else self.kernel_down[level - 1](kernels)
                seen = self.kernel_attentions[level](x, kernels)
            features.append(self.encoders[level](x, seen))
        return features


class _PhotoStem(nn.Module):
    """Features of a smaller photo: 3x3, 1x1, 3x3, 1x1 convolutions, and one over the photo and what they found."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.look = nn.Sequential(
            _conv(in_channels, channels // 4),
            _conv(channels // 4, channels // 2, size=1),
            _conv(channels // 2, channels // 2),
            _conv(channels // 2, channels - in_channels, size=1),
        )
        self.join = nn.Conv2d(channels, channels, 1)

    def forward(self, photo: Tensor) -> Tensor:
        return self.join(torch.cat([photo, self.look(photo)], 1))


class _Attend(nn.Module):
    """x + conv(x y): emphasise or suppress features x of the larger level by those of the smaller photo, y."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.conv(x * y)


class _Fuse(nn.Module):
    """All encoder levels, brought to one size, to the skip of one decoder level."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.convs = nn.Sequential(_conv(before, after, size=1), nn.Conv2d(after, after, 3, padding=1))

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.convs(torch.cat(features, 1))


class _ResidualBlock(nn.Module):
    """x + convs(seen): what the branch looks at is x itself, unless it is given."""

    def __init__(self, channels: int):
        super().__init__()
        self.convs = nn.Sequential(_conv(channels, channels), nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        return x + self.convs(x if seen is None else seen)


class _ResidualBlocks(nn.ModuleList):
    """Blocks one after the other; the first looks at what is given beside x, the others at x."""

    def __init__(self, channels: int, number: int):
        super().__init__(_ResidualBlock(channels) for _ in range(number))

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        for index, block in enumerate(self):
            x = block(x, seen if index == 0 else None)
        return x


def _conv(before: int, after: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, size, stride, padding=size // 2), nn.ReLU(inplace=True))


def _up(after: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(2 * after, after, 4, stride=2, padding=1), nn.ReLU(inplace=True))


def _scaled(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode='nearest')


def _check(in_channels: int, width: int, num_res: int, kernel_size: int | None) -> None:
    check_sizes(in_channels, kernel_size)
    if width < 2 or width % 2:
        raise ValueError(f'width is {width}, expected an even number; the default is 32.')
    if num_res < 1:
        raise ValueError(f'num_res is {num_res}, expected at least 1; 20 is MIMO-UNet+, 8 is MIMO-UNet.')
