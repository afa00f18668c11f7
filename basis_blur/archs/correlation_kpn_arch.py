"""CorrelationKPN: a small network that reads the blur of a photo from the correlations of its gradients.

    light -> gradients, local contrast taken out -> overlapping windows, at most B of them
          -> correlations of each window, and their mean over the photo -> decoder, softmax over K*K -> kernels
    mixing: each pixel takes the kernels of the four windows nearest to it, bilinearly   (efficient filter flow [H10])

The gradients of a sharp photo are nearly white and far from Gaussian. If they are blurred by k, their autocorrelation
is that of k, and their fourth-order correlation is sum_s k(s)^3 k(s + d), which tells a kernel from its mirror image
[GM89]. So the input of the decoder shows the kernel at the pixels of its output, while a network that sees the photo
has to learn all that first (docs/training_log.md). [GF12] finds blur in autocorrelations without learning.

The network cannot see a boundary between two motions within a window.

[H10] Hirsch et al., "Efficient filter flow for space-variant multiframe blind deconvolution", CVPR 2010.
[GM89] Giannakis, Mendel, "Identification of nonminimum phase systems using higher order statistics", 1989.
[GF12] Goldstein, Fattal, "Blur-kernel estimation from spectral irregularities", ECCV 2012.
"""

from __future__ import annotations

import math
from itertools import product
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs.network_facts import ESTIMATOR, FIELD, FIELD_TENSORS, LIGHT, DescribedNetwork, NetworkFacts
from basis_blur.field.blur_field import WHOLE_PIXELS, BlurField, CompactField, pack
from basis_blur.ops.convolution import fast_fft_size

CHANNELS = 5  # number of correlations of a window, see `correlations`
GROUPS = 8  # largest number of groups of a group normalisation
SLOPE = 0.01  # slope of the activation for negative values
WINDOWS = 25  # largest number of windows
WINDOW = 128  # least side of a window, pixels
OVERLAP = 4 / 3  # side of a window over the distance between neighbours
CLIPPED = 0.95  # light above which a pixel may be clipped and is left out
FLAT = 0.1  # share of the mean contrast below which a place counts as flat
CONTRAST_PIXELS = 16  # side of the squares whose contrast is measured, pixels
LARGEST_GRADIENT = 5.0  # largest gradient in the fourth-order correlation, standard deviations
LEAST_POWER = 1e-4  # lower bound of the power in its logarithm, as a share of the mean power
CEPSTRUM_SCALE = 0.3  # standard deviation to which the cepstrum is scaled
NUMBERS_AT_ONCE = 1 << 22  # number of gradients whose correlations are taken at once, which bounds the memory


