import gc
import importlib.machinery
import sys

import pytest

from basis_blur.cli.loading import load_torch


class Finder:
    """Finds an empty module in place of torch, and notes whether Python looks for cycles meanwhile."""

    def __init__(self):
        self.seen = []

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == 'torch' else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        self.seen.append(gc.isenabled())


@pytest.mark.parametrize('enabled', [True, False])
def test_torch_is_loaded_without_looks_for_cycles_which_go_on_as_before(monkeypatch, enabled):
    finder = Finder()
    monkeypatch.delitem(sys.modules, 'torch')
    monkeypatch.setattr(sys, 'meta_path', [finder, *sys.meta_path])
    try:
        (gc.enable if enabled else gc.disable)()
        load_torch()
        found, left_out = gc.isenabled(), gc.get_freeze_count()
    finally:
        gc.unfreeze()
        gc.enable()
    assert finder.seen == [False]
    assert found == enabled
    assert left_out > 0


def test_cycles_are_looked_for_again_if_torch_cannot_be_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(ImportError):
        load_torch()
    assert gc.isenabled()
