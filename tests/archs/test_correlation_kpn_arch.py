"""CorrelationKPN reads kernels from the correlations of a photo's gradients."""

import pytest
import torch
import torch.nn.functional as F

from basis_blur.archs import correlation_kpn_arch
from basis_blur.archs.correlation_kpn_arch import (
    CorrelationKPN,
    bilinear_mixing,
    correlations,
    grid_of,
    normalised_gradients,
)
from basis_blur.field.blur_field import CompactField

REACH = 8


@pytest.fixture(scope='module')
def net():
    torch.manual_seed(0)
    return CorrelationKPN(num_kernels=6, kernel_size=17, num_feat=4, window=32).double().eval()


def sparse_scene(side=160):
    """Points of light of one sign and different strength on black, which are white and far from Gaussian."""
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(1, 1, side, side, generator=generator) ** 40).expand(-1, 2, -1, -1)


def blurred(scene, kernel):
    return F.conv2d(scene, kernel.flip(-2, -1).expand(2, 1, -1, -1), groups=2, padding='same')


def test_the_second_order_shows_the_kernels_autocorrelation():
    kernel = torch.zeros(7, 7)
    kernel[3, 1], kernel[3, 5] = 0.5, 0.5  # two points, four pixels apart
    scene = sparse_scene()
    scene = scene - scene.mean()
    seen = correlations(blurred(scene, kernel), REACH)[0, 0]
    assert seen[REACH, REACH] == pytest.approx(1, abs=1e-3)
    for shift in (-4, 4):
        assert seen[REACH, REACH + shift] == pytest.approx(0.5**0.5, abs=0.05)
    others = seen[REACH].clone()
    others[[REACH - 4, REACH, REACH + 4]] = 0
    assert others.abs().max() < 0.35  # as signed roots: less than 0.12 of the power


def test_the_fourth_order_tells_a_kernel_from_its_mirror_image():
    kernel = torch.zeros(7, 7)
    kernel[3, 1], kernel[3, 5] = 0.8, 0.2
    scene = sparse_scene()
    seen = correlations(blurred(scene - scene.mean(), kernel), REACH)[0, 2:4]
    mirrored = correlations(blurred(scene - scene.mean(), kernel.flip(-2, -1)), REACH)[0, 2:4]
    # E[g(x)^3 g(x+d)] is 0.8^3 0.2 at d = 4 and 0.2^3 0.8 at d = -4.
    for found, side in ((seen, 4), (mirrored, -4)):
        assert (found[:, REACH, REACH + side] > found[:, REACH, REACH - side] + 0.2).all()


def test_gradients_do_not_depend_on_exposure_and_leave_out_what_is_clipped():
    photo = 0.9 * torch.rand(1, 3, 48, 48)
    photo[..., 20, 20] = 1
    found = normalised_gradients(photo)
    assert (found[..., 18:23, 18:23] == 0).all()
    assert found[..., 10, 10].abs().min() > 0
    assert found[0, 0, :, -1].abs().max() == 0
    assert found[0, 1, -1].abs().max() == 0
    clear = photo.clamp(max=0.9)
    torch.testing.assert_close(normalised_gradients(clear), normalised_gradients(clear / 10))


@pytest.mark.parametrize('size', [(2, 2), (3, 40), (20, 31), (64, 64), (100, 240), (33, 900)])
def test_any_size_gives_a_valid_field_of_at_most_as_many_kernels(net, size):
    field = net(torch.rand(2, 3, *size))
    assert (len(field), field.image_size, field.kernel_size) == (2, size, 17)
    assert field.kernels.shape[1] <= 6
    type(field)(field.kernels, field.mixing)  # checks sums and signs


def test_windows_follow_the_shape_of_the_photo():
    assert grid_of(100, 100, 25, 128) == (1, 1)
    assert grid_of(224, 224, 25, 128) == (2, 2)
    assert grid_of(4000, 6000, 25, 128) == (4, 6)
    assert grid_of(100, 8000, 25, 128) == (1, 25)
    assert all(
        rows * columns <= 7
        for rows, columns in (grid_of(h, w, 7, 32) for h in range(16, 600, 37) for w in range(16, 600, 41))
    )


def test_mixing_is_bilinear_between_the_middles_of_the_windows():
    mixing = bilinear_mixing(4, 8, 1, 2, torch.device('cpu'))[0]
    torch.testing.assert_close(mixing.sum(0), torch.ones(4, 8))
    torch.testing.assert_close(mixing[0, 2], torch.tensor([1, 1, 0.875, 0.625, 0.375, 0.125, 0, 0]))


def test_flat_black_and_white_photos_give_finite_fields(net):
    for value in (0.0, 0.4, 1.0):
        field = net(torch.full((1, 3, 70, 70), value))
        assert field.kernels.isfinite().all()


def test_gray_is_colour_without_colour_and_gradients_reach_the_photo(net):
    gray = torch.rand(1, 1, 48, 48).requires_grad_()
    field = net(gray)
    torch.testing.assert_close(field.kernels, net(gray.expand(-1, 3, -1, -1)).kernels)
    field.kernels.square().sum().backward()
    assert gray.grad.isfinite().all()
    assert gray.grad.abs().max() > 0


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'num_kernels': 0}, 'num_kernels is 0'),
        ({'kernel_size': 32}, 'kernel_size is 32'),
        ({'kernel_size': 67}, 'kernel_size is 67'),
        ({'num_feat': 5}, 'num_feat is 5'),
        ({'window': 20}, 'window is 20'),
    ],
)
def test_what_is_out_of_range_is_said(changed, message):
    with pytest.raises(ValueError, match=message):
        CorrelationKPN(**changed)


def test_a_photo_of_another_form_is_refused(net):
    for shape in ((3, 40, 40), (1, 2, 40, 40), (1, 3, 1, 40)):
        with pytest.raises(ValueError, match='expected'):
            net(torch.rand(shape))


@torch.no_grad()
def test_the_field_of_a_large_photo_is_compact_from_the_start(net, monkeypatch):
    light = torch.rand(2, 3, 100, 140)
    whole = net(light)
    monkeypatch.setattr(correlation_kpn_arch, 'WHOLE_PIXELS', 100 * 140 - 1)
    compact = net(light)
    assert torch.equal(compact.kernels, whole.kernels)
    assert torch.equal(compact.packed, CompactField.of(whole).packed)
