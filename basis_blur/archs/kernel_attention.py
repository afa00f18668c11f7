"""KernelAttention: weigh the features of a restoring network by the kernels of their pixels [F23].

    x1 = gelu(conv(x))                             features that may be added
    k1 = gelu(conv(gelu(conv(kernels))))           features of the kernels
    out = x + x1 * sigmoid(conv([x1, k1]))         all convolutions are 3x3

Only the first residual branch after an attention sees `out`; its skip connection comes from x, in the published NAFNet
as in the other restorers of this package: y = x + branch(out).

Convention: the kernels come as the flow gives them, (N, K*K, H, W), see `LatentKernels.raw`: correlation kernels, not
    clamped and not renormalised, as the published weights want them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class KernelAttention(nn.Module):
    """A layer from features, and the kernels of their pixels, to features.

    Args:
        channels: number of channels of the features.
        taps: K*K, the channels of the kernels.
    """

    def __init__(self, channels: int, taps: int):
        super().__init__()
        # Named as in the published weights.
        self.conv_1 = nn.Sequential(_conv(channels, channels), nn.GELU())
        self.conv_kernel = nn.Sequential(_conv(taps, channels), nn.GELU(), _conv(channels, channels), nn.GELU())
        self.conv_2 = nn.Sequential(_conv(2 * channels, channels), nn.Sigmoid())

    def forward(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Return features of the shape of `x`.

        Args:
            x: (N, channels, H, W).
            kernels: (N, taps, H, W).
        """
        offer = self.conv_1(x)
        return x + offer * self.conv_2(torch.cat([offer, self.conv_kernel(kernels)], 1))


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def halving(taps: int) -> nn.Conv2d:
    """Return the layer that brings kernels to the next level: half the size, as many channels."""
    return nn.Conv2d(taps, taps, 2, stride=2)


def check_sizes(in_channels: int, kernel_size: int | None = None) -> None:
    """Raise ValueError unless a restoring network can have these hyper-parameters.

    Args:
        in_channels: channels of the photo, 3 or 1.
        kernel_size: K of its attention, odd; None for a network without.
    """
    if in_channels not in (3, 1):
        raise ValueError(f'in_channels is {in_channels}, expected 3 for colour or 1 for gray.')
    if kernel_size is not None and (kernel_size < 1 or kernel_size % 2 == 0):
        raise ValueError(f'kernel_size is {kernel_size}, expected an odd number, or none for no attention.')


def check_inputs(photo: Tensor, kernels: Tensor | None, in_channels: int, kernel_size: int | None) -> None:
    """Check the inputs of a restoring network.

    Args:
        photo: expected (N, in_channels, H, W).
        kernels: expected (N, K*K, H, W), or None where `kernel_size` is None.
        in_channels: channels of the network.
        kernel_size: K of its attention; None for a network without.

    Raises:
        ValueError: a shape is another, kernels are missing, or there are some without an attention to use them.
    """
    if photo.ndim != 4 or photo.shape[1] != in_channels or 0 in photo.shape:
        raise ValueError(
            f'photo has shape {tuple(photo.shape)}, expected (N, {in_channels}, H, W) with at least one pixel; '
            'bring it to that number of channels.'
        )
    if kernel_size is None:
        if kernels is not None:
            raise ValueError('raw_kernels are given, but this network has no kernel attention; build it with '
                             'kernel_size, or leave them out.')  # fmt: skip
        return
    expected = (photo.shape[0], kernel_size**2, *photo.shape[-2:])
    if kernels is None or tuple(kernels.shape) != expected:
        found = 'missing' if kernels is None else f'of shape {tuple(kernels.shape)}'
        raise ValueError(
            f'raw_kernels are {found}, expected {expected}: one {kernel_size} x {kernel_size} kernel per pixel of the '
            'photo, such as LatentKernels.raw.'
        )
