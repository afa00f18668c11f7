"""The training stage for blur fields, and the test by restoration, on photos of noise."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from basicsr.metrics import calculate_metric
from steps import Board, step
from torch.utils.data import DataLoader, default_collate

from basis_blur.archs import BasisKPN
from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.estimation.by_network import estimate_blur
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import OptionError
from basis_blur.losses.sample import Sample
from basis_blur.metrics.psnr import psnr
from basis_blur.models.basis_blur_model import BasisBlurModel
from basis_blur.models.non_uniform_rl_model import NonUniformRLModel
from basis_blur.restoration.as_printed import deblur_as_printed
from basis_blur.restoration.deblur import deblur
from basis_blur.weights.checkpoints import save_network

NETWORK = {'type': 'BasisKPN', 'num_feat': 4, 'num_kernels': 2, 'norm': 'group'}


@pytest.fixture
def photos(tmp_path):
    """A folder of two photos of coloured noise, smooth at the scale of a few pixels."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ('one', 'two'):
        noise = cv2.resize(generator.integers(0, 256, (24, 24, 3), np.uint8), (96, 96))
        cv2.imwrite(str(folder / f'{name}.png'), noise)
    return folder


@pytest.fixture
def dataset(photos):
    def make(phase='train', **changes):
        section = {
            'name': 'Photos', 'type': 'SyntheticBlurDataset', 'phase': phase, 'dataroot_gt': str(photos),
            'patch_size': 48, 'seed': 0, **changes,
        }  # fmt: skip
        return build_dataset(section)

    return make


@pytest.fixture
def stage(options):
    """The training stage; `stage(train={...})` changes its options."""

    def make(train=None, dataset_options=None, **sections):
        losses = {'reblur_opt': {'type': 'ReblurLoss'}, 'kernel_opt': {'type': 'KernelLoss'}}
        opt = options(network_g=NETWORK, train={**losses, **(train or {})}, **sections)
        opt['datasets'] = {'train': dataset_options or {}}
        return BasisBlurModel(opt)

    return make


def test_scenes_blurred_by_a_worker_or_on_the_device_train_alike(stage, dataset):
    logs = []
    for synthesis in ('worker', 'device'):
        torch.manual_seed(0)
        source = dataset(synthesis=synthesis)
        torch.manual_seed(0)
        logs.append(step(stage(), default_collate([source[0], source[1]])))
    assert logs[0].keys() == {'l_reblur', 'l_kernel', 'grad_norm'}
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)


def test_training_on_one_scene_approaches_its_field(stage, dataset):
    batch = default_collate([dataset()[0]])
    model = stage(train={'optim_g': {'type': 'Adam', 'lr': 0.01}})
    logs = [dict(step(model, batch, iteration)) for iteration in range(1, 31)]
    assert logs[-1]['l_kernel'] < 0.2 * logs[0]['l_kernel']
    assert logs[-1]['l_reblur'] < 0.2 * logs[0]['l_reblur']


def test_the_kernel_loss_changes_to_p_1_at_its_iteration(stage, dataset):
    model = stage(train={'reblur_opt': None, 'kernel_p1_iter': 5, 'optim_g': {'type': 'SGD', 'lr': 0}})
    batch = default_collate([dataset()[0]])
    before, at = (step(model, batch, iteration)['l_kernel'] for iteration in (4, 5))
    assert before < 0.5 < 1 < at  # squared differences of spread kernels are small, absolute ones between 0 and 2


def test_the_gamma_of_the_data_reaches_the_losses(stage):
    assert stage(dataset_options={'gamma': 1.0}).objective.reblur.gamma == 1.0
    with pytest.raises(OptionError, match=r'train: .*gamma 2.2, but the photos have 1'):
        stage(train={'reblur_opt': {'type': 'ReblurLoss', 'gamma': 2.2}}, dataset_options={'gamma': 1.0})


