"""LatentKernelNet: the kernel of every pixel of a photo, as a code in the latent space of a kernel flow [F23].

    photo -> estimator (U-Net) -> code, sigma            code: K*K numbers a pixel, standardised; sigma: one, in (0, 1)
    code' = code sqrt(1 - sigma^2) + noise sigma         noise standard normal; 0 in eval(), where code' is the mean
    raw = flow^-1(code')                                 kernels as the flow returns them; the flow is frozen
    pixel_kernels = turn(max(raw, 0) / sum)              point spread functions, for `PixelBlur`

The weights of the estimator have the names of the published checkpoints, where it is called `kernel_extra`.

Convention: `raw` are correlation kernels, as published; `pixel_kernels` are convolution kernels, as everywhere here.
    A flow that was trained on either kind can be used, since a shake is as likely as itself turned by 180 degrees.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from basis_blur.archs.basis_kpn_arch import cropped, reflect_to_multiple
from basis_blur.archs.correlation_estimator import CorrelationEstimator
from basis_blur.archs.correlation_kpn_arch import bilinear_mixing
from basis_blur.archs.kernel_flow_arch import KernelFlow
from basis_blur.archs.network_facts import ESTIMATOR, PHOTO, PIXEL_KERNELS, DescribedNetwork, NetworkFacts
from basis_blur.field.blur_field import BlurField

CHUNK_PIXELS = 1 << 12  # number of kernels that the flow inverts at once
ESTIMATORS = ('unet', 'correlation')  # names of estimators, see LatentKernelNet


class LatentKernels(NamedTuple):
    """The estimate for a batch of photos.

    Args:
        code: (N, K*K, h, w); code of every cell before noise, with mean 0 and variance 1 over its K*K values.
        cell_sigma: (N, 1, h, w); uncertainty of the code of every cell, in [0, 1].
        sigma: (N, 1, H, W); uncertainty of the kernel of every pixel, in [0, 1].
        raw: (N, K*K, H, W); correlation kernels, as the flow returns them: nearly >= 0, nearly of sum 1.
        pixel_kernels: (N, K*K, H, W); convolution kernels, >= 0, each sums to 1.
    """

    code: Tensor
    cell_sigma: Tensor
    sigma: Tensor
    raw: Tensor
    pixel_kernels: Tensor


class LatentKernelNet(DescribedNetwork):
    """Estimate the kernel of every pixel from a blurred photo.

    There is one code for each cell of `stride` x `stride` pixels, from the mean of its features, or for each window of
    a CorrelationEstimator; the kernels of the pixels in between are interpolated. With one code for every pixel, as
    published, most of the time goes into inverting the flow.

    The flow's weights come from its own training, or from a checkpoint of this network, which has them too. They are
    frozen, and the flow stays in evaluation mode whatever the mode of the network.

    Args:
        in_channels: number of channels of the photo.
        kernel_size: K, odd.
        width: number of channels of the estimator (of a U-Net: at full resolution); 64 is the network of the paper.
        flow_prior: whether there is a flow; without it raw = the estimator's softmax over the K*K channels, with noise
            in units of the spread of a pixel's values (an ablation of the paper).
        uncertainty: whether sigma is estimated; without it sigma is 0 and there is no noise (an ablation of the paper).
        flow_blocks: number of blocks of the flow.
        flow_hidden: hidden width of the flow.
        stride: side of a cell, pixels; 1 with a CorrelationEstimator, which has windows.
        estimator: 'unet', the KernelEstimator of the paper, or 'correlation', a CorrelationEstimator.

    Raises:
        ValueError: a hyper-parameter is outside its range.

    Example:
        >>> net = bb.LatentKernelNet(kernel_size=5, width=4).eval()
        >>> net(torch.rand(1, 3, 16, 24)).pixel_kernels.shape
        torch.Size([1, 25, 16, 24])
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(ESTIMATOR, PHOTO, PIXEL_KERNELS)

    def __init__(
        self,
        in_channels: int = 3,
        kernel_size: int = 19,
        width: int = 64,
        flow_prior: bool = True,
        uncertainty: bool = True,
        flow_blocks: int = 5,
        flow_hidden: int = 25,
        stride: int = 1,
        estimator: Literal['unet', 'correlation'] = 'unet',
    ):
        super().__init__()
        if estimator not in ESTIMATORS:
            raise ValueError(f'estimator is {estimator!r}, expected one of {", ".join(ESTIMATORS)}.')
        if estimator == 'correlation' and stride != 1:
            raise ValueError(f'stride is {stride}, but the estimator "correlation" has windows; leave it out.')
        self._hyper_parameters = {
            'in_channels': in_channels,
            'kernel_size': kernel_size,
            'width': width,
            'flow_prior': flow_prior,
            'uncertainty': uncertainty,
            'flow_blocks': flow_blocks,
            'flow_hidden': flow_hidden,
            'stride': stride,
            'estimator': estimator,
        }
        self.kernel_extra: KernelEstimator | CorrelationEstimator
        if estimator == 'unet':
            self.kernel_extra = KernelEstimator(in_channels, kernel_size, width, uncertainty, stride)
        else:
            self.kernel_extra = CorrelationEstimator(in_channels, kernel_size, width, uncertainty)
        self.flow = None
        if flow_prior:
            self.flow = KernelFlow(kernel_size=kernel_size, num_blocks=flow_blocks, hidden=flow_hidden)
            self.flow.requires_grad_(False).eval()

    @property
    def facts(self) -> NetworkFacts:
        """The facts of the network: what it takes and returns."""
        return replace(super().facts, by_cells=self.stride is None)

    @property
    def stride(self) -> int | None:
        """The side of a cell, pixels; None where cells are windows."""
        return self.kernel_extra.stride

    def train(self, mode: bool = True) -> LatentKernelNet:
        """Set the mode of all but the flow."""
        super().train(mode)
        if self.flow is not None:
            self.flow.eval()
        return self

    def forward(
        self,
        photo: Tensor,
        noise: Tensor | None = None,
        chunk_pixels: int | None = CHUNK_PIXELS,
        as_field: bool = False,
    ) -> LatentKernels | BlurField:
        """Return the estimate.

        Args:
            photo: (N, in_channels, H, W), any size; sRGB-like in [0, 1].
            noise: (N, K*K, h, w), standard normal; by default drawn in training and 0 in evaluation.
            chunk_pixels: number of pixels computed at once, see `decoded`.
            as_field: whether to return the same pixel kernels as a field: those of the windows, and how pixels mix
                them, instead of K*K numbers for every pixel.

        Raises:
            ValueError: the photo has another number of channels, or the noise is of another shape; or there are no
                windows to make a field of.
        """
        if as_field and self.stride is not None:
            raise ValueError('as_field needs the estimator "correlation": there are no windows to make a field of.')
        shares, cell_sigma = self.kernel_extra.shares(photo)
        code = standardised(shares)
        if noise is None and self.training and self._hyper_parameters['uncertainty']:
            noise = torch.randn_like(code)
        if self.flow is not None:
            raw = decoded(code, cell_sigma, self.flow, noise, chunk_pixels)
        else:
            spread, mean = torch.std_mean(shares, 1, keepdim=True)
            raw = perturbed(code, cell_sigma, noise) * spread + mean
        height, width = photo.shape[-2:]
        size = (height, width)
        return _field_of_windows(raw, size) if as_field else self.in_pixels(code, cell_sigma, raw, size)

    def in_pixels(self, code: Tensor, cell_sigma: Tensor, raw: Tensor, size: tuple[int, int]) -> LatentKernels:
        """Return the estimate for the (H, W) pixels of a photo from that for its cells.

        Args:
            code: (N, K*K, h, w).
            cell_sigma: (N, 1, h, w).
            raw: (N, K*K, h, w); the correlation kernels of the cells.
            size: (H, W).
        """
        if self.stride is None:
            mixing = _mixing(raw, size)
            maps = (_mixed(cells, mixing) for cells in (cell_sigma, raw, to_pixel_kernels(raw)))
            return LatentKernels(code, cell_sigma, *maps)
        sigma = _enlarged(cell_sigma, self.stride, size, 'nearest')
        raw = _enlarged(raw, self.stride, size, 'bilinear')
        return LatentKernels(code, cell_sigma, sigma, raw, to_pixel_kernels(raw))


