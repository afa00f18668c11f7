"""Every public name has an example in its docstring, and it does what it shows."""

import doctest

import pytest
import torch

import basis_blur as bb

NAMES = {'bb': bb, 'torch': torch}
FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize('name', bb.__all__)
def test_its_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float32)
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(bb, name), name, globs=dict(NAMES))
    assert found.examples, f'the docstring of {name} has no example'
    said = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(found, out=said.append)
    assert not runner.failures, ''.join(said)