@pytest.mark.parametrize('gamma', [1.0, 2.2])
def test_the_gamma_of_the_data_reaches_synthesis_and_network(stage, dataset, gamma):
    torch.manual_seed(0)
    expected = dataset(gamma=gamma)[0]['lq'][None]
    torch.manual_seed(0)
    model = stage(dataset_options={'gamma': gamma})
    seen = []
    model.net_g.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    step(model, default_collate([dataset(gamma=gamma, synthesis='device')[0]]))
    torch.testing.assert_close(seen[0], expected**gamma, atol=1e-5, rtol=0)


def test_losses_that_are_none_are_refused(stage):
    with pytest.raises(OptionError, match=r'neither.*reblur_opt'):
        stage(train={'reblur_opt': None, 'kernel_opt': None})
    with pytest.raises(OptionError, match="reblur_opt has the type 'L1Loss', expected .ReblurLoss"):
        stage(train={'reblur_opt': {'type': 'L1Loss'}})


def test_a_photo_that_is_nan_is_named(stage, dataset):
    batch = default_collate([dataset()[0], dataset()[1]])
    batch['gt'][1, 0, 20, 20] = float('nan')
    with pytest.raises(InputError, match=r'iteration 9, because l_reblur is nan.*one\.png, two\.png'):
        step(stage(), batch, 9)


@pytest.mark.parametrize('synthesis', ['worker', 'device'])
def test_a_validation_scores_draws_and_writes(stage, dataset, tmp_path, synthesis):
    model = stage(val={'restore': True})
    loader = DataLoader(dataset('val', synthesis=synthesis))
    board = Board()
    model.validation(loader, 20, board, save_img=True)
    assert model.metric_results.keys() == {
        'reblur_psnr', 'kernel_l1', 'kernel_l2', 'kernel_correlation', 'restored_psnr', 'blurred_psnr'
    }  # fmt: skip
    assert board.scalars['metrics/Photos/kernel_l2'] == model.metric_results['kernel_l2']
    assert board.images.keys() == {'Photos/000_one', 'Photos/001_two'}
    shape, dtype, dataformats = board.images['Photos/000_one']
    assert shape[2] == 3
    assert dtype == np.uint8
    assert dataformats == 'HWC'
    pictures = sorted(path.relative_to(tmp_path) for path in tmp_path.glob('visualization/*/*/*'))
    assert pictures == [
        Path(f'visualization/Photos/{name}/{name}_20{what}.png')
        for name in ('000_one', '001_two')
        for what in ('', '_restored')
    ]
    size = cv2.imread(str(tmp_path / pictures[1])).shape[:2]
    assert size == dataset('val', synthesis='worker')[0]['lq'].shape[-2:]
    records = model.best_metric_results['Photos']
    assert {name for name, record in records.items() if record['better'] == 'lower'} == {'kernel_l1', 'kernel_l2'}


def test_training_goes_on_in_training_mode_after_a_validation(stage, dataset):
    model = stage(train={'ema_decay': 0})
    model.validation(DataLoader(dataset('val')), 20, None)
    assert model.net_g.training


def test_a_validation_judges_the_average_and_changes_nothing(stage, dataset):
    model = stage()
    with torch.no_grad():
        for parameter in model.net_g_ema.parameters():
            parameter.zero_()  # so the average predicts flat kernels, evenly mixed
    before = copy.deepcopy(model.net_g.state_dict())
    model.validation(DataLoader(dataset('val')), 1, None)
    sample = dataset('val')[0]
    flat = torch.full((33, 33), 1 / 33**2)
    distances = [(flat - dataset('val')[i]['kernels'][0]).abs().sum().item() for i in (0, 1)]
    assert model.metric_results['kernel_l1'] == pytest.approx(np.mean(distances), rel=1e-4)
    assert sample['mixing'][0].min() == 1  # no masks: the background's kernel holds everywhere
    torch.testing.assert_close(model.net_g.state_dict(), before, rtol=0, atol=0)


