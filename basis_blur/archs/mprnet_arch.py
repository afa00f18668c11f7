"""MPRNet: restore a photo in three stages, in quarters, in halves, and as a whole.

    [Zamir21] Zamir, Arora, Khan, Hayat, Khan, Yang, Shao, "Multi-Stage Progressive Image Restoration", CVPR 2021.
    Kernel attention: [F23].

    stage 1   2 x 2 quarters of the photo -> U-Net encoder, joined to halves -> decoder -> SAM -> image of the stage
    stage 2   top and bottom half, features of stage 1 -> encoder, joined -> decoder -> SAM -> image of the stage
    stage 3   whole photo, features of stage 2 -> full-size blocks that also take all levels of stage 2's U-Net -> image

A CAB is a residual block with channel attention. A SAM makes an image from features, and weighs the features by that
image for the next stage. Every U-Net has three levels of n, n + s, n + 2 s channels. The convolutions have no biases.

The default sizes are those of the paper's network for deblurring, with 20.13 M parameters. Differs from the paper in
that every CAB has its own slope of the PReLU, instead of one slope for all. With `kernel_size`, the first full-size
block of stage 3 looks at its features through a kernel attention; its skip connection comes from before the attention,
as in the NAFNet of [F23].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import reflect_to_multiple
from basis_blur.archs.kernel_attention import KernelAttention, check_inputs, check_sizes
from basis_blur.archs.network_facts import PHOTO, RESTORER, DescribedNetwork, NetworkFacts

SIZE_MULTIPLE = 8  # multiple of pixels that sides are padded to: they are halved for the quarters and twice in U-Nets
LEVELS = 3  # number of levels of a U-Net
REDUCTION = 4  # factor by which a channel attention reduces its channels


class ImagesByStage(NamedTuple):
    """The images that training compares with the sharp photo, each (N, C, H, W); evaluation returns the third stage's.

    Args:
        third: images of the last stage.
        second: images of the stage before.
        first: images of the first stage.
    """

    third: Tensor
    second: Tensor
    first: Tensor


class MPRNet(DescribedNetwork):
    """Restore a blurred photo.

    Args:
        in_channels: channels of the photo and of the image, 3 or 1.
        width: n, channels of the first level.
        unet_step: s, channels that each further level of the U-Nets has more.
        full_size_step: channels that stage 3 has more than n.
        num_cab: number of CABs of each of the three full-size blocks.
        kernel_size: K of the kernels that the attention in stage 3 looks at; None for no attention.
        multi_stage: whether it returns `ImagesByStage` in training; otherwise only the image, as in evaluation.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(RESTORER, PHOTO, PHOTO)

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 96,
        unet_step: int = 48,
        full_size_step: int = 32,
        num_cab: int = 8,
        kernel_size: int | None = None,
        multi_stage: bool = True,
    ):
        super().__init__()
        self._hyper_parameters = {
            'in_channels': in_channels,
            'width': width,
            'unet_step': unet_step,
            'full_size_step': full_size_step,
            'num_cab': num_cab,
            'kernel_size': kernel_size,
            'multi_stage': multi_stage,
        }
        _check(in_channels, width, unet_step, full_size_step, num_cab, kernel_size)
        widths = [width + level * unet_step for level in range(LEVELS)]
        last = width + full_size_step
        self.stems = nn.ModuleList(
            nn.Sequential(_conv(in_channels, width), _ChannelAttentionBlock(width)) for _ in range(3)
        )
        self.encoders = nn.ModuleList([_Encoder(widths), _Encoder(widths, takes_features=True)])
        self.decoders = nn.ModuleList(_Decoder(widths) for _ in range(2))
        self.sams = nn.ModuleList(_SupervisedAttention(width, in_channels) for _ in range(2))
        self.joins = nn.ModuleList([_conv(2 * width, width), _conv(2 * width, last)])
        self.kernel_attention = None if kernel_size is None else KernelAttention(last, kernel_size**2)
        self.full_size = _FullSize(last, widths, num_cab)
        self.ending = _conv(last, in_channels)

    def forward(self, photo: Tensor, raw_kernels: Tensor | None = None) -> Tensor | ImagesByStage:
        """Return the restored image, (N, C, H, W); sRGB, not clamped. In training with `multi_stage`, three of them.

        Args:
            photo: (N, C, H, W); sRGB in [0, 1], any H, W >= 1. Sides that are no multiple of 8 are continued by
                reflection, and the image is cropped back.
            raw_kernels: (N, K*K, H, W), see `KernelAttention`; needed if and only if the network has `kernel_size`.

        Raises:
            ValueError: a shape is another.
        """
        kernel_size = self._hyper_parameters['kernel_size']
        check_inputs(photo, raw_kernels, self._hyper_parameters['in_channels'], kernel_size)
        height, width = photo.shape[-2:]
        padded = reflect_to_multiple(photo, SIZE_MULTIPLE)
        halves = _halves(padded, -2)  # both along the batch, so each stage is one pass

        encoded = self.encoders[0](self.stems[0](_halves(halves, -1)))
        encoded = [_joined(each, -1) for each in encoded]
        decoded = self.decoders[0](encoded)
        handed_on, first = self.sams[0](decoded[0], halves)

        x = self.joins[0](torch.cat([self.stems[1](halves), handed_on], 1))
        encoded = [_joined(each, -2) for each in self.encoders[1](x, encoded, decoded)]
        decoded = self.decoders[1](encoded)
        handed_on, second = self.sams[1](decoded[0], padded)

        x = self.joins[1](torch.cat([self.stems[2](padded), handed_on], 1))
        seen = None
        if self.kernel_attention is not None and raw_kernels is not None:
            seen = self.kernel_attention(x, reflect_to_multiple(raw_kernels, SIZE_MULTIPLE))
        third = padded + self.ending(self.full_size(x, encoded, decoded, seen))

        images = ImagesByStage(*(image[..., :height, :width] for image in (third, second, _joined(first, -2))))
        return images if self.training and self._hyper_parameters['multi_stage'] else images.third


