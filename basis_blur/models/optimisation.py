"""Build the optimiser and the learning-rate scheduler that an option file asks for, or say why that is not possible.

The check of an option file builds both for a weight of one number, by the same functions as a training for its network;
so what the check accepts can be built.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from basis_blur.foundation.errors import did_you_mean
from basis_blur.foundation.options import REQUIRED, Option, OptionError, read_options

# Names in option files -> the class of BasicSR that each means.
SCHEDULERS = {
    'MultiStepLR': 'MultiStepRestartLR',
    'MultiStepRestartLR': 'MultiStepRestartLR',
    'CosineAnnealingRestartLR': 'CosineAnnealingRestartLR',
}
LISTS = ('periods', 'milestones', 'restarts', 'restart_weights')  # arguments of schedulers, lists of numbers >= 0


def optimisers() -> dict[str, type[torch.optim.Optimizer]]:
    """Return the optimisers of torch.optim by name, but for LBFGS, which evaluates a batch many times."""
    return {
        name: kind
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind)
        and issubclass(kind, torch.optim.Optimizer)
        and kind not in (torch.optim.Optimizer, torch.optim.LBFGS)
    }


def build_optimiser(
    section: Mapping[str, Any], parameters: Iterable[Tensor], where: str = 'train: optim_g'
) -> torch.optim.Optimizer:
    """Build an optimiser of torch.optim.

    Args:
        section: `type` and arguments of the optimiser, `lr` among them.
        parameters: weights that it will change.
        where: the section of the option file, for messages.

    Raises:
        OptionError: there is none of this type, or it does not take these arguments.
    """
    if section.get('type') == 'LBFGS':
        raise OptionError(f'{where}: LBFGS evaluates a batch many times; take another, such as AdamW.')
    kind = named(section, optimisers(), where, 'optimizer of torch.optim')
    if 'lr' not in section:
        raise OptionError(f'{where} lacks the key "lr"; add the learning rate, such as "lr: 0.0001".')
    arguments = read_arguments(section, kind, where, given=('self', 'params'))
    try:
        return kind(parameters, **arguments)
    except (TypeError, ValueError) as error:
        raise OptionError(f'{where}: {section["type"]} cannot be built: {error}') from error


def build_scheduler(section: Mapping[str, Any], optimiser: torch.optim.Optimizer, total: int) -> Any:
    """Build a learning-rate scheduler of BasicSR.

    Args:
        section: `type` and arguments of the scheduler.
        optimiser: optimiser whose learning rate it sets.
        total: number of iterations of the training.

    Raises:
        OptionError: there is none of this type, or its arguments cannot be used.
    """
    from basicsr.models import lr_scheduler

    where = 'train: scheduler'
    known = {name: getattr(lr_scheduler, kind) for name, kind in SCHEDULERS.items()}
    kind = named(section, known, where, 'scheduler')
    arguments = read_arguments(section, kind, where, given=('self', 'optimizer'))
    for key in LISTS:
        values = section.get(key, [])
        if not isinstance(values, list) or not all(isinstance(each, (int, float)) and each >= 0 for each in values):
            raise OptionError(f'{where}: "{key}" is {values!r}, expected a list of numbers >= 0.')
    if 'periods' in section and sum(section['periods']) < total:
        raise OptionError(
            f'{where}: the periods {section["periods"]} end before total_iter {total}; make their sum at least as '
            'large.'
        )
    try:
        return kind(optimiser, **arguments)
    except (ValueError, TypeError, AssertionError, IndexError) as error:
        raise OptionError(f'{where}: {section["type"]} cannot be built: {error}') from error


def named(section: Mapping[str, Any], known: Mapping[str, Any], where: str, kind: str) -> Any:
    """Return the entry of `known` that the `type` of a section names.

    Raises:
        OptionError: there is none of that name.
    """
    name = section.get('type')
    if name not in known:
        raise OptionError(
            f'{where}: "type" is {name!r}, which is no {kind}.{did_you_mean(str(name), known)} '
            f'There are: {", ".join(sorted(known))}.'
        )
    return known[str(name)]


def read_arguments(
    section: Mapping[str, Any], build: Any, where: str, given: tuple[str, ...], ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the arguments that a section gives to a class or function of another project.

    The names are checked, and that a value is a number, or true or false, where the default is.

    Args:
        section: `type` and the arguments.
        build: the class or function.
        where: the section of the option file, for messages.
        given: arguments that do not come from the section.
        ignored: keys that functions of basis_blur with `**others` accept and ignore.

    Raises:
        OptionError: an argument is unknown or missing.
    """
    options: dict[str, Option] = {}
    others = ['type', *(key for key in given if key in section)]
    called = build.__init__ if inspect.isclass(build) else build
    project = (build.__module__ or '').split('.')[0]
    for argument, parameter in inspect.signature(called).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            # Functions of BasicSR ignore further arguments, and those of basis_blur some; what other projects do with
            # theirs is not known.
            others += {'basicsr': (), 'basis_blur': ignored}.get(project, section)
        elif argument not in given:
            needed = parameter.default is inspect.Parameter.empty
            number = isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool)
            is_switch = isinstance(parameter.default, bool)
            kinds = (float, Tensor) if number else (bool,) if is_switch else (object, bool)
            options[argument] = Option(kinds, REQUIRED if needed else parameter.default)
    values = read_options(section, options, where, others)
    return {key: values[key] for key in section if key in values}
