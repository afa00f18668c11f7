"""Find the component that a section of an option file names in BasicSR's registries, and check its arguments.

Ours describe their arguments. Of those of other projects the names are checked where a model of ours uses them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from basis_blur.bridges.basicsr.names import BASICSR_SUFFIX, is_ours
from basis_blur.foundation.errors import did_you_mean
from basis_blur.foundation.options import OUR_SUFFIX, OptionError, options_of, read_options
from basis_blur.models.optimisation import read_arguments
from basis_blur.weights.checkpoints import build_without_memory


@dataclasses.dataclass
class Registries:
    """The components registered in BasicSR, by kind and name, and whether the file at hand asks for basis_blur."""

    known: dict[str, Mapping[str, Any]]
    asks_for_ours: bool


def registries_of_basicsr(asks_for_ours: bool) -> Registries:
    """Return what is registered now."""
    # Imported here because it brings all of BasicSR along, which reading and refusing a bad file does not need.
    from basicsr.utils import registry

    kinds = ('arch', 'dataset', 'loss', 'metric', 'model')
    known: dict[str, Mapping[str, Any]] = {
        kind: dict(iter(getattr(registry, f'{kind.upper()}_REGISTRY'))) for kind in kinds
    }
    return Registries(known, asks_for_ours)


def find(kind: str, section: Mapping[str, Any], key: str, where: str, registries: Registries) -> Any:
    """Return the component that a section names.

    Args:
        kind: 'arch', 'dataset', 'loss', 'metric' or 'model'.
        section: the section of the option file.
        key: its key that holds the name.
        where: words by which a person finds the section, for messages.
        registries: components that are registered.

    Raises:
        OptionError: there is none of this name, or two.
    """
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


def check(kind: str, section: Any, where: str, registries: Registries, trains_ours: bool = False) -> None:
    """Check that a section names a component and arguments from which it can be built.

    Args:
        kind, where, registries: arguments of `find`.
        section: the section of the option file.
        trains_ours: whether a model of ours uses the component; of others only the name counts.

    Raises:
        OptionError: it does not.
    """
    if not isinstance(section, Mapping):
        raise OptionError(f'{where} is {section!r}, expected a group of "key: value" lines.')
    component = find(kind, section, 'type', where, registries)
    if not is_ours(component):
        if trains_ours:
            read_arguments(section, component, where, given=('self',))
        return
    values = read_options(section, options_of(component), where, others=('type',))
    if kind == 'arch':
        build_without_memory(component, values, f'{where} is a {section["type"]} that cannot be built')
        return
    try:
        component(**values)
    except (ValueError, TypeError) as error:
        raise OptionError(f'{where}: {error}') from error
