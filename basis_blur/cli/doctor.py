"""basis-blur doctor: print what is installed, what is registered in BasicSR, and what had to be mended.

The last lines say whether training will work; the exit code is 2 if BasicSR is there and it will not, else 0.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path

from basis_blur import __version__
from basis_blur.bridges.basicsr import presence

DESCRIPTION = 'Print what is installed, what is registered in BasicSR, and what had to be mended.'

DISTRIBUTIONS = {
    'torchvision': ('torchvision',),
    'numpy': ('numpy',),
    'opencv': ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless'),
    'lmdb': ('lmdb',),
    'pillow': ('pillow',),
    'tifffile': ('tifffile',),
    'pillow-heif': ('pillow-heif',),
    'rawpy': ('rawpy',),
    'safetensors': ('safetensors',),
    'mmengine': ('mmengine', 'mmengine-lite'),
    'deepinv': ('deepinv',),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no options; the command has none."""


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    _print_machine()
    mistake, remark = _print_basicsr()
    _print_hook()
    if mistake:
        print(f'\nNot well: {mistake}')
        return 2
    print(f'\nEstimating and removing blur work; {remark}' if remark else '\nAll is well.')
    return 0


def _line(name: str, text: str) -> None:
    print(f'{name:<14} {text}')


def _print_machine() -> None:
    import torch

    import basis_blur

    _line('basis_blur', f'{__version__}  {Path(basis_blur.__file__).parent}')
    _line('python', f'{platform.python_version()}  {sys.executable}')
    _line('torch', f'{torch.__version__}, {torch.get_num_threads()} threads on {os.cpu_count()} cores')
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    _line('GPU', ', '.join(gpus) or 'none that torch can use; everything runs on the CPU')
    for name, distributions in DISTRIBUTIONS.items():
        _line(name, _version(distributions) or 'not installed')


def _version(distributions: tuple[str, ...]) -> str | None:
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _print_basicsr() -> tuple[str, str]:
    """Print the state of BasicSR; return its faults, and what is no fault but prevents trainings."""
    spec = presence.find()
    try:
        presence.check()
    except presence.MissingBasicSRError as error:
        _line('basicsr', 'not installed' if spec is None else 'without registries')
        return '', str(error)
    place = Path(spec.origin) if spec is not None and spec.origin is not None else Path('unknown')
    try:
        plugin = importlib.import_module('basis_blur.plugin')
        registry = importlib.import_module('basicsr.utils.registry')
        version = importlib.import_module('basicsr.version').__version__
    except Exception as error:  # whatever it is, this command is there to report it
        _line('basicsr', f'cannot be used  {place}')
        return f'BasicSR with basis_blur cannot be imported: {type(error).__name__}: {error}', ''
    from basis_blur.bridges import torchvision_shim
    from basis_blur.bridges.basicsr import mended as compatibility
    from basis_blur.bridges.basicsr.names import is_ours
    from basis_blur.foundation.options import OUR_SUFFIX

    _line('basicsr', f'{version}  {place.parent}')
    print(f'\nRegistered in BasicSR ({plugin.loaded}):')
    for kind in ('arch', 'loss', 'dataset', 'model', 'metric'):
        known = dict(iter(getattr(registry, f'{kind.upper()}_REGISTRY')))
        own = sorted(name for name, component in known.items() if is_ours(component) and not name.endswith(OUR_SUFFIX))
        _line(f'  {kind}', ', '.join(own) or '-')
    print('\nMended in this process:')
    for sentence in [*torchvision_shim.active(), *compatibility.active()]:
        print(f'  {sentence}')
    return '', ''


def _print_hook() -> None:
    from basis_blur.bridges.basicsr import hook as basicsr_hook

    spec = importlib.util.find_spec('_basis_blur_hook')
    if spec is None or spec.origin is None:
        state = 'not installed; BasicSR\'s own scripts need the "plugin:" line, or install basis_blur by pip'
    elif '_basis_blur_hook' not in sys.modules:
        state = f'installed, but switched off (BASIS_BLUR_HOOK=off)  {spec.origin}'
    elif Path(spec.origin).read_text() != Path(basicsr_hook.__file__).read_text():
        state = f'installed, but by another version; install basis_blur once more  {spec.origin}'
    else:
        state = f'installed  {spec.origin}'
    print()
    _line('start-up hook', state)