class CorrelationKPN(DescribedNetwork):
    """Predict the blur field of a photo in linear light from the correlations of its gradients.

    Args:
        num_kernels: B, the largest number of windows, each with a kernel; a small photo has fewer.
        kernel_size: K, the side of a kernel in pixels, odd, 9 to 65.
        num_feat: width of the decoder; 64 makes 1.3 M parameters.
        window: least side of a window in pixels, >= K; a photo smaller than that is one window.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(
        ESTIMATOR,
        LIGHT,
        FIELD,
        channels=(3, 1),
        tensors=FIELD_TENSORS,
        one_size='which can be exported for one size only, by which it cuts photos into windows; give a size',
    )

    def __init__(self, num_kernels: int = WINDOWS, kernel_size: int = 33, num_feat: int = 64, window: int = WINDOW):
        super().__init__()
        if num_kernels < 1:
            raise ValueError(f'num_kernels is {num_kernels}, expected at least 1; the default is {WINDOWS}.')
        check_decoder(kernel_size, 'num_feat', num_feat)
        if window < kernel_size:
            raise ValueError(f'window is {window}, expected at least kernel_size, {kernel_size}.')
        self.num_kernels = num_kernels
        self.kernel_size = kernel_size
        self.window = window
        self._hyper_parameters = {
            'num_kernels': num_kernels,
            'kernel_size': kernel_size,
            'num_feat': num_feat,
            'window': window,
        }
        self.reach = reach_of(kernel_size)
        self.decoder = CorrelationDecoder(num_feat)

    def forward(self, light: Tensor) -> BlurField:
        """Predict the blur field of a batch of photos.

        Args:
            light: (N, 3, H, W) or (N, 1, H, W); linear light in [0, 1]; any H, W >= 2.

        Returns:
            The field, with one kernel per window. It is float32 also under automatic mixed precision.

        Raises:
            ValueError: `light` has other dimensions or channels, or is a line.
        """
        if light.ndim != 4 or light.shape[1] not in (1, 3) or min(light.shape[-2:]) < 2:
            raise ValueError(f'light has shape {tuple(light.shape)}, expected (N, 3, H, W) or (N, 1, H, W), H, W >= 2.')
        number, (height, width) = len(light), map(int, light.shape[-2:])
        rows, columns = grid_of(height, width, self.num_kernels, self.window)
        logits = self.decoder.of_windows(light, rows, columns, self.window, self.kernel_size)
        kernels = logits.softmax(1).view(number, rows * columns, self.kernel_size, self.kernel_size)
        if height * width > WHOLE_PIXELS and not torch.is_grad_enabled():
            packed = packed_bilinear_mixing(height, width, rows, columns, light.device)
            return CompactField(kernels, packed.expand(number, -1, -1, -1))
        mixing = bilinear_mixing(height, width, rows, columns, light.device)
        return BlurField.unchecked(kernels, mixing.expand(number, -1, -1, -1).to(kernels.dtype))

    def plain(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `forward` does as plain tensors, (kernels, mixing), for an export."""
        field = self(light)
        return field.kernels, field.mixing