class KernelEstimator(nn.Module):
    """The U-Net that sees a photo and predicts a code and its uncertainty for every pixel.

        Encoding_Block1, 2:   conv; two residual blocks; relu = skip; conv of stride 2        w, 2 w channels
        Conv_mid:             five conv-relu                                                  4 w
        Decoding_Block1, 2:   transposed conv to the skip's size; concat [up, skip]; conv;
                              two residual blocks; relu                                       2 w, w
        Conv_tail:            mean: conv-relu-conv, softmax over channels, standardised -> code
                              var:  conv-relu-conv, sigmoid, mean over channels         -> sigma

    Before the tail, features are averaged over cells of `stride` x `stride` pixels, 1 in [F23].
    All convolutions are 3x3; a residual block is  x + conv(relu(conv(relu(x)))).

    Args:
        in_channels: number of channels of the photo.
        kernel_size: K, odd; a code has K*K channels.
        width: w, number of channels at full resolution.
        uncertainty: whether there is a tail `var`; without it sigma is 0.
        stride: side of a cell, pixels.

    Raises:
        ValueError: an argument is outside its range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        kernel_size: int = 19,
        width: int = 64,
        uncertainty: bool = True,
        stride: int = 1,
    ):
        super().__init__()
        numbers = {'in_channels': in_channels, 'width': width, 'kernel_size': kernel_size, 'stride': stride}
        for name, value in numbers.items():
            if value < 1:
                raise ValueError(f'{name} is {value}, expected >= 1.')
        if kernel_size % 2 == 0 or kernel_size < 3:
            raise ValueError(f'kernel_size is {kernel_size}, expected an odd number >= 3; 19 is published.')
        self.in_channels = in_channels
        self.stride = stride
        self.Encoding_Block1 = _EncodingBlock(in_channels, width)
        self.Encoding_Block2 = _EncodingBlock(width, 2 * width)
        self.Conv_mid = _Middle(2 * width, 4 * width)
        self.Decoding_Block1 = _DecodingBlock(4 * width, 2 * width)
        self.Decoding_Block2 = _DecodingBlock(2 * width, width)
        self.Conv_tail = _Tail(width, kernel_size**2, uncertainty)

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Return the code (N, K*K, h, w) and sigma (N, 1, h, w), h = ceil(H / stride).

        Args:
            photo: (N, in_channels, H, W), any size; sRGB-like in [0, 1].
        """
        shares, sigma = self.shares(photo)
        return standardised(shares), sigma

    def shares(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Return the softmax that the code is made of, and sigma; shapes as in `forward`.

        Raises:
            ValueError: the photo has another number of channels.
        """
        if photo.ndim != 4 or photo.shape[1] != self.in_channels:
            raise ValueError(f'the photo has shape {tuple(photo.shape)}, expected (N, {self.in_channels}, H, W).')
        x, skip1 = self.Encoding_Block1(photo)
        x, skip2 = self.Encoding_Block2(x)
        x = self.Conv_mid(x)
        x = self.Decoding_Block1(x, skip2)
        x = self.Decoding_Block2(x, skip1)
        if self.stride > 1:
            x = F.avg_pool2d(reflect_to_multiple(x, self.stride), self.stride)
        return self.Conv_tail(x)


def standardised(shares: Tensor) -> Tensor:
    """Bring the values of every pixel, dim 1, to mean 0 and (unbiased) variance 1; equal values become 0."""
    spread, mean = torch.std_mean(shares, 1, keepdim=True)
    return (shares - mean) / spread.clamp_min(torch.finfo(spread.dtype).tiny)


def perturbed(code: Tensor, sigma: Tensor, noise: Tensor | None) -> Tensor:
    """Return code sqrt(1 - sigma^2) + noise sigma, as standard normal as the code; `noise` None stands for 0.

    Raises:
        ValueError: the noise is of another shape than the code.
    """
    # The square root has no slope at sigma = 1, which rounding may reach.
    mean = code * (1 - sigma.square()).clamp_min(torch.finfo(sigma.dtype).eps).sqrt()
    if noise is None:
        return mean
    if noise.shape != code.shape:
        raise ValueError(f'the noise has shape {tuple(noise.shape)}, expected {tuple(code.shape)}, that of the code.')
    return mean + noise * sigma


def decoded(
    code: Tensor, sigma: Tensor, flow: KernelFlow, noise: Tensor | None = None, chunk_pixels: int | None = CHUNK_PIXELS
) -> Tensor:
    """Return the raw kernels (N, K*K, h, w) of codes; in full precision also within autocast.

    Args:
        code: (N, K*K, h, w), standardised.
        sigma: (N, 1, h, w), of the codes.
        flow: flow of K x K kernels, in evaluation mode.
        noise: (N, K*K, h, w), standard normal; None stands for 0.
        chunk_pixels: number of kernels that are decoded at once. Memory grows with it, also in training, where the
            chunks are computed again for the gradient; the result does not depend on it. None decodes all at once,
            which can be exported for photos of any size, as a loop over chunks cannot.

    Raises:
        ValueError: the noise is of another shape than the code.
    """
    with torch.autocast(code.device.type, enabled=False):
        return _inverted(perturbed(code, sigma, noise), flow, chunk_pixels)


def to_pixel_kernels(raw: Tensor) -> Tensor:
    """Return raw correlation kernels (N, K*K, H, W) as point spread functions: turned, >= 0, of sum 1."""
    kernels = raw.clamp_min(0)
    return (kernels / kernels.sum(1, keepdim=True).clamp_min(torch.finfo(kernels.dtype).tiny)).flip(1)


def _inverted(code: Tensor, flow: KernelFlow, chunk_pixels: int | None) -> Tensor:
    """Return the raw kernels of codes with noise, chunk by chunk; the chunks are those of `decoded`."""
    if chunk_pixels is None:
        pixels = code.movedim(1, 3)
        raw = flow.decode_raw(pixels.flatten(0, 2)).view(pixels.shape)
        return raw.movedim(3, 1).clone(memory_format=torch.contiguous_format)
    chunks = [chunk.mT for photo in code.flatten(2) for chunk in photo.split(chunk_pixels, 1)]
    is_recomputed = torch.is_grad_enabled() and len(chunks) > 1
    decoded = [
        checkpoint(flow.decode_raw, chunk, use_reentrant=False) if is_recomputed else flow.decode_raw(chunk)
        for chunk in chunks
    ]
    size = len(decoded) // len(code)  # number of chunks of a photo
    photos = [torch.cat([kernels.mT for kernels in decoded[n * size : (n + 1) * size]], 1) for n in range(len(code))]
    return torch.stack(photos).unflatten(2, code.shape[-2:])


def _field_of_windows(raw: Tensor, size: tuple[int, int]) -> BlurField:
    """Return a field of the raw kernels (N, K*K, rows, columns) of windows of a photo of that size."""
    kernels = to_pixel_kernels(raw).flatten(2).mT.unflatten(2, (math.isqrt(raw.shape[1]), -1))
    return BlurField.unchecked(kernels, _mixing(raw, size).expand(len(raw), -1, -1, -1))


def _mixing(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Return how the (H, W) pixels mix what a grid of windows (N, C, rows, columns) has: (1, rows * columns, H, W)."""
    rows, columns = map(int, windows.shape[-2:])
    return bilinear_mixing(*size, rows, columns, windows.device).to(windows.dtype)


def _mixed(windows: Tensor, mixing: Tensor) -> Tensor:
    """Return the values of pixels (N, C, H, W), which mix those of windows (N, C, rows, columns)."""
    return (windows.flatten(2) @ mixing.flatten(2)).unflatten(2, mixing.shape[-2:])


def _enlarged(cells: Tensor, stride: int, size: tuple[int, int], mode: str) -> Tensor:
    """Return the values of pixels (N, C, H, W), interpolated from those of cells (N, C, h, w)."""
    return cells if stride == 1 else cropped(F.interpolate(cells, scale_factor=stride, mode=mode), *size)


class _ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(), _conv(channels, channels), nn.ReLU(), _conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class _EncodingBlock(nn.Module):
    """Return the features at half the resolution, and the skip."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.Conv_head = _conv(before, after)
        self.ResBlock1 = _ResidualBlock(after)
        self.ResBlock2 = _ResidualBlock(after)
        self.downsample = _conv(after, after, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skip = F.relu(self.ResBlock2(self.ResBlock1(self.Conv_head(x))))
        return self.downsample(skip), skip


class _Middle(nn.Module):
    """Five convolutions, each with a ReLU, at a quarter of the resolution."""

    def __init__(self, before: int, after: int):
        super().__init__()
        widths = [before, after, after, after, after]
        self.body = nn.Sequential(*(layer for width in widths for layer in (_conv(width, after), nn.ReLU())))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class _DecodingBlock(nn.Module):
    """Double the resolution of the features, and join them with the skip."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.Conv_t = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
        self.Conv_head = _conv(2 * after, after)
        self.ResBlock1 = _ResidualBlock(after)
        self.ResBlock2 = _ResidualBlock(after)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        # The transposed convolution gives as many pixels as the skip has, or one more where a side of that is odd.
        up = cropped(self.Conv_t(x), *skip.shape[-2:])
        return F.relu(self.ResBlock2(self.ResBlock1(self.Conv_head(torch.cat([up, skip], 1)))))


class _Tail(nn.Module):
    """Turn the last features into the softmax that the code is made of, and sigma."""

    def __init__(self, before: int, taps: int, uncertainty: bool):
        super().__init__()
        self.mean = nn.Sequential(_conv(before, before), nn.ReLU(), _conv(before, taps))
        self.var = nn.Sequential(_conv(before, before), nn.ReLU(), _conv(before, taps)) if uncertainty else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.mean(x)
        # Standardising cancels nearly all of a flat softmax, and needs full precision within autocast too.
        shares = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
        if self.var is None:
            return shares, torch.zeros_like(shares[:, :1])
        return shares, self.var(x).to(shares.dtype).sigmoid().mean(1, keepdim=True)


def _conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, padding=1)
