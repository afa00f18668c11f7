"""DeblurGANGenerator: a residual network that adds a correction to the blurred photo.

    [Kupyn18] Kupyn, Budzan, Mykhailych, Mishkin, Matas, "DeblurGAN: Blind Motion Deblurring Using Conditional
    Adversarial Networks", CVPR 2018.

    2 photo - 1 -> 7x7 conv, w channels -> two strided convs, 4 w channels -> residual blocks -> two transposed convs
                -> 7x7 conv -> tanh / 2 = correction;    image = photo + correction

Instance normalisation and ReLU follow every convolution but the last of a residual block and the very last; borders of
the 7x7 and of the residual convolutions are reflected.

Parameters: 11.38 M with the default sizes, the network of the paper.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import reflect_to_multiple
from basis_blur.archs.kernel_attention import check_inputs, check_sizes
from basis_blur.archs.network_facts import PHOTO, RESTORER, DescribedNetwork, NetworkFacts

# Halved twice; and the smallest size must be 2 x 2 pixels, as one pixel has neither a reflection nor a variance.
SIZE_MULTIPLE = 8


class DeblurGANGenerator(DescribedNetwork):
    """Restore a blurred photo.

    Args:
        in_channels: channels of the photo and of the image, 3 or 1.
        width: w.
        num_blocks: number of residual blocks.
        dropout: probability that training leaves out a value within a residual block.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(RESTORER, PHOTO, PHOTO)

    def __init__(self, in_channels: int = 3, width: int = 64, num_blocks: int = 9, dropout: float = 0.5):
        super().__init__()
        self._hyper_parameters = {
            'in_channels': in_channels,
            'width': width,
            'num_blocks': num_blocks,
            'dropout': dropout,
        }
        _check(in_channels, width, num_blocks, dropout)
        w = width
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_normalised(nn.Conv2d(in_channels, w, 7), w),
            *_normalised(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1), 2 * w),
            *_normalised(nn.Conv2d(2 * w, 4 * w, 3, stride=2, padding=1), 4 * w),
            *(_ResidualBlock(4 * w, dropout) for _ in range(num_blocks)),
            *_normalised(nn.ConvTranspose2d(4 * w, 2 * w, 3, stride=2, padding=1, output_padding=1), 2 * w),
            *_normalised(nn.ConvTranspose2d(2 * w, w, 3, stride=2, padding=1, output_padding=1), w),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w, in_channels, 7),
            nn.Tanh(),
        )

    def forward(self, photo: Tensor) -> Tensor:
        """Return the restored image, (N, C, H, W); sRGB, not clamped.

        Args:
            photo: (N, C, H, W); sRGB in [0, 1], any H, W >= 1. Sides that are no multiple of 8 are continued by
                reflection, and the image is cropped back.

        Raises:
            ValueError: `photo` has another shape.
        """
        check_inputs(photo, None, self._hyper_parameters['in_channels'], None)
        height, width = photo.shape[-2:]
        correction = self.layers(2 * reflect_to_multiple(photo, SIZE_MULTIPLE) - 1) / 2
        return photo + correction[..., :height, :width]


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            *_normalised(nn.Conv2d(channels, channels, 3), channels),
            nn.Dropout(dropout),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _normalised(conv: nn.Module, channels: int) -> tuple[nn.Module, ...]:
    return conv, nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)


def _check(in_channels: int, width: int, num_blocks: int, dropout: float) -> None:
    check_sizes(in_channels)
    if width < 1:
        raise ValueError(f'width is {width}, expected at least 1; the default is 64.')
    if num_blocks < 0:
        raise ValueError(f'num_blocks is {num_blocks}, expected at least 0; the default is 9.')
    if not 0 <= dropout < 1:
        raise ValueError(f'dropout is {dropout}, expected a probability below 1; the default is 0.5.')
