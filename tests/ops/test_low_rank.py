import pytest
import torch

from basis_blur.field.blur_field import BlurField, CompactField
from basis_blur.field.other_forms import field_of_window_kernels
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.linear_operator import dot_test
from basis_blur.ops.low_rank import low_rank


def lens(windows=4, kernel_size=9, size=(20, 24), wide=1.0):
    """Gaussians that grow from one corner to the other."""
    widths = 0.8 + wide * torch.linspace(0, 1, windows**2)
    across = torch.arange(kernel_size) - kernel_size // 2
    lines = torch.exp(-(across**2) / (2 * widths[:, None] ** 2))
    kernels = lines[:, :, None] * lines[:, None]
    kernels = kernels / kernels.sum((-2, -1), keepdim=True)
    return field_of_window_kernels(kernels.view(1, windows, windows, kernel_size, kernel_size), size)


def pixel_kernels(kernels, mixing):
    return torch.einsum('nbhw,nbs->nshw', mixing, kernels.flatten(2))


@pytest.mark.parametrize('tolerance', [1e-2, 1e-4, 1e-6])
def test_the_error_is_the_one_that_is_told_and_one_kernel_less_would_be_too_few(tolerance):
    field = lens()
    found = low_rank(field, tolerance, most=16)
    whole = pixel_kernels(field.kernels, field.mixing)

    def error(rank):
        return (pixel_kernels(found.kernels[:, :rank], found.mixing[:, :rank]) - whole).norm() / whole.norm()

    torch.testing.assert_close(error(None), found.error[0], rtol=1e-4, atol=1e-12)
    assert error(None) <= tolerance < error(-1)


def test_a_blur_of_equal_kernels_needs_one():
    field = lens()
    same = BlurField(field.kernels[:, :1].expand(-1, 16, -1, -1), field.mixing)
    found = low_rank(same, 1e-9, most=16)
    assert found.kernels.shape[1] == 1
    torch.testing.assert_close(
        pixel_kernels(*found[:2]), pixel_kernels(same.kernels, same.mixing), rtol=1e-9, atol=1e-12
    )


def test_more_kernels_than_are_allowed_are_not_returned():
    rank = low_rank(lens(), 1e-4, most=16).kernels.shape[1]
    assert low_rank(lens(), 1e-4, most=rank) is not None
    assert low_rank(lens(), 1e-4, most=rank - 1) is None


def test_every_photo_of_a_batch_keeps_to_the_tolerance():
    near, far = lens(wide=0.2), lens(wide=2.0)
    both = BlurField(torch.cat([near.kernels, far.kernels]), torch.cat([near.mixing, far.mixing]))
    found = low_rank(both, 1e-4, most=16)
    assert found.kernels.shape[1] == low_rank(far, 1e-4, most=16).kernels.shape[1]
    error = pixel_kernels(*found[:2]) - pixel_kernels(both.kernels, both.mixing)
    assert (
        error.flatten(1).norm(dim=1) <= 1e-4 * pixel_kernels(both.kernels, both.mixing).flatten(1).norm(dim=1)
    ).all()


@pytest.mark.parametrize('kind', [lambda field: field, CompactField.of], ids=['plain', 'compact'])
def test_the_operator_is_close_and_its_transpose_exact(kind):
    field = kind(lens(windows=6, size=(24, 24)))
    blur, exact = BasisBlur(field, tolerance=1e-4), BasisBlur(field)
    assert blur.num_kernels < exact.num_kernels == 36
    scene = torch.randn(1, 3, *field.scene_size)
    assert (blur(scene) - exact(scene)).norm() <= 3e-4 * exact(scene).norm()
    assert not torch.equal(blur(scene), exact(scene))
    assert dot_test(blur) < 1e-14


def test_kernels_stay_where_fewer_would_be_slower():
    kernels = torch.rand(1, 3, 3, 9, 9)
    field = field_of_window_kernels(kernels / kernels.sum((-2, -1), keepdim=True), (20, 24))
    blur, scene = BasisBlur(field, tolerance=1e-4), torch.rand(1, 3, *field.scene_size)
    assert blur.num_kernels == 9
    assert torch.equal(blur(scene), BasisBlur(field)(scene))


def test_a_tolerance_is_refused_where_the_field_has_gradients_or_it_is_negative():
    field = lens()
    kernels = field.kernels.clone().requires_grad_()
    with pytest.raises(ValueError, match='leave it out'):
        BasisBlur(BlurField.unchecked(kernels, field.mixing), tolerance=1e-4)
    with pytest.raises(ValueError, match='tolerance'):
        BasisBlur(field, tolerance=-1)


def test_gradients_reach_the_scene():
    blur = BasisBlur(lens(windows=6, size=(24, 24)), tolerance=1e-4)
    scene = torch.rand(1, 1, *blur.field.scene_size, requires_grad=True)
    image = torch.rand(1, 1, 24, 24)
    (blur(scene) * image).sum().backward()
    torch.testing.assert_close(scene.grad, blur.T(image), rtol=1e-12, atol=1e-14)
