import pytest
import torch

from basis_blur.metrics.kernel_statistics import kernel_statistics, statistics_table


@pytest.fixture
def kernels():
    """A dot off the middle, with a light of 3 and a pixel below zero; a flat kernel."""
    dot, flat = torch.zeros(5, 5), torch.full((5, 5), 0.04)
    dot[0, 2] = 3
    dot[4, 4] = -1
    return torch.stack([dot, flat])


def test_a_dot_and_a_flat_kernel_are_the_extremes(kernels):
    found = kernel_statistics(kernels)
    assert found['support'].tolist() == [1, 25]
    torch.testing.assert_close(found['offset'], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(found['raw_sum'], torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(found['sparsity'], torch.tensor([1.0, 0.0]), atol=1e-12, rtol=0)


def test_all_but_the_raw_sum_ignore_a_factor():
    kernels = torch.rand(3, 7, 7)
    once, twice = kernel_statistics(kernels), kernel_statistics(2 * kernels)
    torch.testing.assert_close(twice.pop('raw_sum'), 2 * once.pop('raw_sum'))
    torch.testing.assert_close(twice, once)


def test_the_table_has_a_row_for_each_statistic_and_a_column_for_each_set(kernels):
    lines = statistics_table({'data': kernels, 'samples': kernels[1:]}).splitlines()
    assert lines[0].split() == ['data', 'samples']
    assert lines[1].split() == ['support', '13.000', '+-', '12.000', '25.000', '+-', '0.000']
    assert [line.split()[0] for line in lines[1:]] == ['support', 'offset', 'raw_sum', 'sparsity']
