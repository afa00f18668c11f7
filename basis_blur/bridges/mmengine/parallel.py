"""Mixed precision and several processes for mmengine's Runner, on machines with and without GPUs.

mmengine 0.10.7 has mixed precision on GPUs only, starts processes with `torch.cuda.set_device` and wraps models with a
GPU's number; each of these fails where torch was built for the CPU. What is here does the same on both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed
from mmengine.device import get_device
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import nn

from basis_blur.archs.processes import device_ids_of
from basis_blur.foundation.errors import InputError
from basis_blur.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Compute networks in bfloat16 where that is safe, on any device; weights, gradients and losses stay float32.

    bfloat16 has the range of float32, so that no loss is scaled. For float16, which needs that, there is mmengine's
    AmpOptimWrapper, on GPUs.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Return the context of a forward pass."""
        with super().optim_context(model), torch.autocast(get_device(), torch.bfloat16):
            yield


@MODEL_WRAPPERS.register_module()
class DistributedModel(MMDistributedDataParallel):
    """A model whose gradients are averaged over processes, on GPUs or CPUs; buffers are those of the first process.

    Args:
        module: the model, on its device.
        device_ids: number of the process's GPU; not read on a CPU.
        others: keyword arguments of `MMDistributedDataParallel`.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None, **others: Any):
        super().__init__(module=module, device_ids=device_ids_of(module) and device_ids, **others)


def begin_processes(launcher: str) -> None:
    """Meet the other processes of a launcher over gloo, where there is no GPU; with GPUs mmengine does so itself.

    Args:
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.

    Raises:
        InputError: the process was not started by `torchrun`, or the launcher needs GPUs.
    """
    if launcher == 'none' or torch.cuda.is_available() or torch.distributed.is_initialized():
        return
    if launcher != 'pytorch':
        raise InputError(f'--launcher is {launcher}, but there is no GPU; without one only "pytorch" works.')
    if 'RANK' not in os.environ:
        raise InputError('--launcher is pytorch, but no torchrun began this process; put it before "-m".')
    torch.distributed.init_process_group('gloo')


def end_processes() -> None:
    """Part from the other processes, once all have come here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
