"""Photos of half precision, settings that are no numbers, and networks of the wrong kind."""

import math

import pytest
import torch

import basis_blur as bb
from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.archs.nafnet_arch import NAFNet
from basis_blur.deblurring.differentiable import deblur_with_gradients
from basis_blur.field.removal import ESTIMATED_BLUR, Removal
from basis_blur.losses.reblur_loss import ReblurLoss
from basis_blur.restoration.deblur import deblur
from basis_blur.restoration.noise import estimate_noise
from basis_blur.restoration.richardson_lucy import RichardsonLucy, richardson_lucy


@pytest.fixture(autouse=True)
def _float32():
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def photo():
    return torch.rand(1, 3, 24, 30)


@pytest.fixture
def field(photo):
    kernels = torch.rand(1, 2, 25).softmax(-1).view(1, 2, 5, 5)
    return bb.BlurField(kernels, torch.rand(1, 2, *photo.shape[-2:]).softmax(1))


class Estimator(torch.nn.Module):
    """A network whose estimate is always the same field, and depends on one weight."""

    def __init__(self, field):
        super().__init__()
        self.field, self.hyper_parameters = field, {'kernel_size': 5}
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, light):
        return bb.BlurField.unchecked(self.field.kernels * self.weight, self.field.mixing)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('removal', [None, ESTIMATED_BLUR])
def test_half_precision_is_computed_in_float32_and_returned(photo, field, dtype, removal):
    field = field.with_removal(removal)
    fusion = IterateFusion(iterations=(1, 2), width=8, deep_width=8, blocks=1).eval()
    step = torch.finfo(dtype).eps
    for options in ({}, {'fusion': fusion}, {'tile': 16}):
        given = photo.to(dtype)
        found = deblur(given, field.to(dtype), **options)
        # The same numbers in float32, but for the rounding of the field.
        expected = deblur(given.float(), field.to(dtype).in_full_precision(), **options)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), expected, rtol=step, atol=step)
    assert estimate_noise(photo.to(dtype)).dtype == torch.float32
    blur = bb.BasisBlur(field)
    light = photo.to(dtype)
    found = richardson_lucy(light, blur, bb.ReflectPad(field)(light.float()), RichardsonLucy(2))
    assert found.scene.dtype == dtype
    assert found.history.dtype == torch.float32


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_the_differentiable_deblur_takes_half_precision_too(photo, field, dtype):
    module = bb.Deblur(Estimator(field), iterations=2)
    given = photo.to(dtype).requires_grad_()
    found = module(given)
    found.sum().backward()
    assert found.dtype == given.grad.dtype == dtype
    assert module.net.weight.grad.isfinite()
    expected = module(photo.to(dtype).float())
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=torch.finfo(dtype).eps)


def test_a_half_field_has_sums_of_one_again(field):
    for dtype in (torch.float16, torch.bfloat16):
        again = field.to(dtype).in_full_precision()
        bb.BlurField(again.kernels, again.mixing)
        assert (again.kernels.sum((-2, -1)) - 1).abs().max() < 1e-6
    assert field.in_full_precision() is field


def test_gradients_go_as_far_for_an_estimated_blur_as_deblur_does(photo, field):
    for removal in (None, ESTIMATED_BLUR, Removal(least_tv_weight=0.05)):
        found = deblur_with_gradients(photo, field.with_removal(removal))
        torch.testing.assert_close(found, deblur(photo, field.with_removal(removal)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ('settings', 'found'),
    [
        ({'tv_weight': math.inf}, 'tv_weight is inf'),
        ({'tv_weight': math.nan}, 'tv_weight is nan'),
        ({'offset': math.inf}, 'offset is inf'),
        ({'tolerance': 2}, 'tolerance is 2'),
        ({'tolerance': 1}, 'tolerance is 1'),
        ({'iterations': 2.5}, 'iterations is 2.5, expected a whole number'),
        ({'iterations': True}, 'iterations is True'),
    ],
)
def test_the_solver_refuses_what_is_no_setting(settings, found):
    with pytest.raises(ValueError, match=found):
        RichardsonLucy(**settings)


@pytest.mark.parametrize(
    ('options', 'found'),
    [
        ({'gamma': math.inf}, 'gamma is inf'),
        ({'gamma': math.nan}, 'gamma is nan'),
        ({'iterations': 2.5}, 'iterations is 2.5'),
        ({'tv_weight': math.inf}, 'tv_weight is inf'),
        ({'strength': math.nan}, 'strength is nan'),
        ({'tile': 12.5}, 'tile is 12.5'),
        ({'fusion': 'iterate_fusion'}, 'fusion is the text "iterate_fusion", expected an IterateFusion'),
        ({'fusion': NAFNet(width=4, enc_blocks=(1,), middle_blocks=1, dec_blocks=(1,))}, 'fusion is a NAFNet'),
    ],
)
def test_deblur_refuses_what_is_no_setting(photo, field, options, found):
    with pytest.raises(ValueError, match=found):
        deblur(photo, field, **options)


@pytest.mark.parametrize('build', [lambda: ReblurLoss(gamma=math.inf), lambda: ReblurLoss(loss_weight=math.nan)])
def test_losses_refuse_it_too(build):
    with pytest.raises(ValueError, match='is (inf|nan), expected'):
        build()


@pytest.mark.parametrize(
    ('net', 'found'),
    [
        ('basis_kpn', r'net is the text "basis_kpn", expected a network; write load_network\("basis_kpn"\)'),
        (None, 'net is a NoneType, expected a network'),
        (
            IterateFusion(iterations=(1, 2), width=8, deep_width=8, blocks=1),
            'net is a IterateFusion, which returns photo and no blur fields',
        ),
        (
            NAFNet(width=4, enc_blocks=(1,), middle_blocks=1, dec_blocks=(1,)),
            'net is a NAFNet, which returns photo and no blur fields',
        ),
    ],
)
def test_a_network_of_another_kind_is_named_where_a_field_is_wanted(photo, net, found):
    for use in (lambda: bb.estimate_blur(net, photo), lambda: bb.Deblur(net)(photo)):
        with pytest.raises(ValueError, match=found):
            use()


def test_a_network_that_returns_no_field_is_named(photo, field):
    class Restorer(torch.nn.Module):
        hyper_parameters = {'kernel_size': 5}  # noqa: RUF012

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, light):
            return light * self.weight

    with pytest.raises(ValueError, match='net is a Restorer, which returns a Tensor and not a BlurField'):
        bb.estimate_blur(Restorer(), photo)
    with pytest.raises(ValueError, match='which returns a BlurField and not a photo'):
        bb.restore(Estimator(field), photo)
    with pytest.raises(ValueError, match='net is the text "ufpnet"'):
        bb.restore('ufpnet', photo)


def test_a_field_of_another_kind_is_named(photo, field):
    for use in (deblur, deblur_with_gradients):
        with pytest.raises(ValueError, match='field is a PixelField, expected a BlurField'):
            use(photo, field.to_pixel_field())
    with pytest.raises(ValueError, match='field is a PixelField, expected a BlurField'):
        bb.BasisBlur(field.to_pixel_field())
