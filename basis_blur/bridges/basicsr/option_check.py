"""Check an option file of BasicSR before it makes a folder or builds anything.

BasicSR reads options with `.get`, so a misspelt key silently means its default, and a wrong type is found after the
data have been loaded. Here every key of a file that trains or tests one of our models is known or named, with the
nearest known one. Of components that are not ours only the type's name is checked.

Who declares what: networks and losses by their annotated arguments; a data set by its attribute `OPTIONS`; a model by
`OPTIONS`, a dict from the section's name ('train', 'val', 'path', 'logger', and '' for the top level) to its options.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any

import torch
import yaml

from basis_blur.bridges.basicsr.names import BASICSR_SUFFIX, is_ours
from basis_blur.foundation.errors import InputError, did_you_mean
from basis_blur.foundation.files import check_is_file
from basis_blur.foundation.options import OUR_SUFFIX, REQUIRED, Option, OptionError, options_of, read_options
from basis_blur.weights.checkpoints import build_without_memory

OUR_LINE = 'plugin: !!python/name:basis_blur.plugin.loaded'
OUR_TAG = 'tag:yaml.org,2002:python/name:basis_blur.plugin.loaded'
# Tags that mean no more than a type of YAML itself; BasicSR's users write numbers as "!!float 1e-4".
PLAIN_TAGS = tuple(f'tag:yaml.org,2002:{name}' for name in ('null', 'bool', 'int', 'float', 'str', 'seq', 'map'))
# An option file has some hundred values; what is beyond these wants the memory of the machine, or its stack.
MOST_BYTES = 10**6
MOST_VALUES = 20_000  # with aliases written out
MOST_LEVELS = 50

# What BasicSR's own code reads. REQUIRED is what it reads without a default.
TOP = {
    'name': Option((str,)),
    'model_type': Option((str,)),
    'num_gpu': Option((int, str), least=0),
    'datasets': Option((dict,)),
    'path': Option((dict,)),
    'scale': Option((int,), None),
    'manual_seed': Option((int, NoneType), None, least=0, most=2**31 - 1),
    'dist_params': Option((dict, NoneType), None),
    'find_unused_parameters': Option((bool,), False),
    'val': Option((dict, NoneType), None),
    'plugin': Option((str,), None),
}
DATASET = {
    'name': Option((str,)),
    'type': Option((str,)),
    'phase': Option((str,), None),
    'scale': Option((int,), None),
    'num_worker_per_gpu': Option((int,), None, least=0, most=1024),
    'batch_size_per_gpu': Option((int,), None, least=1, most=10**6),
    'dataset_enlarge_ratio': Option((float,), 1, least=1e-6, most=10**9),
    'prefetch_mode': Option((str, NoneType), None, choices=('cpu', 'cuda')),
    'num_prefetch_queue': Option((int,), 1, least=1),
    'pin_memory': Option((bool,), False),
    'persistent_workers': Option((bool,), False),
}
TRAIN = {'total_iter': Option((float,), least=1, most=10**12), 'warmup_iter': Option((int,), -1, least=-1)}
VAL = {
    'save_img': Option((bool,)),
    'suffix': Option((str, NoneType), None),
    'pbar': Option((bool,), True),
}
LOGGER = {
    'print_freq': Option((int,), least=1),
    'save_checkpoint_freq': Option((float,), least=1),
    'use_tb_logger': Option((bool,), False),
    'wandb': Option((dict, NoneType), None),
}
WANDB = {'project': Option((str, NoneType), None), 'resume_id': Option((str, NoneType), None)}
# What BasicSR's own data sets of photos read beside DATASET. A training must give those of TRAINED_ON.
PHOTOS = {
    'dataroot_gt': Option((str,), is_path=True),
    'dataroot_lq': Option((str,), is_path=True),
    'io_backend': Option((dict,)),
    'meta_info_file': Option((str, NoneType), None, is_path=True),
    'filename_tmpl': Option((str,), '{}'),
    'gt_size': Option((int,), None, least=1),
    'use_hflip': Option((bool,), True),
    'use_rot': Option((bool,), True),
    'color': Option((str, NoneType), None, choices=('y',)),
    'mean': Option((list, NoneType), None),
    'std': Option((list, NoneType), None),
    'gamma': Option((float,), 2.2, least=0.1, most=10),  # which our models read
}
TRAINED_ON = ('gt_size', 'use_hflip', 'use_rot')
PHOTO_DATASETS = {
    'PairedImageDataset': tuple(PHOTOS),
    'SingleImageDataset': ('dataroot_lq', 'io_backend', 'meta_info_file', 'color', 'mean', 'std', 'gamma'),
}
BACKENDS = ('disk', 'lmdb', 'memcached')
PATH = {'ignore_resume_networks': Option((list, str, NoneType), None)}
# Keys that BasicSR's reader adds to what the file says.
ADDED = ('dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'root_path')
ADDED_PATHS = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')

# What a metric is handed beside its options, and what `calculate_metric` and BasicSR's models read of them.
METRIC_IS_GIVEN = ('img', 'img2', 'better')
METRIC_IS_IGNORED = ('crop_border', 'test_y_channel')

SCHEDULERS = {
    'MultiStepLR': 'MultiStepRestartLR',
    'MultiStepRestartLR': 'MultiStepRestartLR',
    'CosineAnnealingRestartLR': 'CosineAnnealingRestartLR',
}


def read_option_file(path: str | Path) -> dict[str, Any]:
    """Read an option file without executing anything in it.

    BasicSR's own reader obeys every Python tag, so a file from elsewhere could run any program. This one knows a
    single tag, our `plugin` line, beside the plain types of YAML.

    Raises:
        InputError: the file is not YAML, not a group of lines, has a key twice or another tag, or aliases or levels
            in such numbers that they are meant to do harm.
        OSError: the file cannot be read.
    """
    check_is_file(path, MOST_BYTES)
    try:
        with open(path, encoding='utf-8') as file:
            opt = yaml.load(file, Loader=OptionLoader)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f'{path} cannot be read as an option file: {_in_one_line(error)}') from error
    if not isinstance(opt, dict):
        raise InputError(f'{path} holds {type(opt).__name__}, expected an option file of "key: value" lines.')
    return opt


class OptionLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which further refuses repeated keys, all tags but ours, and traps made of aliases."""

    def __init__(self, stream: Any):
        super().__init__(stream)
        self._levels = 0
        self._values: dict[int, int] = {}  # of each node with what is in it, by its identity

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """Compose a node, counting levels, and values as if every alias were written out."""
        mark = self.peek_event().start_mark
        is_alias = self.check_event(yaml.AliasEvent)
        self._levels += 1
        if self._levels > MOST_LEVELS:
            raise _refusal(f'it is nested more than {MOST_LEVELS} levels deep', mark)
        node = super().compose_node(parent, index)
        self._levels -= 1
        if is_alias and id(node) not in self._values:
            raise _refusal('an alias stands inside of what it stands for', mark)
        children = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            children = [each for pair in node.value for each in pair]
        self._values[id(node)] = 1 + sum(self._values[id(child)] for child in children)
        if self._values[id(node)] > MOST_VALUES:
            raise _refusal(f'with its aliases written out it has more than {MOST_VALUES} values', mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Return a dict, unless a key stands there twice."""
        written = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in written and key.tag != 'tag:yaml.org,2002:merge':
                raise _refusal(f'the key "{key.value}" stands there twice', key.start_mark)
            written.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return what a node means; a text that is not of its type is an error of YAML."""
        try:
            found = super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:  # of PyYAML's constructors
            kind = node.tag.rpartition(':')[2]
            raise _refusal(f'"{str(node.value)[:40]}" cannot be read as "{kind}"', node.start_mark) from error
        if isinstance(found, int) and found.bit_length() > LONGEST_NUMBER:
            raise _refusal(f'"{node.value[:40]}" is a number of more than {LONGEST_NUMBER} bits', node.start_mark)
        return found

    def refuse(self, node: yaml.Node) -> Any:
        """Raise the error for a tag that is not allowed."""
        tag = node.tag.replace('tag:yaml.org,2002:', '!!')
        reason = 'would run code and is refused' if tag.startswith('!!python/') else 'is refused'
        raise _refusal(f'the tag "{tag}" {reason}; the only one allowed is "{OUR_LINE}"', node.start_mark)


def _refusal(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


OptionLoader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag in PLAIN_TAGS or tag == 'tag:yaml.org,2002:timestamp'  # a date that is written without a tag
}
OptionLoader.add_constructor(OUR_TAG, lambda loader, node: 'basis_blur.plugin.loaded')
OptionLoader.add_constructor(None, OptionLoader.refuse)


def _in_one_line(error: Exception) -> str:
    mark = getattr(error, 'problem_mark', None)
    place = f'line {mark.line + 1}, column {mark.column + 1}: ' if mark is not None else ''
    return place + ' '.join(str(getattr(error, 'problem', None) or error).split()) + '.'


def apply_overrides(opt: MutableMapping[str, Any], entries: list[str] | None) -> None:
    """Change `opt` as the command line's `--force_yml SECTION:KEY=VALUE` asks.

    Raises:
        InputError: an entry has another form or names a section that the file does not have.
    """
    for entry in entries or []:
        keys, found, value = entry.partition('=')
        if not found:
            raise InputError(f'--force_yml {entry!r} has no "=", expected SECTION:KEY=VALUE.')
        if '=' in value:
            raise InputError(
                f'--force_yml {entry!r} has more than one "=", which BasicSR cannot read; change the option '
                'file instead.'
            )
        *sections, last = keys.strip().split(':')
        # BasicSR makes Python code of the keys, and runs it.
        if not all(re.fullmatch(r'[\w .-]+', name) for name in (*sections, last)):
            raise InputError(f'--force_yml {entry!r}: a key has other characters than letters, digits, "_", "-", ".".')
        section = opt
        for name in sections:
            if not isinstance(section.get(name), MutableMapping):
                raise InputError(
                    f'--force_yml {entry!r}: the option file has no section "{name}".{did_you_mean(name, section)}'
                )
            section = section[name]
        section[last] = value_of_text(value.strip())


LONGEST_NUMBER = 100  # bits or characters; Python refuses to write or read some thousand
WHOLE = re.compile(r'[-+]?\d+')
NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?')


def value_of_text(text: str) -> Any:
    """Return what a value on the command line means: none, true/false, a number, a list, or the text itself.

    Differs from BasicSR's reading in that '1e-4' and '-1' are numbers and a list is not executed as Python.
    """
    word = text.lower()
    if word in ('~', 'none'):
        return None
    if word in ('true', 'false'):
        return word == 'true'
    number = text.removeprefix('!!float').strip()
    if NUMBER.fullmatch(number) and len(number) <= LONGEST_NUMBER:
        return int(number) if WHOLE.fullmatch(text) else float(number)
    if text.startswith('['):
        try:
            items = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f'--force_yml: {text} cannot be read as a list: {_in_one_line(error)}') from error
        return [value_of_text(item) if isinstance(item, str) else item for item in items]
    return text


