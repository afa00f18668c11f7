"""Read an option file, and what a command line changes in it, without executing anything that stands there.

BasicSR's own reader obeys every Python tag, and makes Python code of `--force_yml`. This one knows a single tag, our
`plugin` line, beside the plain types of YAML.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import yaml

from basis_blur.foundation.errors import InputError, did_you_mean
from basis_blur.foundation.files import check_is_file
from basis_blur.foundation.options import NUMBER, is_number_text

OUR_LINE = 'plugin: !!python/name:basis_blur.plugin.loaded'  # line of an option file by which BasicSR loads the plugin
OUR_TAG = 'tag:yaml.org,2002:python/name:basis_blur.plugin.loaded'  # tag of YAML in that line
# Tags that mean no more than a type of YAML itself; BasicSR's users write numbers as "!!float 1e-4".
PLAIN_TAGS = tuple(f'tag:yaml.org,2002:{name}' for name in ('null', 'bool', 'int', 'float', 'str', 'seq', 'map'))
# An option file has some hundred values; what is beyond these limits wants the memory of the machine, or its stack.
MOST_BYTES = 10**6
MOST_VALUES = 20_000  # number of values with aliases written out
MOST_LEVELS = 50  # largest depth of nested values
LONGEST_NUMBER = 100  # bits or characters; Python refuses to write or read some thousand
WHOLE = re.compile(r'[-+]?\d+')  # text of a whole number


def read_option_file(path: str | Path) -> dict[str, Any]:
    """Read an option file without executing anything in it.

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
        self._values: dict[int, int] = {}  # number of values of each node, by its identity

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
        if str(key) in ('train', 'val', 'datasets') or str(key).startswith('network_'):
            _convert(section)


def with_numbers(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a section in which such texts are numbers."""
    copied = copy.deepcopy(dict(section))
    _convert(copied)
    return copied


def _convert(section: Any) -> None:
    if isinstance(section, MutableMapping):
        items: Iterator[tuple[Any, Any]] = iter(list(section.items()))
    elif isinstance(section, list):
        items = enumerate(list(section))
    else:
        return
    for key, value in items:
        if isinstance(value, str):
            if not _is_name(key) and is_number_text(value):
                section[key] = float(value)
        else:
            _convert(value)


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.startswith(('name', 'type', 'suffix', 'dataroot', 'meta_info', 'filename'))
