import pytest
import torch

from basis_blur.restoration.total_variation import LARGEST_CURVATURE, edge_weights, tv_curvature, tv_gradient


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
    torch.testing.assert_close(tv_gradient(light, edge_weights(light, 0.05)), expected, rtol=1e-12, atol=1e-12)


def test_the_parabola_lies_above_and_touches():
    light, direction, edge = torch.rand(1, 3, 5, 6), torch.randn(1, 3, 5, 6), 0.05
    weights = edge_weights(light, edge)
    slope = (tv_gradient(light, weights) * direction).sum()
    for length in (-0.5, -1e-3, 1e-3, 0.5):
        parabola = smoothed_tv(light, edge) + length * slope + length**2 / 2 * tv_curvature(direction, weights)[0]
        true = smoothed_tv(light + length * direction, edge)
        assert parabola >= true
        torch.testing.assert_close(parabola, true, rtol=0, atol=abs(length) ** 2 * 1e3)


def test_the_curvature_is_that_of_the_operator_photo_by_photo():
    light, direction = torch.rand(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    weights = edge_weights(light)
    expected = (direction * tv_gradient(direction, weights)).sum((1, 2, 3))
    torch.testing.assert_close(tv_curvature(direction, weights), expected, rtol=1e-12, atol=0)


def test_the_largest_curvature_is_nearly_that_of_a_chessboard():
    y, x = torch.meshgrid(torch.arange(40), torch.arange(40), indexing='ij')
    board = (1.0 - 2 * ((x + y) % 2))[None, None]
    found = tv_curvature(board, torch.ones_like(board)) / board.square().sum()
    assert 0.95 * LARGEST_CURVATURE < found < LARGEST_CURVATURE


def test_an_edge_of_no_height_is_refused():
    with pytest.raises(ValueError, match='edge is 0'):
        edge_weights(torch.rand(1, 1, 4, 4), 0.0)
