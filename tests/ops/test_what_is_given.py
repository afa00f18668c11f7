"""What is no tensor, complex, whole numbers or without values is told in a sentence wherever it is handed over."""

import re

import numpy as np
import pytest
import torch

import basis_blur as bb

KERNELS, MIXING = torch.full((1, 2, 3, 3), 1 / 9), torch.full((1, 2, 8, 9), 0.5)
FIELD = bb.BlurField(KERNELS, MIXING)
BLUR, PIXELS = bb.BasisBlur(FIELD), bb.PixelBlur(torch.full((1, 9, 8, 9), 1 / 9))
SCENE, PHOTO = torch.rand(1, 3, 10, 11), torch.rand(1, 3, 8, 9)
TAKERS = {
    'BasisBlur': (BLUR, SCENE),
    'PixelBlur': (PIXELS, SCENE),
    'BasisBlur.T': (BLUR.T, PHOTO),
    '(BasisBlur @ ReflectPad)': (BLUR @ bb.ReflectPad(FIELD), PHOTO),
    'to_linear': (bb.to_linear, PHOTO),
    'to_srgb': (bb.to_srgb, PHOTO),
    'camera_response': (bb.camera_response, PHOTO),
    'deblur': (lambda photo: bb.deblur(photo, FIELD, iterations=1), PHOTO),
    'richardson_lucy, light': (lambda light: bb.richardson_lucy(light, BLUR, SCENE), PHOTO),
    'richardson_lucy, start': (lambda start: bb.richardson_lucy(PHOTO, BLUR, start), SCENE),
    'BlurField, kernels': (lambda kernels: bb.BlurField(kernels, MIXING), KERNELS),
    'BlurField, mixing': (lambda mixing: bb.BlurField(KERNELS, mixing), MIXING),
    'PixelField': (bb.PixelField, PIXELS.field.pixel_kernels),
}


@pytest.mark.parametrize('taker', TAKERS)
def test_an_array_is_no_tensor(taker):
    take, values = TAKERS[taker]
    with pytest.raises(ValueError, match='is a ndarray, expected a tensor'):
        take(np.asarray(values))


@pytest.mark.parametrize('taker', TAKERS)
def test_complex_numbers_are_refused(taker):
    take, values = TAKERS[taker]
    with pytest.raises(ValueError, match=r'torch\.complex'):
        take(torch.complex(values, values))


@pytest.mark.parametrize('taker', [name for name in TAKERS if name.startswith(('to_', 'camera', 'richardson'))])
def test_values_of_8_bits_are_not_taken_for_light(taker):
    take, values = TAKERS[taker]
    with pytest.raises(ValueError, match=r'is torch\.uint8, expected floating point; divide 8-bit values by 255'):
        take((values * 255).byte())


@pytest.mark.parametrize('taker', [name for name in TAKERS if name != 'PixelField'])
def test_tensors_without_values_are_refused(taker):
    take, values = TAKERS[taker]
    with pytest.raises(ValueError, match='meta'):
        take(values.to('meta'))


@pytest.mark.parametrize('name', ['BasisBlur.T', '(BasisBlur @ ReflectPad)'])
def test_operators_are_called_in_messages_as_they_are_written(name):
    with pytest.raises(ValueError, match=re.escape(f'{name} was given the shape 1x3x4x4')):
        TAKERS[name][0](torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize(
    ('call', 'words'),
    [
        (lambda: bb.PixelBlur(FIELD), 'is a BlurField, expected a tensor .* BasisBlur takes a BlurField'),
        (lambda: bb.ReflectPad(None), 'field is a NoneType, expected a BlurField'),
        (lambda: bb.richardson_lucy(PHOTO, FIELD, SCENE), 'blur is a BlurField, expected an operator'),
        (lambda: bb.richardson_lucy(PHOTO, BLUR, SCENE, {'iterations': 3}), 'settings is a dict, expected such as'),
        (lambda: bb.RichardsonLucy(accelerate='no'), "accelerate is 'no', expected True or False"),
        (lambda: bb.Deblur('correlation_kpn'), r'net is the text .* write load_network\("correlation_kpn"\)'),
        (lambda: bb.Deblur(torch.nn.Conv2d(3, 3, 1)), 'a Conv2d, which does not tell the size of its kernels'),
        (lambda: bb.Deblur(bb.KernelFlow()), 'a KernelFlow, which returns kernels'),
        (lambda: bb.BlurField(KERNELS[:0], MIXING[:0]), r'kernels is empty: shape \(0, 2, 3, 3\)'),
        (lambda: bb.KernelLoss(loss_weight='x'), "loss_weight is 'x', expected a finite number"),
        (lambda: bb.KernelLoss(p=True), 'p is True, expected 2'),
        (lambda: bb.shake_kernels(1, float('nan')), 'kernel_size is nan, expected a whole number'),
        (lambda: bb.shake_kernels(2.5), 'count is 2.5, expected a whole number'),
    ],
)
def test_what_is_of_another_kind_is_called_what_it_is(call, words):
    with pytest.raises(ValueError, match=words):
        call()
