"""A motion flow is a straight kernel at every pixel."""

import pytest
import torch

from basis_blur.field.motion_flow import MOST_KERNELS, field_of_flow, line_kernels
from basis_blur.metrics.kernel import kernel_correlation, kernel_l1


def moments(kernels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean place (row, column) and covariance of the light of kernels (M, K, K)."""
    place = torch.arange(kernels.shape[-1], dtype=kernels.dtype) - kernels.shape[-1] // 2
    rows, columns = torch.meshgrid(place, place, indexing='ij')
    points = torch.stack([rows, columns], -1).flatten(0, 1)
    weights = kernels.flatten(1)
    mean = weights @ points
    return mean, torch.einsum('ms,si,sj->mij', weights, points, points) - mean[:, :, None] * mean[:, None]


def test_a_line_has_the_length_and_the_direction_of_the_flow():
    flow = torch.tensor([[12.0, 3.0], [-5.0, 9.0], [0.0, 14.0]])
    kernels = line_kernels(flow)
    mean, spread = moments(kernels)
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(3))
    torch.testing.assert_close(mean, torch.zeros(3, 2), rtol=0, atol=1e-9)
    way = flow.flip(1)  # row and column
    line = way[:, :, None] * way[:, None] / 12  # the covariance of a line of this length
    assert ((spread - line).diagonal(dim1=1, dim2=2) < 0.26).all()  # what a share of four pixels adds: at most 1/4
    torch.testing.assert_close(spread[:, 0, 1], line[:, 0, 1], rtol=0, atol=0.01)


def test_the_second_number_points_down():
    (kernel,) = line_kernels(torch.tensor([[6.0, 6.0]]), 9)
    assert kernel[2, 2] > 0.05  # from top left to bottom right
    assert kernel[2, 6] == 0


def test_there_and_back_are_one_blur_and_no_way_is_none():
    flow = torch.tensor([[7.3, -2.1], [0.0, 0.0]])
    torch.testing.assert_close(line_kernels(flow), line_kernels(-flow))
    assert line_kernels(flow)[1].max() == 1


def test_a_field_has_the_kernels_of_its_flow():
    down, right = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 60), indexing='ij')
    flow = torch.stack([8 + 3 * down, 4 * right - 1])[None]
    field = field_of_flow(flow)
    assert field.kernels.shape[1] <= MOST_KERNELS
    points = torch.cartesian_prod(torch.arange(0, 40, 7), torch.arange(0, 60, 7))
    exact = line_kernels(flow[0, :, points[:, 0], points[:, 1]].T, field.kernel_size)
    found = field.kernels_at(points)[0]
    assert kernel_correlation(found, exact).min() > 0.99
    assert kernel_l1(found, exact).max() < 0.1


def test_fewer_kernels_make_a_coarser_field_of_the_same_mean_motion():
    flow = 20 * torch.rand(1, 2, 30, 30) - 10
    fine, coarse = field_of_flow(flow), field_of_flow(flow, most_kernels=20)
    assert coarse.kernels.shape[1] <= 20 < fine.kernels.shape[1]
    points = torch.cartesian_prod(torch.arange(30), torch.arange(30))
    exact = line_kernels(flow[0, :, points[:, 0], points[:, 1]].T, fine.kernel_size)
    assert kernel_l1(fine.kernels_at(points)[0], exact).mean() < kernel_l1(coarse.kernels_at(points)[0], exact).mean()


def test_photos_of_a_batch_have_their_own_flow():
    flow = torch.stack([torch.full((2, 8, 8), 4.0), torch.zeros(2, 8, 8)])
    moving, still = field_of_flow(flow).kernels_at(torch.tensor([[3, 3]]))[:, 0]
    assert still.max() > 0.999
    assert moving.max() < 0.4


@pytest.mark.parametrize(
    ('flow', 'options', 'words'),
    [
        (torch.zeros(1, 3, 4, 4), {}, r'\(1, 3, 4, 4\).*expected \(N, 2, H, W\)'),
        (torch.full((1, 2, 4, 4), torch.nan), {}, 'has the value nan'),
        (torch.full((1, 2, 4, 4), 900.0), {}, 'at most 511 pixels'),
        (torch.full((1, 2, 4, 4), 8.0), {'kernel_size': 9}, 'odd number >= 11'),
        (torch.zeros(1, 2, 4, 4), {'most_kernels': 3}, 'at least 4'),
    ],
)
def test_what_is_no_flow_is_refused(flow, options, words):
    with pytest.raises(ValueError, match=words):
        field_of_flow(flow, **options)