class CorrelationDecoder(nn.Module):
    """A U-Net from correlations (n, 10, 2R+1, 2R+1) to logits (n, 1, 2R, 2R), at the sizes R, R/2 and R/4.

    The correlations are those of a window, and their mean over all windows of its photo.

    Args:
        n: channels at size R.
    """

    def __init__(self, n: int):
        super().__init__()
        m, k = n * 3 // 2, n * 2
        self.stem = nn.Sequential(_conv_act(4 * 2 * CHANNELS, n), _conv_act(n, n))
        self.down1 = nn.Sequential(nn.Conv2d(n, m, 2, stride=2), _conv_act(m, m), _conv_act(m, m))
        self.down2 = nn.Sequential(nn.Conv2d(m, k, 2, stride=2), _conv_act(k, k), _conv_act(k, k), _conv_act(k, k))
        self.up1 = nn.ConvTranspose2d(k, m, 2, stride=2)
        self.merge1 = nn.Sequential(_conv_act(2 * m, m), _conv_act(m, m))
        self.up2 = nn.ConvTranspose2d(m, n, 2, stride=2)
        self.merge2 = nn.Sequential(_conv_act(2 * n, n), _conv_act(n, n))
        self.tail = nn.Conv2d(n, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        # Without the last row and column, which the symmetric ones repeat, the middle is pixel R of 2R.
        fine = self.stem(F.pixel_unshuffle(x[..., :-1, :-1], 2))
        middle = self.down1(fine)
        x = self.up1(self.down2(middle))
        x = self.up2(self.merge1(torch.cat([x, middle], 1)))
        return F.pixel_shuffle(self.tail(self.merge2(torch.cat([x, fine], 1))), 2)

    def of_windows(self, light: Tensor, rows: int, columns: int, window: int, kernel_size: int) -> Tensor:
        """Return the logits (N * rows * columns, K*K) of a kernel for each of a grid of windows.

        Args:
            light: (N, 3 or 1, H, W); linear light in [0, 1].
            rows: number of rows of windows.
            columns: number of columns of windows.
            window: least side of a window, pixels.
            kernel_size: K, odd.

        Returns:
            In float32 or, as the light, float64, also under automatic mixed precision.
        """
        with torch.autocast(light.device.type, enabled=False):
            gradients = normalised_gradients(light.to(torch.promote_types(light.dtype, torch.float32)))
            windows = _windows(gradients, rows, columns, window)
            together = max(1, NUMBERS_AT_ONCE // windows[0].numel())
            seen = torch.cat([correlations(each, reach_of(kernel_size)) for each in windows.split(together)])
        seen = seen.view(len(light), rows * columns, *seen.shape[1:])
        everywhere = seen.mean(1, keepdim=True).expand_as(seen)
        logits = self(torch.cat([seen, everywhere], 2).flatten(0, 1))
        inner = slice(margin := (logits.shape[-1] - kernel_size + 1) // 2, margin + kernel_size)
        return logits[..., inner, inner].flatten(1).to(seen.dtype)


def check_decoder(kernel_size: int, name: str, width: int) -> None:
    """Raise ValueError unless a CorrelationDecoder of a width can make kernels of a size.

    Args:
        kernel_size: K.
        name: name of the argument for the width, for the message.
        width: number of channels of the decoder.
    """
    if kernel_size % 2 == 0 or not 9 <= kernel_size <= 65:
        raise ValueError(f'kernel_size is {kernel_size}, expected an odd number from 9 to 65.')
    if width < 2 or width % 2:
        raise ValueError(f'{name} is {width}, expected an even number >= 2; the shipped decoder has 64.')


def reach_of(kernel_size: int) -> int:
    """Return R, the largest shift of the correlations for a kernel; the decoder halves 2 R three times."""
    return -(-(kernel_size - 1) // 8) * 8


def grid_of(height: int, width: int, num_windows: int, window: int) -> tuple[int, int]:
    """Return (rows, columns) of the windows: nearly square, not smaller than `window`, at most `num_windows`."""
    side = max(window / OVERLAP, math.sqrt(height * width / num_windows))
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    while rows * columns > num_windows:
        if rows > 1 and (columns == 1 or height / rows <= width / columns):
            rows -= 1
        else:
            columns -= 1
    return rows, columns


def bilinear_mixing(height: int, width: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Return the mixing coefficients (1, rows * columns, H, W) of windows in a grid; each row of windows first."""
    down, across = (_hats(size, parts, device) for size, parts in ((height, rows), (width, columns)))
    return (down[:, None, :, None] * across[None, :, None, :]).reshape(1, rows * columns, height, width)


def packed_bilinear_mixing(height: int, width: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Return the same mixing packed, as a `CompactField` holds it, in a fifth of the memory."""
    down, across = (_hats(size, parts, device) for size, parts in ((height, rows), (width, columns)))
    packed = torch.empty(1, rows * columns, height, width, dtype=torch.int16, device=device)
    for place, (of_rows, of_columns) in zip(packed[0], product(down, across), strict=True):
        place.copy_(pack(torch.outer(of_rows, of_columns)))
    return packed


def _hats(size: int, parts: int, device: torch.device) -> Tensor:
    """Return weights (parts, size) that sum to 1: each falls linearly from its cell's centre to its neighbours'."""
    position = (torch.arange(size, device=device) + 0.5) * (parts / size) - 0.5
    distance = position.clamp(0, parts - 1) - torch.arange(parts, device=device)[:, None]
    return (1 - distance.abs()).clamp_min(0)


def normalised_gradients(light: Tensor) -> Tensor:
    """Return the differences to the right and lower neighbour, in units of the contrast around.

    Args:
        light: (N, C, H, W); linear light.

    Returns:
        (N, 2, H, W); 0 at the last column or row, and around light that may be clipped.
    """
    gray = light.mean(1, keepdim=True)
    across = F.pad(gray[..., :, 1:] - gray[..., :, :-1], (0, 1))
    down = F.pad(gray[..., 1:, :] - gray[..., :-1, :], (0, 0, 0, 1))
    energy = across.square() + down.square()
    local = F.avg_pool2d(energy, CONTRAST_PIXELS, ceil_mode=True, count_include_pad=False)
    local = F.avg_pool2d(local, 3, 1, 1, count_include_pad=False)
    local = F.interpolate(local, size=light.shape[-2:], mode='bilinear')
    contrast = (local + FLAT * energy.mean((-3, -2, -1), keepdim=True) + torch.finfo(light.dtype).tiny).sqrt()
    clipped = F.max_pool2d((light.amax(1, keepdim=True) > CLIPPED).to(light.dtype), 5, 1, 2)
    return torch.cat([across, down], 1) * ((1 - clipped) / contrast)


def _windows(gradients: Tensor, rows: int, columns: int, least: int) -> Tensor:
    """Cut overlapping windows (N * rows * columns, 2, h, w), faded out towards their edges."""
    (top, height), (left, width) = (
        _extent(int(size), parts, least) for size, parts in zip(gradients.shape[-2:], (rows, columns), strict=True)
    )
    fade = _fade(height, gradients)[:, None] * _fade(width, gradients)
    cut = [gradients[..., i : i + height, j : j + width] for i in top for j in left]
    return torch.stack(cut, 1).flatten(0, 1) * fade


def _extent(size: int, parts: int, least: int) -> tuple[list[int], int]:
    """Return where the windows start, and their length; those at the edges are moved into the photo."""
    length = min(size, max(least, round(OVERLAP * size / parts)))
    return [min(max(0, round((i + 0.5) * size / parts - length / 2)), size - length) for i in range(parts)], length


def _fade(length: int, like: Tensor) -> Tensor:
    phase = (torch.arange(length, device=like.device, dtype=like.dtype) + 0.5) * (math.pi / length)
    return phase.sin().sqrt()


def correlations(gradients: Tensor, reach: int) -> Tensor:
    """Return the correlations of the gradients of a window, for every shift d of up to `reach` pixels.

    Args:
        gradients: (n, 2, h, w); zero mean, across and down.
        reach: R, pixels.

    Returns:
        (n, 5, 2R+1, 2R+1), d = 0 in the middle: the autocorrelation of each gradient, 1 in the middle; what its
        fourth-order correlation E[g(x)^3 g(x+d)] exceeds that of a Gaussian by; both as signed square roots. Last, the
        cepstrum of the power of both.
    """
    # Far enough that what is moved out on one side does not come in on the other, and that all shifts are there.
    least = [max(int(side) + reach, 2 * reach + 1) for side in gradients.shape[-2:]]
    size = [2 * fast_fft_size((side + 1) // 2) for side in least]  # even
    tiny = torch.finfo(gradients.dtype).tiny
    spectrum = torch.fft.rfft2(gradients, s=size)
    power = torch.view_as_real(spectrum).square().sum(-1)
    second = _near(power, size, reach)
    total = second[..., reach : reach + 1, reach : reach + 1]
    pixels = gradients.shape[-2] * gradients.shape[-1]
    second = second / (total + tiny)
    unit = (gradients * (total / pixels + tiny).rsqrt()).clamp(-LARGEST_GRADIENT, LARGEST_GRADIENT)
    cube = torch.fft.rfft2(unit * unit * unit, s=size)
    fourth = _near(cube.conj() * torch.fft.rfft2(unit, s=size), size, reach)
    fourth = fourth / (fourth[..., reach : reach + 1, reach : reach + 1] + tiny) - second
    power = power.sum(1, keepdim=True)
    logarithm = (power / (power.mean((-2, -1), keepdim=True) + tiny) + LEAST_POWER).log()
    cepstrum = _near(logarithm, size, reach)
    cepstrum[..., reach, reach] = 0
    spread = cepstrum.std((-2, -1), keepdim=True)
    return torch.cat([_root(second), _root(fourth), CEPSTRUM_SCALE * cepstrum / (spread + tiny)], 1)


def _near(spectrum: Tensor, size: list[int], reach: int) -> Tensor:
    """Return the real map (h, w) of a spectrum (..., h, w // 2 + 1), at shifts of up to `reach`.

    Only the rows of these shifts are transformed along the columns.
    """
    rows = torch.fft.ifft(spectrum, dim=-2)
    rows = torch.cat([rows[..., -reach:, :], rows[..., : reach + 1, :]], -2)
    near = torch.fft.irfft(rows, n=size[-1])
    return torch.cat([near[..., -reach:], near[..., : reach + 1]], -1)


def _root(x: Tensor) -> Tensor:
    """Return the signed square root; near 0 it is a line, so that its gradient stays finite."""
    return x / (x.abs() + 1e-4).sqrt()


def _conv_act(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.GroupNorm(math.gcd(GROUPS, after), after),
        nn.LeakyReLU(SLOPE, inplace=True),
    )
