import pytest
import torch

from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.metrics.psnr import psnr
from basis_blur.metrics.reblur import reblur_psnr, reblurred

KERNEL = torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.25, 0.25], [0.0, 0.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize('border', [0, 1, 3])
def test_the_true_blur_explains_the_photo_and_its_mirror_image_does_not(border):
    sharp = torch.rand(1, 3, 8 + 2 * border, 9 + 2 * border)
    field, other = (BlurField(k[None, None], torch.ones(1, 1, 8, 9)) for k in (KERNEL, KERNEL.flip(0, 1)))
    photo = reblurred(field, sharp)
    assert photo.shape == (1, 3, 8, 9)
    assert reblur_psnr(field, sharp, photo) > 200
    assert reblur_psnr(other, sharp, photo) < 40


def test_a_kernel_for_every_pixel_has_its_own_gamma_and_no_saturation():
    sharp = torch.rand(1, 3, 10, 11)
    pixels = PixelField(KERNEL.flatten()[None, :, None, None].expand(1, 9, 8, 9))
    field = BlurField(KERNEL[None, None], torch.ones(1, 1, 8, 9))
    dark = reblurred(field, 0.5 * sharp, gamma=1.5)  # saturation matters in the light alone
    torch.testing.assert_close(reblurred(pixels, 0.5 * sharp, gamma=2.2, pixel_gamma=1.5), dark, rtol=1e-6, atol=1e-8)
    assert psnr(reblurred(pixels, sharp), reblurred(pixels, sharp, pixel_gamma=2.2)) < 60
