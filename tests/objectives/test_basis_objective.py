import math

import pytest
import torch

from basis_blur.field.blur_field import BlurField
from basis_blur.losses import KernelLoss, ReblurLoss
from basis_blur.objectives.basis_objective import BasisObjective, reblur
from basis_blur.ops.camera_response import to_linear


def random_field(seed: int, basis: int = 2, size: int = 6, kernel_size: int = 3) -> BlurField:
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.rand(1, basis, kernel_size, kernel_size, generator=generator)
    mixing = torch.rand(1, basis, size, size, generator=generator)
    return BlurField(kernels / kernels.sum((-2, -1), keepdim=True), mixing / mixing.sum(1, keepdim=True))


@pytest.fixture
def sample():
    truth = random_field(0, basis=3)
    gt = torch.rand(1, 3, 8, 8)
    return {
        'lq': reblur(truth, gt),
        'gt': gt,
        'kernels': truth.kernels,
        'mixing': truth.mixing,
        'weight': torch.full((1, 1, 6, 6), 1 / 36),
    }


def truth_of(sample: dict) -> BlurField:
    return BlurField(sample['kernels'], sample['mixing'])


def test_the_true_field_costs_nothing(sample):
    losses = BasisObjective(ReblurLoss(), KernelLoss())(truth_of(sample), sample)
    assert losses.keys() == {'l_reblur', 'l_kernel'}
    for loss in losses.values():
        torch.testing.assert_close(loss, torch.tensor(0.0), atol=1e-12, rtol=0)


def test_each_loss_is_that_of_its_module_and_one_may_be_absent(sample):
    field = random_field(1)
    both = BasisObjective(ReblurLoss(3.0), KernelLoss(loss_weight=2.0))(field, sample)
    scene = to_linear(sample['gt'])
    torch.testing.assert_close(both['l_reblur'], 3 * ReblurLoss()(field, scene, sample['lq'], sample['weight']))
    torch.testing.assert_close(both['l_kernel'], 2 * KernelLoss()(field, truth_of(sample), sample['weight']))
    assert BasisObjective(kernel=KernelLoss())(field, sample).keys() == {'l_kernel'}
    assert BasisObjective(ReblurLoss())(field, sample).keys() == {'l_reblur'}


def test_p_becomes_1_at_its_iteration_and_keeps_its_weight(sample):
    field = random_field(1)
    objective = BasisObjective(kernel=KernelLoss(p=2, loss_weight=2.0), kernel_p1_iter=10)
    for iteration, p in ((9, 2), (10, 1), (11, 1)):
        expected = KernelLoss(p=p, loss_weight=2.0)(field, truth_of(sample), sample['weight'])
        torch.testing.assert_close(objective(field, sample, iteration)['l_kernel'], expected)


def test_gamma_is_that_of_the_photos(sample):
    linear = {**sample, 'lq': reblur(truth_of(sample), sample['gt'], gamma=1)}
    objective = BasisObjective(ReblurLoss(gamma=1), gamma=1)
    torch.testing.assert_close(objective(truth_of(sample), linear)['l_reblur'], torch.tensor(0.0), atol=1e-12, rtol=0)


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