def _halves(x: Tensor, dim: int) -> Tensor:
    """Put the two halves of every photo of a batch one after the other: (N, ...) to (2 N, ...)."""
    return torch.stack(x.chunk(2, dim), 1).flatten(0, 1)


def _joined(x: Tensor, dim: int) -> Tensor:
    """Undo `_halves`."""
    return torch.cat(x.unflatten(0, (-1, 2)).unbind(1), dim)


class _ChannelAttentionBlock(nn.Module):
    """CAB: x + y * sigmoid(conv(relu(conv(mean(y)))))  with  y = conv(prelu(conv(x)))."""

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // REDUCTION)
        self.convs = nn.Sequential(_conv(channels, channels), nn.PReLU(), _conv(channels, channels))
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.convs(x)
        return x + y * self.weigh(y.mean((-2, -1), keepdim=True))


class _Encoder(nn.Module):
    """Two CABs at each level; with `takes_features`, plus 1x1 convolutions of an earlier encoder and decoder."""

    def __init__(self, widths: list[int], takes_features: bool = False):
        super().__init__()
        self.levels = nn.ModuleList(_two_blocks(channels) for channels in widths)
        self.downs = nn.ModuleList(_resize(before, after, 0.5) for before, after in _pairs(widths))
        earlier = widths if takes_features else []
        self.from_encoder = nn.ModuleList(nn.Conv2d(each, each, 1, bias=False) for each in earlier)
        self.from_decoder = nn.ModuleList(nn.Conv2d(each, each, 1, bias=False) for each in earlier)

    def forward(self, x: Tensor, encoded: Sequence[Tensor] = (), decoded: Sequence[Tensor] = ()) -> list[Tensor]:
        features = []
        for level, blocks in enumerate(self.levels):
            x = blocks(x if level == 0 else self.downs[level - 1](x))
            if self.from_encoder:
                x = x + self.from_encoder[level](encoded[level]) + self.from_decoder[level](decoded[level])
            features.append(x)
        return features


