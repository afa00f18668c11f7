import pytest
import torch

from basis_blur.ops.gradient import Gradient
from basis_blur.restoration.total_variation import LARGEST_CURVATURE, tv_curvature, tv_slope


def smoothed_tv(light, edge):
    """Written out: sum over pixels of sqrt(|D u|^2 + edge^2), colours together."""
    down = torch.cat([light.diff(dim=-2), torch.zeros_like(light[..., :1, :])], -2)
    right = torch.cat([light.diff(dim=-1), torch.zeros_like(light[..., :1])], -1)
    return ((down**2 + right**2).sum(1) + edge**2).sqrt().sum()


@pytest.mark.parametrize('channels', [1, 3])
def test_the_gradient_is_that_of_the_sum(channels):
    light = torch.rand(2, channels, 5, 6, requires_grad=True)
    (expected,) = torch.autograd.grad(smoothed_tv(light, 0.05), light)
    light = light.detach()
    torch.testing.assert_close(tv_slope(light, 0.05).gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('rows', [slice(0, 1), slice(2, 4), slice(4, 5), slice(0, 5)])
def test_some_rows_are_those_of_the_whole(rows):
    light = torch.rand(2, 3, 5, 6)
    for some, whole in zip(tv_slope(light, factor=0.3, rows=rows), tv_slope(light), strict=True):
        torch.testing.assert_close(some, 0.3 * whole[..., rows, :], rtol=1e-12, atol=1e-12)


def test_the_parabola_lies_above_and_touches():
    light, direction, edge = torch.rand(1, 3, 5, 6), torch.randn(1, 3, 5, 6), 0.05
    gradient, weights = tv_slope(light, edge)
    slope = (gradient * direction).sum()
    for length in (-0.5, -1e-3, 1e-3, 0.5):
        parabola = smoothed_tv(light, edge) + length * slope + length**2 / 2 * tv_curvature(direction, weights)[0]
        true = smoothed_tv(light + length * direction, edge)
        assert parabola >= true
        torch.testing.assert_close(parabola, true, rtol=0, atol=abs(length) ** 2 * 1e3)


def test_the_curvature_is_that_of_the_operator_photo_by_photo():
    light, direction = torch.rand(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    weights = tv_slope(light).weights
    differences = Gradient(tuple(direction.shape))(direction)
    expected = (weights * differences.square()).sum((1, 2, 3))
    torch.testing.assert_close(tv_curvature(direction, weights), expected, rtol=1e-12, atol=0)


def test_the_largest_curvature_is_nearly_that_of_a_chessboard():
    y, x = torch.meshgrid(torch.arange(40), torch.arange(40), indexing='ij')
    board = (1.0 - 2 * ((x + y) % 2))[None, None]
    found = tv_curvature(board, torch.ones_like(board)) / board.square().sum()
    assert 0.95 * LARGEST_CURVATURE < found < LARGEST_CURVATURE


def test_an_edge_of_no_height_is_refused():
    with pytest.raises(ValueError, match='edge is 0'):
        tv_slope(torch.rand(1, 1, 4, 4), 0.0)
