import ast
import importlib
from pathlib import Path

import pytest

import basis_blur


@pytest.mark.parametrize('name', basis_blur.__all__)
def test_every_name_of_the_map_is_there(name):
    value = getattr(basis_blur, name)
    assert value.__module__.startswith('basis_blur.')
    assert getattr(importlib.import_module(value.__module__), name) is value
    assert name in dir(basis_blur)


def test_another_name_is_refused_with_those_there_are():
    with pytest.raises(AttributeError, match="has no 'deblurr'; its public names are .*deblur"):
        _ = basis_blur.deblurr


def test_type_checkers_and_python_see_the_same_map():
    tree = ast.parse(Path(basis_blur.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING')
    seen = {alias.asname: node.module.removeprefix('basis_blur.') for node in block.body for alias in node.names}
    assert seen == basis_blur._HOME
    assert Path(basis_blur.__file__).with_name('py.typed').is_file()