def convert_number_texts(opt: MutableMapping[str, Any]) -> None:
    """Turn texts such as '1e-4', which YAML 1.1 does not know as numbers, into numbers, in place.

    Only where numbers are expected: in `train`, `val`, `network_*` and `datasets`; names and paths stay.
    """
    for key, section in opt.items():
        if key in ('train', 'val', 'datasets') or key.startswith('network_'):
            _convert(section)


def _convert(section: Any) -> None:
    if isinstance(section, MutableMapping):
        items: Iterator[tuple[Any, Any]] = iter(list(section.items()))
    elif isinstance(section, list):
        items = enumerate(list(section))
    else:
        return
    for key, value in items:
        if isinstance(value, str):
            if not _is_name(key) and _is_number_text(value):
                section[key] = float(value)
        else:
            _convert(value)


def _is_number_text(value: str) -> bool:
    return bool(NUMBER.fullmatch(value)) and 'e' in value.lower()


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.startswith(('name', 'type', 'suffix', 'dataroot', 'meta_info', 'filename'))


def check_options(opt: Mapping[str, Any], is_train: bool) -> None:
    """Check the options of a training or a test, as the file has them or as BasicSR's reader returns them.

    Args:
        opt: not modified.
        is_train: which of the two pipelines will use them.

    Raises:
        OptionError: the first thing that is wrong.
    """
    registries = _registries(asks_for_ours='plugin' in opt)
    if 'model_type' not in opt:
        raise OptionError('the option file lacks the key "model_type"; add a line "model_type: BasisBlurModel".')
    model = _component('model', opt, 'model_type', 'the option file', registries)
    ours = is_ours(model)
    registries.asks_for_ours |= ours
    if ours:
        _check_top_level(opt, is_train, model)
    networks = [key for key in opt if key.startswith('network_')]
    for key in networks:
        if not ours and not (isinstance(opt[key], Mapping) and 'type' in opt[key]):
            continue
        _check_component('arch', opt[key], key, registries, ours)
    datasets = opt.get('datasets')
    if isinstance(datasets, Mapping):
        for phase, section in datasets.items():
            _check_dataset(phase, section, is_train, registries, opt if ours else None)
    if ours:
        _check_sections(opt, is_train, model, networks)
    if isinstance(opt.get('train'), Mapping):
        for key, section in opt['train'].items():
            if key.endswith('_opt') and isinstance(section, Mapping) and 'type' in section:
                _check_component('loss', section, f'train: {key}', registries, ours)
    metrics = opt['val'].get('metrics') if isinstance(opt.get('val'), Mapping) else None
    for key, section in (metrics or {}).items():
        if isinstance(section, Mapping) and ('type' in section or ours):
            metric = _component('metric', section, 'type', f'val: metrics: {key}', registries)
            if ours:
                _check_call(section, {section['type']: metric}, f'val: metrics: {key}', 'metric', given=METRIC_IS_GIVEN)
        elif ours:
            raise OptionError(f'val: metrics: {key} is {section!r}, expected a group with "type: calculate_psnr".')


