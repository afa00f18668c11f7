from typing import Literal

import pytest

from basis_blur.foundation.options import Option, OptionError, component_name, options_of, read_options

KNOWN = {'patch_size': Option((int,)), 'lr': Option((float,), 1e-4), 'mode': Option((str,), 'a', ('a', 'b'))}


def test_defaults_fill_in_and_the_section_is_not_modified():
    section = {'patch_size': 64}
    assert read_options(section, KNOWN, 'train') == {'patch_size': 64, 'lr': 1e-4, 'mode': 'a'}
    assert section == {'patch_size': 64}


def test_a_number_that_yaml_left_a_text_is_read():
    assert read_options({'patch_size': 1, 'lr': '1e-3'}, KNOWN, 'train')['lr'] == 1e-3


@pytest.mark.parametrize(
    ('section', 'said'),
    [
        ({'patch_sise': 64}, 'Did you mean "patch_size"'),
        ({}, 'lacks the key "patch_size"'),
        ({'patch_size': '64'}, "'64' \\(str\\), expected a whole number"),
        ({'patch_size': True}, 'expected a whole number'),
        ({'patch_size': 1, 'lr': 'fast'}, 'expected a number'),
        ({'patch_size': 1, 'lr': float('nan')}, 'expected a number'),
        ({'patch_size': 1, 'mode': 'c'}, "expected one of 'a', 'b'"),
    ],
)
def test_a_wrong_section_is_named(section, said):
    with pytest.raises(OptionError, match=said):
        read_options(section, KNOWN, 'datasets: train')


def test_a_missing_file_is_named():
    with pytest.raises(OptionError, match='nowhere.lmdb, which does not exist'):
        read_options({'root': 'nowhere.lmdb'}, {'root': Option((str,), is_path=True)}, 'train')
    named = Option((str,), is_path=True, names=('in_the_box',))
    assert read_options({'root': 'in_the_box'}, {'root': named}, 'train') == {'root': 'in_the_box'}
    with pytest.raises(OptionError, match='does not exist.* or give "in_the_box"'):
        read_options({'root': 'nowhere.lmdb'}, {'root': named}, 'train')


def test_options_are_read_from_a_signature():
    def build(width: int, slope: float = 0.1, norm: Literal['none', 'group'] = 'none', size: int | None = None): ...

    options = options_of(build)
    assert options['width'].kinds == (int,)
    assert options['norm'].choices == ('none', 'group')
    assert options['size'].default is None
    with pytest.raises(OptionError, match='lacks the key "width"'):
        read_options({}, options, 'network_g')


@pytest.mark.parametrize('section', [{'type': 'KernelLoss'}, {'type': 'KernelLoss_basis_blur', 'p': 1}])
def test_both_names_of_a_component_mean_it(section):
    assert component_name(section) == 'KernelLoss'
