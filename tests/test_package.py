import importlib

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
