"""The start-up hook: without weight, and harmless when the plugin is broken."""

import os
import py_compile
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from basis_blur.bridges.basicsr import hook as basicsr_hook

pytestmark = pytest.mark.processes


@pytest.fixture
def start(tmp_path):
    """Start a Python that has the hook, a tiny `basicsr` and whatever `basis_blur` is asked for; run code in it."""

    def start(plugin, code, registries=True, **environment):
        site = tmp_path / 'site'
        for name, text in {
            '_basis_blur_hook.py': Path(basicsr_hook.__file__).read_text(),
            'basis_blur/__init__.py': '',
            'basis_blur/bridges/__init__.py': '',
            'basis_blur/bridges/torchvision_shim.py': 'def install(): print("shim")',
            'basis_blur/bridges/basicsr/__init__.py': '',
            'basis_blur/bridges/basicsr/registration.py': plugin,
            'basis_blur/plugin.py': 'import basis_blur.bridges.basicsr.registration',
            'basicsr/__init__.py': 'print("basicsr")',
            'basicsr/train.py': '',
            **({'basicsr/utils/registry.py': ''} if registries else {}),
        }.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
        code = f'import sys; sys.path.insert(0, {str(site)!r}); import _basis_blur_hook\n' + textwrap.dedent(code)
        return subprocess.run(
            [sys.executable, '-c', code],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, 'BASIS_BLUR_HOOK': 'off', **environment},
        )

    return start


def test_the_plugin_comes_with_basicsr_once_and_in_order(start):
    done = start('print("plugin")', 'import basicsr.train\nimport basicsr')
    assert done.stdout.split() == ['shim', 'basicsr', 'plugin']
    assert not done.stderr


def test_without_basicsr_nothing_is_loaded(start):
    done = start('', 'import json\nprint([name for name in sys.modules if name.startswith("basis_blur")])')
    assert done.stdout == '[]\n'


def test_a_basicsr_without_registries_is_left_alone(start):
    done = start('raise ValueError("loaded")', 'import basicsr\nprint("basis_blur" in sys.modules)', registries=False)
    assert done.stdout.split() == ['basicsr', 'False']
    assert not done.stderr


def test_looking_for_basicsr_does_not_load_it(start):
    code = 'import importlib.util\nprint(importlib.util.find_spec("basicsr").name, "basis_blur" in sys.modules)'
    assert start('', code).stdout.split() == ['basicsr', 'False']


def test_a_missing_basicsr_is_missing_as_ever(start):
    done = start('', 'sys.path[:] = []\nimport basicsr')
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'basicsr'\n")


@pytest.mark.parametrize('plugin', ['raise ValueError("out of order")', 'syntax error here'])
def test_a_broken_plugin_is_a_warning(start, plugin):
    done = start(plugin, 'import basicsr\nprint("goes on")')
    assert done.returncode == 0
    assert done.stdout.split('\n')[-2] == 'goes on'
    assert 'RuntimeWarning: basis_blur is not registered in BasicSR' in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_plugin_that_imports_basicsr_first_is_registered_once(start):
    done = start('import basicsr\nprint("plugin")', 'import basis_blur.plugin')
    assert done.stdout.split() == ['shim', 'basicsr', 'plugin']
    assert not done.stderr


def test_start_up_costs_less_than_a_millisecond(tmp_path):
    """What importing the hook takes of the processor, at best of ten starts; 0.1 ms where it was written."""
    shutil.copy(basicsr_hook.__file__, tmp_path / '_basis_blur_hook.py')
    py_compile.compile(tmp_path / '_basis_blur_hook.py')  # as pip does
    code = (
        f'import sys, time; sys.path.insert(0, {str(tmp_path)!r}); t = time.process_time(); '
        'import _basis_blur_hook; print(time.process_time() - t)'
    )
    environment = {**os.environ, 'BASIS_BLUR_HOOK': 'off'}
    times = [
        float(subprocess.run([sys.executable, '-c', code], capture_output=True, check=True, env=environment).stdout)
        for _ in range(10)
    ]
    assert min(times) < 1e-3


def test_a_module_of_the_plugin_that_is_imported_first_is_registered_too(tmp_path):
    """It imports basicsr before it is complete itself, and other modules of the plugin need it."""
    (tmp_path / '_basis_blur_hook.py').write_text(Path(basicsr_hook.__file__).read_text())
    code = f"""if True:
        import sys; sys.path.insert(0, {str(tmp_path)!r}); import _basis_blur_hook
        import basis_blur.bridges.basicsr.data_check
        from basicsr.utils.registry import MODEL_REGISTRY
        print('BasisBlurModel' in MODEL_REGISTRY)
    """
    environment = {**os.environ, 'BASIS_BLUR_HOOK': 'off', 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-W', 'error::RuntimeWarning', '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines()[-1:] == ['True'], done.stderr
