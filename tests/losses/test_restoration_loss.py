"""RestorationLoss is minus the PSNR of what deblur makes of a photo, and asks for better kernels."""

import pytest
import torch
import torch.nn.functional as F
from tolerances import difference_step

from basis_blur.archs import IterateFusion
from basis_blur.field.blur_field import BlurField
from basis_blur.losses import RestorationLoss
from basis_blur.losses.basis_objective import BasisObjective
from basis_blur.losses.sample import Sample
from basis_blur.metrics.psnr import psnr
from basis_blur.ops.reblurring import reblur
from basis_blur.restoration.deblur import deblur

NUMBER, SIZE, KERNEL_SIZE = 2, 40, 9


def uneven_kernels(sharpness):
    kernels = (sharpness * torch.randn(NUMBER, 2, KERNEL_SIZE**2)).softmax(-1)
    return kernels.view(NUMBER, 2, KERNEL_SIZE, KERNEL_SIZE)


@pytest.fixture
def sample():
    """Photos with a part that is far brighter than white, and with noise."""
    scene = F.interpolate(torch.rand(NUMBER, 3, 12, 12), size=(SIZE + KERNEL_SIZE - 1,) * 2, mode='bilinear')
    scene[..., 10:16, 10:30] = 2
    mixing = torch.randn(NUMBER, 2, SIZE, SIZE).softmax(1)
    kernels = uneven_kernels(2)
    blurred = reblur(BlurField(kernels, mixing), scene)
    blurred = (blurred + 0.004 * torch.randn_like(blurred)).clamp(0, 1)
    return {'lq': blurred, 'gt': scene, 'kernels': kernels, 'mixing': mixing}


@pytest.mark.parametrize('strength', [0.4, 1.0])
def test_of_one_gray_photo_it_is_minus_the_psnr_of_deblur(sample, strength):
    field = BlurField(sample['kernels'][:1], sample['mixing'][:1])
    photo, scene = sample['lq'][:1, :1], sample['gt'][:1, :1]
    radius = KERNEL_SIZE // 2
    sharp = scene[..., radius:-radius, radius:-radius].clamp(0, 1)
    expected = psnr(deblur(photo, field, iterations=3, strength=strength), sharp)
    found = RestorationLoss(loss_weight=2, iterations=3, strength=strength)(field, photo, scene)
    assert found.item() == pytest.approx(-2 * expected.item(), abs=1e-3)


def test_of_colours_green_is_restored(sample):
    field = BlurField(sample['kernels'], sample['mixing'])
    green = RestorationLoss()(field, sample['lq'][:, 1:2], sample['gt'][:, 1:2])
    torch.testing.assert_close(RestorationLoss()(field, sample['lq'], sample['gt']), green)


@pytest.fixture
def fusion():
    net = IterateFusion((1, 3), width=4, deep_width=4, blocks=2, deep_blocks=1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net


def test_with_a_fusion_it_is_minus_the_psnr_of_its_photo(sample, fusion):
    field = BlurField(sample['kernels'][:1], sample['mixing'][:1])
    photo, scene = sample['lq'][:1, :1], sample['gt'][:1, :1]
    radius = KERNEL_SIZE // 2
    sharp = scene[..., radius:-radius, radius:-radius].clamp(0, 1)
    expected = psnr(deblur(photo, field, fusion=fusion), sharp)
    loss = RestorationLoss(fusion=fusion).train()
    assert not fusion.training
    assert loss(field, photo, scene).item() == pytest.approx(-expected.item(), abs=1e-3)
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    with pytest.raises(ValueError, match='iterations is 4, but the fusion is made for'):
        RestorationLoss(iterations=4, fusion=fusion)


def test_under_autocast_the_fusion_alone_is_less_exact(sample, fusion):
    field = BlurField(sample['kernels'].float(), sample['mixing'].float())
    photo, scene = sample['lq'].float(), sample['gt'].float()
    for loss, wanted in ((RestorationLoss(), True), (RestorationLoss(fusion=fusion.float()), False)):
        exact = loss(field, photo, scene)
        with torch.autocast('cpu', torch.bfloat16):
            mixed = loss(field, photo, scene)
        assert torch.equal(mixed, exact) == wanted
        assert mixed.item() == pytest.approx(exact.item(), rel=0.02)


@pytest.mark.parametrize('fused', [False, True], ids=['', 'fused'])
def test_gradient_is_that_of_differences_in_a_batch_with_overexposed_scenes(sample, fusion, fused):
    kernels, direction = uneven_kernels(1), torch.randn(NUMBER, 2, KERNEL_SIZE, KERNEL_SIZE)
    loss = RestorationLoss(fusion=fusion) if fused else RestorationLoss(iterations=5)

    def value(kernels):
        return loss(BlurField.unchecked(kernels, sample['mixing']), sample['lq'], sample['gt'])

    variable = kernels.clone().requires_grad_()
    value(variable).backward()
    # The solver clips and takes maxima, so the loss has kinks.
    step = difference_step(smooth=False) * direction
    difference = (value(kernels + step) - value(kernels - step)) / 2
    assert (variable.grad * step).sum().item() == pytest.approx(difference.item(), rel=1e-3)


def test_descent_restores_better(sample):
    logits = uneven_kernels(1).log().requires_grad_()
    objective = BasisObjective(restoration=RestorationLoss())
    optimizer = torch.optim.Adam([logits], 0.1)
    seen = []
    for _ in range(12):
        kernels = logits.flatten(2).softmax(-1).view_as(logits)
        loss = objective(BlurField.unchecked(kernels, sample['mixing']), Sample.of(sample))['l_restoration']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen[-1] < seen[0] - 1


def test_what_does_not_fit_is_told(sample):
    field = BlurField(sample['kernels'], sample['mixing'])
    with pytest.raises(ValueError, match=r'scene is \(2, 3, 40, 40\), expected N = 2 and H, W = \(48, 48\)'):
        RestorationLoss()(field, sample['lq'], sample['lq'])
    with pytest.raises(ValueError, match='iterations is 0'):
        RestorationLoss(iterations=0)
    with pytest.raises(ValueError, match='strength is 2'):
        RestorationLoss(strength=2)
    with pytest.raises(ValueError, match='the restoration loss has gamma 1, but the photos have 2.2'):
        BasisObjective(restoration=RestorationLoss(gamma=1))
