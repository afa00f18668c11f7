"""Means over the whole photo, for networks that see it tile by tile.

Group normalisation and channel attention take means over the photo. In tiles they are taken once, over windows spread
over the photo, and used for every tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from basis_blur.archs.nafnet_arch import SpatialMean


def takes_means(net: nn.Module) -> bool:
    """Tell whether a network takes means over the whole photo, to normalise or weigh its features."""
    return any(_takes_means(module) for module in net.modules())


@contextmanager
def shared_means(modules: list[nn.Module]) -> Iterator[None]:
    """Let every group normalisation and channel attention use the means of its first input for all later inputs.

    The first input has to be a batch of windows of the photo; the means are over all of them.
    """
    changed = [module for root in modules for module in root.modules() if _takes_means(module)]
    for module in changed:
        module.forward = _GroupNormOnce(module) if isinstance(module, nn.GroupNorm) else _MeanOnce()
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _takes_means(module: nn.Module) -> bool:
    return isinstance(module, nn.GroupNorm) or (isinstance(module, SpatialMean) and module.window is None)


class _GroupNormOnce:
    def __init__(self, module: nn.GroupNorm):
        self.module = module
        self.change: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.change is None:
            groups, each = self.module.num_groups, x.shape[1] // self.module.num_groups
            var, mean = torch.var_mean(x.unflatten(1, (groups, each)), (0, 2, 3, 4), correction=0)
            scale = self.module.weight * (var + self.module.eps).rsqrt().repeat_interleave(each)
            shift = self.module.bias - mean.repeat_interleave(each) * scale
            self.change = scale[:, None, None], shift[:, None, None]
        scale, shift = self.change
        return torch.addcmul(shift, x, scale)


class _MeanOnce:
    def __init__(self) -> None:
        self.mean: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.mean is None:
            self.mean = x.mean((0, 2, 3), keepdim=True)
        return self.mean
