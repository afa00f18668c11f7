import pytest
import torch

from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.metrics.kernel import field_errors, kernel_correlation, kernel_l1, kernel_l2


def random_kernels(*shape: int) -> torch.Tensor:
    kernels = torch.rand(*shape)
    return kernels / kernels.sum((-2, -1), keepdim=True)


def delta(row: int, column: int, size: int = 7) -> torch.Tensor:
    kernel = torch.zeros(size, size)
    kernel[row, column] = 1
    return kernel


def test_two_kernels_that_never_meet_are_2_apart_in_l1_and_root_2_in_l2():
    a, b = delta(1, 2), delta(4, 4)
    assert kernel_l1(a, b).item() == 2
    torch.testing.assert_close(kernel_l2(a, b), torch.tensor(2.0).sqrt())


def test_a_kernel_is_no_distance_from_itself_and_correlates_fully():
    kernels = random_kernels(2, 3, 7, 7)
    assert kernel_l1(kernels, kernels).eq(0).all()
    assert kernel_l2(kernels, kernels).eq(0).all()
    torch.testing.assert_close(kernel_correlation(kernels, kernels), torch.ones(2, 3))


def test_correlation_does_not_mind_a_shift_but_minds_a_mirror():
    shape = torch.zeros(9, 9)
    shape[2, 2], shape[2, 3], shape[3, 2], shape[4, 2] = 4, 3, 2, 1
    moved = shape.roll((3, 2), (0, 1))
    torch.testing.assert_close(kernel_correlation(shape, moved), torch.tensor(1.0))
    assert kernel_correlation(shape, shape.flip(-1)).item() < 0.95


def test_correlation_does_not_wrap_around():
    # Around a torus of 7 pixels these two would be one shift apart; on the plane they are different pairs.
    a = (delta(3, 0) + delta(3, 6)) / 2
    b = (delta(3, 3) + delta(3, 4)) / 2
    torch.testing.assert_close(kernel_correlation(a, b), torch.tensor(0.5))


def test_correlation_does_not_mind_scale_and_is_0_with_nothing():
    a, b = random_kernels(7, 7), random_kernels(7, 7)
    torch.testing.assert_close(kernel_correlation(3 * a, b), kernel_correlation(a, b))
    assert kernel_correlation(a, torch.zeros(7, 7)).item() == 0


def test_field_errors_are_the_means_over_the_kernels_of_pixels():
    # One row of pixels of the grid has a moved delta, the other the same one.
    same, moved = delta(3, 3), delta(3, 5)
    field = BlurField(same[None, None], torch.ones(1, 1, 8, 8))
    mixing = torch.zeros(1, 2, 8, 8)
    mixing[:, 0, :4], mixing[:, 1, 4:] = 1, 1
    true_field = BlurField(torch.stack([same, moved])[None], mixing)
    errors = field_errors(field, true_field, spacing=4)
    assert errors['kernel_l1'].tolist() == [1.0]
    torch.testing.assert_close(errors['kernel_l2'], torch.tensor([2**0.5 / 2]))
    torch.testing.assert_close(errors['kernel_correlation'], torch.tensor([1.0]))


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'\(7, 7\).*\(5, 5\)'):
        kernel_l1(random_kernels(7, 7), random_kernels(5, 5))
    field = BlurField(random_kernels(1, 1, 3, 3), torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r'\(8, 8\) and \(6, 6\)'):
        field_errors(field, field.crop(0, 0, 6, 6))
    with pytest.raises(ValueError, match='no point'):
        field_errors(field, field, spacing=32)


def test_kernels_of_two_sizes_are_compared_in_the_larger():
    small = PixelField(torch.rand(1, 9, 8, 8).softmax(1))
    large = torch.zeros(1, 5, 5, 8, 8)
    large[:, 1:4, 1:4] = small.pixel_kernels.unflatten(1, (3, 3))
    errors = field_errors(small, PixelField(large.flatten(1, 2)))
    assert errors['kernel_l1'] == 0
    torch.testing.assert_close(errors['kernel_correlation'], torch.ones(1))
