"""Describe the options of an option file, and check a section against the descriptions before anything is built.

BasicSR reads options with `.get` from plain dictionaries, so a misspelt key silently means the default. Here every
component describes each of its options once, as an `Option`: a network or a loss by its
annotated arguments and their lines in its docstring, a data set by its attribute `OPTIONS`, a model by `OPTIONS`, a
dict from the name of a section to its options. The check, the models, the reference page and the JSON schema for
editors are made from these descriptions.
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basis_blur.foundation.errors import InputError, did_you_mean

REQUIRED = object()  # default of an option that has to be given
OUR_SUFFIX = '_basis_blur'  # end of a component's name that can only mean the one of this package
NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?')  # text of a number


class OptionError(InputError):
    """An option file has an unknown key, a value of the wrong type, or names a file that does not exist."""


@dataclass(frozen=True)
class Option:
    """The description of one key of an option file.

    Args:
        kinds: accepted types; `float` also takes whole numbers and texts such as '1e-4', which YAML 1.1 does not
            recognise as numbers, and `NoneType` accepts `None`.
        default: value of an absent key; `REQUIRED` makes absence an error.
        choices: accepted values, if there are only some.
        is_path: whether the value is the path of a file or folder that has to exist.
        names: names that may stand in place of such a path, such as that of a shipped network.
        least, most: bounds of a number, if it has any; with `is_range`, of both numbers.
        above: number that the value has to exceed, if there is one.
        odd: whether the number has to be odd.
        whole: whether a `float` has to be a whole number, such as 1e5.
        is_range: whether the value is a list [low, high] of two numbers, which is returned as a tuple.
        holds: kind of the component that a group of lines describes by its `type`: 'arch', 'loss', 'optimiser',
            'scheduler', or 'metrics' for a group of such groups.
        group: options of a group of lines, if they are known.
        meaning: one or two sentences for the reference page and for editors.
    """

    kinds: tuple[type, ...]
    default: Any = REQUIRED
    choices: tuple[Any, ...] = ()
    is_path: bool = False
    names: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    odd: bool = False
    whole: bool = False
    is_range: bool = False
    holds: str = ''
    group: Mapping[str, Option] | None = None
    meaning: str = ''


class CheckedOptions(dict[str, Any]):
    """Options of a run that have been checked: the dictionary that BasicSR takes, with the values of each section.

    Args:
        options: all options, as in the file.
        sections: values of each section, by its name ('' is the top level), with the defaults filled in.
    """

    def __init__(self, options: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]]):
        super().__init__(options)
        self.sections = sections

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self), self.sections)


def component_name(section: Mapping[str, Any]) -> str | None:
    """Return the name of the component that `type` of a section asks for, without `OUR_SUFFIX`."""
    name = section.get('type')
    return name.removesuffix(OUR_SUFFIX) if isinstance(name, str) else None


def read_options(
    section: Mapping[str, Any], known: Mapping[str, Option], where: str, others: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the values of `section`, with defaults filled in, after checking every key and type.

    Args:
        section: section of the option file; not modified.
        known: options that the section may have.
        where: words for messages by which a person finds the section, such as 'datasets: train'.
        others: further keys that are allowed and not returned, such as those that BasicSR itself reads.

    Raises:
        OptionError: an unknown key (with the nearest known one), a missing key, a value of the wrong type or
            outside the choices, or a path that does not exist.
    """
    others = set(others)
    if not isinstance(section, Mapping):
        raise OptionError(f'{where} is {section!r}, expected a group of "key: value" lines.')
    for key in section:
        if key not in known and key not in others:
            raise OptionError(
                f'{where} has the unknown key "{key}".{did_you_mean(key, [*known, *others])} '
                f'Known keys are: {", ".join(sorted(known))}.'
            )
    return {key: _read(section, key, option, where) for key, option in known.items()}


def _read(section: Mapping[str, Any], key: str, option: Option, where: str) -> Any:
    if key not in section:
        if option.default is REQUIRED:
            raise OptionError(f'{where} lacks the key "{key}" ({kinds_text(option)}); add a line "{key}: ...".')
        return option.default
    value = _as_kind(section[key], option.kinds)
    if value is _MISFIT:
        raise OptionError(
            f'{where}: "{key}" is {section[key]!r} ({type(section[key]).__name__}), expected {kinds_text(option)}.'
        )
    if option.choices and value is not None and value not in option.choices:
        raise OptionError(
            f'{where}: "{key}" is {value!r}, expected one of {", ".join(map(repr, option.choices))}.'
            f'{did_you_mean(value, option.choices)}'
        )
    if option.is_range and value is not None:
        value = _read_range(value, option, f'{where}: "{key}"')
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not _is_within(value, option):
        expected = f'a whole number, {range_text(option)}' if option.whole else range_text(option)
        raise OptionError(f'{where}: "{key}" is {value!r}, expected {expected}.')
    if option.is_path and value is not None and value not in option.names and not _exists(value):
        names = ''.join(f', or give "{name}", the shipped one' for name in option.names)
        raise OptionError(
            f'{where}: "{key}" names {value}, which does not exist (looked from {Path.cwd()}); correct the path{names}.'
        )
    if option.group is not None and value is not None:
        return read_options(value, option.group, f'{where}: {key}')
    return value


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (ValueError, OSError, RuntimeError):  # a zero byte, a name that is too long, a home of nobody
        return False


