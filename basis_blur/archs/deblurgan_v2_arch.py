"""DeblurGANv2Generator: a correction of the photo, from a feature pyramid over a network that was trained to classify.

    [Kupyn19] Kupyn, Martyniuk, Wu, Wang, "DeblurGAN-v2: Deblurring (Orders-of-Magnitude) Faster and Better", ICCV 2019.

    2 photo - 1 -> backbone: features at 1/2, 1/4, 1/8, 1/16, 1/32 of the size -> 1x1 convolutions to 4 w channels, and
    2 w at 1/2 -> each from the smallest on is enlarged, added to the next one and convolved -> a head for each of 1/4
    to 1/32, enlarged to 1/4 and put together -> enlarged to 1/2, the features there added -> enlarged to full size ->
    tanh / 2 = correction;    image = photo + correction

Features are enlarged by repeating pixels. All normalisations, also those of the backbone, take their means over the
photo itself, since the authors restore in the mode of training, one photo at a time. As in their program, the photo is
continued in middle gray beyond its right and lower side, by at least one pixel, to a multiple of 32; the means include
the gray.

Parameters: 35.84 M with Inception-ResNet-v2, 2.11 M with MobileNetV2. The paper counts 60.9 M and 3.3 M, since it
includes the ends of the classifiers, which nothing uses.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs import pyramid_backbones as backbones
from basis_blur.archs.kernel_attention import check_inputs
from basis_blur.archs.network_facts import PHOTO, RESTORER, DescribedNetwork, NetworkFacts

SIZE_MULTIPLE = 32  # multiple of pixels that sides are padded to
# Least side of the padded photo by backbone, pixels, for which the smallest features have a variance: over one pixel.
LEAST_SIDE = {'inception': 128, 'mobilenet': 64}
# Pixels that the features lack at each size, (left and above, right and below), due to convolutions without padding.
TAKEN_OFF = {'inception': ((0, 1), (1, 1), (1, 2), (1, 1), (1, 1)), 'mobilenet': ((0, 0),) * 5}
SMALLER = 4  # number of heads, at 1/4 to 1/32 of the size


class DeblurGANv2Generator(DescribedNetwork):
    """Restore a blurred photo.

    Args:
        backbone: network under the pyramid: 'inception' (Inception-ResNet-v2) or 'mobilenet' (MobileNetV2).
        width: w, channels at full size; 64 with Inception-ResNet-v2 and 32 with MobileNetV2, as published.
        blocks: numbers of residual blocks of Inception-ResNet-v2 at an eighth and at a sixteenth of the size;
            MobileNetV2 is always the same.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(RESTORER, PHOTO, PHOTO)

    def __init__(self, backbone: str = 'inception', width: int = 64, blocks: tuple[int, ...] = (10, 20)):
        super().__init__()
        self._hyper_parameters = {'backbone': backbone, 'width': width, 'blocks': tuple(blocks)}
        _check(backbone, width, blocks)
        if backbone == 'inception':
            self.backbone, channels = backbones.inception((blocks[0], blocks[1])), backbones.INCEPTION_CHANNELS
        else:
            self.backbone, channels = backbones.mobilenet(), backbones.MOBILENET_CHANNELS
        w = width
        self.laterals = nn.ModuleList(
            nn.Conv2d(before, 2 * w if level == 0 else 4 * w, 1, bias=False) for level, before in enumerate(channels)
        )
        self.merges = nn.ModuleList(_normalised(4 * w, 4 * w) for _ in range(SMALLER - 1))
        self.heads = nn.ModuleList(_head(4 * w, 2 * w) for _ in range(SMALLER))
        self.smooth = _normalised(2 * w * SMALLER, 2 * w)
        self.smooth_half = _normalised(2 * w, w)
        self.ending = nn.Conv2d(w, 3, 3, padding=1)

    def forward(self, photo: Tensor) -> Tensor:
        """Return the restored image, (N, 3, H, W); sRGB, not clamped.

        Args:
            photo: (N, 3, H, W); sRGB in [0, 1], any H, W >= 1.

        Raises:
            ValueError: `photo` has another shape.
        """
        check_inputs(photo, None, 3, None)
        height, width = photo.shape[-2:]
        backbone = self._hyper_parameters['backbone']
        down, right = (
            max(LEAST_SIDE[backbone], (side // SIZE_MULTIPLE + 1) * SIZE_MULTIPLE) - side for side in (height, width)
        )
        x = F.pad(2 * photo - 1, (0, right, 0, down))
        maps = []
        for group, lateral, (before, behind) in zip(self.backbone, self.laterals, TAKEN_OFF[backbone], strict=True):
            x = group(x)
            maps.append(F.pad(lateral(x), (before, behind) * 2, mode='reflect'))
        half, *smaller = maps
        for level in reversed(range(SMALLER - 1)):
            smaller[level] = self.merges[level](smaller[level] + _enlarged(smaller[level + 1], 2))
        looked = [_enlarged(self.heads[level](smaller[level]), 2**level) for level in reversed(range(SMALLER))]
        x = self.smooth_half(half + _enlarged(self.smooth(torch.cat(looked, 1)), 2))
        correction = torch.tanh(self.ending(_enlarged(x, 2))) / 2
        return photo + correction[..., :height, :width]


def _enlarged(x: Tensor, times: int) -> Tensor:
    return x if times == 1 else F.interpolate(x, scale_factor=times, mode='nearest')


def _head(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False), nn.ReLU(inplace=True),
    )  # fmt: skip


def _normalised(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.InstanceNorm2d(after), nn.ReLU(inplace=True))


def _check(backbone: str, width: int, blocks: tuple[int, ...]) -> None:
    if backbone not in LEAST_SIDE:
        raise ValueError(f'backbone is {backbone!r}, expected {" or ".join(LEAST_SIDE)}.')
    if width < 1:
        raise ValueError(f'width is {width}, expected at least 1; the default is 64.')
    if len(blocks) != 2 or min(blocks) < 0:
        raise ValueError(f'blocks is {blocks}, expected two numbers, at least 0; the default is (10, 20).')
