"""A number that a person has chosen is finite, in its range, and whole where that is meant."""

import math

import numpy as np
import pytest
import torch

from basis_blur.foundation.numbers import check_number


@pytest.mark.parametrize('value', [1, 2.5, np.float32(3), np.int64(2), torch.tensor(2.0), 5])
def test_numbers_of_every_kind_are_taken(value):
    check_number('x', value, least=1, most=5)


@pytest.mark.parametrize(
    'value', [math.inf, -math.inf, math.nan, 1 + 0j, '2', True, None, [2], torch.rand(2), 0.9, 5.1, np.float64('nan')]
)
def test_what_is_no_number_or_out_of_its_range_is_named(value):
    with pytest.raises(ValueError, match=r'^x is .*, expected .*>= 1 and <= 5; do this\.$'):
        check_number('x', value, least=1, most=5, remedy='do this.')


@pytest.mark.parametrize('value', [2.5, 2.0, '2', np.float32(2), math.inf])
def test_a_count_is_whole(value):
    check_number('x', np.int32(2), least=1, whole=True)
    with pytest.raises(ValueError, match='expected a whole number >= 1'):
        check_number('x', value, least=1, whole=True)


def test_an_open_end_does_not_belong_to_the_range():
    check_number('x', 0.5, above=0, below=1)
    for value in (0, 1):
        with pytest.raises(ValueError, match='expected > 0 and < 1'):
            check_number('x', value, above=0, below=1)


def test_what_is_no_number_is_told_by_its_kind():
    with pytest.raises(ValueError, match='^gamma is a dict, expected a finite number > 0'):
        check_number('gamma', dict.fromkeys(range(1000)), above=0)
