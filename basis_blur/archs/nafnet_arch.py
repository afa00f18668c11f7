"""NAFNet: a U-Net without activation functions that restores a photo, with or without its kernels.

    [Chen22] Chen, Chu, Zhang, Sun, "Simple Baselines for Image Restoration", ECCV 2022.
    Kernel attention in the encoder: [F23].

    photo -> intro -> encoder levels, each followed by a 2x2 convolution that halves the size and doubles the channels
          -> middle -> decoder levels, each preceded by a 1x1 convolution and a pixel shuffle, plus the encoder's output
          -> ending, plus the photo -> image

One block, with LN the normalisation of each pixel over its channels and gate([a, b]) = a b:

    a = attention(x, kernels)                                      in attention levels; a = x in the others
    u = gate(depthwise3x3(conv1x1(LN(a))))
    x <- x + beta conv1x1(u * conv1x1(mean(u)))
    x <- x + gamma conv1x1(gate(conv1x1(LN(x))))

Only the first branch looks at a; its skip connection comes from before the attention. beta and gamma begin at 0, so a
fresh block returns its input.

The default sizes are those of the papers, with 67.89 M parameters; with attention, estimator and flow, a UFPNet has
80.34 M.

Local pooling: mean(u) is over the whole photo, while weights were trained on means of small crops. With `local_size`,
the mean of each pixel in evaluation is over a window of that many pixels around it, moved into the image where it would
reach beyond. Chu et al., "Improving Image Restoration by Revisiting Global Information Aggregation", ECCV 2022,
recommend 1.5 times the side of the training crops.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import cropped, reflect_to_multiple
from basis_blur.archs.kernel_attention import KernelAttention, check_inputs, check_sizes, halving
from basis_blur.archs.network_facts import PHOTO, RESTORER, DescribedNetwork, NetworkFacts


class NAFNet(DescribedNetwork):
    """Restore a blurred photo.

    Args:
        in_channels: number of channels of the photo and of the image, 3 or 1.
        width: number of channels of the first level; each further level has twice as many.
        enc_blocks: number of blocks of each encoder level, full size first.
        middle_blocks: number of blocks at the smallest size.
        dec_blocks: number of blocks of each decoder level, smallest first; as many levels as `enc_blocks`.
        kernel_size: K of the kernels that the attention looks at; None for no attention.
        attention_levels: encoder levels whose blocks have attention, 0 is the full size; unused without
            `kernel_size`.
        local_size: side, in pixels of the photo, of the window of the channel attention in evaluation; None for the
            whole photo. Deeper levels have windows of the same extent in the photo.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(RESTORER, PHOTO, PHOTO)

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 64,
        enc_blocks: tuple[int, ...] = (1, 1, 1, 28),
        middle_blocks: int = 1,
        dec_blocks: tuple[int, ...] = (1, 1, 1, 1),
        kernel_size: int | None = None,
        attention_levels: tuple[int, ...] = (0, 1, 2),
        local_size: int | None = None,
    ):
        super().__init__()
        enc_blocks, dec_blocks, attention_levels = tuple(enc_blocks), tuple(dec_blocks), tuple(attention_levels)
        self._hyper_parameters = {
            'in_channels': in_channels,
            'width': width,
            'enc_blocks': enc_blocks,
            'middle_blocks': middle_blocks,
            'dec_blocks': dec_blocks,
            'kernel_size': kernel_size,
            'attention_levels': attention_levels,
            'local_size': local_size,
        }
        _check(**self._hyper_parameters)
        levels = len(enc_blocks)
        self.size_multiple = 2**levels
        self._last_attention = -1 if kernel_size is None else max(attention_levels)
        taps = 0 if kernel_size is None else kernel_size**2

        self.intro = nn.Conv2d(in_channels, width, 3, padding=1)
        self.ending = nn.Conv2d(width, in_channels, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        for level, blocks in enumerate(enc_blocks):
            channels, seen = width * 2**level, taps if level in attention_levels else 0
            window = _window(local_size, level)
            self.encoders.append(_Blocks(_Block(channels, window, seen) for _ in range(blocks)))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, stride=2))
        channels, window = width * 2**levels, _window(local_size, levels)
        self.middle_blks = _Blocks(_Block(channels, window) for _ in range(middle_blocks))
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for level, blocks in zip(reversed(range(levels)), dec_blocks, strict=True):
            channels, window = width * 2**level, _window(local_size, level)
            self.ups.append(nn.Sequential(nn.Conv2d(2 * channels, 4 * channels, 1, bias=False), nn.PixelShuffle(2)))
            self.decoders.append(_Blocks(_Block(channels, window) for _ in range(blocks)))
        if kernel_size is not None:
            self.kernel_down = nn.ModuleList(halving(taps) for _ in range(levels))
            # The published weights have one for every level. Those after the last level that looks at kernels are
            # without effect, and so not trained.
            self.kernel_down[self._last_attention :].requires_grad_(False)

    def forward(self, photo: Tensor, raw_kernels: Tensor | None = None) -> Tensor:
        """Return the restored image, (N, C, H, W); sRGB, not clamped.

        Args:
            photo: (N, C, H, W); sRGB in [0, 1], any H, W >= 1. Sides that are no multiple of 2 ** levels are
                continued by reflection, and the image is cropped back.
            raw_kernels: (N, K*K, H, W), see `KernelAttention`; needed if and only if the network has `kernel_size`.

        Raises:
            ValueError: a shape is another.
        """
        kernel_size = self._hyper_parameters['kernel_size']
        check_inputs(photo, raw_kernels, self._hyper_parameters['in_channels'], kernel_size)
        height, width = photo.shape[-2:]
        kernels = None if raw_kernels is None else reflect_to_multiple(raw_kernels, self.size_multiple)

        x = self.intro(reflect_to_multiple(photo, self.size_multiple))
        skips = []
        for level, (encoder, down) in enumerate(zip(self.encoders, self.downs, strict=True)):
            x = encoder(x, kernels)
            skips.append(x)
            x = down(x)
            if kernels is not None:
                kernels = self.kernel_down[level](kernels) if level < self._last_attention else None
        x = self.middle_blks(x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(up(x) + skips.pop())
        return photo + cropped(self.ending(x), height, width)


class _Blocks(nn.ModuleList):
    """Blocks of one level, one after the other, which look at the same kernels."""

    def forward(self, x: Tensor, kernels: Tensor | None = None) -> Tensor:
        for block in self:
            x = block(x, kernels)
        return x


class _Block(nn.Module):
    """The block of the formula at the top.

    Args:
        channels: number of channels of the features.
        window: side of the mean's window in evaluation, in pixels of this level; None for all.
        taps: K*K of the attention; 0 for none.
    """

    def __init__(self, channels: int, window: int | None, taps: int = 0):
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.sca = nn.Sequential(SpatialMean(window), nn.Conv2d(channels, channels, 1))
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.norm1 = _ChannelNorm(channels)
        self.norm2 = _ChannelNorm(channels)
        # Misspelt, because so it is in the published weights.
        self.kernel_atttion = KernelAttention(channels, taps) if taps else None

    def forward(self, x: Tensor, kernels: Tensor | None = None) -> Tensor:
        seen = x if self.kernel_atttion is None else self.kernel_atttion(x, kernels)
        gated = _gate(self.conv2(self.conv1(self.norm1(seen))))
        x = x + self.beta * self.conv3(gated * self.sca(gated))
        return x + self.gamma * self.conv5(_gate(self.conv4(self.norm2(x))))


def _gate(x: Tensor) -> Tensor:
    first, second = x.chunk(2, 1)
    return first * second


class _ChannelNorm(nn.Module):
    """Normalise every pixel over its channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        normed = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        normed = normed.permute(0, 3, 1, 2)
        # In an export for any size, where sizes are symbols, this order of the pixels in memory would be asked about.
        return normed if isinstance(x.shape[-1], int) else normed.clone(memory_format=torch.contiguous_format)


class SpatialMean(nn.Module):
    def __init__(self, window: int | None):
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        if self.window is None or self.training:
            return x.mean((-2, -1), keepdim=True)
        return box_mean(x, self.window)


def box_mean(x: Tensor, size: int) -> Tensor:
    """Return the mean over a window around every pixel; the window is shifted into the image where it leaves it.

    A side that the window covers is averaged to one pixel, which broadcasts.

    Args:
        x: (..., H, W).
        size: side of the window, pixels, >= 1; the window of pixel i starts at i - (size - 1) // 2.
    """
    half_precision = x.dtype in (torch.float16, torch.bfloat16)
    means = x.float() if half_precision else x
    for dim in (-2, -1):
        length = x.shape[dim]
        if isinstance(length, int) and size >= length:
            means = means.mean(dim, keepdim=True)
            continue
        sums = means.cumsum(dim)
        sums = torch.cat([torch.zeros_like(sums.narrow(dim, 0, 1)), sums], dim)
        pixel = torch.arange(length, device=x.device)
        end = pixel[-1:] + 1
        # The window is wider than the image only in an export for any size, where `length` is a symbol.
        starts = torch.minimum(pixel - (size - 1) // 2, end - size).clamp_min(0)
        ends = torch.minimum(starts + size, end)
        counts = (ends - starts).view(-1, *[1] * (-dim - 1))
        means = (sums.index_select(dim, ends) - sums.index_select(dim, starts)) / counts
    return means.to(x.dtype)


def _window(local_size: int | None, level: int) -> int | None:
    return None if local_size is None else max(1, local_size // 2**level)


def _check(
    in_channels: int,
    width: int,
    enc_blocks: tuple[int, ...],
    middle_blocks: int,
    dec_blocks: tuple[int, ...],
    kernel_size: int | None,
    attention_levels: tuple[int, ...],
    local_size: int | None,
) -> None:
    check_sizes(in_channels, kernel_size)
    if width < 1:
        raise ValueError(f'width is {width}, expected at least 1; the default is 64.')
    numbers = (*enc_blocks, *dec_blocks, middle_blocks)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(
            f'enc_blocks are {enc_blocks}, middle_blocks {middle_blocks}, dec_blocks {dec_blocks}, '
            'expected whole numbers >= 0.'
        )
    if not enc_blocks or len(enc_blocks) != len(dec_blocks):
        raise ValueError(
            f'enc_blocks has {len(enc_blocks)} levels and dec_blocks {len(dec_blocks)}, expected as many, at least one.'
        )
    if local_size is not None and local_size < 1:
        raise ValueError(f'local_size is {local_size}, expected at least 1 pixel, or none for the whole photo.')
    if kernel_size is None:
        return
    if not attention_levels or not set(attention_levels) <= set(range(len(enc_blocks))):
        raise ValueError(
            f'attention_levels are {attention_levels}, expected some of 0 to {len(enc_blocks) - 1}, '
            'the levels of enc_blocks.'
        )
    without = [level for level in attention_levels if enc_blocks[level] == 0]
    if without:
        raise ValueError(f'attention_levels has {without}, where enc_blocks has no blocks; take other levels.')
