"""basis-blur doctor tells what is there, also when something is not."""

import importlib

import basis_blur.plugin  # noqa: F401
from basis_blur.bridges.basicsr import presence
from basis_blur.cli.main import main


def test_a_sound_machine_is_described(capsys):
    assert main(['doctor']) == 0
    out = capsys.readouterr().out
    for word in ('basis_blur', 'python', 'torch', 'GPU', 'basicsr', 'BasisKPN', 'KernelLoss', 'start-up hook'):
        assert word in out
    assert out.endswith('All is well.\n')


def test_a_plugin_that_cannot_be_imported_is_told_with_its_reason(capsys, monkeypatch):
    original = importlib.import_module

    def import_module(name, *more):
        if name == 'basis_blur.plugin':
            raise RuntimeError('operator torchvision::nms does not exist')
        return original(name, *more)

    original('basis_blur.cli.doctor')
    monkeypatch.setattr(importlib, 'import_module', import_module)
    assert main(['doctor']) == 2
    assert 'cannot be imported: RuntimeError: operator torchvision::nms does not exist' in capsys.readouterr().out


def test_a_missing_basicsr_is_told_and_is_no_fault(capsys, monkeypatch):
    monkeypatch.setattr(presence, 'find', lambda: None)
    assert main(['doctor']) == 0
    assert 'Estimating and removing blur work; BasicSR is not installed' in capsys.readouterr().out