def test_the_true_field_scores_as_perfect(stage, dataset):
    model = stage()
    drawn = dataset('val', illumination=[0.8, 0.8])[0].items()
    sample = Sample.of({key: value[None] for key, value in drawn if isinstance(value, torch.Tensor)})
    scores = model._score(sample.true_field, sample, 2.2)
    assert scores['kernel_l1'] == 0
    assert scores['kernel_correlation'] == pytest.approx(1, abs=1e-4)
    assert scores['reblur_psnr'] > 45  # the camera response bends light near white a little


def test_with_a_fusion_validation_and_loss_restore_with_it(stage, dataset, tmp_path):
    fusion = IterateFusion((1, 2), width=4, deep_width=4, blocks=0, deep_blocks=0)
    torch.nn.init.normal_(fusion.tail.weight, std=0.1)
    save_network(fusion, tmp_path / 'fusion.safetensors')
    train = {'reblur_opt': None, 'kernel_opt': None, 'restoration_opt': {'type': 'RestorationLoss'}}
    logs, scores = [], []
    for path in ({}, {'pretrain_fusion': str(tmp_path / 'fusion.safetensors')}):
        torch.manual_seed(0)
        model = stage(train=train, path=path, val={'restore': True})
        sample = next(iter(DataLoader(dataset('val'))))
        logs.append(step(model, sample)['l_restoration'])
        model.validation(DataLoader(dataset('val')), 1, None)
        scores.append(model.metric_results['restored_psnr'])
    assert logs[0] != logs[1]
    photo, sharp = sample['lq'], sample['gt'][..., 16:-16, 16:-16].clamp(0, 1)
    field = estimate_blur(model.best_net, photo)
    expected = psnr(deblur(photo, field, fusion=model.fusion), sharp)
    assert model._score(field, Sample.of(sample), 2.2)['restored_psnr'] == pytest.approx(expected.item())
    assert scores[0] != scores[1]


def test_photos_are_compared_with_what_of_the_sharp_scene_they_show(stage):
    model = stage(val={'restore': True})
    gt = torch.rand(1, 3, 72, 72) * 1.5  # lighter than white in places, which no photo shows
    delta = torch.zeros(1, 1, 33, 33)
    delta[..., 16, 16] = 1
    sample = Sample(gt[..., 16:56, 16:56].clamp(0, 1), gt, delta, torch.ones(1, 1, 40, 40))
    scores = model._score(sample.true_field, sample, 2.2)
    assert scores['blurred_psnr'] == float('inf')


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    net = BasisKPN(num_feat=4, num_kernels=2, norm='group').eval()
    path = tmp_path / 'net.safetensors'
    save_network(net, path)
    return net, path


@pytest.fixture
def tester(options, weights):
    def make(path=None, **val):
        opt = options(
            network_g=NETWORK, is_train=False, path={'pretrain_network_g': str(weights[1]), **(path or {})},
            val={'save_img': True, **val},
        )  # fmt: skip
        del opt['train']
        return NonUniformRLModel(opt)

    return make


def folder_options(photos, kind, **more):
    return {
        'name': 'Folder', 'type': kind, 'phase': 'test', 'scale': 1, 'dataroot_lq': str(photos),
        'io_backend': {'type': 'disk'}, **more,
    }  # fmt: skip


