"""A network whose gradients are averaged over processes, on GPUs or CPUs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def distributed(net: nn.Module, find_unused: bool = False) -> DistributedDataParallel:
    """Wrap a network for the process group of torch.distributed; it stays on its device.

    Args:
        net: network whose gradients are averaged.
        find_unused: whether each step looks for weights that it did not use, which have no gradients.
    """
    return DistributedDataParallel(net, device_ids=device_ids_of(net), find_unused_parameters=find_unused)


def device_ids_of(net: nn.Module) -> list[int] | None:
    """Return the GPU of this process as `device_ids` of torch's wrapper; None if the network is on the CPU."""
    on_gpu = next(net.parameters()).device.type == 'cuda'
    return [torch.cuda.current_device()] if on_gpu else None
