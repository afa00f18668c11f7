import pytest
import torch
import torch.nn.functional as F

from basis_blur.losses.pixel_reblur_loss import PixelReblurLoss

KERNELS = torch.rand(2, 25, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(1)


def by_definition(kernels, scene):
    windows = F.unfold(scene, 5).view(2, 3, 25, 9, 7)
    return (windows.flip(2) * kernels[:, None]).sum(2)


def test_it_is_the_mean_absolute_error_of_the_reblurred_photo():
    sharp, blurred = torch.rand(2, 3, 9, 7), torch.rand(2, 3, 9, 7)
    expected = (by_definition(KERNELS, F.pad(sharp, [2] * 4, 'replicate')) - blurred).abs().mean()
    torch.testing.assert_close(PixelReblurLoss(loss_weight=2.0)(KERNELS, sharp, blurred), 2 * expected)


def test_the_true_kernels_leave_no_error_and_others_do():
    sharp = torch.rand(2, 3, 13, 11)
    loss, blurred = PixelReblurLoss(), by_definition(KERNELS, sharp)
    assert loss(KERNELS, sharp, blurred) < 1e-15
    assert loss(KERNELS.flip(1), sharp, blurred) > 1e-3


def test_gradients_are_those_of_finite_differences():
    kernels = torch.rand(1, 9, 3, 4).softmax(1).requires_grad_()
    sharp = torch.rand(1, 2, 3, 4).requires_grad_()
    blurred = torch.rand(1, 2, 3, 4)
    assert torch.autograd.gradcheck(lambda k, x: PixelReblurLoss(gamma=2.2)(k, x, blurred), (kernels, sharp))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r'blurred has shape \(2, 1, 9, 7\), expected \(2, 3, 9, 7\)'):
        PixelReblurLoss()(KERNELS, torch.rand(2, 3, 9, 7), torch.rand(2, 1, 9, 7))
    with pytest.raises(ValueError, match='gamma is 0.5'):
        PixelReblurLoss(gamma=0.5)