@dataclasses.dataclass
class _Registries:
    """What is registered in BasicSR, by kind and name, and whether the file at hand asks for basis_blur."""

    known: dict[str, Mapping[str, Any]]
    asks_for_ours: bool


def _registries(asks_for_ours: bool) -> _Registries:
    # Imported here because it brings all of BasicSR along, which reading and refusing a bad file does not need.
    from basicsr.utils import registry

    kinds = ('arch', 'dataset', 'loss', 'metric', 'model')
    known = {kind: dict(iter(getattr(registry, f'{kind.upper()}_REGISTRY'))) for kind in kinds}
    return _Registries(known, asks_for_ours)


def _component(kind: str, section: Mapping[str, Any], key: str, where: str, registries: _Registries) -> Any:
    name = section.get(key)
    if not isinstance(name, str):
        raise OptionError(f'{where} lacks the key "{key}", the name of the {kind}; add a line "{key}: ...".')
    known = registries.known[kind]
    found = known.get(name, known.get(f'{name}{BASICSR_SUFFIX}'))
    if found is None:
        short = {other.removesuffix(BASICSR_SUFFIX).removesuffix(OUR_SUFFIX) for other in known}
        own = sorted({other.removesuffix(OUR_SUFFIX) for other, component in known.items() if is_ours(component)})
        hint = did_you_mean(name, sorted(short)) or (f' Of basis_blur there are: {", ".join(own)}.' if own else '')
        raise OptionError(f'{where}: "{key}" is "{name}", but no {kind} of this name is registered.{hint}')
    if registries.asks_for_ours and not is_ours(found) and f'{name}{OUR_SUFFIX}' in known:
        raise OptionError(
            f'{where}: "{key}" is "{name}", which is registered by {found.__module__} and also in basis_blur; write '
            f'"{name}{OUR_SUFFIX}" for that of basis_blur, or register the other under a name of its own.'
        )
    return found


