"""The part that all forms of a blur have in common: the kernels of pixels of a photo."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class LocalKernels(Protocol):
    """The blur of one photo or several that can return the kernels of some pixels, for example to draw them.

    A `BlurField`, a `PixelField` and a `SampledKernels` are of this kind.
    """

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the photo, pixels."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the kernels."""
        ...

    def __len__(self) -> int:
        """Return the number of photos."""
        ...

    def kernels_at(self, points: Tensor) -> Tensor:
        """Return the kernels of some pixels, (N, M, K, K), for their rows and columns, (M, 2)."""
        ...
