import pytest
import torch
import torch.nn.functional as F

from basis_blur.field.blur_field import BlurField
from basis_blur.field.removal import TRUE_BLUR, Removal
from basis_blur.foundation.errors import InputError
from basis_blur.metrics.psnr import psnr
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.camera_response import to_srgb
from basis_blur.restoration.deblur import deblur
from basis_blur.restoration.settings import (
    contrast_of,
    data_term_of_noise,
    offset_for,
    tv_weight_for,
)
from basis_blur.simulation.camera_shake import shake_kernels

KERNEL_SIZE = 17


def make_scene(seed, gamma, noise, saturated=False, size=96):
    """A scene of overlapping rectangles and waves, blurred by a smooth field: (blurred, sharp, field)."""
    generator = torch.Generator().manual_seed(seed)
    maps = F.interpolate(torch.randn(1, 6, 4, 4, generator=generator), size=(size, size), mode='bicubic')
    field = BlurField(torch.from_numpy(shake_kernels(6, KERNEL_SIZE, seed)).double()[None], (4 * maps).softmax(1))
    scene = torch.full((1, 3, *field.scene_size), 0.3)
    for _ in range(60):
        top, left, height, width = (int(n) for n in torch.randint(2, size, (4,), generator=generator))
        scene[..., top : top + height // 3, left : left + width // 3] = torch.rand(1, 3, 1, 1, generator=generator)
    light = scene**gamma
    if saturated:
        light[..., 40:44, 50:54] = 6.0
    blurred = to_srgb(BasisBlur(field)(light).clamp(0, 1), gamma)
    blurred = (blurred + noise * torch.randn(blurred.shape, generator=generator)).clamp(0, 1)
    radius = KERNEL_SIZE // 2
    return blurred, to_srgb(light.clamp(0, 1), gamma)[..., radius:-radius, radius:-radius], field


def shortcut(photo, field, gamma):
    """The widely copied solver: flipped kernels with the mixing still applied last, and no division by H^T 1."""
    mirrored = BlurField(field.kernels.flip(-2, -1), field.mixing)
    pad, light = ReflectPad(field), photo**gamma
    scene = light.clone()
    for _ in range(30):
        ratio = light / BasisBlur(field)(pad(scene)).clamp_min(1e-8)
        scene = (scene * BasisBlur(mirrored)(pad(ratio))).clamp_min(0)
    return to_srgb(scene.clamp(0, 1), gamma)


def test_it_beats_the_shortcut_solver_on_every_scene_and_by_far_on_the_mean():
    gains = []
    for seed, (gamma, noise, saturated) in enumerate([(2.2, 0.004, False), (1.0, 0.008, False), (2.2, 0.004, True)]):
        blurred, sharp, field = make_scene(seed, gamma, noise, saturated)
        ours, theirs = deblur(blurred, field, gamma), shortcut(blurred, field, gamma)
        assert psnr(ours, sharp) > psnr(blurred, sharp) + 2
        gains.append((psnr(ours, sharp) - psnr(theirs, sharp)).item())
    assert min(gains) > 0
    assert sum(gains) / len(gains) > 1.5


def test_a_photo_without_blur_stays():
    kernels = torch.zeros(1, 1, 9, 9)
    kernels[..., 4, 4] = 1
    photo = torch.rand(1, 3, 40, 30) * 0.9
    field = BlurField(kernels, torch.ones(1, 1, 40, 30))
    torch.testing.assert_close(deblur(photo, field, tv_weight=0.0), photo, rtol=0, atol=2e-3)


def test_a_flat_photo_stays_flat():
    _, _, field = make_scene(0, 2.2, 0)
    photo = torch.full((1, 3, 96, 96), 0.5)
    torch.testing.assert_close(deblur(photo, field), photo, rtol=0, atol=2e-3)


def test_each_photo_of_a_batch_is_restored_as_if_alone():
    (one, _, field), (two, _, other) = make_scene(0, 2.2, 0.004), make_scene(1, 2.2, 0.02)
    both = BlurField(torch.cat([field.kernels, other.kernels]), torch.cat([field.mixing, other.mixing]))
    torch.testing.assert_close(deblur(torch.cat([one, two]), both)[1:], deblur(two, other), rtol=1e-9, atol=1e-9)


def test_gray_photos_and_float32_are_as_good():
    blurred, sharp, field = make_scene(0, 2.2, 0.002)
    gray = deblur(blurred[:, :1].float(), field.to(torch.float32))
    assert gray.dtype == torch.float32
    assert gray.shape == (1, 1, 96, 96)
    assert psnr(gray.double(), sharp[:, :1]) > psnr(blurred[:, :1], sharp[:, :1]) + 2


def test_more_noise_asks_for_more_smoothing_and_linear_photos_for_a_larger_offset():
    assert tv_weight_for(0.04) == pytest.approx(8 * tv_weight_for(0.01))
    assert offset_for(1.0) == pytest.approx(0.2)
    assert offset_for(2.2) == pytest.approx(0.05, rel=0.01)


def test_a_scene_of_little_contrast_asks_for_more_smoothing_and_a_dark_one_for_a_smaller_offset():
    assert tv_weight_for(0.01, contrast=0.02) == pytest.approx(5 * tv_weight_for(0.01, contrast=0.1))
    assert offset_for(2.2, 0.015) == pytest.approx(0.1 * offset_for(2.2))
    assert offset_for(2.2, 0.4) == offset_for(2.2)


def test_contrast_is_the_mean_gradient_of_three_colours_and_hardly_sees_noise():
    ramp = torch.arange(64.0).expand(1, 3, 64, 64) / 256
    expected = 3**0.5 * 4 / 256 * 15 / 16  # from one mean of four pixels to the next; the last column has none
    assert contrast_of(ramp) == pytest.approx(expected)
    assert contrast_of(ramp[:, :1]) == pytest.approx(expected)
    assert contrast_of(ramp + 0.004 * torch.randn_like(ramp)) == pytest.approx(expected, rel=0.02)


def test_a_blur_is_removed_as_its_maker_recommends():
    blurred, _, known = make_scene(0, 2.2, 0.004)
    whole = deblur(blurred, known, iterations=4, tv_weight=0.05)
    field = known.with_removal(Removal(iterations=4, strength=0.3, least_tv_weight=0.05))
    torch.testing.assert_close(deblur(blurred, field), blurred + 0.3 * (whole - blurred))
    torch.testing.assert_close(deblur(blurred, field, strength=1.0), whole)


def test_exact_kernels_of_a_network_that_can_be_trusted_are_not_throttled():
    blurred, _, known = make_scene(0, 2.2, 0.004)
    torch.testing.assert_close(deblur(blurred, known.with_removal(TRUE_BLUR)), deblur(blurred, known))


def test_progress_is_told():
    blurred, _, field = make_scene(0, 2.2, 0.004)
    seen = []
    deblur(blurred, field, iterations=3, callback=seen.append)
    assert seen == [1, 2, 3]


def test_a_field_of_another_photo_is_refused():
    blurred, _, field = make_scene(0, 2.2, 0.004)
    with pytest.raises(ValueError, match='the same N, H and W'):
        deblur(blurred[..., :-1], field)


def test_a_photo_smaller_than_the_kernels_is_refused():
    blurred, _, field = make_scene(0, 2.2, 0.004)
    with pytest.raises(InputError, match='at least 17 on each side'):
        deblur(blurred[..., :16], field.crop(0, 0, 96, 16))


def test_a_photo_without_noise_is_taken_to_be_rounded():
    blurred, _, field = make_scene(0, 2.2, 0.0)
    flat = torch.full_like(blurred, 0.5)
    flat[..., 40:] = 0.6
    weight = tv_weight_for(0.001, contrast=contrast_of(flat**2.2))
    torch.testing.assert_close(deblur(flat, field), deblur(flat, field, tv_weight=weight))


def iterations_of(photo, field, **options):
    made = []
    deblur(photo, field, callback=made.append, **options)
    return len(made)


def test_a_true_blur_is_removed_further_where_it_explains_the_photo():
    blurred, _, field = make_scene(0, 2.2, 0.01)
    turned = BlurField(field.kernels.flip(-1), field.mixing)
    assert iterations_of(blurred, field) > 11
    assert iterations_of(blurred, turned) == 11
    # Without visible noise nothing tells how much is to be explained, and what is given is not overruled.
    assert iterations_of(blurred, field, iterations=11) <= 11
    assert iterations_of(blurred, field, tv_weight=0.002) <= 11
    assert iterations_of(blurred, field.with_removal(Removal())) <= 11


def test_the_data_term_at_the_true_scene_is_that_of_its_noise():
    _, _, field = make_scene(0, 2.2, 0.0)
    light = BasisBlur(field)(0.1 + 0.8 * torch.rand(1, 3, *field.scene_size))
    photo = to_srgb(light) + 0.004 * torch.randn_like(light)
    noisy, offset = photo**2.2, 0.05
    difference = (noisy - light) ** 2 / (2 * (light + offset))
    assert data_term_of_noise(noisy, 0.004, 2.2, offset) == pytest.approx(difference.mean().item(), rel=0.1)
