import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from basis_blur.field.blur_field import BlurField
from basis_blur.losses import KernelLoss, ReblurLoss
from basis_blur.losses.basis_objective import BasisObjective
from basis_blur.losses.restoration_objective import restoration_losses
from basis_blur.losses.sample import Sample
from basis_blur.ops.camera_response import to_linear
from basis_blur.ops.reblurring import reblur


def random_field(seed: int, basis: int = 2, size: int = 6, kernel_size: int = 3) -> BlurField:
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.rand(1, basis, kernel_size, kernel_size, generator=generator)
    mixing = torch.rand(1, basis, size, size, generator=generator)
    return BlurField(kernels / kernels.sum((-2, -1), keepdim=True), mixing / mixing.sum(1, keepdim=True))


@pytest.fixture
def sample():
    truth = random_field(0, basis=3)
    gt = torch.rand(1, 3, 8, 8)
    return Sample(reblur(truth, gt), gt, truth.kernels, truth.mixing, torch.full((1, 1, 6, 6), 1 / 36))


def test_the_true_field_costs_nothing(sample):
    losses = BasisObjective(ReblurLoss(), KernelLoss())(sample.true_field, sample)
    assert losses.keys() == {'l_reblur', 'l_kernel'}
    for loss in losses.values():
        torch.testing.assert_close(loss, torch.tensor(0.0), atol=1e-12, rtol=0)


def test_each_loss_is_that_of_its_module_and_one_may_be_absent(sample):
    field = random_field(1)
    both = BasisObjective(ReblurLoss(3.0), KernelLoss(loss_weight=2.0))(field, sample)
    scene = to_linear(sample.gt)
    torch.testing.assert_close(both['l_reblur'], 3 * ReblurLoss()(field, scene, sample.lq, sample.weight))
    torch.testing.assert_close(both['l_kernel'], 2 * KernelLoss()(field, sample.true_field, sample.weight))
    assert BasisObjective(kernel=KernelLoss())(field, sample).keys() == {'l_kernel'}
    assert BasisObjective(ReblurLoss())(field, sample).keys() == {'l_reblur'}


def test_p_becomes_1_at_its_iteration_and_keeps_its_weight(sample):
    field = random_field(1)
    objective = BasisObjective(kernel=KernelLoss(p=2, loss_weight=2.0), kernel_p1_iter=10)
    for iteration, p in ((9, 2), (10, 1), (11, 1)):
        expected = KernelLoss(p=p, loss_weight=2.0)(field, sample.true_field, sample.weight)
        torch.testing.assert_close(objective(field, sample, iteration)['l_kernel'], expected)


def test_gamma_is_that_of_the_photos(sample):
    linear = replace(sample, lq=reblur(sample.true_field, sample.gt, gamma=1))
    objective = BasisObjective(ReblurLoss(gamma=1), gamma=1)
    torch.testing.assert_close(objective(sample.true_field, linear)['l_reblur'], torch.tensor(0.0), atol=1e-12, rtol=0)


def test_what_makes_no_objective_is_refused():
    with pytest.raises(ValueError, match='neither'):
        BasisObjective()
    with pytest.raises(ValueError, match=r'gamma 2.2.* have 1'):
        BasisObjective(ReblurLoss(gamma=2.2), gamma=1)
    with pytest.raises(ValueError, match='no kernel loss'):
        BasisObjective(ReblurLoss(), kernel_p1_iter=5)


def test_white_light_saturates_in_a_reblurred_photo():
    delta = torch.zeros(1, 1, 3, 3)
    delta[..., 1, 1] = 1
    photo = reblur(BlurField(delta, torch.ones(1, 1, 4, 4)), torch.ones(1, 3, 6, 6))
    response = torch.tensor(1 - math.log(2) / 50)  # R(1)
    torch.testing.assert_close(photo, (response ** (1 / 2.2)).expand(1, 3, 4, 4))


def test_a_sample_without_truth_has_no_field_and_one_without_sharp_photos_none(sample):
    assert replace(sample, mixing=None).true_field is None
    assert replace(sample, gt=None).sharp is None


def test_a_loss_that_needs_sharp_photos_says_so(sample):
    objective = BasisObjective(reblur=ReblurLoss())
    with pytest.raises(ValueError, match='no sharp photos, "gt"'):
        objective(sample.true_field, replace(sample, gt=None))
    with pytest.raises(ValueError, match='no sharp photos, "gt"'):
        restoration_losses(sample.lq, sample.lq, None, pixel=nn.L1Loss())


def test_a_scene_loses_its_border(sample):
    torch.testing.assert_close(sample.sharp, sample.gt[..., 1:-1, 1:-1])
    brighter = replace(sample, gt=sample.gt + 1)
    assert brighter.sharp.max() == 1  # a photo shows no more than white


def test_a_sample_is_made_of_a_batch_by_name(sample):
    batch = {'lq': sample.lq, 'gt': sample.gt, 'lq_path': ['one.png']}
    assert Sample.of(batch) == Sample(sample.lq, sample.gt)