def _check_component(kind: str, section: Any, where: str, registries: _Registries, trains_ours: bool = False) -> None:
    if not isinstance(section, Mapping):
        raise OptionError(f'{where} is {section!r}, expected a group of "key: value" lines.')
    component = _component(kind, section, 'type', where, registries)
    if not is_ours(component):
        if trains_ours:
            _check_call(section, {section['type']: component}, where, kind, given=('self',))
        return
    values = read_options(section, options_of(component), where, others=('type',))
    if kind == 'arch':
        build_without_memory(component, values, f'{where} is a {section["type"]} that cannot be built')
        return
    try:
        component(**values)
    except (ValueError, TypeError) as error:
        raise OptionError(f'{where}: {error}') from error


def _check_top_level(opt: Mapping[str, Any], is_train: bool, model: Any) -> None:
    needed = {'train': Option((dict,)), 'logger': Option((dict,))} if is_train else {'val': Option((dict,))}
    optional = {'train': Option((dict, NoneType), None), 'logger': Option((dict, NoneType), None)}
    own = _section_options(model, '')
    others = [*ADDED, *(key for key in opt if key.startswith('network_') and not any(map(_is_network, own)))]
    values = read_options(opt, {**optional, **TOP, **needed, **own}, 'the option file', others)
    _check_name(values['name'])
    if isinstance(values['num_gpu'], str) and values['num_gpu'] != 'auto':
        raise OptionError(f'the option file: "num_gpu" is {values["num_gpu"]!r}, expected a whole number or auto.')
    if values['num_gpu'] != 'auto' and values['num_gpu'] > 0 and not torch.cuda.is_available():
        raise OptionError(
            f'the option file: "num_gpu" is {values["num_gpu"]}, but torch finds no GPU on this machine; '
            'write "num_gpu: auto", or 0 for the CPU.'
        )


