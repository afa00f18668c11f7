"""The stage that trains an IterateFusion, on photos of noise."""

import pytest
import torch
from steps import step

from basis_blur.archs import BasisKPN
from basis_blur.estimation.by_network import estimate_blur
from basis_blur.foundation.options import OptionError
from basis_blur.losses.iterate_fusion import iterate_stack
from basis_blur.models.iterate_fusion_model import IterateFusionModel
from basis_blur.models.validation import Validation
from basis_blur.restoration.deblur import deblur
from basis_blur.weights.checkpoints import save_network

TRAIN = {'pixel_opt': {'type': 'PSNRLoss'}, 'views': 2, 'view_size': 32}
NETWORK = {'type': 'IterateFusion', 'iterations': [1, 2], 'width': 8, 'deep_width': 8, 'blocks': 2, 'deep_blocks': 1}


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    gt = torch.nn.functional.interpolate(torch.rand(2, 3, 12, 12, generator=generator), scale_factor=4)
    return {'lq': torch.nn.functional.avg_pool2d(gt, 5, 1, 2), 'gt': gt, 'lq_path': ['one.png', 'two.png']}


@pytest.fixture
def opt(options, tmp_path):
    torch.manual_seed(0)
    save_network(BasisKPN(num_feat=2, num_kernels=2), tmp_path / 'blur.safetensors')

    def make(**train):
        opt = options(train={**TRAIN, **train}, path={'pretrain_blur': str(tmp_path / 'blur.safetensors')})
        opt['network_g'] = dict(NETWORK)
        return opt

    return make


def test_it_learns_and_the_estimator_stays(opt, pair):
    model = IterateFusionModel(opt())
    before = [parameter.clone() for parameter in model.net_blur.parameters()]
    losses = [step(model, pair)['l_pixel'] for _ in range(40)]
    assert sum(losses[-5:]) / 5 < losses[0] - 0.3  # dB
    for parameter, old in zip(model.net_blur.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_the_loss_is_that_of_views_of_the_stack(opt, pair, monkeypatch):
    model = IterateFusionModel(opt())
    seen = {}
    monkeypatch.setattr(model, 'descend', lambda losses, iteration: seen.update(losses))
    step_views = {}

    def views(stack, gt, side, number):
        step_views.update(stack=stack, side=side, number=number)
        return stack, gt

    monkeypatch.setattr('basis_blur.models.iterate_fusion_model.random_views', views)
    model.feed_data(pair)
    model.optimize_parameters(1)
    stack = iterate_stack(model.net_blur, pair['lq'], (1, 2), 2.2)
    torch.testing.assert_close(step_views['stack'], stack)
    assert (step_views['side'], step_views['number']) == (32, 2)
    squares = (model.net_g(stack) - pair['gt']).square().flatten(1).mean(1)
    torch.testing.assert_close(seen['l_pixel'], 10 * squares.log10().mean(), rtol=1e-4, atol=1e-4)


def test_a_validation_tells_what_the_network_adds_to_the_solver(opt, pair):
    model = IterateFusionModel(opt())
    sample = {key: value[:1] for key, value in pair.items()}
    dataset = type('Photos', (list,), {'opt': {'name': 'val'}})([0])
    model.opt['val'] = {'pbar': False}
    model.val_options = {}
    scores = model.validate(Validation([sample], dataset, 1, None, False, model.opt))[0]
    assert scores.keys() == {'psnr', 'solver_psnr', 'blurred_psnr'}
    photo = sample['lq'].clamp(0, 1)
    field = estimate_blur(model.net_blur, photo)
    for name, image in {
        'psnr': deblur(photo, field, fusion=model.best_net),
        'solver_psnr': deblur(photo, field),
        'blurred_psnr': photo,
    }.items():
        error = (image - sample['gt']).square().mean()
        assert scores[name] == pytest.approx(-10 * error.log10().item(), abs=1e-3)


def test_another_network_is_refused(options):
    with pytest.raises(OptionError, match='network_g is a ToyNet, expected an IterateFusion'):
        IterateFusionModel(options(train=TRAIN))
