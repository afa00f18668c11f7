"""Whose component a name in BasicSR's registries means.

Other projects that build on BasicSR register a `NAFNet` or a `PSNRLoss` of their own. Therefore

1. each component of ours is registered as `NAME_basis_blur`, which is nobody else's name;
2. it is also registered as `NAME` where no project has that name, and makes room when one registers it later;
3. all are registered, or none.

So a project that never asks for basis_blur trains as it would without it. An option file that does ask for it, and
writes a name that a project has taken, is refused in `option_check`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from basis_blur.foundation.options import OUR_SUFFIX

# BasicSR 1.4.2 also finds a component under its name with this suffix, if no other has the name itself.
BASICSR_SUFFIX = '_basicsr'
YIELDS = '_basis_blur_yields'  # attribute of a registry's method that lets others have a name of ours


def is_ours(component: Any) -> bool:
    """Return whether a class or function was written in this package."""
    return str(getattr(component, '__module__', '')).split('.')[0] == 'basis_blur'


def check(components: Mapping[Any, Iterable[Any]]) -> None:
    """Raise RuntimeError if `register` could not register all of `components`."""
    for registry, component in _pairs(components):
        long_name = f'{component.__name__}{OUR_SUFFIX}'
        present = dict(iter(registry)).get(long_name, component)
        if not is_ours(present):
            raise RuntimeError(
                f'{component.__module__} cannot register "{long_name}" in BasicSR: {present.__module__} did so before. '
                'Rename that component; names that end like this are those of basis_blur.'
            )


def register(components: Mapping[Any, Iterable[Any]]) -> None:
    """Put every component into its registry, under both of its names where both are free.

    Args:
        components: map from a registry of BasicSR to classes and functions of this package. Those that are there
            already stay.

    Raises:
        RuntimeError: somebody else's component has the long name of one of ours; nothing was registered then.
    """
    check(components)
    for registry in components:
        if not hasattr(registry._do_register, YIELDS):
            registry._do_register = _yielding(registry, registry._do_register)
    for registry, component in _pairs(components):
        name, present = component.__name__, dict(iter(registry))
        if f'{name}{OUR_SUFFIX}' not in present:
            registry._do_register(f'{name}{OUR_SUFFIX}', component)
        if name not in present and f'{name}{BASICSR_SUFFIX}' not in present:
            registry._do_register(name, component)


def _pairs(components: Mapping[Any, Iterable[Any]]) -> list[tuple[Any, Any]]:
    return [(registry, component) for registry, kind in components.items() for component in kind]


def _yielding(registry: Any, original: Callable) -> Callable:
    def do_register(name: str, component: Any, *suffix: Any) -> None:
        written = '_'.join([name, *(each for each in suffix if isinstance(each, str))])
        if not is_ours(component):
            for taken in {written, written.removesuffix(BASICSR_SUFFIX)}:
                present = dict(iter(registry)).get(taken)
                if is_ours(present) and not taken.endswith(OUR_SUFFIX):
                    del registry._obj_map[taken]
        original(name, component, *suffix)

    setattr(do_register, YIELDS, True)
    return do_register
