"""Kernels as arrays (N, K, K): resized, cleaned of noise, centred, compared and averaged.

Convention: a kernel is a point spread function, >= 0, with sum 1 and K odd; its middle is pixel (K // 2, K // 2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.ops.convolution import fast_fft_size


def normalised(kernels: Tensor) -> Tensor:
    """Return kernels divided by their sums; a kernel without light becomes a point in the middle."""
    total = kernels.sum((-2, -1), keepdim=True)
    point = torch.zeros_like(kernels)
    point[..., kernels.shape[-2] // 2, kernels.shape[-1] // 2] = 1
    return torch.where(total > 1e-9, kernels / total.clamp_min(1e-9), point)


def odd_size(size: float) -> int:
    """Return the odd number >= 3 that is nearest to `size`."""
    return max(3, 2 * round((size - 1) / 2) + 1)


def resized(kernels: Tensor, size: int) -> Tensor:
    """Return kernels (N, K, K) drawn on size x size pixels: the same picture, larger or smaller."""
    if kernels.shape[-1] == size:
        return kernels
    smaller = size < kernels.shape[-1]
    drawn = F.interpolate(kernels[:, None], size=(size, size), mode='bilinear', align_corners=False, antialias=smaller)
    return normalised(drawn[:, 0].clamp_min(0))


def on_canvas(kernels: Tensor, size: int) -> Tensor:
    """Return kernels (N, K, K) in the middle of size x size pixels, cropped or with an empty border around them."""
    border = (size - kernels.shape[-1]) // 2
    return normalised(F.pad(kernels, [border] * 4))


def cleaned(kernels: Tensor, least_tap: float, least_part: float) -> Tensor:
    """Return kernels without their faint pixels and their small parts.

    Args:
        kernels: (N, K, K).
        least_tap: share of the brightest pixel below which a pixel becomes 0.
        least_part: share of the light below which a connected part (8 neighbours) becomes 0.
    """
    kernels = torch.where(kernels < least_tap * kernels.amax((-2, -1), keepdim=True), 0, kernels)
    parts = parts_of(kernels > 0)
    light = torch.zeros_like(kernels).flatten(1).scatter_add_(1, parts.flatten(1), kernels.flatten(1))
    share = light.gather(1, parts.flatten(1)).view_as(kernels)
    return normalised(torch.where(share < least_part * kernels.sum((-2, -1), keepdim=True), 0, kernels))


def parts_of(lit: Tensor) -> Tensor:
    """Label the connected parts (8 neighbours) of images (N, K, K), by the largest index of a pixel of each part.

    Args:
        lit: (N, K, K); True at pixels of parts. The labels of other pixels mean nothing.
    """
    number = lit[0].numel()
    index = torch.arange(1, number + 1, device=lit.device, dtype=torch.float64).view(lit[0].shape)
    labels = index * lit
    while True:
        spread = F.max_pool2d(labels[:, None], 3, 1, 1)[:, 0] * lit
        if torch.equal(spread, labels):
            return (labels - 1).clamp_min(0).long()
        labels = spread


def centred(kernels: Tensor) -> Tensor:
    """Return kernels shifted by whole pixels, so that their centres of mass lie within half a pixel of the middle.

    Light that is shifted over the rim is lost.
    """
    size = kernels.shape[-1]
    offset = torch.arange(size, dtype=kernels.dtype, device=kernels.device) - size // 2
    down = (kernels.sum(-1) * offset).sum(-1).round().long().tolist()
    right = (kernels.sum(-2) * offset).sum(-1).round().long().tolist()
    moved = [shifted(kernel, -y, -x) for kernel, y, x in zip(kernels, down, right, strict=True)]
    return normalised(torch.stack(moved))


def shifted(kernel: Tensor, down: int, right: int) -> Tensor:
    """Return a kernel (K, K) moved by whole pixels; what leaves it is lost, and what comes in is dark."""
    size = kernel.shape[-1]
    reach = min(size, max(abs(down), abs(right)))
    padded = F.pad(kernel, [reach] * 4)
    top, left = (reach - max(-size, min(size, step)) for step in (down, right))
    return padded[top : top + size, left : left + size]


def best_shift(kernel: Tensor, target: Tensor) -> tuple[int, int, float]:
    """Return the shift (down, right), in pixels, that moves a kernel best onto another, and how alike they then are.

    How alike they are is told by the normalised correlation at that shift, 1 for equal shapes.

    Args:
        kernel, target: (K, K), of one size.
    """
    size = fast_fft_size(2 * kernel.shape[-1])
    spectrum = torch.fft.rfft2(target, s=(size, size)) * torch.fft.rfft2(kernel, s=(size, size)).conj()
    correlation = torch.fft.irfft2(spectrum, s=(size, size))
    best = int(correlation.flatten().argmax())
    down, right = divmod(best, size)
    alike = correlation.flatten()[best] / (kernel.norm() * target.norm()).clamp_min(1e-12)
    return (down - size if down > size // 2 else down), (right - size if right > size // 2 else right), alike.item()


def likenesses(kernels: Tensor) -> list[list[float]]:
    """Return how alike each two of N kernels (N, K, K) are, see `best_shift`: N lists of N numbers."""
    return [[best_shift(one, other)[2] for other in kernels] for one in kernels]


def aligned_mean(kernels: Tensor) -> tuple[Tensor, float]:
    """Return the mean of kernels, each moved onto the one that is most like all others, and how alike they are.

    Args:
        kernels: (N, K, K).

    Returns:
        (K, K), centred, and the mean over all pairs of the largest normalised correlation; 1 for a single kernel.
    """
    if len(kernels) == 1:
        return centred(kernels)[0], 1.0
    alike = likenesses(kernels)
    medoid = max(range(len(kernels)), key=lambda i: sum(alike[i]))
    moved = [shifted(kernel, *best_shift(kernel, kernels[medoid])[:2]) for kernel in kernels]
    pairs = [alike[i][j] for i in range(len(kernels)) for j in range(i)]
    return centred(normalised(torch.stack(moved).mean(0, keepdim=True)))[0], sum(pairs) / len(pairs)


def spread(kernel: Tensor) -> float:
    """Return the extent of a kernel (K, K): the standard deviation of its light along its longest axis, pixels."""
    offset = torch.arange(kernel.shape[-1], dtype=torch.float64, device=kernel.device)
    weights = kernel.double() / kernel.double().sum()
    down, right = weights.sum(1), weights.sum(0)
    y, x = (down * offset).sum(), (right * offset).sum()
    yy, xx = (down * (offset - y) ** 2).sum(), (right * (offset - x) ** 2).sum()
    yx = (weights * (offset - y)[:, None] * (offset - x)).sum()
    root = (((yy - xx) / 2) ** 2 + yx**2).sqrt()
    return ((yy + xx) / 2 + root).clamp_min(0).sqrt().item()


def radius(kernel: Tensor, share: float = 0.9) -> float:
    """Return the distance from the centre, across or down, within which a kernel has a share of its light, pixels."""
    offset = torch.arange(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    weights = kernel / kernel.sum()
    y, x = (weights.sum(1) * offset).sum(), (weights.sum(0) * offset).sum()
    distance = torch.maximum((offset - y).abs()[:, None], (offset - x).abs()).flatten()
    order = distance.argsort(stable=True)
    reached = weights.flatten()[order].cumsum(0) >= share * (1 - 1e-6)
    return distance[order][reached.nonzero()[0, 0]].item()
