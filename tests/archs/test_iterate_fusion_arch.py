"""IterateFusion weighs the iterates of the solver at every pixel."""

import pytest
import torch
from fusions import SIZES, arbitrary

from basis_blur.archs.iterate_fusion_arch import FIRST_STEP, IterateFusion


@pytest.fixture
def stack():
    return torch.rand(2, 9, 21, 30)


def test_a_fresh_network_steps_from_the_photo_towards_the_mean_of_its_iterates(stack):
    photo, first, second = stack.split(3, 1)
    expected = photo + FIRST_STEP * ((first + second) / 2 - photo)
    torch.testing.assert_close(IterateFusion(**SIZES).double()(stack), expected)


def test_where_iterates_are_the_photo_their_weights_do_not_matter(stack):
    net = arbitrary()
    photo = stack[:, :3]
    with torch.no_grad():
        net.tail.weight[: 16 * 3] = 0  # the residual image; the channels of pixel-shuffle are colours first
        net.tail.bias[: 16 * 3] = 0
    torch.testing.assert_close(net(photo.repeat(1, 3, 1, 1)), photo)
    assert (net(stack) - photo).abs().max() > 0.01


@pytest.mark.parametrize('size', [(1, 1), (7, 9), (8, 16), (21, 30)])
def test_photos_of_any_size_keep_it(size):
    assert arbitrary()(torch.rand(1, 9, *size)).shape == (1, 3, *size)


def test_photos_of_a_batch_do_not_mix(stack):
    net = arbitrary()
    torch.testing.assert_close(net(stack)[1:], net(stack[1:]))


@pytest.mark.parametrize('sizes', [{}, {'blocks': 3, 'deep_blocks': 0}, {'blocks': 0, 'deep_blocks': 2}])
def test_nothing_reaches_further_than_it_says(sizes):
    net = arbitrary(**sizes)
    side = 2 * net.reach + 24
    stack = torch.rand(1, 9, side, side)
    other = stack.clone()
    other[..., net.reach + 8 : net.reach + 16, net.reach + 8 : net.reach + 16] += 0.5
    changed = (net(other) - net(stack)).abs().amax((0, 1)) > 0
    rows, columns = changed.nonzero(as_tuple=True)
    for places in (rows, columns):
        assert 8 <= places.min() <= net.reach + 8
        assert net.reach + 15 <= places.max() < side - 8


def test_results_are_photos_in_evaluation_and_have_gradients_in_training(stack):
    net = arbitrary()
    assert net(3 * stack).max() > 1
    assert net.eval()(3 * stack).max() == 1


def test_the_last_blocks_combine_what_the_others_see(stack):
    net = arbitrary()
    torch.testing.assert_close(net.combined(stack, net.features(stack), net.measured(stack)), net(stack))
    assert net.features(stack).shape == (2, 4, 6, 8)  # of 21 x 30 pixels, padded to 24 x 32


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'iterations': ()}, 'expected whole numbers >= 1, ascending'),
        ({'iterations': (4, 2)}, 'ascending'),
        ({'iterations': (0, 2)}, '>= 1'),
        ({'width': 0}, 'width is 0'),
        ({'deep_blocks': -1}, 'deep_blocks -1'),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        IterateFusion(**{**SIZES, **changed})


def test_a_stack_of_other_iterates_is_refused(stack):
    with pytest.raises(ValueError, match=r'expected \(N, 9, H, W\).*iterates 1, 3'):
        IterateFusion(**SIZES).double()(stack[:, :6])
