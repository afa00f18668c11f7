import pytest
import torch

from basis_blur.field.blur_field import BlurField
from basis_blur.losses.consistency_loss import ConsistencyLoss
from basis_blur.losses.edge_loss import EdgeLoss
from basis_blur.losses.frequency_loss import FrequencyLoss
from basis_blur.losses.psnr_loss import PSNRLoss
from basis_blur.ops.basis_blur import BasisBlur


def make_field(size, basis=2, kernel_size=3):
    kernels = torch.rand(1, basis, kernel_size**2).softmax(-1).view(1, basis, kernel_size, kernel_size)
    return BlurField(kernels, torch.randn(1, basis, *size).softmax(1))


def test_psnr_loss_is_minus_the_psnr_photo_by_photo():
    sharp = torch.zeros(2, 3, 4, 4)
    restored = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.01)])
    torch.testing.assert_close(PSNRLoss(2.0)(restored, sharp).double(), torch.tensor(-60.0), rtol=1e-3, atol=0)


def test_psnr_loss_of_a_perfect_photo_has_a_finite_gradient():
    sharp = torch.rand(1, 3, 4, 4)
    restored = sharp.clone().requires_grad_()
    PSNRLoss()(restored, sharp).backward()
    assert restored.grad.isfinite().all()


def test_a_wave_counts_by_its_two_frequencies():
    columns = torch.arange(8.0)
    wave = 0.1 * torch.cos(2 * torch.pi * columns / 8).expand(1, 1, 4, 8)
    # The transform has two numbers that are not 0, of 0.1 * 32 / 2 each, among 2 * 32.
    expected = wave.abs().mean() + 0.5 * 2 * 1.6 / 64
    found = FrequencyLoss(3.0, frequency_weight=0.5)(wave + 0.4, torch.full_like(wave, 0.4))
    torch.testing.assert_close(found, 3 * expected)


def test_an_edge_counts_where_it_is_bent_and_a_slope_does_not():
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing='ij')
    sharp = torch.zeros(1, 1, 6, 7)
    slope, bowl = (0.01 * rows + 0.02 * columns)[None, None], 0.01 * (rows**2 + columns**2)[None, None]
    bent = EdgeLoss(edge_weight=1.0, epsilon=1e-6)(bowl, sharp) - EdgeLoss(edge_weight=0.0, epsilon=1e-6)(bowl, sharp)
    torch.testing.assert_close(bent, torch.tensor(0.04))  # the Laplacian of the bowl
    straight = EdgeLoss(edge_weight=1.0, epsilon=1e-6)(slope, sharp)
    torch.testing.assert_close(straight, slope.mean() + 1e-6, rtol=1e-4, atol=0)


@pytest.mark.parametrize('loss', [FrequencyLoss(), EdgeLoss()])
def test_a_perfect_photo_has_a_finite_gradient_and_shapes_are_checked(loss):
    sharp = torch.rand(1, 3, 5, 5)
    restored = sharp.clone().requires_grad_()
    loss(restored, sharp).backward()
    assert restored.grad.isfinite().all()
    with pytest.raises(ValueError, match='equal shapes'):
        loss(restored, sharp[..., 1:])


@pytest.mark.parametrize('gamma', [1.0, 2.2])
def test_the_sharp_photo_is_consistent_with_its_own_blur(gamma):
    field, sharp = make_field((10, 12)), 0.2 + 0.5 * torch.rand(1, 3, 10, 12)
    inner = BlurField(field.kernels, field.mixing[..., 1:-1, 1:-1])
    blurred = sharp.clone()
    blurred[..., 1:-1, 1:-1] = BasisBlur(inner)(sharp**gamma) ** (1 / gamma)
    loss = ConsistencyLoss(gamma=gamma, saturation=False)
    assert loss(field, sharp, blurred) < 1e-7
    assert loss(field, blurred, blurred) > 1e-3  # blurred twice


def test_a_field_and_its_kernels_per_pixel_are_the_same_blur():
    field, restored, blurred = make_field((9, 8)), torch.rand(1, 3, 9, 8), torch.rand(1, 3, 9, 8)
    pixel_kernels = torch.einsum('nbk,nbhw->nkhw', field.kernels.flatten(2), field.mixing)
    loss = ConsistencyLoss()
    torch.testing.assert_close(loss(pixel_kernels, restored, blurred), loss(field, restored, blurred))


def test_the_gradient_reaches_the_restored_photo():
    restored = torch.rand(1, 3, 8, 8).requires_grad_()
    ConsistencyLoss()(make_field((8, 8)), restored, torch.rand(1, 3, 8, 8)).backward()
    assert (restored.grad.abs() > 0).all()


def test_a_photo_smaller_than_the_kernels_is_refused():
    with pytest.raises(ValueError, match='4x5 pixels and the kernels 7x7'):
        ConsistencyLoss()(make_field((5, 4), kernel_size=7), torch.rand(1, 3, 5, 4), torch.rand(1, 3, 5, 4))
