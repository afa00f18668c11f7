"""A check that this Python finds a `basicsr` that can be extended, with advice if it does not.

BasicSR is an extra of this package: estimating and removing blur need none of it. Some projects (NAFNet, UFPDeblur)
carry a `basicsr` folder of their own, made from a version before 1.3, which has no registries.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path

from basis_blur.foundation.errors import InputError

INSTALL = "pip install 'basis_blur[basicsr]'"  # advice where BasicSR is missing


class MissingBasicSRError(InputError, ImportError):
    """There is no `basicsr`, or one that cannot be extended."""


def check() -> None:
    """Raise MissingBasicSRError unless there is a `basicsr` with registries; does not import it."""
    spec = find()
    if spec is None:
        raise MissingBasicSRError(
            f'BasicSR is not installed, and training and testing from option files need it: {INSTALL} '
            '(Python 3.10 to 3.12).'
        )
    folders = spec.submodule_search_locations or ()
    if not has_registries(folders):
        raise MissingBasicSRError(
            f'the basicsr in {", ".join(folders)} has no registries (utils/registry.py), as forks of versions before '
            f'1.3 have not, and cannot be extended; train outside of that project, with BasicSR by {INSTALL}.'
        )


def find() -> ModuleSpec | None:
    """Return where `basicsr` would be imported from, None if nowhere."""
    return importlib.util.find_spec('basicsr')


def has_registries(folders: Iterable[str]) -> bool:
    """Return whether one of the folders of a `basicsr` package has its module of registries."""
    return any(Path(folder, 'utils', 'registry.py').is_file() for folder in folders)


def register_when_complete(name: str) -> None:
    """Have the start-up hook load the plugin, if it waits for the module that calls this by its last line.

    The hook loads the plugin as soon as basicsr is imported. Where that happens within a module that the plugin needs,
    the module is not complete then; so the hook waits for it.

    Args:
        name: name of the module.
    """
    hook = sys.modules.get('_basis_blur_hook')
    if hook is not None and getattr(hook, 'WAITS', False):
        hook.register_after(name)
