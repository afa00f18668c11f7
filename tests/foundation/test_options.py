import copy
from typing import Literal

import pytest

from basis_blur.foundation.options import (
    CheckedOptions,
    Option,
    OptionError,
    component_name,
    meanings_of,
    options_of,
    read_options,
)

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


@pytest.mark.parametrize(
    ('option', 'wrong', 'right', 'said'),
    [
        (Option((float,), above=0), 0, 0.1, 'expected > 0'),
        (Option((float,), above=0, most=1), 1.5, 1, 'expected > 0 and at most 1'),
        (Option((int,), least=5, odd=True), 8, 9, 'expected an odd number, at least 5'),
        (Option((int,), least=5, odd=True), 3, 5, 'expected an odd number, at least 5'),
        (Option((float,), least=1, whole=True), 2.5, 1e5, 'expected a whole number, at least 1'),
        (Option((float,), least=1, whole=True), '2', '1e5', r"'2' .str., expected a whole number"),
        (
            Option(
                (float,),
            ),
            '0.5',
            '5e-1',
            r"'0.5' .str., expected a number",
        ),
        (Option((int,), most=9), 10, 9, 'expected at most 9'),
        (Option((int,), least=0, most=9), -1, 0, 'expected 0 to 9'),
        (Option((list,), above=0, is_range=True), [0, 1], [0.5, 1], 'with 0 < low <= high'),
        (Option((list,), least=1, most=100, is_range=True), [1, 101], [1, 100], 'with 1 <= low <= high <= 100'),
        (Option((list,), is_range=True), [2, 1], [1, 2], 'two numbers .low, high. with low <= high'),
        (Option((list,), is_range=True), [1], (1, 2), 'two numbers'),
    ],
)
def test_a_number_out_of_its_range_is_told_the_range(option, wrong, right, said):
    read = read_options({'x': right}, {'x': option}, 'here')['x']
    assert read == (tuple(right) if option.is_range else float(right) if option.kinds == (float,) else right)
    with pytest.raises(OptionError, match=said):
        read_options({'x': wrong}, {'x': option}, 'here')


def test_a_group_is_read_with_its_own_options():
    group = {'inner': Option((dict,), None, group=KNOWN)}
    assert read_options({'inner': {'patch_size': 4}}, group, 'val')['inner'] == {
        'patch_size': 4,
        'lr': 1e-4,
        'mode': 'a',
    }
    assert read_options({}, group, 'val') == {'inner': None}
    with pytest.raises(OptionError, match=r'^val: inner has the unknown key "patch_sise"'):
        read_options({'inner': {'patch_sise': 4}}, group, 'val')


def test_meanings_are_those_of_the_docstring():
    def build(width: int, first: int, second: int):
        """Build.

        Args:
            width: channels of the photo,
                3 or 1.
            first, second: numbers: two of them.

        Raises:
            ValueError: never.
        """

    assert meanings_of(build) == {
        'width': 'channels of the photo, 3 or 1.',
        'first': 'numbers: two of them.',
        'second': 'numbers: two of them.',
    }


def test_checked_options_stay_checked_when_they_are_copied():
    """BasicSR gives each model a deep copy."""
    checked = CheckedOptions({'val': {'a': 1}}, {'val': {'a': 1, 'b': 2}})
    copied = copy.deepcopy(checked)
    assert copied == checked
    assert copied.sections == checked.sections
    copied['val']['a'] = 5
    assert checked['val'] == {'a': 1}