def _is_within(value: float, option: Option) -> bool:
    return (
        (option.least is None or value >= option.least)
        and (option.most is None or value <= option.most)
        and (option.above is None or value > option.above)
        and not (option.odd and value % 2 == 0)
        and not (option.whole and value % 1)
    )


def _read_range(value: Any, option: Option, what: str) -> tuple[float, float]:
    try:
        low, high = map(float, value)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (low <= high < math.inf and _is_within(low, option) and _is_within(high, option)):
        raise OptionError(f'{what} is {value!r}, expected {range_text(option)}.')
    return low, high


def range_text(option: Option) -> str:
    """Return the numbers that an option takes, in words; an empty text if it takes all."""
    least = f'{option.least:,}' if option.least is not None else ''
    most = f'{option.most:,}' if option.most is not None else ''
    if option.is_range:
        lower = f'{option.above:,} < ' if option.above is not None else f'{least} <= ' if least else ''
        return f'two numbers [low, high] with {lower}low <= high{f" <= {most}" if most else ""}'
    words = f'{least} to {most}' if least and most else f'at least {least}' if least else f'at most {most}' * bool(most)
    if option.above is not None:
        words = f'> {option.above:,}{f" and {words}" if words else ""}'
    if option.odd:
        words = f'an odd number{f", {words}" if words else ""}'
    return words


def is_number_text(value: str) -> bool:
    """Tell whether a text is a number with an exponent, such as '1e-4', which YAML 1.1 does not recognise as one."""
    return bool(NUMBER.fullmatch(value)) and 'e' in value.lower()


_MISFIT = object()


def _as_kind(value: Any, kinds: tuple[type, ...]) -> Any:
    if isinstance(value, bool):
        return value if bool in kinds else _MISFIT
    if isinstance(value, kinds) and not (isinstance(value, float) and not math.isfinite(value)):
        return value
    if float in kinds and (isinstance(value, int) or (isinstance(value, str) and is_number_text(value))):
        try:
            number = float(value)
        except (ValueError, OverflowError):  # no number; one of hundreds of digits
            return _MISFIT
        return number if math.isfinite(number) else _MISFIT
    if tuple in kinds and isinstance(value, list):
        return tuple(value)
    if list in kinds and isinstance(value, tuple):
        return list(value)
    return _MISFIT


def kinds_text(option: Option) -> str:
    """Return the types of values that an option takes, and its choices, in words."""
    words = {
        int: 'a whole number', float: 'a whole number' if option.whole else 'a number', str: 'a text',
        bool: 'true or false', list: 'a list', tuple: 'a list', dict: 'a group of lines', types.NoneType: '~ (none)',
    }  # fmt: skip
    text = ' or '.join(dict.fromkeys(words.get(kind, kind.__name__) for kind in option.kinds))
    return f'{text}, one of {", ".join(map(repr, option.choices))}' if option.choices else text


def options_of(build: Callable[..., Any]) -> dict[str, Option]:
    """Return the options that a class or function takes, read from its annotated keyword arguments and its docstring.

    Args:
        build: a network or loss class, or a function, whose parameters are all annotated;
            `Literal` annotations become choices.
    """
    function = build.__init__ if inspect.isclass(build) else build
    hints = typing.get_type_hints(function)
    meanings = meanings_of(build)
    options = {}
    for name, parameter in inspect.signature(build).parameters.items():
        kinds, choices = _kinds_of(hints[name])
        default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
        options[name] = Option(kinds, default, choices, meaning=meanings.get(name, ''))
    return options


def meanings_of(build: Callable[..., Any]) -> dict[str, str]:
    """Return the lines on each argument in the section "Args" of a docstring, joined."""
    _, found, rest = (inspect.getdoc(build) or '').partition('\nArgs:\n')
    if not found:
        return {}
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in rest.splitlines():
        if line and not line.startswith(' '):  # the next section
            break
        if begun := re.match(r' {4}(\w+(?:, \w+)*): (.*)', line):
            names = begun[1].split(', ')
            meanings.update(dict.fromkeys(names, begun[2].strip()))
        elif line.strip():
            meanings.update({name: f'{meanings[name]} {line.strip()}' for name in names})
    return meanings


def _kinds_of(hint: Any) -> tuple[tuple[type, ...], tuple[Any, ...]]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        parts = [_kinds_of(part) for part in typing.get_args(hint)]
        return sum((kinds for kinds, _ in parts), ()), sum((choices for _, choices in parts), ())
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        return tuple(dict.fromkeys(type(choice) for choice in choices)), choices
    kind = origin or hint
    return ((kind,) if isinstance(kind, type) else (object,)), ()
