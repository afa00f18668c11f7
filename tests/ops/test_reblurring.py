import pytest
import torch
import torch.nn.functional as F

from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.ops.reblurring import error_inside, inner_blur, pixel_reblur, reblur, scene_of, with_border

KERNELS = torch.rand(2, 25, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(1)


def by_definition(kernels, scene):
    windows = F.unfold(scene, 5).view(2, 3, 25, 9, 7)
    return (windows.flip(2) * kernels[:, None]).sum(2)


@pytest.mark.parametrize('border', [2, 5])
def test_a_border_of_the_scene_is_used_as_far_as_the_kernels_reach(border):
    sharp = torch.rand(2, 3, 9 + 2 * border, 7 + 2 * border)
    inner = sharp[..., border - 2 : border + 11, border - 2 : border + 9]
    torch.testing.assert_close(pixel_reblur(KERNELS, sharp), by_definition(KERNELS, inner))


def test_a_border_that_is_too_narrow_is_replaced_by_the_edge():
    sharp = torch.rand(2, 3, 11, 9)
    torch.testing.assert_close(pixel_reblur(KERNELS, sharp), pixel_reblur(KERNELS, sharp[..., 1:-1, 1:-1]))


def test_gamma_blurs_light():
    sharp = torch.rand(2, 3, 13, 11)
    expected = by_definition(KERNELS, sharp**2.2) ** (1 / 2.2)
    torch.testing.assert_close(pixel_reblur(KERNELS, sharp, 2.2), expected)


def test_borders_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r'the sharp photo has \(9, 9\) pixels and the blurred one \(9, 7\)'):
        with_border(torch.rand(2, 3, 9, 9), (9, 7), 2)


def test_the_border_of_a_scene_is_that_of_the_field():
    field = PixelField(KERNELS)
    scene = scene_of(torch.rand(2, 3, 9, 7), field)
    assert scene.shape[-2:] == (13, 11)
    assert torch.equal(scene_of(scene, field), scene)
    assert torch.equal(scene_of(F.pad(scene, [1] * 4), field), scene)


def test_a_photo_is_white_where_the_scene_is_far_beyond_white():
    field = BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 4, 4))
    assert reblur(field, torch.full((1, 3, 6, 6), 5.0)).amin() > 0.98
    assert reblur(field, torch.full((1, 3, 6, 6), 5.0)).amax() <= 1


@pytest.mark.parametrize('form', ['field', 'pixel kernels'])
def test_the_error_inside_counts_only_pixels_whose_kernels_lie_within_the_photo(form):
    kernel = torch.rand(5, 5)
    kernel = kernel / kernel.sum()
    sharp = torch.rand(1, 3, 9, 8) * 0.5
    field = BlurField(kernel[None, None], torch.ones(1, 1, 9, 8))
    blur = field if form == 'field' else kernel.flatten()[None, :, None, None].expand(1, 25, 9, 8)
    blurred = reblur(field, scene_of(sharp, field))
    assert error_inside(blur, sharp, blurred, 2.2) < 1e-6
    beyond = blurred.clone()
    beyond[..., 0, :] += 0.2
    assert error_inside(blur, sharp, beyond, 2.2) < 1e-6
    within = blurred.clone()
    within[0, :, 4, 4] += 0.2
    assert abs(error_inside(blur, sharp, within, 2.2).item() - 0.2 / (5 * 4)) < 1e-6
    (rows, columns), _ = inner_blur(blur)
    assert (rows, columns) == (slice(2, 7), slice(2, 6))


def test_the_error_inside_of_photos_of_two_sizes_is_refused():
    with pytest.raises(ValueError, match=r'the sharp photo has shape \(1, 3, 5, 5\), the blurred one \(1, 3, 5, 6\)'):
        error_inside(torch.rand(1, 9, 5, 6), torch.rand(1, 3, 5, 5), torch.rand(1, 3, 5, 6), 2.2)