def _check_name(name: str) -> None:
    """Raise OptionError unless BasicSR can make a folder of this name, which it moves away if it is there already."""
    if not name.strip() or name in ('.', '..') or not name.isprintable() or any(mark in name for mark in '/\\'):
        raise OptionError(
            f'the option file: "name" is {name!r}, expected the name of a folder, such as train_basis: the run keeps '
            'its files in experiments/NAME or results/NAME.'
        )


def _is_network(key: str) -> bool:
    return key.startswith('network_')


def _section_options(model: Any, section: str) -> dict[str, Option]:
    return getattr(model, 'OPTIONS', {}).get(section, {})


def _check_dataset(
    phase: str, section: Any, is_train: bool, registries: _Registries, ours: Mapping[str, Any] | None
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
    dataset = _component('dataset', section, 'type', where, registries)
    trains = str(phase).split('_')[0] == 'train'
    needed = ('num_worker_per_gpu', 'batch_size_per_gpu') if trains else ()
    needed = {key: dataclasses.replace(DATASET[key], default=REQUIRED) for key in needed}
    own, others = getattr(dataset, 'OPTIONS', {}), ()
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
    keys = PHOTO_DATASETS.get(dataset.__name__) if dataset.__module__.split('.')[0] == 'basicsr' else None
    if keys is None:
        return {}, section
    backend = section.get('io_backend')
    if not isinstance(backend, Mapping) or backend.get('type') not in BACKENDS:
        raise OptionError(
            f'{where}: "io_backend" is {backend!r}, expected {{type: disk}} for folders of photos or {{type: lmdb}}.'
        )
    options = {key: PHOTOS[key] for key in keys}
    if 'dataroot_gt' in keys:
        if 'scale' not in opt and 'scale' not in section:
            raise OptionError(
                f'the option file lacks the key "scale", which {dataset.__name__} needs; add a line "scale: 1".'
            )
        if is_train:
            options.update({key: dataclasses.replace(PHOTOS[key], default=REQUIRED) for key in TRAINED_ON})
    return options, ()


def _check_roots(section: Mapping[str, Any], where: str) -> None:
    backend = section.get('io_backend')
    if isinstance(backend, Mapping) and backend.get('type') not in ('disk', 'lmdb', None):
        return
    for key, value in section.items():
        if key.startswith('dataroot') and isinstance(value, str):
            read_options({key: value}, {key: Option((str,), is_path=True)}, where)


def _check_sections(opt: Mapping[str, Any], is_train: bool, model: Any, networks: list[str]) -> None:
    if is_train:
        if not any(str(phase).split('_')[0] == 'train' for phase in opt['datasets']):
            raise OptionError('datasets lacks the section "train", which a training needs.')
        _check_logger(opt['logger'], opt['name'], model)
        _check_train(opt['train'], model)
    if opt.get('val') is not None:
        frequency = Option((float,), REQUIRED if is_train else None, least=1)
        read_options(opt['val'], {**VAL, 'val_freq': frequency, **_section_options(model, 'val')}, 'val')
        for key, options in getattr(model, 'VAL_GROUPS', {}).items():
            if opt['val'].get(key) is not None:
                read_options(opt['val'][key], options, f'val: {key}')
    _check_path(opt, is_train, model, networks)


def _check_logger(section: Mapping[str, Any], name: str, model: Any) -> None:
    values = read_options(section, {**LOGGER, **_section_options(model, 'logger')}, 'logger')
    wandb = read_options(values['wandb'] or {}, WANDB, 'logger: wandb')
    if 'debug' in name:  # BasicSR keeps neither of a trial
        return
    if values['use_tb_logger'] and find_spec('tensorboard') is None:
        raise OptionError(
            'logger: "use_tb_logger" is true, but TensorBoard is not installed; install it by '
            '"pip install tensorboard", or write "use_tb_logger: false".'
        )
    if wandb['project'] is None:
        return
    if not values['use_tb_logger']:
        raise OptionError(
            'logger: wandb shows what TensorBoard is given, but "use_tb_logger" is false; write "use_tb_logger: true", '
            'or "wandb: ~".'
        )
    if find_spec('wandb') is None:
        raise OptionError('logger: wandb is not installed; install it by "pip install wandb", or write "wandb: ~".')


def _check_train(section: Mapping[str, Any], model: Any) -> None:
    read_options(section, {**TRAIN, **_section_options(model, 'train')}, 'train')
    for key, value in section.items():
        if key.startswith('optim_') and isinstance(value, Mapping):
            _check_optimizer(value, f'train: {key}')
    if isinstance(section.get('scheduler'), Mapping):
        _check_scheduler(section['scheduler'], int(float(section['total_iter'])))


def _check_optimizer(section: Mapping[str, Any], where: str) -> None:
    known = {
        name: kind
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }
    _check_call(section, known, where, 'optimizer of torch.optim', given=('self', 'params'))
    try:
        known[section['type']]([torch.zeros(1)], **_arguments(section))
    except (ValueError, TypeError) as error:
        raise OptionError(f'{where}: {section["type"]} cannot be built: {error}') from error


def _arguments(section: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {key: value for key, value in section.items() if key != 'type'}
    _convert(arguments := copy.deepcopy(arguments))
    return arguments


def _check_scheduler(section: Mapping[str, Any], total: int) -> None:
    from basicsr.models import lr_scheduler

    known = {name: getattr(lr_scheduler, kind) for name, kind in SCHEDULERS.items()}
    _check_call(section, known, 'train: scheduler', 'scheduler', given=('self', 'optimizer'))
    for key in ('periods', 'milestones', 'restarts', 'restart_weights'):
        values = section.get(key, [])
        if not isinstance(values, list) or not all(isinstance(each, (int, float)) and each >= 0 for each in values):
            raise OptionError(f'train: scheduler: "{key}" is {values!r}, expected a list of numbers >= 0.')
    if 'periods' in section and sum(section['periods']) < total:
        raise OptionError(
            f'train: scheduler: the periods {section["periods"]} end before total_iter {total}; make their sum at '
            'least as large.'
        )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    try:
        known[section['type']](optimizer, **_arguments(section))
    except (ValueError, TypeError, AssertionError, IndexError) as error:
        raise OptionError(f'train: scheduler: {section["type"]} cannot be built: {error}') from error


def _check_call(section: Mapping[str, Any], known: Mapping[str, Any], where: str, kind: str, given: tuple) -> None:
    """Check that `section` names something in `known` and arguments that it takes; foreign, so not their types."""
    name = section.get('type')
    if name not in known:
        raise OptionError(
            f'{where}: "type" is {name!r}, which is no {kind}.{did_you_mean(name, known)} '
            f'There are: {", ".join(sorted(known))}.'
        )
    options: dict[str, Option] = {}
    others = ['type', *(key for key in given if key in section)]
    called = known[name].__init__ if inspect.isclass(known[name]) else known[name]
    project = (known[name].__module__ or '').split('.')[0]
    for argument, parameter in inspect.signature(called).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            # BasicSR's own functions take any argument and ignore it, our metrics what BasicSR's have; what others do
            # with theirs is not known.
            others += {'basicsr': (), 'basis_blur': METRIC_IS_IGNORED}.get(project, section)
        elif argument not in given:
            needed = parameter.default is inspect.Parameter.empty
            number = isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool)
            kinds = (float, torch.Tensor) if number else (object, bool)
            options[argument] = Option(kinds, REQUIRED if needed else parameter.default)
    read_options(section, options, where, others)


def _check_path(opt: Mapping[str, Any], is_train: bool, model: Any, networks: list[str]) -> None:
    section = opt['path']
    own = _section_options(model, 'path')
    # A resumed training takes its networks from beside its state, whatever else is named. With --auto_resume, and in
    # a test, a state that the file names is not used.
    resumes = is_train and section.get('resume_state') is not None
    state_is_read = is_train and not opt.get('auto_resume', False)
    options = {**PATH, 'resume_state': Option((str, NoneType), None, is_path=state_is_read)}
    for network in networks or ['network_g']:
        options[f'pretrain_{network}'] = Option((str, NoneType), None, is_path=not resumes)
        label = network.removeprefix('network_')
        options[f'param_key_{label}'] = Option((str, NoneType), 'params')
        options[f'strict_load_{label}'] = Option((bool,), True)
    others = [key for key in ADDED_PATHS if key not in own]
    read_options(section, {**options, **own}, 'path', others)
