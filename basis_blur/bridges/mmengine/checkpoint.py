"""Checkpoints of mmengine and of BasicSR, each in the other's form.

    BasicSR     {'params', 'params_ema', 'hyper_parameters'}; read by `basis_blur.load_network`
    mmengine    {'state_dict', 'ema_state_dict', 'message_hub', 'optimizer', ...}; with an EMA hook 'state_dict' is the
                average, and 'ema_state_dict' the weights that learn, under `module.`

A checkpoint of mmengine also holds the history of its log, in objects of its own. From torch 2.6 on, reading these is
refused as code would be: mmengine 0.10.7 cannot resume from what it wrote. `CheckpointFormHook` writes the history as
tensors, so that resuming reads tensors and numbers and nothing else. Files written without the hook are read by
`read_checkpoint(path, trusted=True)`, and resumed with TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import atomic_path

PREFIX = 'net.'  # beginning of the keys of the network that learns, in the model of a stage


def plain_history(hub: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of mmengine's message hub without objects: a history becomes three entries of a dict."""
    return {
        **hub,
        'log_scalars': {key: _plain(value) for key, value in hub.get('log_scalars', {}).items()},
        'runtime_info': {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in hub.get('runtime_info', {}).items()
        },
    }


def full_history(hub: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `plain_history` was given."""
    return {**hub, 'log_scalars': {key: _full(value) for key, value in hub.get('log_scalars', {}).items()}}


def _plain(history: Any) -> Any:
    if not isinstance(history, HistoryBuffer):
        return history
    values, counts = (torch.from_numpy(each.astype(np.float64)) for each in history.data)
    return {'values': values, 'counts': counts, 'max_length': history.max_length}


def _full(history: Any) -> Any:
    if not isinstance(history, dict):
        return history
    return HistoryBuffer(history['values'].tolist(), history['counts'].tolist(), history['max_length'])


def read_checkpoint(path: str | os.PathLike[str], trusted: bool = False) -> dict[str, Any]:
    """Read a checkpoint of mmengine onto the CPU.

    Args:
        path: file.
        trusted: whether any Python object in it may be rebuilt, which can run code; only for files of one's own.

    Raises:
        InputError: the file holds other objects than tensors and numbers, or is no checkpoint.
        OSError: the file cannot be read.
    """
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=not trusted)
    except OSError:
        raise
    except Exception as error:  # damaged files raise nearly everything
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f'{path} cannot be read without running code from it, or is damaged ({line}); if it is your own file, '
            'pass trusted=True.'
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get('state_dict'), Mapping):
        raise InputError(f'{path} is no checkpoint of mmengine: it has no "state_dict".')
    return checkpoint


def to_basicsr(checkpoint: Mapping[str, Any], net: nn.Module) -> dict[str, Any]:
    """Return a checkpoint of mmengine as one of BasicSR.

    Args:
        checkpoint: checkpoint as read, or as a hook is given it while it is saved.
        net: a network of the same kind; only its hyper-parameters are read.

    Raises:
        InputError: it is not the checkpoint of one of our models.
    """
    weights = {'params': _network_in(checkpoint['state_dict'], PREFIX)}
    if 'ema_state_dict' in checkpoint:
        learning = _network_in(checkpoint['ema_state_dict'], f'module.{PREFIX}')
        weights = {'params': learning, 'params_ema': weights['params']}
    if not weights['params']:
        raise InputError(f'the checkpoint has no weights under "{PREFIX}", expected one of a model of basis_blur.')
    facts = getattr(net, 'hyper_parameters', None)
    return weights if facts is None else {**weights, 'hyper_parameters': {'type': type(net).__name__, **facts}}


def from_basicsr(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights of a BasicSR checkpoint as mmengine loads them; the average where there is one."""
    weights = checkpoint['params_ema'] if 'params_ema' in checkpoint else checkpoint['params']
    return {'state_dict': {f'{PREFIX}{key.removeprefix("module.")}': value for key, value in weights.items()}}


def save_network_file(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint in BasicSR's form, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_path(Path(path)) as partial, open(partial, 'wb') as file:
        torch.save(dict(checkpoint), file)


def _network_in(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
