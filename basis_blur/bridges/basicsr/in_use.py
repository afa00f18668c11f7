"""A record of whether the training or test in this process uses basis_blur; only then is BasicSR changed.

The start-up hook loads the plugin into every program that imports BasicSR, so that our components are found. The
trainings of other projects, which use none of them, must run as if this package were not installed. So the changes are
in force only if

1. a command of ours is at work, or the program itself imports `basis_blur.plugin`, as the `plugin:` line of an option
   file does; or
2. the option file asks for us: it has that line, or names a component of ours.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from basicsr.utils import registry

from basis_blur.bridges.basicsr.names import is_ours
from basis_blur.bridges.basicsr.option_file import read_option_file
from basis_blur.foundation.errors import InputError

# Registries of BasicSR.
REGISTRIES = tuple(value for value in vars(registry).values() if isinstance(value, registry.Registry))
TYPES = ('type', 'model_type')  # keys that name a component


class _Use:
    asked: bool | None = None  # None before `decide` is called


def loaded_by_hook() -> bool:
    """Return whether nothing but the start-up hook has asked for the plugin in this process."""
    return getattr(sys.modules.get('_basis_blur_hook'), 'LOADED_PLUGIN', False)


def in_force() -> bool:
    """Return whether the changes of `mended` are in force now."""
    return not loaded_by_hook() if _Use.asked is None else _Use.asked


def decide(asked: bool) -> None:
    """Say whether the training or test that begins is one for basis_blur."""
    _Use.asked = asked


def decide_by_command_line(arguments: list[str]) -> None:
    """Decide by the option file that a command line of BasicSR names.

    A file that cannot be read as an option file is ours if `basis_blur` stands in it; then its mistake is reported.
    """
    if not loaded_by_hook():
        return
    words = itertools.pairwise(arguments)
    path = next((following for word, following in words if word in ('-opt', '--opt')), None)
    if path is None:
        return
    try:
        decide(asks_for_us(read_option_file(path)))
    except (InputError, OSError):
        try:
            with open(path, encoding='utf-8', errors='replace') as file:
                decide('basis_blur' in file.read())
        except OSError:
            decide(False)


def asks_for_us(opt: Mapping[str, Any]) -> bool:
    """Return whether options have our `plugin:` line or name a component that this package has registered."""
    if 'basis_blur' in str(opt.get('plugin')):
        return True
    named = set(_types_in(opt))
    return any(is_ours(component) and name in named for known in REGISTRIES for name, component in known)


def _types_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key in TYPES and isinstance(each, str):
                yield each
            yield from _types_in(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _types_in(each)
