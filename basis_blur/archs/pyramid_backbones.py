"""Feature extractors of DeblurGAN-v2: five groups of layers, each of which halves the size.

    [Sandler18] Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR
        2018.
    [Szegedy17] Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual Connections
        on Learning", AAAI 2017.

Differs from the papers: 1. layers after the fifth group, which the pyramid does not use, are left out; 2. batch
normalisation takes its means over the photo, as `DeblurGANv2Generator` says.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

# MobileNetV2, behind the first convolution: growth within a block, channels, blocks, stride of the first of them.
MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 2, 2))
MOBILENET_GROUPS = (0, 2, 4, 7, 11, 16)  # layers at which the groups begin, and the end
MOBILENET_CHANNELS = (16, 24, 32, 64, 160)  # numbers of channels after each group
INCEPTION_CHANNELS = (32, 64, 192, 1088, 2080)  # numbers of channels after each part of Inception-ResNet-v2
INCEPTION_EPS = 1e-3  # number that is added to the variances of its batch normalisations


def mobilenet() -> nn.ModuleList:
    """Return the groups of a MobileNetV2; channels behind each are those of MOBILENET_CHANNELS."""
    layers: list[nn.Module] = [nn.Sequential(*_convolution(3, 32, 3, 2, 1, act=nn.ReLU6))]
    before = 32
    for growth, channels, blocks, stride in MOBILENET:
        for block in range(blocks):
            layers.append(_InvertedResidual(before, channels, stride if block == 0 else 1, growth))
            before = channels
    return nn.ModuleList(nn.Sequential(*layers[start:end]) for start, end in pairwise(MOBILENET_GROUPS))


def inception(blocks: tuple[int, int]) -> nn.ModuleList:
    """Return the groups of an Inception-ResNet-v2; channels behind each are those of INCEPTION_CHANNELS.

    Args:
        blocks: numbers of residual blocks at an eighth and at a sixteenth of the size.
    """
    return nn.ModuleList(
        [
            nn.Sequential(_Convolution(3, 32, 3, 2)),
            nn.Sequential(_Convolution(32, 32, 3), _Convolution(32, 64, 3, 1, 1), nn.MaxPool2d(3, 2)),
            nn.Sequential(_Convolution(64, 80), _Convolution(80, 192, 3), nn.MaxPool2d(3, 2)),
            nn.Sequential(
                _Branches(
                    _chain(192, (96,)),
                    _chain(192, (48,), (64, 5, 1, 2)),
                    _chain(192, (64,), (96, 3, 1, 1), (96, 3, 1, 1)),
                    nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), _Convolution(192, 64)),
                ),
                nn.Sequential(*(_ResidualBranches(0.17, 320, 128, _block_of_eighth) for _ in range(blocks[0]))),
                _Branches(
                    _chain(320, (384, 3, 2)),
                    _chain(320, (256,), (256, 3, 1, 1), (384, 3, 2)),
                    nn.MaxPool2d(3, 2),
                ),
            ),
            nn.Sequential(
                nn.Sequential(*(_ResidualBranches(0.1, 1088, 384, _block_of_sixteenth) for _ in range(blocks[1]))),
                _Branches(
                    _chain(1088, (256,), (384, 3, 2)),
                    _chain(1088, (256,), (288, 3, 2)),
                    _chain(1088, (256,), (288, 3, 1, 1), (320, 3, 2)),
                    nn.MaxPool2d(3, 2),
                ),
            ),
        ]
    )


class _InvertedResidual(nn.Module):
    """1x1, 3x3 of each channel for itself, 1x1 convolution; with a skip connection where shapes allow."""

    def __init__(self, before: int, after: int, stride: int, growth: int):
        super().__init__()
        inside = growth * before
        self.has_skip = stride == 1 and before == after
        self.layers = nn.Sequential(
            *(_convolution(before, inside, act=nn.ReLU6) if growth > 1 else ()),
            *_convolution(inside, inside, 3, stride, 1, act=nn.ReLU6, groups=inside),
            *_convolution(inside, after, act=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.has_skip else self.layers(x)


class _Convolution(nn.Sequential):
    """Convolution, normalisation, ReLU, of Inception-ResNet-v2."""

    def __init__(
        self,
        before: int,
        after: int,
        size: int | tuple[int, int] = 1,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ):
        super().__init__(*_convolution(before, after, size, stride, padding, eps=INCEPTION_EPS))


class _Branches(nn.Module):
    """A layer of several branches over the same features, whose results are put together."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class _ResidualBranches(nn.Module):
    """relu(x + scale conv(branches of x))."""

    def __init__(self, scale: float, channels: int, joined: int, branches: Callable[[], _Branches]):
        super().__init__()
        self.scale = scale
        self.seen = branches()
        self.join = nn.Conv2d(joined, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.scale * self.join(self.seen(x))).relu()


def _block_of_eighth() -> _Branches:
    return _Branches(
        _chain(320, (32,)), _chain(320, (32,), (32, 3, 1, 1)), _chain(320, (32,), (48, 3, 1, 1), (64, 3, 1, 1))
    )


def _block_of_sixteenth() -> _Branches:
    return _Branches(_chain(1088, (192,)), _chain(1088, (128,), (160, (1, 7), 1, (0, 3)), (192, (7, 1), 1, (3, 0))))


def _chain(before: int, *layers: tuple[Any, ...]) -> nn.Sequential:
    """Return convolutions one behind the other; each is channels, size, stride, padding, as far as not 1, 1, 0."""
    channels = (before, *(after for after, *_ in layers))
    return nn.Sequential(*(_Convolution(before, *layer) for before, layer in zip(channels[:-1], layers, strict=True)))


def _convolution(
    before: int,
    after: int,
    size: int | tuple[int, int] = 1,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    *,
    act: type[nn.Module] | None = nn.ReLU,
    groups: int = 1,
    eps: float = 1e-5,
) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(before, after, size, stride, padding, groups=groups, bias=False),
        nn.InstanceNorm2d(after, eps=eps, affine=True),
        *(() if act is None else (act(inplace=True),)),
    )
