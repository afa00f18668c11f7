import pytest
import torch
import torch.nn.functional as F
from memory import peak_bytes

from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.ops import pixel_blur
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad, ReplicatePad, ZeroPad
from basis_blur.ops.linear_operator import dot_test
from basis_blur.ops.pixel_blur import PixelBlur


def make_field():
    kernels = torch.rand(2, 4, 25).softmax(-1).unflatten(-1, (5, 5))
    return BlurField(kernels, torch.randn(2, 4, 9, 7).softmax(1))


def make_pixel_kernels(number=2, kernel_size=5, size=(9, 7)):
    return torch.randn(number, kernel_size**2, *size).softmax(1)


def blur_by_unfold(pixel_kernels, scene):
    """H written out: every pixel's window of the scene, turned, times its kernel."""
    size = PixelField(pixel_kernels).kernel_size
    windows = F.unfold(scene, size).unflatten(1, (scene.shape[1], -1)).unflatten(-1, pixel_kernels.shape[-2:])
    return (windows.flip(2) * pixel_kernels.unsqueeze(1)).sum(2)


def test_every_pixel_is_its_window_of_the_scene_times_its_kernel():
    kernels, scene = make_pixel_kernels(), torch.rand(2, 3, 13, 11)
    torch.testing.assert_close(PixelBlur(kernels)(scene), blur_by_unfold(kernels, scene), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('sharpness', [1, 1e4])  # of the mixing: mixed, and one-hot
def test_it_is_the_basis_blur_of_the_same_field(sharpness):
    field = make_field()
    field = BlurField(field.kernels, (sharpness * field.mixing.log()).softmax(1))
    scene, image = torch.rand(2, 3, 13, 11), torch.rand(2, 3, 9, 7)
    blur = PixelBlur(field.to_pixel_field())
    torch.testing.assert_close(blur(scene), BasisBlur(field)(scene), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(blur.T(image), BasisBlur(field).T(image), rtol=1e-12, atol=1e-14)


def test_an_impulse_appears_as_the_kernel_itself():
    kernel = torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.25, 0.25], [0.0, 0.0, 0.0]])
    scene = torch.zeros(1, 1, 7, 7)
    scene[0, 0, 3, 3] = 1
    expected = torch.zeros(5, 5)
    expected[1:4, 1:4] = kernel
    image = PixelBlur(kernel.reshape(1, 9, 1, 1).expand(-1, -1, 5, 5))(scene)
    torch.testing.assert_close(image[0, 0], expected, rtol=0, atol=0)


@pytest.mark.parametrize('border', [None, ReplicatePad, ReflectPad, ZeroPad])
def test_the_transpose_is_the_adjoint(border):
    kernels = make_pixel_kernels()
    blur = PixelBlur(kernels) if border is None else PixelBlur(kernels) @ border(PixelField(kernels))
    assert dot_test(blur) < 1e-14
    image = torch.rand(2, 2, 9, 7)  # any number of channels
    assert blur.T(image).shape == (2, 2, *blur.input_shape[2:])


def test_a_flat_photo_stays_flat():
    field = PixelField(make_pixel_kernels())
    photo = torch.full((2, 3, 9, 7), 0.3)
    torch.testing.assert_close((PixelBlur(field) @ ReplicatePad(field))(photo), photo, rtol=1e-12, atol=0)


def test_batch_items_and_channels_do_not_mix():
    kernels, scene = make_pixel_kernels(), torch.rand(2, 3, 13, 11)
    image = PixelBlur(kernels)(scene)
    alone = PixelBlur(kernels[1:])(scene[1:, 2:])
    torch.testing.assert_close(image[1:, 2:], alone, rtol=0, atol=0)


def test_bands_do_not_change_the_result(monkeypatch):
    kernels, scene, image = make_pixel_kernels(), torch.rand(2, 3, 13, 11), torch.rand(2, 3, 9, 7)
    whole = PixelBlur(kernels)(scene), PixelBlur(kernels).T(image)
    monkeypatch.setattr(pixel_blur, 'CPU_BAND_NUMBERS', 2 * 3 * 7 * 4)  # four of nine rows
    torch.testing.assert_close(PixelBlur(kernels)(scene), whole[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(PixelBlur(kernels).T(image), whole[1], rtol=1e-12, atol=1e-14)


def test_gradients_are_those_of_finite_differences(monkeypatch):
    monkeypatch.setattr(pixel_blur, 'CPU_BAND_NUMBERS', 2 * 5 * 3)
    kernels = make_pixel_kernels(1, 3, (4, 5)).requires_grad_()
    scene, image = torch.rand(1, 2, 6, 7).requires_grad_(), torch.rand(1, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, k: PixelBlur(k)(u), (scene, kernels))
    assert torch.autograd.gradcheck(lambda v, k: PixelBlur(k).T(v), (image, kernels))
    assert torch.autograd.gradgradcheck(lambda u, k: PixelBlur(k)(u), (scene, kernels))


@pytest.mark.memory
def test_memory_is_that_of_the_result_and_the_gradients():
    kernels, scene = make_pixel_kernels(1, 9, (32, 32)).requires_grad_(), torch.rand(1, 3, 40, 40).requires_grad_()

    def work():
        image = PixelBlur(kernels)(scene)
        torch.autograd.grad(image, (scene, kernels), torch.ones_like(image))

    gradients = 8 * (kernels.numel() + scene.numel() + 2 * 3 * 32 * 32)
    assert 0 < peak_bytes(work) <= 1.05 * gradients


def test_half_precision_is_computed_in_float32():
    image = PixelBlur(make_pixel_kernels().bfloat16())(torch.rand(2, 3, 13, 11).bfloat16())
    assert image.dtype == torch.float32


@pytest.mark.parametrize('shape', [(2, 16, 9, 7), (2, 24, 9, 7), (25, 9, 7)])
def test_kernels_of_no_odd_size_are_refused(shape):
    with pytest.raises(ValueError, match=r'expected \(N, K\*K, H, W\) with K odd'):
        PixelBlur(torch.rand(shape))
