"""The reference page of option files, and a JSON schema by which editors complete and check them.

Both are made from the descriptions by which `check_options` judges a file, so they cannot say anything else.

In a schema of JSON (draft 7), as the language servers of editors know it, the sections depend on `model_type`, and what
is within the section of a component on its `type`. What the schema cannot say, such as that a folder exists, is left to
the check.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any

from basis_blur.bridges.basicsr.components import registries_of_basicsr
from basis_blur.bridges.basicsr.names import is_ours
from basis_blur.bridges.basicsr.option_check import PARTS, section_options
from basis_blur.foundation.basicsr_options import ADDED, DATASET, METRIC_IS_IGNORED, PHOTO_DATASETS
from basis_blur.foundation.options import OUR_SUFFIX, REQUIRED, Option, kinds_text, options_of, range_text
from basis_blur.models.network_model import NetworkModel
from basis_blur.models.optimisation import LISTS, SCHEDULERS, optimisers

PLAIN = (int, float, str, bool, list, tuple, dict, types.NoneType)  # types that a value of an option file can have
JSON_TYPES = {
    int: 'integer', float: 'number', str: 'string', bool: 'boolean', list: 'array', tuple: 'array', dict: 'object',
    types.NoneType: 'null',
}  # fmt: skip
TITLES = {
    'arch': ('Networks', '`network_g`: the `type` and its hyper-parameters.'),
    'loss': ('Losses', 'Options of `train` that end with `_opt`: the `type` and its arguments.'),
}
INTRODUCTION = """# Options

This page is made by `python scripts/options_page.py` from the descriptions that `basis-blur train` and `test` check a
file by; change those, not the page. `basis-blur options` lists the option files that come with basis_blur.

Editors complete and check a file by a schema: write it with `basis-blur options --schema > basis_blur.schema.json`, and
`# yaml-language-server: $schema=basis_blur.schema.json` as a comment into the option file.

"required" means that the key must be there; `~` is YAML's word for none. A number may be written as `1e-4`."""


def page() -> str:
    """Return the reference page, in Markdown; the plugin must be loaded."""
    parts = [INTRODUCTION, '## Top level', _table(section_options(NetworkModel, '', is_train=True))]
    parts += ['## Data sets', 'Every section of `datasets`:', _table(DATASET)]
    for name, dataset in _ours('dataset').items():
        parts += [f'### {name}', _summary(dataset), _table(dataset.OPTIONS)]
    for name, options in PHOTO_DATASETS.items():
        parts += [f'### {name}', 'The data set of BasicSR, as our models know it.', _table(options)]
    parts.append('## What all models read')
    for section in (*PARTS, 'path'):
        parts += [f'### `{section}`', _table(section_options(NetworkModel, section, is_train=True))]
    parts += ['## Models', 'The `model_type`, and what each reads beside what all read.']
    for name, model in _ours('model').items():
        parts += [f'### {name}', _summary(model)]
        for section in (*PARTS, 'path'):
            common = section_options(NetworkModel, section, is_train=True)
            own = {key: each for key, each in section_options(model, section, True).items() if common.get(key) != each}
            if own:
                parts += [f'In `{section}`:', _table(own)]
    for kind, (title, introduction) in TITLES.items():
        parts += [f'## {title}', introduction]
        for name, component in _ours(kind).items():
            parts += [f'### {name}', _summary(component), _table(_options_in_files(component))]
    parts += ['## Metrics', '`val: metrics: NAME`: the `type`, any of BasicSR or one of these.']
    parts.append('\n'.join(f'- `{name}`: {_summary(metric)}' for name, metric in _ours('metric').items()))
    schedulers = ', '.join(f'`{name}`' for name in SCHEDULERS)
    parts += [
        '## Optimisers and schedulers',
        '`train: optim_g` takes any optimiser of torch.optim but LBFGS: the `type`, `lr` and its other arguments. '
        f'`train: scheduler` takes {schedulers}, those of BasicSR, and their arguments.',
    ]
    return '\n\n'.join(parts) + '\n'


def _ours(kind: str) -> dict[str, Any]:
    known = registries_of_basicsr(asks_for_ours=True).known[kind]
    ours = {component.__name__: component for component in known.values() if is_ours(component)}
    return dict(sorted(ours.items()))


def _options_in_files(component: Any) -> dict[str, Option]:
    """Return the arguments of a component that a file can give; of others the types are classes."""
    return {key: option for key, option in options_of(component).items() if set(option.kinds) <= set(PLAIN)}


def _summary(component: Any) -> str:
    return (inspect.getdoc(component) or '').partition('\n\n')[0].replace('\n', ' ')


def _table(options: Mapping[str, Option]) -> str:
    lines = ['| option | value | default | meaning |', '|---|---|---|---|']
    for key, option in options.items():
        cells = (f'`{key}`', _value_text(option), _default_text(option), _sentence(option.meaning))
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
        lines += [
            f'| `{key}: {name}` | {_value_text(each)} | {_default_text(each)} | {_sentence(each.meaning)} |'
            for name, each in (option.group or {}).items()
        ]
    return '\n'.join(lines)


def _sentence(meaning: str) -> str:
    return meaning[:1].upper() + meaning[1:] if meaning.partition(' ')[0].isalpha() and len(meaning) > 1 else meaning


def _value_text(option: Option) -> str:
    words = range_text(option) if option.is_range else ', '.join(filter(None, (kinds_text(option), range_text(option))))
    if option.is_path:
        words += ', a path' + ''.join(f' or "{name}"' for name in option.names)
    return words


