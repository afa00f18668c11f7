"""Every operator and every composition has exactly the transpose it says it has."""

import pytest
import torch

from basis_blur.field.blur_field import BlurField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad, ReplicatePad, ZeroPad
from basis_blur.ops.gradient import Gradient
from basis_blur.ops.linear_operator import LinearOperator, dot_test


def make_field(number=2, basis=3, kernel_size=5, size=(9, 7)):
    kernels = torch.rand(number, basis, kernel_size**2).softmax(-1).reshape(number, basis, kernel_size, kernel_size)
    return BlurField(kernels, torch.randn(number, basis, *size).softmax(1))


OPERATORS = {
    'blur': lambda: BasisBlur(make_field()),
    'blur of one pixel': lambda: BasisBlur(make_field(size=(1, 1))),
    'blur with kernels larger than the photo': lambda: BasisBlur(make_field(kernel_size=9, size=(4, 6))),
    'blur of several tiles': lambda: BasisBlur(make_field(number=1, kernel_size=3, size=(530, 10))),
    'transpose': lambda: BasisBlur(make_field()).T,
    'zero border': lambda: ZeroPad(make_field()),
    'replicated border': lambda: ReplicatePad(make_field()),
    'reflected border': lambda: ReflectPad(make_field()),
    'replicated border wider than the photo': lambda: ReplicatePad(make_field(kernel_size=9, size=(2, 1))),
    'blur of the photo alone': lambda: BasisBlur(field := make_field()) @ ReflectPad(field),
    'gradient': lambda: Gradient((2, 3, 5, 4)),
    'gradient of a blur': lambda: Gradient((2, 3, 9, 7)) @ BasisBlur(make_field()),
    'gradient of one pixel': lambda: Gradient((1, 1, 1, 1)),
}


@pytest.mark.parametrize('name', OPERATORS)
def test_transpose_is_the_adjoint(name):
    assert dot_test(OPERATORS[name]()) < 1e-12


@pytest.mark.parametrize('name', OPERATORS)
def test_operators_are_linear_and_leave_their_input_alone(name):
    operator = OPERATORS[name]()
    x, y = torch.rand(operator.input_shape), torch.rand(operator.input_shape)
    before = x.clone()
    torch.testing.assert_close(operator(2 * x - y), 2 * operator(x) - operator(y), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(x, before, rtol=0, atol=0)
    assert operator(x).shape == operator.output_shape


def test_dot_test_sees_a_wrong_transpose():
    class Mirrored(LinearOperator):
        def _apply(self, x):
            return x.roll(1, -1)

        def _apply_transpose(self, y):
            return y.roll(1, -1)

    assert dot_test(Mirrored((1, 1, 4, 4), (1, 1, 4, 4))) > 1e-3


def test_transposing_twice_gives_the_operator_back():
    blur = BasisBlur(make_field())
    assert blur.T.T is blur
    assert (blur @ ReflectPad(blur.field)).T.output_shape == (2, 3, 9, 7)


def test_a_wrong_input_is_named_with_both_shapes():
    with pytest.raises(ValueError, match='BasisBlur was given the shape 2x3x9x7, expected 2x3x13x11'):
        BasisBlur(make_field())(torch.rand(2, 3, 9, 7))


def test_operators_that_do_not_meet_are_refused():
    with pytest.raises(ValueError, match='cannot follow'):
        BasisBlur(make_field()) @ ReflectPad(make_field(size=(8, 8)))
