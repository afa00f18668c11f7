"""A scene of few edges that the kernel blurs to the photo.

    min_x  |k * x - y|^2 + lambda |grad x|_0                                                    [XZJ13, Eq. 5]

k is the kernel, y the photo. It is solved by half-quadratic splitting: for beta = 2 lambda, 8 lambda, ... below 1e5,

    p = grad x where |grad x|^2 >= lambda / beta, else 0
    x = F^-1[(conj(K) F(y) + beta F(D' p)) / (|K|^2 + beta |D|^2)]

where F is the Fourier transform, and K and D are the spectra of the kernel and of the differences. Such a scene has
flat places and sharp edges whatever the kernel, and its sharp edges tell the phase of the true kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from basis_blur.estimation.shake.extension import difference_power, differences, divergence, spectrum_of

GROWTH = 4.0  # factor on beta from one step to the next
LARGEST_BETA = 1e5  # bound of beta, where the splitting ends


class SparseScene:
    """A solver that finds the scenes of few edges of some photos, for one set of kernels after another.

    Args:
        photos: (N, 1, h, w); gray linear light, periodic (see `extension.extended`).
    """

    def __init__(self, photos: Tensor):
        self.photos = photos
        self.spectrum = torch.fft.rfft2(photos)
        self.power = difference_power(photos)

    def find(self, kernels: Tensor, weight: float) -> Tensor:
        """Return the scenes (M, 1, h, w).

        Args:
            kernels: (M, K, K); M is N, or N is 1.
            weight: lambda, the weight of an edge pixel, squared linear light.
        """
        size = (self.photos.shape[-2], self.photos.shape[-1])
        kernel = spectrum_of(kernels, size)
        known, kernel_power = kernel.conj() * self.spectrum, kernel.abs().square_()
        scene = self.photos
        beta = 2 * weight
        while beta < LARGEST_BETA:
            down, right = differences(scene)
            kept = down.square().add_(right.square()) >= weight / beta
            edges = torch.fft.rfft2(divergence(down * kept, right * kept))
            scene = torch.fft.irfft2((known + beta * edges) / (kernel_power + beta * self.power), s=size)
            beta *= GROWTH
        return scene
