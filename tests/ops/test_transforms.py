"""The operators of a blur under torch.func, forward-mode differentiation and inference mode."""

import pytest
import torch

from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.pixel_blur import PixelBlur
from basis_blur.restoration.deblur import deblur


@pytest.fixture(params=[1, 2])
def threads(request):
    """Torch's number of threads: with two, pool threads do a part of the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def field():
    kernels = torch.rand(2, 3, 25).softmax(-1).view(2, 3, 5, 5)
    return BlurField(kernels, torch.rand(2, 3, 11, 13).softmax(1))


@pytest.fixture(params=['BasisBlur', 'its transpose', 'composed', 'PixelBlur', 'transpose of it'])
def operator(request, field):
    basis, pixel = BasisBlur(field), PixelBlur(field.to_pixel_field())
    return {
        'BasisBlur': basis, 'its transpose': basis.T, 'composed': basis @ ReflectPad(field), 'PixelBlur': pixel,
        'transpose of it': pixel.T,
    }[request.param]  # fmt: skip


@pytest.mark.usefixtures('threads')
def test_torch_func_takes_derivatives_and_batches_of_an_operator(operator):
    x = torch.rand(operator.input_shape)
    many = torch.rand(4, *operator.input_shape)

    def energy(value):
        return operator(value).square().sum() / 2

    torch.testing.assert_close(torch.func.grad(energy)(x), operator.T(operator(x)))
    torch.testing.assert_close(torch.func.jvp(operator, (x,), (many[0],))[1], operator(many[0]))
    one_by_one = torch.stack([operator(value) for value in many])
    torch.testing.assert_close(torch.func.vmap(operator)(many), one_by_one)
    torch.testing.assert_close(torch.func.vmap(operator, 2, 1)(many.movedim(0, 2)), one_by_one.movedim(0, 1))
    gradients = torch.func.vmap(torch.func.grad(energy))(many)
    torch.testing.assert_close(gradients, torch.stack([operator.T(operator(value)) for value in many]))


@pytest.mark.usefixtures('threads')
@pytest.mark.parametrize('kind', ['basis', 'pixel'])
def test_derivatives_in_all_inputs_at_once_agree_with_backward(field, kind):
    """Euler: of a form that is homogeneous of degree n, the change along itself is n times the form."""
    if kind == 'basis':
        inputs = (field.kernels, field.mixing)

        def blurred(k, m, u):
            return BasisBlur(BlurField.unchecked(k, m))(u)
    else:
        inputs = (field.to_pixel_field().pixel_kernels,)

        def blurred(k, u):
            return PixelBlur(PixelField(k))(u)

    inputs = (*inputs, torch.rand(2, 3, *field.scene_size))
    value, change = torch.func.jvp(blurred, inputs, tuple(each.clone() for each in inputs))
    torch.testing.assert_close(change, len(inputs) * value)

    def energy(*values):
        return blurred(*values).square().sum()

    found = torch.func.grad(energy, argnums=tuple(range(len(inputs))))(*inputs)
    leaves = [each.clone().requires_grad_() for each in inputs]
    expected = torch.autograd.grad(energy(*leaves), leaves)
    torch.testing.assert_close(found, expected)
    # The gradient is homogeneous of degree 2n - 1, and its derivative goes through all forms.
    first = torch.func.grad(energy)
    along = torch.func.jvp(first, inputs, tuple(each.clone() for each in inputs))[1]
    torch.testing.assert_close(along, (2 * len(inputs) - 1) * found[0])
    torch.autograd.gradcheck(energy, leaves, check_forward_ad=True, fast_mode=True)


@pytest.mark.usefixtures('threads')
def test_inference_mode_gives_what_other_modes_do(operator):
    x = torch.rand(operator.input_shape)
    with torch.inference_mode():
        found = operator(x)
        again = operator(operator.T(found) if operator.input_shape == operator.output_shape else x)
    assert found.is_inference()
    torch.testing.assert_close(found, operator(x), rtol=0, atol=0)
    assert again.shape == found.shape


@pytest.mark.usefixtures('threads')
def test_a_photo_is_deblurred_in_inference_mode(field):
    photo = torch.rand(1, 3, *field.image_size)
    with torch.inference_mode():
        found = deblur(photo, field[0])
    torch.testing.assert_close(found, deblur(photo, field[0]), rtol=0, atol=0)


def test_deblur_says_what_to_do_under_torch_func(field):
    photo = torch.rand(1, 3, *field.image_size)
    with pytest.raises(ValueError, match=r'deblur does not work under torch\.func .* backward'):
        torch.func.grad(lambda value: deblur(value, field[0]).sum())(photo)
    with pytest.raises(ValueError, match='does not work under'):
        torch.func.vmap(lambda value: deblur(value, field[0]))(photo[None])


def test_complex_light_is_refused(operator):
    with pytest.raises(ValueError, match='complex128, expected real numbers'):
        operator(torch.rand(operator.input_shape).to(torch.complex128))
