"""Weights, gradients and the optimiser's state shared out among processes: mmengine's FSDP and DeepSpeed strategies.

    custom_imports = dict(imports=['basis_blur.bridges.mmengine', 'basis_blur.bridges.mmengine.strategies'])
    strategy = dict(type='basis_blur.FSDPStrategy', model_wrapper=dict(type='ShardedModel'), state_dict_cfg='full')

Such configs are run by mmengine's FlexibleRunner, which looks strategies up before it knows the default scope; see
`configs/kpn_b25k33_ade20k_fsdp.py` and `configs/ufpnet_k19_gopro_deepspeed.py`. Not imported with the rest of the
bridge: mmengine's strategies bring DeepSpeed with them where it is installed.

Without: the averaged weights, for mmengine's EMAHook copies whole models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from mmengine import _strategy
from mmengine.model import MMFullyShardedDataParallel
from mmengine.optim import OptimWrapper
from torch import nn
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

from basis_blur.bridges.mmengine.parallel import Bfloat16OptimWrapper
from basis_blur.foundation.errors import InputError
from basis_blur.registry import FUNCTIONS, MODEL_WRAPPERS, OPTIM_WRAPPERS, STRATEGIES

LOST_MODULE = 'deepspeed.runtime.fp16.onebit'  # module that DeepSpeed no longer has

FUNCTIONS.register_module(module=size_based_auto_wrap_policy)


@MODEL_WRAPPERS.register_module()
class ShardedModel(MMFullyShardedDataParallel):
    """A model of which each process keeps a part, on GPUs or CPUs.

    Args:
        module: the model.
        device_id: number of the process's GPU; not read on a CPU.
        others: keyword arguments of `MMFullyShardedDataParallel`.

    Raises:
        InputError: the model saves weights under other names than it computes with, which FSDP cannot.
    """

    def __init__(self, module: nn.Module, device_id: int | None = None, **others: Any):
        renamed = sorted({name for name, _ in module.named_parameters()} - module.state_dict().keys())
        if renamed:
            raise InputError(f'FSDP cannot save this network, such as "{renamed[0]}"; use DDP or DeepSpeed with it.')
        where = device_id if torch.cuda.is_available() else torch.device('cpu')
        super().__init__(module=module, device_id=where, **others)


class _WholeNorm(OptimWrapper):
    """Clips gradients by their norm over all processes; mmengine's wrapper takes that of a process's own part."""

    def _clip_grad(self) -> None:
        options = dict(self.clip_grad_kwargs)
        largest = options.pop('max_norm', None)
        if largest is None or options:
            raise InputError(f'clip_grad is {self.clip_grad_kwargs}; expected max_norm alone, such as max_norm=1.0.')
        gradients = [
            each.grad for group in self.optimizer.param_groups for each in group['params'] if each.grad is not None
        ]
        device = gradients[0].device if gradients else self.optimizer.param_groups[0]['params'][0].device
        square = torch.zeros((), device=device)
        for gradient in gradients:
            square += gradient.detach().float().square().sum()
        torch.distributed.all_reduce(square)
        norm = square.sqrt()
        for gradient in gradients:
            gradient.mul_((largest / (norm + 1e-6)).clamp(max=1))
        self.message_hub.update_scalar(f'train/{self.grad_name}', float(norm))


@OPTIM_WRAPPERS.register_module()
class ShardedOptimWrapper(_WholeNorm):
    """mmengine's OptimWrapper for a `ShardedModel`."""


@OPTIM_WRAPPERS.register_module()
class ShardedBfloat16OptimWrapper(_WholeNorm, Bfloat16OptimWrapper):
    """`Bfloat16OptimWrapper` for a `ShardedModel`."""


@STRATEGIES.register_module()
class FSDPStrategy(_strategy.FSDPStrategy):
    """mmengine's, which also writes whole weights on CPUs, and resumes with torch of today.

    Args:
        options: keyword arguments of mmengine's FSDPStrategy.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        if not torch.cuda.is_available():
            # torch frees what it has gathered after "offloading" it from the CPU to the CPU, and then reads it.
            for config in (self.state_dict_config, self.optim_state_dict_config):
                config.offload_to_cpu = False

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give the optimiser its state; mmengine has the arguments in an order that torch has left."""
        optimizer = self.optim_wrapper.optimizer
        own = self.model.optim_state_dict_to_load(model=self.model, optim=optimizer, optim_state_dict=state_dict)
        self.optim_wrapper.load_state_dict(own)


@STRATEGIES.register_module()
class DeepSpeedStrategy(_strategy.DeepSpeedStrategy):
    """mmengine's, for newer releases of DeepSpeed, and with `before_save_checkpoint` of the hooks; ZeRO stages 0 to 2.

    Args:
        options: keyword arguments of mmengine's DeepSpeedStrategy.

    Raises:
        InputError: DeepSpeed is not installed, or the stage is 3.
    """

    def __init__(self, **options: Any):
        if _strategy.deepspeed.deepspeed is None:
            raise InputError('DeepSpeed is not installed; "pip install basis_blur[deepspeed]" brings it.')
        if (options.get('zero_optimization') or {}).get('stage', 0) > 2:
            raise InputError(
                'zero_optimization: the stage is 3, which splits the weights over the processes; expected 0, 1 or 2.'
            )
        try:
            super().__init__(**options)
        except ModuleNotFoundError as error:
            # Last of all mmengine registers DeepSpeed's own optimisers. Those of torch, which remain, are enough.
            if error.name != LOST_MODULE:
                raise

    def save_checkpoint(
        self,
        filename: str,
        *,
        extra_ckpt: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        **others: Any,
    ) -> None:
        """Write a checkpoint, after the hooks have seen it with the weights in it."""
        if callback is not None:
            callback({**(extra_ckpt or {}), 'state_dict': self.model.module_state_dict()})
        super().save_checkpoint(filename, extra_ckpt=extra_ckpt, callback=callback, **others)
