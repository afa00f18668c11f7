"""Show pictures in the examples: arrays (H, W, 3) or photos (1, C, H, W), beside each other, each with its name."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from torch import Tensor


def show(height: float = 3.5, **pictures: np.ndarray | Tensor) -> None:
    """Draw pictures in a row; underscores in a name become blanks."""
    drawn = {name: _pixels(picture) for name, picture in pictures.items()}
    widths = [picture.shape[1] / picture.shape[0] for picture in drawn.values()]
    figure, axes = plt.subplots(
        1, len(drawn), figsize=(height * sum(widths), height + 0.4), width_ratios=widths, squeeze=False
    )
    for axis, (name, picture) in zip(axes[0], drawn.items(), strict=True):
        axis.imshow(picture, cmap='inferno' if picture.ndim == 2 else None, interpolation='nearest')
        axis.set_title(name.replace('_', ' '), fontsize=10)
        axis.axis('off')
    figure.tight_layout()


def _pixels(picture: np.ndarray | Tensor) -> np.ndarray:
    if not isinstance(picture, Tensor):
        return picture
    picture = picture.detach().cpu()
    if picture.ndim == 2:  # a kernel
        return picture.numpy()
    return picture[0].clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0).numpy()