def _default_text(option: Option) -> str:
    if option.default is REQUIRED:
        return 'required'
    if option.default is None:
        return '`~`'
    if isinstance(option.default, bool):
        return f'`{str(option.default).lower()}`'
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    return f'`{default}`'.replace("'", '')


def schema() -> dict[str, Any]:
    """Return a JSON schema of option files; the plugin must be loaded."""
    definitions: dict[str, Any] = {
        'dataset': _by_type(
            {
                **{name: {**DATASET, **dataset.OPTIONS} for name, dataset in _ours('dataset').items()},
                **{name: {**DATASET, **options} for name, options in PHOTO_DATASETS.items()},
            }
        ),
        'optimiser': {
            'type': 'object',
            'required': ['type', 'lr'],
            'properties': {'type': {'enum': sorted(optimisers())}, 'lr': {'type': 'number', 'minimum': 0}},
        },
        'scheduler': {
            'type': 'object',
            'required': ['type'],
            'properties': {
                'type': {'enum': list(SCHEDULERS)},
                **{name: {'type': 'array', 'items': {'type': 'number', 'minimum': 0}} for name in LISTS},
            },
        },
        'metrics': {'type': ['object', 'null'], 'additionalProperties': {'$ref': '#/definitions/metric'}},
        'metric': {
            'type': 'object',
            'required': ['type'],
            'properties': {
                'type': {'anyOf': [{'enum': list(_ours('metric'))}, {'type': 'string'}]},
                'better': {'enum': ['higher', 'lower']},
                METRIC_IS_IGNORED[0]: {'type': 'integer', 'minimum': 0},
                METRIC_IS_IGNORED[1]: {'type': 'boolean'},
            },
        },
        **{kind: _by_type({name: _options_in_files(each) for name, each in _ours(kind).items()}) for kind in TITLES},
    }
    models = _ours('model')
    names = [*models, *(f'{name}{OUR_SUFFIX}' for name in models)]
    return {
        '$schema': 'http://json-schema.org/draft-07/schema#',
        'title': 'Option file of BasicSR with basis_blur',
        'type': 'object',
        'required': ['model_type'],
        'properties': {'model_type': {'anyOf': [{'enum': names}, {'type': 'string'}]}},
        'allOf': [_of_model(name, model) for name, model in models.items()],
        'definitions': definitions,
    }


def _of_model(name: str, model: Any) -> dict[str, Any]:
    """Return what holds where `model_type` is one of ours; a file with `train` is a training, another a test."""
    top = section_options(model, '', is_train=False)
    properties = {key: _of_option(option) for key, option in top.items()}
    sections = {section: _of_group(section_options(model, section, False)) for section in (*PARTS, 'path')}
    properties.update(sections)
    properties['model_type'] = {'type': 'string'}
    properties['plugin'] = {}  # written with a tag of YAML, which editors show as they like
    properties['datasets'] = {
        'type': 'object',
        'patternProperties': {'^(train|val|test)(_.*)?$': {'$ref': '#/definitions/dataset'}},
        'additionalProperties': False,
    }
    properties.update({key: {} for key in ADDED})
    then = {
        'required': [key for key, option in top.items() if option.default is REQUIRED and key != 'val'],
        'properties': properties,
        'additionalProperties': False,
    }
    return {'if': {'properties': {'model_type': {'enum': [name, f'{name}{OUR_SUFFIX}']}}}, 'then': then}


def _by_type(known: Mapping[str, Mapping[str, Option]]) -> dict[str, Any]:
    """Return the schema of a section whose `type` names a component; of one that is not ours anything may stand."""
    cases = []
    for name, options in known.items():
        group = _of_group(options)
        group['properties']['type'] = {'type': 'string'}
        cases.append({'if': {'properties': {'type': {'enum': [name, f'{name}{OUR_SUFFIX}']}}}, 'then': group})
    return {
        'type': 'object',
        'required': ['type'],
        'properties': {'type': {'anyOf': [{'enum': list(known)}, {'type': 'string'}]}},
        'allOf': cases,
    }


def _of_group(options: Mapping[str, Option]) -> dict[str, Any]:
    return {
        'type': 'object',
        'required': [key for key, option in options.items() if option.default is REQUIRED and key != 'type'],
        'properties': {key: _of_option(option) for key, option in options.items()},
        'additionalProperties': False,
    }


def _of_option(option: Option) -> dict[str, Any]:
    described: dict[str, Any] = {'description': _sentence(option.meaning)} if option.meaning else {}
    if option.default is not REQUIRED:
        described['default'] = list(option.default) if isinstance(option.default, tuple) else option.default
    if option.holds:
        reference = {'$ref': f'#/definitions/{option.holds}'}
        return {**described, 'anyOf': [reference, {'type': 'null'}] if types.NoneType in option.kinds else [reference]}
    if option.group is not None:
        return {**described, 'anyOf': [_of_group(option.group), {'type': 'null'}]}
    if option.choices:
        return {**described, 'enum': [*option.choices, *([None] if types.NoneType in option.kinds else [])]}
    kinds = [JSON_TYPES[kind] for kind in option.kinds]
    described['type'] = kinds if len(kinds) > 1 else kinds[0]
    limits = {'minimum': option.least, 'maximum': option.most, 'exclusiveMinimum': option.above}
    numbers: dict[str, Any] = {key: limit for key, limit in limits.items() if limit is not None}
    if option.whole:
        numbers['multipleOf'] = 1
    if option.odd:
        numbers['not'] = {'multipleOf': 2}
    if option.is_range:
        return {**described, 'items': {'type': 'number', **numbers}, 'minItems': 2, 'maxItems': 2}
    return {**described, **numbers}
