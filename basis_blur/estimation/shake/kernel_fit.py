"""The kernel that blurs the edges of a scene to those of the photo.

    k = argmin_{k >= 0}  1/2 k' A k + 1/2 gamma A(0) |k|^2 - b' k                             [CL09, Eq. 6], [XJ10]

A is the autocorrelation of the scene's edges, for shifts up to K - 1, and A(0) its value at shift 0. b is their
correlation with the photo's edges, for shifts up to (K - 1) / 2. Both are summed over the differences down and right.
With them a step costs as much as a convolution of K x K pixels, whatever the size of the photo. The minimum is found by
accelerated projected gradient steps with restart.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.ops.convolution import fast_fft_size

RIDGE = 0.05  # gamma, the weight of |k|^2
STEPS = 60  # number of gradient steps


def correlations(edges: Tensor, photo_edges: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    """Return A (N, 2K-1, 2K-1) and b (N, K, K), both with shift 0 in the middle.

    Args:
        edges: (N, 2, h, w); edges of the scenes, periodic.
        photo_edges: (N or 1, 2, h, w); edges of the photo.
        kernel_size: K.
    """
    size = edges.shape[-2:]
    scene, photo = torch.fft.rfft2(edges), torch.fft.rfft2(photo_edges)
    own = torch.fft.irfft2(scene.abs().square().sum(1), s=size)
    other = torch.fft.irfft2((photo * scene.conj()).sum(1), s=size)
    return middle_of(own, 2 * kernel_size - 1), middle_of(other, kernel_size)


def middle_of(values: Tensor, size: int) -> Tensor:
    """Return the values (N, h, w) of shifts up to (size - 1) / 2, with shift 0 in the middle, (N, size, size)."""
    half = size // 2
    return values.roll((half, half), (-2, -1))[..., :size, :size]


class Normal:
    """The map k -> A k for kernels of K x K pixels, where A is divided by its value at shift 0.

    Args:
        own: A, as `correlations` returns it.
        scale: (N, 1, 1) or one number; the value by which A is divided.
    """

    def __init__(self, own: Tensor, scale: Tensor):
        self.size = (own.shape[-1] + 1) // 2
        self.period = fast_fft_size(3 * self.size - 2)
        room = self.period - own.shape[-1]
        canvas = F.pad(own / scale, (0, room, 0, room)).roll((1 - self.size, 1 - self.size), (-2, -1))
        self.spectrum = torch.fft.rfft2(canvas).real

    def __call__(self, kernels: Tensor) -> Tensor:
        room = self.period - self.size
        spectrum = torch.fft.rfft2(F.pad(kernels, (0, room, 0, room))) * self.spectrum
        return torch.fft.irfft2(spectrum, s=(self.period, self.period))[..., : self.size, : self.size]

    def largest(self) -> Tensor:
        """Return an upper bound of the largest eigenvalue of each, (N, 1, 1)."""
        return self.spectrum.amax((-2, -1), keepdim=True)


def fit_kernels(edges: Tensor, photo_edges: Tensor, start: Tensor) -> Tensor:
    """Return the kernels (N, K, K), >= 0; their sums are not made 1.

    Args:
        edges, photo_edges: edges of the scene and of the photo, see `correlations`.
        start: (N, K, K); where the steps begin.
    """
    own, other = correlations(edges, photo_edges, start.shape[-1])
    middle = start.shape[-1] - 1
    scale = own[:, middle, middle].clamp_min(1e-12).view(-1, 1, 1)
    normal = Normal(own, scale)
    return descend(lambda k: normal(k) + RIDGE * k, other / scale, start, normal.largest() + RIDGE, STEPS)


def descend(apply: Callable[[Tensor], Tensor], target: Tensor, start: Tensor, largest: Tensor, steps: int) -> Tensor:
    """Minimise 1/2 x' Q x - target' x over x >= 0 by accelerated projected gradient steps.

    Momentum is taken as in FISTA and dropped for a batch item whose step goes against it (O'Donoghue, Candes 2015).

    Args:
        apply: function x -> Q x, where Q is positive semidefinite.
        target, start: (N, ...); the target, and x at the beginning.
        largest: upper bound of the eigenvalues of Q, broadcast to `start`.
        steps: number of steps.
    """
    dims = tuple(range(1, start.ndim))
    x, ahead, momentum = start, start, 1.0
    for _ in range(steps):
        moved = (ahead - (apply(ahead) - target) / largest).clamp_min_(0)
        against = ((ahead - moved) * (moved - x)).sum(dims, keepdim=True) > 0
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = torch.where(against, moved, moved + (momentum - 1) / following * (moved - x))
        momentum = 1.0 if bool(against.all()) else following
        x = moved
    return x
