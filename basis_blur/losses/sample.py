"""A sample: blurred photos, with their sharp photos and their true blur as far as a data set has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.simulation.scene_blur import Ingredients, blur_scene


@dataclass(frozen=True)
class Sample:
    """N blurred photos, and what their data set knows of them.

    Args:
        lq: (N, C, H, W); the blurred photos, sRGB-like.
        gt: (N, C, H, W), or larger by a border of the same width on all sides; the sharp photos.
        kernels: (N, B, K, K); the true kernels.
        mixing: (N, B, H, W); their true mixing.
        weight: (N, 1, H, W); weights of the pixels in a loss.
        trust: (N, 1, H, W) in [0, 1]; how far each pixel of `gt` is trusted, where that is a guess.
    """

    lq: Tensor
    gt: Tensor | None = None
    kernels: Tensor | None = None
    mixing: Tensor | None = None
    weight: Tensor | None = None
    trust: Tensor | None = None

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], gamma: float = GAMMA) -> Sample:
        """Return the sample of a batch; scenes that the data set did not blur itself are blurred here.

        Args:
            tensors: tensors by name: those of the arguments above, or the ingredients of `blur_scene`. Others are
                passed over.
            gamma: exponent of the photos, for scenes that are blurred here.
        """
        scene: Mapping[str, Any] = tensors
        if 'sharp' in tensors:
            scene = blur_scene(cast(Ingredients, tensors), gamma)
        return cls(scene['lq'], *(scene.get(key) for key in ('gt', 'kernels', 'mixing', 'weight', 'trust')))

    @property
    def true_field(self) -> BlurField | None:
        """The true blur, where the data set knows it."""
        if self.kernels is None or self.mixing is None:
            return None
        return BlurField.unchecked(self.kernels, self.mixing)

    @property
    def sharp(self) -> Tensor | None:
        """The sharp photos without the border of a scene, (N, C, H, W) in [0, 1], where there are any."""
        if self.gt is None:
            return None
        (height, width), border = self.lq.shape[-2:], (self.gt.shape[-1] - self.lq.shape[-1]) // 2
        return self.gt[..., border : border + height, border : border + width].clamp(0, 1)


def needed(gt: Tensor | None) -> Tensor:
    """Return the sharp photos, for a loss that compares with them.

    Raises:
        ValueError: there are none.
    """
    if gt is None:
        raise ValueError('the data set returns no sharp photos, "gt", which a loss compares with; give pairs.')
    return gt
