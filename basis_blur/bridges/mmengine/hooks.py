"""Hooks between mmengine's iterations: averaged weights, files of networks, pictures, random numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseAveragedModel, is_model_wrapper
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from basis_blur.archs.kernel_flow_arch import derive_normalization
from basis_blur.bridges.mmengine.checkpoint import (
    from_basicsr,
    full_history,
    plain_history,
    save_network_file,
    to_basicsr,
)
from basis_blur.bridges.mmengine.visualizer import rgb_of
from basis_blur.foundation.errors import InputError
from basis_blur.registry import HOOKS, MODELS
from basis_blur.weights.fitting import misfits


@MODELS.register_module()
class MovingAverage(BaseAveragedModel):
    """The weights' average as BasicSR's models keep it:  a <- decay a + (1 - decay) b; buffers are copied.

    For mmengine's hook: dict(type='EMAHook', ema_type='MovingAverage', decay=0.999). Its own ExponentialMovingAverage
    differs in that the first step replaces the average.

    Args:
        model: model whose weights are averaged.
        decay: number in [0, 1).
        others: keyword arguments of `BaseAveragedModel`.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999, **others: Any):
        super().__init__(model, **others)
        if not 0 <= decay < 1:
            raise ValueError(f'decay is {decay}, expected 0 <= decay < 1, such as 0.999.')
        self.decay = decay
        self.steps.fill_(1)  # 0 would have the first step replace the average

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move the average by one step."""
        averaged_param.lerp_(source_param, 1 - self.decay)


@HOOKS.register_module()
class CheckpointFormHook(Hook):
    """Write checkpoints of tensors and numbers alone, and let `load_from` name a checkpoint of BasicSR.

    Raises:
        InputError: it is of another network.
    """

    priority = 'HIGH'  # before the EMA hook, which reads the weights too

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint['message_hub'] = plain_history(checkpoint['message_hub'])

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = full_history(checkpoint['message_hub'])
        if 'params' not in checkpoint and 'params_ema' not in checkpoint:
            return
        state = from_basicsr(checkpoint)['state_dict']
        own = {key: value for key, value in _bare(runner.model).state_dict().items() if key.startswith('net.')}
        if complaints := misfits(own, state):
            raise InputError(f'load_from is not a checkpoint of this network: {"; ".join(complaints)}; correct either.')
        checkpoint['state_dict'] = state


@HOOKS.register_module()
class WriteNetworkHook(Hook):
    """Beside every checkpoint, write the network alone: WORK_DIR/models/net_g_ITERATION.pth, as BasicSR does.

    `basis_blur.load_network` and every command read it, and BasicSR's `pretrain_network_g`.
    """

    priority = 'LOWEST'  # after the EMA hook, which exchanges the weights in what is saved

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if not is_main_process():  # the first process alone has the weights of a sharded model here
            return
        name = f'net_g_{checkpoint["meta"]["iter"]}.pth'
        save_network_file(to_basicsr(checkpoint, _network_of(runner.model)), Path(runner.work_dir, 'models', name))


@HOOKS.register_module()
class NormalizationHook(Hook):
    """Derive a KernelFlow's `normalization` from the training kernels, before weights are loaded or trained."""

    priority = 'VERY_HIGH'  # before the EMA hook copies the model

    def before_run(self, runner: Any) -> None:
        if not hasattr(runner, '_train_loop') or isinstance(runner._train_loop, dict) or runner._train_loop is None:
            return
        values: list[Any] = [None]
        if is_main_process():
            values = [derive_normalization(runner.train_dataloader.dataset.source.spread())]
        broadcast_object_list(values)
        _bare(runner.model).net.set_normalization(values[0])
        runner.logger.info(f'The normalization of the kernels is {values[0]:.4f}.')


@HOOKS.register_module()
class KernelGridHook(Hook):
    """Draw what is predicted in a validation or test, kernels or restored photos, by a BlurVisualizer.

    Args:
        photos: number of photos of each validation or test that are drawn.

    Raises:
        InputError: the visualizer draws no predictions.
    """

    priority = 'NORMAL'

    def __init__(self, photos: int = 4):
        self.photos = photos
        self._drawn = 0

    def before_run(self, runner: Any) -> None:
        if type(runner.visualizer).add_datasample is Visualizer.add_datasample:
            raise InputError(
                'KernelGridHook: the visualizer is of the type Visualizer, which draws no predictions; set '
                'visualizer=dict(type="BlurVisualizer", vis_backends=[dict(type="LocalVisBackend")]).'
            )

    def before_val_epoch(self, runner: Any) -> None:
        self._drawn = 0

    def before_test_epoch(self, runner: Any) -> None:
        self._drawn = 0

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] = ()) -> None:
        self._draw(runner, 'val', outputs)

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] = ()) -> None:
        self._draw(runner, 'test', outputs)

    def _draw(self, runner: Any, phase: str, outputs: Sequence[Any]) -> None:
        for prediction in outputs:
            if not {'field', 'image'} & prediction.keys() or self._drawn >= self.photos or not is_main_process():
                return
            name = f'{phase}_{self._drawn:03d}'
            runner.visualizer.add_datasample(name, rgb_of(prediction['lq'][0]), prediction, step=runner.iter)
            self._drawn += 1


@HOOKS.register_module()
class RandomNumbersHook(Hook):
    """Make the random numbers of an iteration a function of the seed, the iteration and the process alone.

    So they are equal whether or not the training was interrupted or validated before. Those of the data are so with
    the sampler `InfiniteDraws`.
    """

    priority = 'VERY_HIGH'  # before any hook that draws

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        words = np.random.SeedSequence((runner.seed, runner.iter, get_rank())).generate_state(3).tolist()
        torch.manual_seed(words[0])  # seeds all devices
        random.seed(words[1])
        np.random.seed(words[2])  # noqa: NPY002


def _bare(model: nn.Module) -> Any:
    return model.module if is_model_wrapper(model) else model


def _network_of(model: nn.Module) -> nn.Module:
    net = _bare(model).net
    return getattr(net, 'module', net)  # a sharded model may wrap its parts too
