"""deepinv's operator and ours are one, as is each way between them."""

from importlib import metadata

import pytest
import torch

from basis_blur.bridges import deepinv as bridge
from basis_blur.bridges import torchvision_shim
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad, ReplicatePad, ZeroPad

torchvision_shim.install()
deepinv = pytest.importorskip('deepinv', reason='deepinv is not installed; "pip install basis_blur[deepinv]"')

PADS = {'reflect': ReflectPad, 'replicate': ReplicatePad, 'constant': ZeroPad, 'zeros': ZeroPad}


def make_field():
    kernels = torch.randn(2, 3, 25).softmax(-1).reshape(2, 3, 5, 5)
    return BlurField(kernels, torch.randn(2, 3, 9, 7).softmax(1))


def make_physics(**changes):
    field = make_field()
    arguments = {'filters': field.kernels[:, None], 'multipliers': field.mixing[:, None], 'mask_first': False}
    return deepinv.physics.SpaceVaryingBlur(**(arguments | changes))


@pytest.mark.parametrize('border', bridge.BORDERS)
@pytest.mark.parametrize('use_fft', [True, False])
def test_their_operator_and_adjoint_are_ours(border, use_fft):
    field = make_field()
    ours = BasisBlur(field) if border == 'valid' else BasisBlur(field) @ PADS[border](field)
    theirs = field.to_deepinv(border)
    theirs.use_fft = use_fft
    scene, photo = torch.rand(ours.input_shape), torch.rand(ours.output_shape)
    torch.testing.assert_close(theirs.A(scene), ours(scene), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(theirs.A_adjoint(photo), ours.T(photo), rtol=1e-12, atol=1e-12)


def test_there_and_back_it_is_the_same_field():
    field = make_field().to(torch.float32)
    back = BlurField.from_deepinv(field.to_deepinv('reflect'))
    assert torch.equal(back.kernels, field.kernels)
    assert torch.equal(back.mixing, field.mixing)


def test_filters_that_are_shared_are_repeated():
    physics = make_physics(filters=make_field().kernels[:1, None].expand(-1, 3, -1, -1, -1))
    scene = torch.rand(2, 3, 13, 11)
    torch.testing.assert_close(BasisBlur(BlurField.from_deepinv(physics))(scene), physics.A(scene))


def test_gradients_reach_the_kernels_through_their_operator():
    field = make_field()
    field.kernels.requires_grad_()
    scene = torch.rand(2, 1, 13, 11)
    expected, found = (
        torch.autograd.grad(op(scene).square().sum(), field.kernels)[0] for op in (BasisBlur(field), field.to_deepinv())
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'mask_first': True}, 'weighs the scene before the convolution'),
        ({'padding': 'circular'}, 'goes on at its other side'),
        ({'filters': torch.full((2, 1, 3, 4, 4), 1 / 16)}, 'are 4x4, expected square with an odd side'),
        ({'filters': torch.full((2, 1, 3, 3, 5), 1 / 15)}, 'are 3x5, expected square'),
        ({'filters': torch.eye(9).view(1, 3, 3, 3, 3)}, 'differ between the 3 channels'),
        ({'filters': -make_field().kernels[:, None]}, 'kernels has the value -'),
        ({'filters': 2 * make_field().kernels[:, None]}, 'kernels sums to 2'),
        ({'multipliers': torch.ones(2, 1, 3, 9, 7)}, 'mixing sums to 3'),
        ({'multipliers': torch.full((3, 1, 3, 9, 7), 1 / 3)}, 'for 2 photos and multipliers for 3'),
        ({'multipliers': None}, 'no multipliers yet'),
        ({'filters': make_field().kernels}, r'expected \(N, C, B, rows, columns\)'),
    ],
)
def test_what_could_not_be_exact_is_refused(changes, said):
    changes = {name: value.double() if isinstance(value, torch.Tensor) else value for name, value in changes.items()}
    with pytest.raises(ValueError, match=said):
        BlurField.from_deepinv(make_physics(**changes))


def test_another_operator_is_refused():
    with pytest.raises(ValueError, match='is a Blur, expected'):
        BlurField.from_deepinv(deepinv.physics.Blur(torch.ones(1, 1, 3, 3) / 9))


def test_a_border_of_neither_and_a_photo_too_small_are_refused():
    with pytest.raises(InputError, match="'circular'.*expected one of valid"):
        make_field().to_deepinv('circular')
    with pytest.raises(ValueError, match='a 9x2 photo cannot be mirrored by 2 pixels'):
        make_field().crop(0, 0, 9, 2).to_deepinv('reflect')


@pytest.mark.parametrize('version', [None, '0.4.1'])
def test_without_a_suitable_deepinv_it_says_how_to_get_one(monkeypatch, version):
    def told(name):
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, 'version', told)
    with pytest.raises(
        InputError, match=r'is (not installed|0\.4\.1, expected 0\.5 or later); .*basis_blur\[deepinv\]'
    ):
        make_field().to_deepinv()
