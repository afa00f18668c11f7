"""The script that tries fresh environments tells what it saw, also of one that cannot be had or installed."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'scripts' / 'environments' / 'smoke.py'


@pytest.fixture(scope='module')
def smoke():
    spec = importlib.util.spec_from_file_location('environments_smoke', SCRIPT)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_environment_has_a_name_of_its_own_and_the_wheel(smoke):
    names = [each.name for each in smoke.ENVIRONMENTS]
    assert len(set(names)) == len(names)
    for each in smoke.ENVIRONMENTS:
        words = [word for install in each.installs for word in install]
        assert any(word.startswith('{wheel}') for word in words)
        assert each.basicsr == any('basicsr' in word for word in words)


def test_what_was_seen_is_a_row_of_the_table(smoke):
    fork = next(each for each in smoke.ENVIRONMENTS if each.name == 'fork')
    seen = {
        'installed': True,
        'seconds': 61.2,
        'bytes': 1_440_000_000,
        'versions': {'torch': '2.13.0', 'pip': '1'},
        'checks': {'deblur': True, 'train': False},
    }
    assert smoke.line_of(fork, seen).endswith('| torch 2.13.0 | 61 s, 1.4 GB | deblur, **train fails** |')
    assert '**cannot be installed**' in smoke.line_of(fork, {'installed': False})
    assert 'no such Python here' in smoke.line_of(fork, None)


def test_a_python_is_found_by_its_version_if_it_starts(smoke, tmp_path, monkeypatch):
    monkeypatch.setenv('PYENV_ROOT', str(tmp_path))
    monkeypatch.setenv('PATH', str(tmp_path))
    (tmp_path / 'python9.9').symlink_to(sys.executable)
    (tmp_path / 'python9.8').write_text('#!/bin/sh\nexit 1\n')
    (tmp_path / 'python9.8').chmod(0o755)
    assert smoke.find_python('9.9') == str(tmp_path / 'python9.9')
    assert smoke.find_python('9.8') is None
    assert smoke.find_python('9.7') is None


def test_the_lower_bounds_of_the_package_are_those_of_the_oldest_environment(smoke):
    """What pyproject.toml promises is what is tried."""
    text = (SCRIPT.parents[2] / 'pyproject.toml').read_text()
    pins = dict(pin.split('==') for pin in (*smoke.OLDEST, *smoke.OLDEST_MORE))
    needed = re.findall(r'"(.+)"', text.split('\ndependencies = [')[1].split('\n]')[0])
    for line in needed:
        name, bound = line.split('>=')
        assert pins[name].startswith(bound.split(',')[0]), line
