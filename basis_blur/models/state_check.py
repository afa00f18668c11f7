"""Checks, before the first step, that a training state fits the training that goes on from it.

Optimisers and schedulers of torch load any state and fail at some later step. Here the loaded state is compared with
the one before, and with what their constructors accept.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# Names of the values in the states of torch's optimisers that have the shape of their weight.
MOMENTS = ('exp_avg', 'exp_avg_sq', 'max_exp_avg_sq', 'momentum_buffer', 'exp_inf', 'square_avg', 'sum')
LARGEST, LARGEST_WHOLE = 1e300, 2**63  # bounds of numbers and whole numbers that a training can have


def check_optimizer(optimizer: torch.optim.Optimizer, own: Mapping[str, Any]) -> None:
    """Raise an error if an optimiser cannot go on from the state that it has loaded.

    Args:
        optimizer: optimiser, after loading.
        own: its `state_dict()` before loading.

    Raises:
        ValueError, TypeError: a setting is out of its range, a switch has changed, or a value kept for a weight does
            not fit it.
    """
    makes = inspect.signature(type(optimizer)).parameters
    for group, before in zip(optimizer.param_groups, own['param_groups'], strict=True):
        for name, value in before.items():
            if (value is None or isinstance(value, bool)) and group[name] is not value:
                raise ValueError(f'{name} is {group[name]!r}, expected {value}')
        weight = group['params'][0].detach().flatten()[:1].clone().requires_grad_()
        type(optimizer)([weight], **{name: group[name] for name in optimizer.defaults if name in makes})
    _check_moments(optimizer)


def check_scheduler(scheduler: Any, iteration: int, last: int) -> None:
    """Raise an error if a loaded scheduler cannot compute learning rates until the end of the training.

    Args:
        scheduler: scheduler of BasicSR, after loading.
        iteration: iteration that the state was saved at.
        last: last iteration of the training.

    Raises:
        ValueError, TypeError, LookupError, ArithmeticError: a value that it has loaded is wrong.
    """
    if not 0 <= scheduler.last_epoch <= iteration:
        raise ValueError(f'last_epoch is {scheduler.last_epoch}, expected at most {iteration}, the iteration')
    present = scheduler.last_epoch
    for scheduler.last_epoch in {present, max(present, last - 1)}:
        rates = scheduler.get_lr()
        if not all(isinstance(rate, (int, float)) and 0 <= rate < math.inf for rate in rates):
            raise ValueError(f'its learning rates are {rates!r}, expected numbers >= 0')
    scheduler.last_epoch = present


def check_scaler(state: Mapping[str, Any]) -> None:
    """Raise ValueError if the state of a gradient scaler has another value than one can have."""
    ranges: dict[str, tuple[type, float, float]] = {
        'scale': (float, 0, math.inf),
        'growth_factor': (float, 1, math.inf),
        'backoff_factor': (float, 0, 1),
        'growth_interval': (int, 0, LARGEST_WHOLE),
        '_growth_tracker': (int, -1, LARGEST_WHOLE),
    }
    for name, (kind, above, below) in ranges.items():
        value = state.get(name)
        if not isinstance(value, (int, float)) or type(value) is not kind or not above < value < below:
            raise ValueError(f'{name} is {value!r}, expected a {kind.__name__} > {above} and < {below}')


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError if an optimiser keeps less for one weight than for another, or in another shape than the weight.

    What is kept is empty before the first step, so `check_form` does not see it.
    """
    keys = set().union(*(kept.keys() for kept in optimizer.state.values()))
    for parameter, kept in optimizer.state.items():
        if lacking := keys - kept.keys():
            raise ValueError(f'a weight of shape {tuple(parameter.shape)} has no {min(lacking)}')
        for key, value in kept.items():
            is_moment = key in MOMENTS
            if is_moment and (not isinstance(value, Tensor) or value.shape != parameter.shape):
                found = tuple(value.shape) if isinstance(value, Tensor) else value
                raise ValueError(f'{key} of a weight of shape {tuple(parameter.shape)} is {found}')
            least = 0 if key == 'step' or key.endswith('_sq') or key == 'square_avg' else -math.inf
            values = value if isinstance(value, Tensor) else torch.tensor(value if _is_finite(value) else math.nan)
            if not (is_moment or values.numel() == 1) or not ((values >= least) & values.isfinite()).all():
                expected = 'numbers' if is_moment else 'a number'
                raise ValueError(f'{key} of a weight is not {expected}{" >= 0" if least == 0 else ""}')


def check_form(own: Any, found: Any, where: str) -> None:
    """Raise ValueError if a part of a state is of another kind than it was before the state was read."""
    if isinstance(own, Mapping):
        if not isinstance(found, Mapping):
            raise ValueError(f'{where} is {found!r}, expected a group')
        for key, value in own.items():
            if key not in found:
                raise ValueError(f'{where} lacks {key}')
            if not isinstance(own, Counter):  # keys of a Counter are values, such as milestones
                check_form(value, found[key], f'{where}: {key}')
    elif isinstance(own, (list, tuple)):
        if not isinstance(found, (list, tuple)) or bool(own) != bool(found):
            raise ValueError(f'{where} is {found!r}, expected a list')
        if len(own) != len(found) and where.endswith(('lr', 'lrs', 'params', 'param_groups', 'betas')):
            raise ValueError(f'{where} has {len(found)} entries, expected {len(own)}')
        for value in found:
            check_form(own[0], value, f'one of {where}')
    elif _is_finite(own):
        if not _is_finite(found):
            raise ValueError(f'{where} is {found!r}, expected a number')
    elif own is not None and type(own) is not type(found):
        raise ValueError(f'{where} is {found!r}, expected {type(own).__name__}')


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < (LARGEST_WHOLE if isinstance(value, int) else LARGEST)
