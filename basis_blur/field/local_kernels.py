"""What every form of a blur tells of a photo: the kernel of each of its pixels."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class LocalKernels(Protocol):
    """The blur of a photo or several, of which the kernels of some pixels can be had; enough to draw it.

    A `BlurField`, a `PixelField` and what a restoring network keeps of its kernels are of this kind.
    """

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the photo, pixels."""
        ...

    @property
    def device(self) -> torch.device:
        """Device on which the kernels stand."""
        ...

    def __len__(self) -> int:
        """Return the number of photos."""
        ...

    def kernels_at(self, points: Tensor) -> Tensor:
        """Return the kernels of some pixels, (N, M, K, K), for their rows and columns, (M, 2)."""
        ...
