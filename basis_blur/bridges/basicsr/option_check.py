"""A check of an option file of BasicSR, before a folder is made or anything is built.

BasicSR reads options with `.get`, so a misspelt key silently means its default, and a wrong type is found after the
data have been loaded. Here every key of a file that trains or tests one of our models is checked, and an unknown one is
named with the nearest known one. Of components that are not ours only the type's name is checked.

What an option may be is described where it is read, see `foundation.options`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

import torch

from basis_blur.bridges.basicsr import components
from basis_blur.bridges.basicsr.components import Registries
from basis_blur.bridges.basicsr.names import is_ours
from basis_blur.bridges.basicsr.option_file import with_numbers
from basis_blur.foundation.basicsr_options import (
    ADDED,
    ADDED_PATHS,
    BACKENDS,
    BETTER,
    DATASET,
    LOGGER,
    METRIC_IS_GIVEN,
    METRIC_IS_IGNORED,
    NEEDED_IN_TRAINING,
    NEEDED_OF_PAIRS,
    PATH,
    PATH_OF_NETWORK,
    PHOTO_DATASETS,
    TOP,
    TRAIN,
    VAL,
)
from basis_blur.foundation.errors import did_you_mean
from basis_blur.foundation.options import REQUIRED, CheckedOptions, Option, OptionError, read_options
from basis_blur.models.optimisation import build_optimiser, build_scheduler, read_arguments

PARTS = {'train': TRAIN, 'val': VAL, 'logger': LOGGER}  # what BasicSR reads, by section


def check_options(opt: Mapping[str, Any], is_train: bool) -> CheckedOptions:
    """Check the options of a training or a test, as the file has them or as BasicSR's reader returns them.

    Args:
        opt: not modified.
        is_train: whether a training will use them, or a test.

    Returns:
        The options with the values of those sections that a model of ours reads.

    Raises:
        OptionError: the first thing that is wrong.
    """
    registries = components.registries_of_basicsr(asks_for_ours='plugin' in opt)
    if 'model_type' not in opt:
        raise OptionError('the option file lacks the key "model_type"; add a line "model_type: BasisBlurModel".')
    model = components.find('model', opt, 'model_type', 'the option file', registries)
    ours = is_ours(model)
    registries.asks_for_ours |= ours
    sections = {'': _check_top_level(opt, is_train, model)} if ours else {}
    networks = [key for key in opt if str(key).startswith('network_')]
    for key in networks:
        if not ours and not (isinstance(opt[key], Mapping) and 'type' in opt[key]):
            continue
        components.check('arch', opt[key], key, registries, ours)
    datasets = opt.get('datasets')
    if isinstance(datasets, Mapping):
        for phase, section in datasets.items():
            _check_dataset(phase, section, is_train, registries, opt if ours else None)
    if ours:
        sections.update(_check_sections(opt, is_train, model, networks))
    _check_losses(opt, registries, ours)
    _check_metrics(opt, registries, ours)
    return CheckedOptions(opt, sections)


def _check_losses(opt: Mapping[str, Any], registries: Registries, ours: bool) -> None:
    if not isinstance(opt.get('train'), Mapping):
        return
    for key, section in opt['train'].items():
        if str(key).endswith('_opt') and isinstance(section, Mapping) and 'type' in section:
            components.check('loss', section, f'train: {key}', registries, ours)


def _check_metrics(opt: Mapping[str, Any], registries: Registries, ours: bool) -> None:
    metrics = opt['val'].get('metrics') if isinstance(opt.get('val'), Mapping) else None
    for key, section in (metrics or {}).items():
        where = f'val: metrics: {key}'
        if isinstance(section, Mapping) and ('type' in section or ours):
            metric = components.find('metric', section, 'type', where, registries)
            if ours:
                read_arguments(section, metric, where, given=METRIC_IS_GIVEN, ignored=METRIC_IS_IGNORED)
                read_options(section, {'better': BETTER}, where, others=section)
        elif ours:
            raise OptionError(f'{where} is {section!r}, expected a group with "type: calculate_psnr".')


def section_options(model: Any, section: str, is_train: bool, networks: Iterable[str] = ('network_g',)) -> dict:
    """Return the options of a section, those that BasicSR reads and those of a model of ours.

    Args:
        model: the class of the model.
        section: '' for the top level, 'train', 'val', 'logger' or 'path'.
        is_train: whether a training reads them, or a test.
        networks: keys of the networks, whose weights `path` names.
    """
    own = getattr(model, 'OPTIONS', {}).get(section, {})
    if section == '':
        needed = ('train', 'logger') if is_train else ('val',)
        return {**TOP, **{key: dataclasses.replace(TOP[key], kinds=(dict,), default=REQUIRED) for key in needed}, **own}
    if section == 'path':
        of_networks = {
            key.format(network=network, label=network.removeprefix('network_')): option
            for network in networks
            for key, option in PATH_OF_NETWORK.items()
        }
        return {**PATH, **of_networks, **own}
    options = {**PARTS[section], **own}
    if section == 'val' and is_train:
        options['val_freq'] = dataclasses.replace(options['val_freq'], default=REQUIRED)
    return options


def _check_top_level(opt: Mapping[str, Any], is_train: bool, model: Any) -> dict[str, Any]:
    known = section_options(model, '', is_train)
    has_networks = any(key.startswith('network_') for key in known)
    others = [*ADDED, *(key for key in opt if str(key).startswith('network_') and not has_networks)]
    values = read_options(opt, known, 'the option file', others)
    _check_name(values['name'])
    if isinstance(values['num_gpu'], str) and values['num_gpu'] != 'auto':
        raise OptionError(f'the option file: "num_gpu" is {values["num_gpu"]!r}, expected a whole number or auto.')
    if values['num_gpu'] != 'auto' and values['num_gpu'] > 0 and not torch.cuda.is_available():
        raise OptionError(
            f'the option file: "num_gpu" is {values["num_gpu"]}, but torch finds no GPU on this machine; '
            'write "num_gpu: auto", or 0 for the CPU.'
        )
    return values


def _check_name(name: str) -> None:
    """Raise OptionError unless BasicSR can make a folder of this name, which it moves away if it is there already."""
    if not name.strip() or name in ('.', '..') or not name.isprintable() or any(mark in name for mark in '/\\'):
        raise OptionError(
            f'the option file: "name" is {name!r}, expected the name of a folder, such as train_basis: the run keeps '
            'its files in experiments/NAME or results/NAME.'
        )


def _check_dataset(
    phase: str, section: Any, is_train: bool, registries: Registries, ours: Mapping[str, Any] | None
) -> None:
    """Check the section of a data set; `ours` are all options, if they are those of a model of ours."""
    where = f'datasets: {phase}'
    allowed = ('train', 'val') if is_train else ('test', 'val', 'train')
    if not isinstance(section, Mapping):
        raise OptionError(f'{where} is {section!r}, expected a group of "key: value" lines.')
    if str(phase).split('_')[0] not in allowed:
        raise OptionError(
            f'datasets has the unknown key "{phase}".{did_you_mean(phase, allowed)} '
            f'Expected {" or ".join(allowed)}, or one of them with a suffix such as {allowed[-1]}_2.'
        )
    dataset = components.find('dataset', section, 'type', where, registries)
    trains = str(phase).split('_')[0] == 'train'
    needed = {key: dataclasses.replace(DATASET[key], default=REQUIRED) for key in NEEDED_IN_TRAINING if trains}
    own: Mapping[str, Option] = getattr(dataset, 'OPTIONS', {})
    others: Iterable[str] = ()
    if not is_ours(dataset):
        _check_roots(section, where)
        if ours is None:
            return
        own, others = _photo_options(dataset, section, ours, is_train and trains, where)
    values = read_options(section, {**DATASET, **needed, **own}, where, others)
    if values['prefetch_mode'] == 'cuda' and not torch.cuda.is_available():
        raise OptionError(f'{where}: "prefetch_mode" is "cuda", but torch finds no GPU; write "cpu" or ~.')
    if values['persistent_workers'] and not values['num_worker_per_gpu']:
        raise OptionError(f'{where}: "persistent_workers" needs "num_worker_per_gpu" of 1 or more.')


def _photo_options(
    dataset: Any, section: Mapping[str, Any], opt: Mapping[str, Any], is_train: bool, where: str
) -> tuple[dict[str, Option], Iterable[str]]:
    """Return the options of a data set of BasicSR that are known here, and the keys that are left to itself."""
    known = PHOTO_DATASETS.get(dataset.__name__) if dataset.__module__.split('.')[0] == 'basicsr' else None
    if known is None:
        return {}, section
    backend = section.get('io_backend')
    if not isinstance(backend, Mapping) or backend.get('type') not in BACKENDS:
        raise OptionError(
            f'{where}: "io_backend" is {backend!r}, expected {{type: disk}} for folders of photos or {{type: lmdb}}.'
        )
    if backend['type'] == 'memcached' and not {'server_list_cfg', 'client_cfg'} <= backend.keys():
        raise OptionError(f'{where}: "io_backend" memcached needs "server_list_cfg" and "client_cfg", two files.')
    network = opt.get('network_g')
    if section.get('color') == 'y' and isinstance(network, Mapping) and network.get('in_channels', 3) != 1:
        raise OptionError(
            f'{where}: "color: y" gives luminance alone, but network_g takes colours; write "in_channels: 1" there, or '
            '"color: ~" here.'
        )
    _check_normalisation(section, where)
    options = dict(known)
    if 'dataroot_gt' in known:
        if 'scale' not in opt and 'scale' not in section:
            raise OptionError(
                f'the option file lacks the key "scale", which {dataset.__name__} needs; add a line "scale: 1".'
            )
        if is_train:
            options.update({key: dataclasses.replace(known[key], default=REQUIRED) for key in NEEDED_OF_PAIRS})
    return options, ()


def _check_normalisation(section: Mapping[str, Any], where: str) -> None:
    """Raise OptionError unless `mean` and `std` are numbers of as many channels, the latter above 0."""
    channels = 1 if section.get('color') == 'y' else 3
    for key, above in (('mean', -math.inf), ('std', 0)):
        values = section.get(key)
        if values is None or not isinstance(values, list):
            continue  # its type is wrong, which is told elsewhere
        numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values)
        if not (numbers and len(values) in (1, channels) and all(above < each < math.inf for each in values)):
            limit = ', each > 0' if key == 'std' else ''
            raise OptionError(f'{where}: "{key}" is {values!r}, expected {channels} numbers{limit}; ~ for none.')


def _check_roots(section: Mapping[str, Any], where: str) -> None:
    backend = section.get('io_backend')
    if isinstance(backend, Mapping) and backend.get('type') not in ('disk', 'lmdb', None):
        return
    for key, value in section.items():
        if str(key).startswith('dataroot') and isinstance(value, str):
            read_options({key: value}, {key: Option((str,), is_path=True)}, where)


def _check_sections(
    opt: Mapping[str, Any], is_train: bool, model: Any, networks: list[str]
) -> dict[str, dict[str, Any]]:
    sections = {}
    if is_train:
        if not any(str(phase).split('_')[0] == 'train' for phase in opt['datasets']):
            raise OptionError('datasets lacks the section "train", which a training needs.')
        sections['logger'] = read_options(opt['logger'], section_options(model, 'logger', is_train), 'logger')
        _check_loggers(sections['logger'], opt['name'])
        sections['train'] = _check_train(opt['train'], section_options(model, 'train', is_train))
    if opt.get('val') is not None:
        sections['val'] = read_options(opt['val'], section_options(model, 'val', is_train), 'val')
    sections['path'] = _check_path(opt, is_train, model, networks)
    return sections


def _check_loggers(values: Mapping[str, Any], name: str) -> None:
    if 'debug' in name:  # BasicSR keeps neither of a trial
        return
    if values['use_tb_logger'] and find_spec('tensorboard') is None:
        raise OptionError(
            'logger: "use_tb_logger" is true, but TensorBoard is not installed; install it by '
            '"pip install tensorboard", or write "use_tb_logger: false".'
        )
    if values['wandb'] is None or values['wandb']['project'] is None:
        return
    if not values['use_tb_logger']:
        raise OptionError(
            'logger: wandb shows what TensorBoard is given, but "use_tb_logger" is false; write "use_tb_logger: true", '
            'or "wandb: ~".'
        )
    if find_spec('wandb') is None:
        raise OptionError('logger: wandb is not installed; install it by "pip install wandb", or write "wandb: ~".')


def _check_train(section: Mapping[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
    values = read_options(section, known, 'train')
    weight = torch.zeros(1)
    for key, value in section.items():
        if str(key).startswith('optim_') and isinstance(value, Mapping):
            _try_a_step(build_optimiser(with_numbers(value), [weight], f'train: {key}'), weight, f'train: {key}')
    if isinstance(section.get('scheduler'), Mapping):
        build_scheduler(with_numbers(section['scheduler']), torch.optim.SGD([weight], 1.0), int(values['total_iter']))
    return values


def _try_a_step(optimiser: torch.optim.Optimizer, weight: torch.Tensor, where: str) -> None:
    """Raise OptionError unless an optimiser takes a plain gradient; some are for sparse ones only."""
    weight.grad = torch.zeros_like(weight)
    try:
        optimiser.step()
    except (RuntimeError, TypeError, ValueError) as error:
        raise OptionError(f'{where}: {type(optimiser).__name__} cannot make a step: {error}') from error


def _check_path(opt: Mapping[str, Any], is_train: bool, model: Any, networks: list[str]) -> dict[str, Any]:
    section = opt['path']
    known = section_options(model, 'path', is_train, networks or ['network_g'])
    # A resumed training takes its networks from beside its state, whatever else is named. With --auto_resume, and in
    # a test, a state that the file names is not used.
    resumes = is_train and section.get('resume_state') is not None
    unread = [key for key in known if key.startswith('pretrain_network') and resumes]
    if not is_train or opt.get('auto_resume', False):
        unread.append('resume_state')
    known.update({key: dataclasses.replace(known[key], is_path=False) for key in unread})
    return read_options(section, known, 'path', [key for key in ADDED_PATHS if key not in known])