def test_photos_without_sharp_ones_are_restored_by_estimate_and_deblur(tester, photos, weights, tmp_path):
    metrics = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
    model = tester(kernels=True, gamma=1.0, estimate_at='full', rl={'iterations': 3, 'strength': 0.5}, metrics=metrics)
    model.validation(DataLoader(build_dataset(folder_options(photos, 'SingleImageDataset'))), 'quick', None, True)
    folder = tmp_path / 'visualization' / 'Folder'
    assert sorted(path.name for path in folder.iterdir()) == [
        f'{name}_toy{ending}' for name in ('one', 'two') for ending in ('.npz', '.png', '_kernels.png')
    ]
    photo = torch.from_numpy(cv2.imread(str(photos / 'one.png'))[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    field = estimate_blur(weights[0], photo, gamma=1.0)
    torch.testing.assert_close(BlurField.load(folder / 'one_toy.npz').mixing, field.mixing, atol=1e-3, rtol=0)
    expected = deblur(photo, field, gamma=1.0, iterations=3, strength=0.5)
    written = torch.from_numpy(cv2.imread(str(folder / 'one_toy.png'))[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(written, expected, atol=0.51 / 255, rtol=0)
    assert not hasattr(model, 'metric_results')  # there is nothing to compare with


def test_pairs_are_scored_by_basicsrs_metrics(tester, photos, tmp_path):
    metrics = {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 4},
        'ssim': {'type': 'calculate_ssim', 'crop_border': 4},
    }
    model = tester(rl={'iterations': 3}, metrics=metrics, suffix='rl')
    pairs = build_dataset(folder_options(photos, 'PairedImageDataset', dataroot_gt=str(photos)))
    model.validation(DataLoader(pairs), 'quick', None, save_img=True)
    folder = tmp_path / 'visualization' / 'Folder'
    values = [
        calculate_metric(
            {'img': cv2.imread(str(folder / f'{name}_rl.png')), 'img2': cv2.imread(str(photos / f'{name}.png'))},
            metrics['ssim'],
        )
        for name in ('one', 'two')
    ]
    assert model.metric_results['ssim'] == pytest.approx(np.mean(values))
    assert model.metric_results.keys() == {'psnr', 'ssim'}


def test_a_fusion_makes_the_restored_photo(tester, tmp_path):
    fusion = IterateFusion((1, 2), width=4, deep_width=4, blocks=0, deep_blocks=0).eval()
    torch.nn.init.constant_(fusion.tail.bias, 0.5)
    save_network(fusion, tmp_path / 'fusion.safetensors')
    path = {'pretrain_fusion': str(tmp_path / 'fusion.safetensors')}
    photo = torch.rand(1, 3, 40, 48)
    result = tester(path).deblurrer(photo)
    torch.testing.assert_close(result.photo, deblur(photo, result.field, fusion=fusion))
    assert (result.photo - deblur(photo, result.field)).abs().max() > 1e-3
    with pytest.raises(OptionError, match='"iterations" means nothing with "path: pretrain_fusion"'):
        tester(path, rl={'iterations': 3})
    with pytest.raises(OptionError, match='nowhere.safetensors, which does not exist'):
        tester({'pretrain_fusion': 'nowhere.safetensors'})


def test_the_solvers_options_are_checked(tester):
    with pytest.raises(OptionError, match=r'val: rl has the unknown key "iteration".*"iterations"'):
        tester(rl={'iteration': 3})


def test_photos_are_restored_as_printed_if_that_is_asked_for(tester, weights):
    photo = torch.rand(1, 3, 40, 40)
    field = estimate_blur(weights[0], photo, gamma=1.0)
    for rl, iterations, strength in (({}, 30, 1.0), ({'iterations': 2, 'strength': 0.5}, 2, 0.5)):
        found = tester(gamma=1.0, estimate_at='full', rl={'method': 'rl-c21', **rl}).deblurrer(photo).photo
        printed = deblur_as_printed(photo, field, (iterations,), 1.0)
        torch.testing.assert_close(found, torch.lerp(photo, printed, strength), rtol=1e-4, atol=1e-5)


def test_the_estimator_is_an_option(tester):
    photo = torch.rand(1, 3, 40, 40)
    assert torch.equal(tester(estimator='none').deblurrer(photo).photo, photo)
    assert tester(estimator='network').deblurrer(photo).estimates[0].source == 'network'
    with pytest.raises(OptionError, match='estimator'):
        tester(estimator='best')


def test_restoring_is_no_training(options):
    with pytest.raises(OptionError, match='BasisBlurModel'):
        NonUniformRLModel(options(network_g=NETWORK))
