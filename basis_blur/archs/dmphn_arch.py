"""DMPHN: a network that restores a photo in parts, first eighths, then ever larger ones to the whole.

    [Zhang19] Zhang, Dai, Li, Koniusz, "Deep Stacked Hierarchical Multi-Patch Network for Image Deblurring", CVPR 2019.

    level l cuts the photo into 2^l parts: 1, 2 (rows), 2 x 2, 4 x 2
    from the smallest parts to the whole:
        features <- features + encoder_l(photo + correction), part by part
        correction <- decoder_l(features), in the parts of the level before;  that of level 0 is the image

An encoder has three sizes of w, 2 w, 4 w channels with two residual blocks each, a decoder the same backwards. Parts
are continued by zeros, and 0.5 is subtracted from the photo. Of stacked networks, each takes the image of the one
before as its photo and adds that one's features to its own; from the second on, the correction of level 1 has the image
of the first added.

Parameters: 7.23 M with the default sizes, DMPHN(1-2-4-8) of the paper; `levels` 3 and `stacks` 4 make its
Stack(4)-DMPHN(1-2-4), 21.70 M.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import reflect_to_multiple
from basis_blur.archs.kernel_attention import check_inputs, check_sizes
from basis_blur.archs.network_facts import PHOTO, RESTORER, DescribedNetwork, NetworkFacts

SIZE_MULTIPLE = 4  # sides of a part are halved twice
MOST_LEVELS, MOST_STACKS = 6, 16  # largest numbers of levels and of stacked networks


class DMPHN(DescribedNetwork):
    """Restore a blurred photo.

    Args:
        in_channels: channels of the photo and of the image, 3 or 1.
        width: w, channels at full size.
        levels: number of levels; the smallest parts are 2^(levels - 1).
        stacks: number of networks, one behind the other.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(RESTORER, PHOTO, PHOTO)

    def __init__(self, in_channels: int = 3, width: int = 32, levels: int = 4, stacks: int = 1):
        super().__init__()
        self._hyper_parameters = {'in_channels': in_channels, 'width': width, 'levels': levels, 'stacks': stacks}
        _check(in_channels, width, levels, stacks)
        self.encoders, self.decoders = (
            nn.ModuleList(_Levels(make(in_channels, width) for _ in range(levels)) for _ in range(stacks))
            for make in (_encoder, _decoder)
        )

    def forward(self, photo: Tensor) -> Tensor:
        """Return the restored image, (N, C, H, W); sRGB, not clamped.

        Args:
            photo: (N, C, H, W); sRGB in [0, 1], any H, W >= 1. Sides that the smallest parts do not divide into
                multiples of 4 pixels are continued by reflection, and the image is cropped back.

        Raises:
            ValueError: `photo` has another shape.
        """
        check_inputs(photo, None, self._hyper_parameters['in_channels'], None)
        height, width = photo.shape[-2:]
        levels = range(self._hyper_parameters['levels'])
        image = reflect_to_multiple(photo, SIZE_MULTIPLE * _grid(levels[-1])[0]) - 0.5
        first: Tensor | None = None
        before: list[Tensor | None] = [None for _ in levels]
        for encoders, decoders in zip(self.encoders, self.decoders, strict=True):
            features: Tensor | None = None
            corrected = image
            for level in reversed(levels):
                grid, coarser = _grid(level), _grid(max(level - 1, 0))
                seen = _joined(encoders(_cut(corrected, grid), level), grid)
                for other in (features, before[level]):
                    seen = seen if other is None else seen + other
                features = before[level] = seen
                correction = _joined(decoders(_cut(features, coarser), level), coarser)
                if level == 1 and first is not None:
                    correction = correction + first
                corrected = image + correction
            image = correction
            first = image if first is None else first
        return (image + 0.5)[..., :height, :width].to(photo.dtype)


class _Levels(nn.ModuleList):
    """The encoders, or the decoders, of one stack: one for each level."""

    def forward(self, parts: Tensor, level: int) -> Tensor:
        return self[level](parts)


def _grid(level: int) -> tuple[int, int]:
    """Return the rows and columns of the parts of a level."""
    return 2 ** ((level + 1) // 2), 2 ** (level // 2)


def _cut(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Cut (N, C, H, W) into parts, (N * rows * columns, C, H / rows, W / columns)."""
    parts = x.unflatten(-2, (grid[0], -1)).unflatten(-1, (grid[1], -1))
    return parts.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def _joined(parts: Tensor, grid: tuple[int, int]) -> Tensor:
    """Join what `_cut` made."""
    return parts.unflatten(0, (-1, *grid)).permute(0, 3, 1, 4, 2, 5).flatten(-2).flatten(-3, -2)


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.convs = nn.Sequential(_conv(channels, channels), nn.ReLU(inplace=True), _conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs(x)


def _encoder(in_channels: int, w: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(in_channels, w), _ResidualBlock(w), _ResidualBlock(w),
        _conv(w, 2 * w, stride=2), _ResidualBlock(2 * w), _ResidualBlock(2 * w),
        _conv(2 * w, 4 * w, stride=2), _ResidualBlock(4 * w), _ResidualBlock(4 * w),
    )  # fmt: skip


def _decoder(in_channels: int, w: int) -> nn.Sequential:
    return nn.Sequential(
        _ResidualBlock(4 * w), _ResidualBlock(4 * w), nn.ConvTranspose2d(4 * w, 2 * w, 4, stride=2, padding=1),
        _ResidualBlock(2 * w), _ResidualBlock(2 * w), nn.ConvTranspose2d(2 * w, w, 4, stride=2, padding=1),
        _ResidualBlock(w), _ResidualBlock(w), _conv(w, in_channels),
    )  # fmt: skip


def _conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, padding=1)


def _check(in_channels: int, width: int, levels: int, stacks: int) -> None:
    check_sizes(in_channels)
    if width < 1:
        raise ValueError(f'width is {width}, expected at least 1; the default is 32.')
    if not 1 <= levels <= MOST_LEVELS:
        raise ValueError(f'levels is {levels}, expected 1 to {MOST_LEVELS}; 4 is DMPHN(1-2-4-8), 3 is DMPHN(1-2-4).')
    if not 1 <= stacks <= MOST_STACKS:
        raise ValueError(f'stacks is {stacks}, expected 1 to {MOST_STACKS}; the paper has up to 4.')