class _Decoder(nn.Module):
    """Two CABs at each level, one in each skip; returns the features of all levels, full size first."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.levels = nn.ModuleList(_two_blocks(channels) for channels in widths)
        self.skips = nn.ModuleList(_ChannelAttentionBlock(channels) for channels in widths[:-1])
        self.ups = nn.ModuleList(_resize(before, after, 2) for after, before in _pairs(widths))

    def forward(self, encoded: list[Tensor]) -> list[Tensor]:
        features = [self.levels[-1](encoded[-1])]
        for level in reversed(range(LEVELS - 1)):
            x = self.ups[level](features[0]) + self.skips[level](encoded[level])
            features.insert(0, self.levels[level](x))
        return features


class _SupervisedAttention(nn.Module):
    """SAM: features x to the image photo + conv(x), and to x + conv(x) * sigmoid(conv(image))."""

    def __init__(self, channels: int, in_channels: int):
        super().__init__()
        self.offer = nn.Conv2d(channels, channels, 1, bias=False)
        self.correct = nn.Conv2d(channels, in_channels, 1, bias=False)
        self.weigh = nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
        image = photo + self.correct(x)
        return x + self.offer(x) * self.weigh(image), image


class _FullSize(nn.Module):
    """Three times: CABs at full size, then plus one level of the U-Net of stage 2, enlarged."""

    def __init__(self, channels: int, widths: list[int], num_cab: int):
        super().__init__()
        self.blocks = nn.ModuleList(_Residual(channels, num_cab) for _ in widths)
        self.from_encoder = nn.ModuleList(_enlarged(widths, level, channels) for level in range(LEVELS))
        self.from_decoder = nn.ModuleList(_enlarged(widths, level, channels) for level in range(LEVELS))

    def forward(self, x: Tensor, encoded: list[Tensor], decoded: list[Tensor], seen: Tensor | None = None) -> Tensor:
        for level, block in enumerate(self.blocks):
            x = block(x, seen if level == 0 else None)
            x = x + self.from_encoder[level](encoded[level]) + self.from_decoder[level](decoded[level])
        return x


class _Residual(nn.Module):
    """x + layers(seen): what the layers look at is x itself, unless it is given."""

    def __init__(self, channels: int, num_cab: int):
        super().__init__()
        blocks = (_ChannelAttentionBlock(channels) for _ in range(num_cab))
        self.layers = nn.Sequential(*blocks, _conv(channels, channels))

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        return x + self.layers(x if seen is None else seen)


class _Scale(nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.factor, mode='bilinear', align_corners=False)


def _resize(before: int, after: int, factor: float) -> nn.Sequential:
    return nn.Sequential(_Scale(factor), nn.Conv2d(before, after, 1, bias=False))


def _enlarged(widths: list[int], level: int, channels: int) -> nn.Sequential:
    ups = (_resize(widths[each], widths[each - 1], 2) for each in range(level, 0, -1))
    return nn.Sequential(*ups, nn.Conv2d(widths[0], channels, 1, bias=False))


def _two_blocks(channels: int) -> nn.Sequential:
    return nn.Sequential(_ChannelAttentionBlock(channels), _ChannelAttentionBlock(channels))


def _pairs(widths: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(widths))


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, bias=False)


def _check(
    in_channels: int, width: int, unet_step: int, full_size_step: int, num_cab: int, kernel_size: int | None
) -> None:
    check_sizes(in_channels, kernel_size)
    if width < 1 or num_cab < 0:
        raise ValueError(f'width is {width} and num_cab {num_cab}, expected at least 1 and 0; the defaults are 96, 8.')
    if unet_step < 0 or full_size_step < 0:
        raise ValueError(
            f'unet_step is {unet_step} and full_size_step {full_size_step}, expected at least 0; '
            'the defaults are 48 and 32.'
        )
