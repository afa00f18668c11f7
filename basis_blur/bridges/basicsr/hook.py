"""Start-up hook: load the plugin whenever BasicSR is imported, by whatever script.

setup.py installs a copy of this file beside the package as `_basis_blur_hook.py`, with a `.pth` line that imports it
at every start of Python. So it imports nothing that start-up does not have already, basis_blur (and with it torch)
least of all, and it does nothing but compare names until somebody imports `basicsr`.
`BASIS_BLUR_HOOK=off` in the environment keeps it out.
"""

import os
import sys


class BasicSRFinder:
    """Find `basicsr` where the other finders do, and have the plugin loaded right after it has been executed."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Return the spec of `basicsr`, prepared; None for every other name."""
        if name != 'basicsr':
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not cls else None
            if spec is not None:
                break
        if spec is not None and spec.loader is not None:
            # Only this one loader object is touched: its class, and resources found through it, stay as they are.
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _execute_and_register(execute, module)
        return spec


def _execute_and_register(execute, module):
    usable = _has_registries(module) and _guarded(_close_torchvision_gaps)
    execute(module)
    if usable:
        _guarded(_register)


def _has_registries(module):
    """Return whether the plugin has a place in this `basicsr`; forks of versions before 1.3 have none."""
    return any(
        os.path.isfile(os.path.join(folder, 'utils', 'registry.py')) for folder in getattr(module, '__path__', ())
    )


def _close_torchvision_gaps():
    from basis_blur.bridges import torchvision_shim

    torchvision_shim.install()


LOADED_PLUGIN = False  # whether this hook, and not the program itself, has asked for the plugin
WAITS = False  # whether the plugin is to be loaded as soon as a module of it, which is being imported, is complete


def _register(complete=None):
    global LOADED_PLUGIN, WAITS
    # A module of the plugin that imports basicsr itself is not complete yet; its last line calls `register_after`.
    names = [name for name in sys.modules if name.startswith('basis_blur.bridges.basicsr.') and name != complete]
    WAITS = any(getattr(getattr(sys.modules[name], '__spec__', None), '_initializing', False) for name in names)
    if not WAITS:
        LOADED_PLUGIN = 'basis_blur.plugin' not in sys.modules
        import basis_blur.bridges.basicsr.registration  # noqa: F401


def register_after(name):
    """Load the plugin now that its module `name` is complete, unless another one is being imported too."""
    _guarded(lambda: _register(name))


def _guarded(step):
    """Run `step`; a plugin that cannot be loaded must not take BasicSR down with it, so its failure is a warning."""
    try:
        step()
    except Exception as error:
        import warnings

        warnings.warn(
            f'basis_blur is not registered in BasicSR: {type(error).__name__}: {error}. '
            'Run "basis-blur doctor" for more; BASIS_BLUR_HOOK=off in the environment turns this hook off.',
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


def install():
    """Put the finder before the others, once."""
    if BasicSRFinder not in sys.meta_path and 'basicsr' not in sys.modules:
        sys.meta_path.insert(0, BasicSRFinder)


if __name__ == '_basis_blur_hook':
    install()
