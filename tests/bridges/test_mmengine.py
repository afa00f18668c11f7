"""The same losses, gradients and checkpoints by mmengine as by BasicSR, and a training by its Runner."""

import copy
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

mmengine = pytest.importorskip('mmengine', reason='mmengine is not installed; "pip install basis_blur[mmengine]"')

from mmengine.config import Config  # noqa: E402
from mmengine.fileio import LmdbBackend  # noqa: E402

import basis_blur.bridges.mmengine as bridge  # noqa: E402
import basis_blur.plugin  # noqa: E402, F401
from basis_blur import registry  # noqa: E402
from basis_blur.archs import ARCHS, BasisKPN, CorrelationKPN, IterateFusion, KernelFlow  # noqa: E402
from basis_blur.archs.kernel_flow_arch import derive_normalization  # noqa: E402
from basis_blur.bridges.mmengine import models  # noqa: E402
from basis_blur.bridges.mmengine.__main__ import check_schedule  # noqa: E402
from basis_blur.bridges.mmengine.__main__ import main as command  # noqa: E402
from basis_blur.bridges.mmengine.hooks import MovingAverage  # noqa: E402
from basis_blur.bridges.mmengine.metrics import ssim  # noqa: E402
from basis_blur.data import kernel_dataset, synthetic_blur_dataset  # noqa: E402
from basis_blur.data.kernel_lmdb import KernelRecipe, prepare_kernels  # noqa: E402
from basis_blur.data.photo_lmdb import PhotoSource, prepare_photos  # noqa: E402
from basis_blur.estimation.by_network import estimate_blur  # noqa: E402
from basis_blur.field.blur_field import BlurField  # noqa: E402
from basis_blur.foundation.errors import InputError  # noqa: E402
from basis_blur.models.basis_blur_model import BasisBlurModel  # noqa: E402
from basis_blur.models.blur_to_deblur_model import BlurToDeblurModel  # noqa: E402
from basis_blur.models.iterate_fusion_model import IterateFusionModel  # noqa: E402
from basis_blur.models.kernel_flow_model import KernelFlowModel  # noqa: E402
from basis_blur.models.self_supervised_reblur_model import SelfSupervisedReblurModel  # noqa: E402
from basis_blur.models.ufpnet_model import UFPNetModel  # noqa: E402
from basis_blur.photos.pictures import draw_kernel_grids  # noqa: E402
from basis_blur.registry import DATASETS, VISUALIZERS  # noqa: E402
from basis_blur.restoration.deblur import deblur  # noqa: E402
from basis_blur.simulation.scene_blur import blur_scene  # noqa: E402
from basis_blur.weights.checkpoints import load_network, save_network  # noqa: E402

WEIGHTS = Path(__file__).parents[2] / 'basis_blur' / 'weights' / 'trained'
CONFIGS = sorted(Path(__file__).parents[2].glob('configs/*.py'))
KPN = {'type': 'BasisKPN', 'num_feat': 2, 'num_kernels': 2, 'norm': 'group'}
NAFNET = {'type': 'NAFNet', 'width': 4, 'enc_blocks': [1], 'middle_blocks': 1, 'dec_blocks': [1]}
LATENT = {
    'type': 'LatentKernelNet',
    'kernel_size': 5,
    'width': 4,
    'flow_blocks': 1,
    'flow_hidden': 8,
    'uncertainty': False,
}


@pytest.fixture(autouse=True)
def _float32():
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def basicsr_options(tmp_path):
    """Options of a training by BasicSR that changes nothing: its learning rate is 0."""

    def make(network, train, **path):
        return {
            'name': 'toy', 'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1, 'is_train': True,
            'datasets': {'train': {}}, 'network_g': network, 'val': {},
            'path': {'models': str(tmp_path / 'models'), 'training_states': str(tmp_path / 'states'), **path},
            'train': {
                'total_iter': 10, 'optim_g': {'type': 'SGD', 'lr': 0.0},
                'scheduler': {'type': 'MultiStepLR', 'milestones': [9]}, 'ema_decay': 0.9, **train,
            },
        }  # fmt: skip

    return make


def scene(kernel_size=33, side=40):
    """Ingredients of two blurred photos."""
    generator = torch.Generator().manual_seed(0)
    large = side + kernel_size - 1
    labels = torch.zeros(2, large, large, dtype=torch.uint8)
    labels[:, 20:50, 20:50] = 1
    kernels = torch.rand(2, 2, kernel_size, kernel_size, generator=generator)
    return {
        'sharp': (255 * torch.rand(2, 3, large, large, generator=generator)).to(torch.uint8),
        'labels': labels,
        'kernels': kernels / kernels.sum((2, 3), keepdim=True),
        'illumination': torch.tensor([0.8, 1.1]),
        'noise_std': torch.tensor([0.0, 0.01]),
        'noise_seed': torch.tensor([1, 2]),
        'lq_path': ['one.png', 'two.png'],
    }


def pair():
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand(2, 3, 40, 40, generator=generator)
    return {'lq': torch.nn.functional.avg_pool2d(gt, 3, 1, 1), 'gt': gt, 'lq_path': ['one.png', 'two.png']}


def flow_kernels():
    kernels = torch.rand(4, 5, 5, generator=torch.Generator().manual_seed(0))
    return {'kernel': kernels / kernels.sum((1, 2), keepdim=True), 'key': ['a', 'b', 'c', 'd']}


def check_equal(theirs, ours, batch, seen, exchange=True):
    """One step of BasicSR's model at learning rate 0 and one backward of mmengine's: equal losses and gradients."""
    state = {key: value.clone() for key, value in theirs.net_g.state_dict().items()}
    ours.net.load_state_dict(state)
    ours.train()
    theirs.feed_data(copy.deepcopy(batch))
    torch.manual_seed(5)
    theirs.optimize_parameters(1)
    log = {key: value for key, value in theirs.get_current_log().items() if key.startswith('l_')}
    data = ours.data_preprocessor(
        {'inputs': batch[seen], 'data_samples': {k: v for k, v in batch.items() if k != seen}}
    )
    ours.net.load_state_dict(state)
    torch.manual_seed(5)
    losses = ours(**data, mode='loss')
    total, _ = ours.parse_losses(losses)
    total.backward()
    assert {key.removeprefix('loss_') for key in losses} == {key.removeprefix('l_') for key in log}
    for key, value in log.items():
        assert losses[f'loss_{key.removeprefix("l_")}'].item() == pytest.approx(value, rel=1e-6)
    gradients = dict(ours.net.named_parameters())
    seen_gradient = False
    for name, parameter in theirs.net_g.named_parameters():
        if parameter.grad is None:
            assert gradients[name].grad is None
            continue
        seen_gradient |= bool(parameter.grad.abs().max() > 0)
        torch.testing.assert_close(gradients[name].grad, parameter.grad, rtol=1e-5, atol=1e-7)
    assert seen_gradient
    if exchange:
        check_exchange(theirs, ours)


def check_exchange(theirs, ours):
    """A checkpoint of either is read by the other: mmengine's changed weights there, and BasicSR's here again."""
    with torch.no_grad():
        for value in ours.net.parameters():
            value.add_(0.5)
    path = Path(theirs.opt['path']['models'], 'of_mmengine.pth')
    path.parent.mkdir(parents=True, exist_ok=True)
    bridge.checkpoint.save_network_file(bridge.checkpoint.to_basicsr({'state_dict': ours.state_dict()}, ours.net), path)
    theirs.load_network(theirs.net_g, str(path), True, 'params')
    for net in (load_network(path, expect=type(ours.net).__name__), theirs.get_bare_model(theirs.net_g)):
        check_same_state(net, ours.net)
    theirs.net_g_ema.load_state_dict({key: value + 1 for key, value in theirs.net_g.state_dict().items()})
    theirs.save(0, 7)
    found = torch.load(path.with_name('net_g_7.pth'), weights_only=True)
    ours.load_state_dict(bridge.checkpoint.from_basicsr(found)['state_dict'], strict=False)
    check_same_state(ours.net, theirs.net_g_ema)


def check_same_state(one, other):
    own, found = one.state_dict(), other.state_dict()
    assert own.keys() == found.keys()
    assert all(torch.equal(value, found[key]) for key, value in own.items())


@pytest.mark.parametrize('where', ['worker', 'device'])
def test_basis_kernels_learn_alike(basicsr_options, where):
    batch = scene()
    if where == 'worker':
        batch = {**blur_scene(batch), 'lq_path': batch['lq_path']}
    losses = {'reblur_opt': {'type': 'ReblurLoss', 'loss_weight': 3.0}, 'kernel_opt': {'type': 'KernelLoss'}}
    theirs = BasisBlurModel(basicsr_options(KPN, losses))
    ours = models.BasisBlurModel(KPN, {'type': 'ReblurLoss', 'loss_weight': 3.0}, {'type': 'KernelLoss'})
    check_equal(theirs, ours, batch, 'lq' if where == 'worker' else 'sharp', exchange=where == 'worker')


def test_the_other_losses_of_basis_kernels_teach_alike(basicsr_options):
    batch = scene()
    batch = {**blur_scene(batch), 'lq_path': batch['lq_path']}
    divergence = {'type': 'KernelDivergenceLoss', 'loss_weight': 0.5}
    restoration = {'type': 'RestorationLoss', 'iterations': 2}
    theirs = BasisBlurModel(basicsr_options(KPN, {'divergence_opt': divergence, 'restoration_opt': restoration}))
    ours = models.BasisBlurModel(KPN, divergence=divergence, restoration=restoration)
    check_equal(theirs, ours, batch, 'lq')


def test_basis_kernels_learn_alike_through_a_fusion(basicsr_options, tmp_path):
    batch = scene()
    batch = {**blur_scene(batch), 'lq_path': batch['lq_path']}
    path = str(tmp_path / 'fusion.safetensors')
    save_network(IterateFusion((1, 2), width=4, deep_width=4, blocks=0, deep_blocks=0), path)
    restoration = {'type': 'RestorationLoss'}
    theirs = BasisBlurModel(basicsr_options(KPN, {'restoration_opt': restoration}, pretrain_fusion=path))
    ours = models.BasisBlurModel(KPN, restoration=restoration, fusion=path)
    check_equal(theirs, ours, batch, 'lq')


def test_restorers_learn_alike(basicsr_options):
    theirs = UFPNetModel(basicsr_options(NAFNET, {'pixel_opt': {'type': 'PSNRLoss', 'loss_weight': 0.5}}))
    check_equal(theirs, models.UFPNetModel(NAFNET, {'type': 'PSNRLoss', 'loss_weight': 0.5}), pair(), 'lq')


def test_restorers_with_kernels_learn_alike(basicsr_options):
    network = {**NAFNET, 'type': 'UFPNet', 'kernel_size': 5, 'estimator_width': 4, 'attention_levels': [0]}
    network |= {'flow_blocks': 1, 'flow_hidden': 8, 'uncertainty': False}
    losses = {'pixel_opt': {'type': 'PSNRLoss'}, 'reblur_opt': {'type': 'ConsistencyLoss', 'loss_weight': 0.1}}
    theirs = UFPNetModel(basicsr_options(network, {**losses, 'freeze_estimator': True}))
    ours = models.UFPNetModel(network, losses['pixel_opt'], losses['reblur_opt'], freeze_estimator=True)
    check_equal(theirs, ours, pair(), 'lq')
    assert all(parameter.grad is None for parameter in ours.net.latent_kernels.parameters())
    with pytest.raises(InputError, match='estimates no kernels'):
        models.UFPNetModel(NAFNET, losses['pixel_opt'], freeze_estimator=True)


def test_blurring_to_deblur_learns_alike(basicsr_options, tmp_path):
    path = str(tmp_path / 'blur.safetensors')
    save_network(BasisKPN(num_feat=2, num_kernels=2), path)
    consistency = {'type': 'ConsistencyLoss', 'gamma': 2.2}
    train = {'consistency_opt': consistency, 'pixel_opt': {'type': 'PSNRLoss'}}
    theirs = BlurToDeblurModel(basicsr_options(NAFNET, train, pretrain_blur=path))
    ours = models.BlurToDeblurModel(NAFNET, path, consistency, pixel={'type': 'PSNRLoss'})
    check_equal(theirs, ours, pair(), 'lq')
    assert all(parameter.grad is None for parameter in ours.net_blur.parameters())


def test_fusions_learn_alike(basicsr_options, tmp_path):
    path = str(tmp_path / 'blur.safetensors')
    save_network(BasisKPN(num_feat=2, num_kernels=2), path)
    net = {'type': 'IterateFusion', 'iterations': [1, 2], 'width': 4, 'deep_width': 4, 'blocks': 2, 'deep_blocks': 1}
    losses = {'pixel_opt': {'type': 'PSNRLoss'}, 'views': 2, 'view_size': 24}
    theirs = IterateFusionModel(basicsr_options(net, losses, pretrain_blur=path))
    ours = models.IterateFusionModel(net, path, 2, 24, pixel={'type': 'PSNRLoss'})
    check_equal(theirs, ours, pair(), 'lq')
    assert all(parameter.grad is None for parameter in ours.net_blur.parameters())
    lq, photo = pair()['lq'], pair()['lq'].clamp(0, 1)
    ours.eval()
    found = torch.cat([each['image'] for each in ours(lq, {'gt': pair()['gt']}, mode='predict')])
    torch.testing.assert_close(found, deblur(photo, estimate_blur(ours.net_blur, photo), fusion=ours.net))
    torch.testing.assert_close(ours(lq), found)


def test_latent_kernels_learn_alike(basicsr_options, tmp_path):
    path = str(tmp_path / 'flow.safetensors')
    save_network(KernelFlow(kernel_size=5, num_blocks=1, hidden=8), path)
    theirs = SelfSupervisedReblurModel(
        basicsr_options(LATENT, {'reblur_opt': {'type': 'PixelReblurLoss'}}, pretrain_flow=path)
    )
    check_equal(theirs, models.SelfSupervisedReblurModel(LATENT, {'type': 'PixelReblurLoss'}, path), pair(), 'lq')


def test_a_latent_stage_of_windows_computes_what_basicsr_computes(basicsr_options, tmp_path):
    latent = {**LATENT, 'kernel_size': 9, 'estimator': 'correlation'}
    paths = {'flow': KernelFlow(9, 1, 8), 'decoder': CorrelationKPN(num_feat=4)}
    for name, net in paths.items():
        save_network(net, tmp_path / f'{name}.safetensors')
    flow, decoder = (str(tmp_path / f'{name}.safetensors') for name in paths)
    theirs = SelfSupervisedReblurModel(
        basicsr_options(latent, {'reblur_opt': {'type': 'ReblurLoss'}}, pretrain_flow=flow, pretrain_decoder=decoder)
    )
    ours = models.SelfSupervisedReblurModel(latent, {'type': 'ReblurLoss'}, flow, decoder)
    check_equal(theirs, ours, pair(), 'lq')


def test_basis_kernels_learn_alike_from_pairs_alone(basicsr_options):
    theirs = SelfSupervisedReblurModel(basicsr_options(KPN, {'reblur_opt': {'type': 'ReblurLoss'}}))
    ours = models.SelfSupervisedReblurModel(KPN, {'type': 'ReblurLoss'})
    check_equal(theirs, ours, pair(), 'lq', exchange=False)


def test_guesses_are_trusted_alike(basicsr_options):
    trust = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    pixel, reblur = {'type': 'PSNRLoss'}, {'type': 'ReblurLoss'}
    for theirs, ours, loss in (
        (UFPNetModel(basicsr_options(NAFNET, {'pixel_opt': pixel})), models.UFPNetModel(NAFNET, pixel), 'l_pixel'),
        (
            SelfSupervisedReblurModel(basicsr_options(KPN, {'reblur_opt': reblur})),
            models.SelfSupervisedReblurModel(KPN, reblur),
            'l_reblur',
        ),
    ):
        check_equal(theirs, ours, {**pair(), 'trust': trust}, 'lq', exchange=False)
        trusted = theirs.get_current_log()[loss]
        theirs.feed_data(pair())
        theirs.optimize_parameters(2)
        assert theirs.get_current_log()[loss] != pytest.approx(trusted, rel=0.1)


def test_flows_learn_alike(basicsr_options, monkeypatch):
    dataset = type('Kernels', (), {'spread': lambda self, count=4: flow_kernels()['kernel']})()
    monkeypatch.setattr(KernelFlowModel, '_training_kernels', lambda self: dataset)
    network = {'type': 'KernelFlow', 'kernel_size': 5, 'num_blocks': 2, 'hidden': 8}
    options = basicsr_options(network, {'nll_opt': {'type': 'FlowNLLLoss'}})
    options['datasets']['train']['dataroot'] = 'kernels.lmdb'
    theirs = KernelFlowModel(options)
    check_equal(theirs, models.KernelFlowModel(network), flow_kernels(), 'kernel')


def test_mixed_precision_is_of_the_network_alone():
    ours = models.BasisBlurModel(KPN, {'type': 'ReblurLoss'})
    data = ours.data_preprocessor({'inputs': scene()['sharp'], 'data_samples': scene()})
    exact = data['data_samples']['mixing'].clone()
    with torch.autocast('cpu', torch.bfloat16):
        again = ours.data_preprocessor({'inputs': scene()['sharp'], 'data_samples': scene()})
        loss = ours(**again, mode='loss')['loss_reblur']
    assert loss.dtype == torch.float32
    assert torch.equal(again['data_samples']['mixing'], exact)


def test_the_average_follows_weights_and_buffers():
    net = torch.nn.BatchNorm1d(1)
    average = MovingAverage(net, decay=0.9)
    for value in (1.0, 2.0):
        net.bias.data.fill_(value)
        net.running_mean.fill_(value)
        average.update_parameters(net)
    assert average.module.bias.item() == pytest.approx(0.9 * 0.1 + 0.1 * 2)
    assert average.module.running_mean.item() == 2


def test_components_are_found_by_scope():
    from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, VISUALIZERS

    for parent, names in {
        MODELS: [*ARCHS, 'BasisBlurModel', 'UFPNetModel', 'BlurDataPreprocessor', 'ReblurLoss', 'MovingAverage'],
        DATASETS: ['SyntheticBlurDataset', 'KernelDataset', 'GuessedPhotoDataset', 'PhotoPairDataset'],
        TRANSFORMS: ['LoadPhotoPair'],
        METRICS: ['PhotoPSNR', 'PhotoSSIM', 'KernelErrors', 'ReblurPSNR'],
        HOOKS: ['WriteNetworkHook', 'KernelGridHook', 'NormalizationHook', 'RandomNumbersHook'],
        VISUALIZERS: ['BlurVisualizer'],
        DATA_SAMPLERS: ['InfiniteDraws'],
    }.items():
        for name in names:
            assert parent.get(f'basis_blur.{name}').__module__.startswith('basis_blur.')
            assert parent.get(name) is None  # in nobody else's way


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_models_of_all_configs_build(path, tmp_path):
    from mmengine.config import Config

    config = Config.fromfile(path)
    assert config.default_scope == 'basis_blur'
    model = {**config.model, '_scope_': 'basis_blur'}
    for key in ('pretrained', 'pretrained_flow', 'pretrained_estimator', 'blur'):
        if model.get(key) is not None:  # written by the training of another config, at its last step
            if '/' not in model[key]:  # a shipped network
                assert (WEIGHTS / f'{model[key]}.safetensors').exists()
                model[key] = None
                continue
            folder, name = Path(model[key]).parents[1], Path(model[key]).name
            assert name == f'net_g_{Config.fromfile(path.with_name(f"{folder.name}.py")).train_cfg.max_iters}.pth'
            model[key] = None
    if 'blur' in model:
        model['blur'] = str(tmp_path / 'blur.safetensors')
        save_network(BasisKPN(num_feat=2, num_kernels=2), model['blur'])
    with torch.device('meta'):
        built = models.MODELS.build(model)
    assert sum(parameter.numel() for parameter in built.net.parameters()) > 1e4
    for loader in ('train_dataloader', 'val_dataloader'):
        assert config[loader].collate_fn.type == 'default_collate'
    for name, parts in {
        'METRICS': [*config.val_evaluator, *config.test_evaluator],
        'HOOKS': [
            *config.custom_hooks,
            *(config.default_hooks[name] for name in ('random_numbers', 'checkpoint_form', 'network', 'kernel_grid')),
        ],
        'VISUALIZERS': [config.visualizer],
        'DATA_SAMPLERS': [config.train_dataloader.sampler],
        'DATASETS': [config.train_dataloader.dataset, config.val_dataloader.dataset],
    }.items():
        for part in parts:
            assert registry.CHILDREN[name].get(part.type) is not None


@pytest.fixture
def photos(tmp_path):
    """Folders `blur` and `sharp` of two photos each."""
    generator = np.random.default_rng(0)
    for name in ('one', 'two'):
        sharp = cv2.resize(generator.integers(0, 256, (12, 12, 3), np.uint8), (48, 48))
        for folder, photo in (('sharp', sharp), ('blur', cv2.blur(sharp, (5, 5)))):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), photo)
    return tmp_path


def restoring_config(photos, iterations, **changes):
    pipeline = [{'type': f'{name}PhotoPair'} for name in ('Load', 'Pack')]
    random = [pipeline[0], {'type': 'CropPhotoPair', 'size': 32}, {'type': 'TurnPhotoPair'}, pipeline[1]]
    loader = {
        'num_workers': 0,
        'batch_size': 2,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'default_collate'},
        'dataset': {
            'type': 'PhotoPairDataset',
            'dataroot_lq': str(photos / 'blur'),
            'dataroot_gt': str(photos / 'sharp'),
            'pipeline': pipeline,
            'serialize_data': False,  # which takes a second of collecting garbage
        },
    }
    return dict(
        default_scope='basis_blur',
        custom_imports={'imports': ['basis_blur.bridges.mmengine']},
        work_dir=str(photos / 'work'),
        experiment_name=f'run_{iterations}_{len(changes)}_{photos.name}',
        model={'type': 'UFPNetModel', 'net': NAFNET, 'pixel': {'type': 'PSNRLoss'}},
        train_dataloader=copy.deepcopy(
            {**loader, 'sampler': {'type': 'InfiniteDraws'}, 'dataset': {**loader['dataset'], 'pipeline': random}}
        ),
        val_dataloader=copy.deepcopy(loader),
        val_evaluator=[{'type': 'PhotoPSNR'}, {'type': 'PhotoSSIM'}],
        val_cfg={'type': 'ValLoop'},
        train_cfg={'type': 'IterBasedTrainLoop', 'max_iters': iterations, 'val_interval': 2},
        optim_wrapper={'type': 'OptimWrapper', 'optimizer': {'type': 'AdamW', 'lr': 0.01}},
        param_scheduler={'type': 'CosineAnnealingLR', 'T_max': 10, 'end': 10, 'by_epoch': False},
        default_hooks={
            'logger': {'type': 'LoggerHook', 'interval': 1},
            'checkpoint': {'type': 'CheckpointHook', 'interval': 2, 'by_epoch': False},
        },
        custom_hooks=[
            {'type': 'CheckpointFormHook'},
            {'type': 'EMAHook', 'ema_type': 'MovingAverage', 'decay': 0.5},
            {'type': 'WriteNetworkHook'},
        ],
        randomness={'seed': 0},
        log_processor={'by_epoch': False},
        **changes,
    )


def run(config):
    from mmengine.config import Config
    from mmengine.runner import Runner

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        runner = Runner.from_cfg(Config(config))
        runner.train()
    return runner


def weights(runner):
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


def test_a_runner_trains_saves_and_resumes(photos, basicsr_options):
    whole = run({**restoring_config(photos, 4), 'work_dir': str(photos / 'whole')})
    first = run(restoring_config(photos, 2))
    assert {'blur/psnr', 'blur/ssim'} <= {key.removeprefix('val/') for key in first.message_hub.log_scalars}
    again = run(restoring_config(photos, 4, resume=True, load_from=str(photos / 'work/iter_2.pth')))
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(again)[key], value, rtol=1e-6, atol=1e-7)
    ends = [
        bridge.checkpoint.read_checkpoint(photos / name / 'iter_4.pth') for name in ('whole', 'work')
    ]  # the average, the optimiser's moments and its learning rate, too
    for end in ends:
        end['moments'] = end['optimizer']['state']
    for part in ('state_dict', 'ema_state_dict', 'moments'):
        torch.testing.assert_close(ends[1][part], ends[0][part], rtol=1e-6, atol=1e-7)
    assert ends[1]['param_schedulers'] == ends[0]['param_schedulers']

    # What was written for BasicSR is read there, weights and their average
    path = photos / 'work/models/net_g_2.pth'
    theirs = UFPNetModel(basicsr_options(NAFNET, {'pixel_opt': {'type': 'PSNRLoss'}}, pretrain_network_g=str(path)))
    for key, value in first.model.net.state_dict().items():
        torch.testing.assert_close(theirs.net_g.state_dict()[key], value)
    averaged = load_network(path).state_dict()
    assert any(not torch.equal(averaged[key], value) for key, value in first.model.net.state_dict().items())
    assert all(torch.equal(theirs.net_g_ema.state_dict()[key], value) for key, value in averaged.items())


def small_runtime(config, iterations=2):
    """Turn a config of a restorer into one that another stage fills in."""
    config['train_cfg'] = {'type': 'IterBasedTrainLoop', 'max_iters': iterations, 'val_interval': iterations}
    return config


def test_basis_kernels_train_from_scenes_with_pictures(photos):
    config = small_runtime(restoring_config(photos, 2))
    dataset = {
        'type': 'SyntheticBlurDataset', 'dataroot_gt': str(photos / 'sharp'), 'patch_size': 48, 'seed': 0,
        'synthesis': 'device',
    }  # fmt: skip
    config['model'] = {
        'type': 'BasisBlurModel', 'net': KPN, 'reblur': {'type': 'ReblurLoss'}, 'kernel': {'type': 'KernelLoss'},
        'kernel_p1_iter': 2,
    }  # fmt: skip
    config['train_dataloader'] |= {
        'dataset': dataset, 'num_workers': 1, 'worker_init_fn': {'type': 'basis_blur.seed_worker'},
    }  # fmt: skip
    config['val_dataloader'] |= {'dataset': {**dataset, 'phase': 'val'}}
    config['val_evaluator'] = [{'type': 'ReblurPSNR'}, {'type': 'KernelErrors'}]
    config['optim_wrapper'] |= {'type': 'Bfloat16OptimWrapper'}
    config['custom_hooks'].append({'type': 'KernelGridHook', 'photos': 1})
    config['visualizer'] = {'type': 'BlurVisualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]}
    scalars = run(config).message_hub.log_scalars
    assert {'train/loss_reblur', 'train/loss_kernel', 'val/blur/reblur_psnr', 'val/blur/kernel_l2'} <= scalars.keys()
    before, after = scalars['train/loss_kernel'].data[0]
    assert before < 0.5 < 1 < after  # squared differences of spread kernels are small, absolute ones between 0 and 2
    (drawn,) = (photos / 'work').rglob('*.png')
    assert drawn.name.startswith('val_000_')
    config['visualizer'] = {'type': 'Visualizer'}
    with pytest.raises(InputError, match='set visualizer=dict'):
        run({**config, 'experiment_name': f'plain_{photos.name}', 'log_level': 'ERROR'})


def test_predictions_are_drawn_side_by_side(tmp_path):
    photo = torch.rand(1, 3, 40, 60)
    field, true_field = (BlurField(kernels, torch.ones(1, 1, 40, 60)) for kernels in scene(9)['kernels'][:, None, :1])
    visualizer = VISUALIZERS.build({
        'type': 'BlurVisualizer', 'name': f'test_{tmp_path.name}', 'save_dir': str(tmp_path),
        'vis_backends': [{'type': 'LocalVisBackend'}], '_scope_': 'basis_blur',
    })  # fmt: skip
    pixels = bridge.visualizer.rgb_of(photo[0])
    restored = {'image': photo.flip(3), 'gt': 1 - photo}
    for step, sample in enumerate(({'field': field, 'true_field': true_field, **restored}, restored)):
        visualizer.add_datasample('val', pixels, sample, step=step)
    visualizer.add_datasample('val', pixels, {'field': field, **restored}, draw_pred=False, step=2)
    fields, photos, bare = (
        cv2.imread(str(tmp_path / f'vis_data/vis_image/val_{step}.png'))[..., ::-1] for step in range(3)
    )
    panels = list(draw_kernel_grids(photo, {'estimate': field, 'truth': true_field}).values())
    width = panels[0].shape[1]
    assert not np.array_equal(*panels)
    np.testing.assert_array_equal(fields[:, : 2 * width], np.concatenate(panels, 1))
    again = cv2.resize(np.ascontiguousarray(pixels[:, ::-1]), (width, width * 40 // 60))
    np.testing.assert_array_equal(fields[: len(again), 2 * width :], again)
    np.testing.assert_array_equal(photos[:, 60:120], pixels[:, ::-1])
    np.testing.assert_array_equal(photos, np.concatenate([pixels, pixels[:, ::-1], 255 - pixels], 1))
    np.testing.assert_array_equal(bare, photos[:, [*range(60), *range(120, 180)]])


def test_networks_that_return_fields_are_counted():
    net = BasisKPN(num_feat=2, num_kernels=2).eval()
    found = bridge.get_model_complexity_info(net, (3, 32, 32), show_table=False, show_arch=False)
    assert found['params'] == sum(parameter.numel() for parameter in net.parameters())
    assert found['flops'] > 1e5
    assert isinstance(net(torch.rand(1, 3, 32, 32)), BlurField)


def test_our_lmdbs_are_read_through_a_file_backend(photos, monkeypatch):
    prepare_photos(PhotoSource(photos / 'sharp'), photos / 'lmdb')
    prepare_kernels(photos / 'kernels.lmdb', KernelRecipe(count=3, kernel_size=7))
    read = []
    original = LmdbBackend.get
    monkeypatch.setattr(LmdbBackend, 'get', lambda self, key: read.append(self.db_path) or original(self, key))
    kernels = {'dataroot': str(photos / 'kernels.lmdb'), 'phase': 'val'}
    scenes = {
        'dataroot_gt': str(photos / 'lmdb/photos.lmdb'), 'dataroot_kernels': kernels['dataroot'], 'phase': 'val',
        'io_backend': {'type': 'lmdb'}, 'kernel_size': 7, 'patch_size': 16,
    }  # fmt: skip
    for ours, theirs, options in (
        (kernel_dataset.KernelDataset, bridge.data.KernelDataset, kernels),
        (synthetic_blur_dataset.SyntheticBlurDataset, bridge.data.SyntheticBlurDataset, scenes),
    ):
        dataset, expected = theirs(**options), ours(options)
        assert len(dataset) == len(expected) > 1
        samples = [dataset[index] for index in range(len(dataset))]
        assert len(read) >= len(samples)
        assert set(read) == {value for key, value in options.items() if key.startswith('dataroot')}
        read.clear()
        for index, sample in enumerate(samples):
            found = {**sample['data_samples'], 'seen': sample['inputs']}
            for key, value in expected[index].items():
                same = torch.equal if isinstance(value, torch.Tensor) else str.__eq__
                assert same(found[key if key in found else 'seen'], value)
        assert not read


def test_a_flow_trains_from_kernels_in_their_scale(photos):
    prepare_kernels(photos / 'kernels.lmdb', KernelRecipe(count=12, kernel_size=7))
    config = small_runtime(restoring_config(photos, 2))
    dataset = {'type': 'KernelDataset', 'dataroot': str(photos / 'kernels.lmdb'), 'hold_out': 4}
    config['model'] = {
        'type': 'KernelFlowModel', 'net': {'type': 'KernelFlow', 'kernel_size': 7, 'num_blocks': 2, 'hidden': 8}
    }  # fmt: skip
    config['train_dataloader'] |= {'dataset': dataset}
    config['val_dataloader'] |= {'dataset': {**dataset, 'phase': 'val'}}
    config['val_evaluator'] = [{'type': 'BitsPerDimension'}]
    config['custom_hooks'].append({'type': 'NormalizationHook'})
    config['custom_hooks'].append({'type': 'RandomNumbersHook'})
    config['train_dataloader']['sampler'] = {'type': 'InfiniteDraws'}
    runner = run(copy.deepcopy(config))
    net = load_network(photos / 'work/models/net_g_2.pth', expect='KernelFlow')
    expected = derive_normalization(kernel_dataset.KernelDataset({**dataset, 'phase': 'train'}).spread())
    assert net.normalization.item() == pytest.approx(expected, rel=1e-6)
    assert 'val/blur/bits_per_dim' in runner.message_hub.log_scalars

    # Kernels are drawn, turned and learnt with noise: on resuming, these random numbers too are the same
    torch.manual_seed(9)
    longer = {'type': 'IterBasedTrainLoop', 'max_iters': 4, 'val_interval': 3}
    again = run({**config, 'train_cfg': longer, 'resume': True, 'experiment_name': f'again_{photos.name}'})
    whole = run({**config, 'train_cfg': longer, 'work_dir': str(photos / 'whole'), 'experiment_name': photos.name})
    losses, expected = (each.message_hub.log_scalars['train/loss_nll'].data[0] for each in (again, whole))
    assert len(set(expected)) == 4
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_pairs_are_read_from_lmdbs_and_folders_alike(photos):
    for name in ('blur', 'sharp'):
        prepare_photos(PhotoSource(photos / name), photos / f'{name}_lmdb')
    steps = [{'type': f'{name}PhotoPair'} for name in ('Load', 'Turn', 'Pack')]
    steps.insert(1, {'type': 'CropPhotoPair', 'size': 16})
    samples = []
    for roots in (('blur', 'sharp'), ('blur_lmdb/photos.lmdb', 'sharp_lmdb/photos.lmdb')):
        lq, gt = (str(photos / root) for root in roots)
        dataset = DATASETS.build(
            {
                'type': 'PhotoPairDataset',
                'dataroot_lq': lq,
                'dataroot_gt': gt,
                'pipeline': steps,
                'serialize_data': False,
                '_scope_': 'basis_blur',
            }
        )
        torch.manual_seed(3)
        samples.append([dataset[index] for index in range(2)])
    assert len(dataset) == 2
    for one, other in zip(*samples, strict=True):
        assert one['inputs'].shape == (3, 16, 16)
        assert torch.equal(one['inputs'], other['inputs'])
        assert torch.equal(one['data_samples']['gt'], other['data_samples']['gt'])
        # The blurred photo is its own sharp one's, in the same place and pose
        assert (one['inputs'] - one['data_samples']['gt']).abs().mean() < 0.1


def test_workers_of_two_epochs_draw_different_numbers():
    draws = []
    for base in (1, 2):
        torch.manual_seed(base)  # what torch's loader does in each worker
        bridge.data.seed_worker(0)
        draws.append((torch.rand(()).item(), np.random.random()))  # noqa: NPY002
    assert draws[0][0] != draws[1][0]
    assert draws[0][1] != draws[1][1]


def test_a_checkpoint_of_basicsr_begins_a_runner(photos, basicsr_options):
    theirs = UFPNetModel(basicsr_options(NAFNET, {'pixel_opt': {'type': 'PSNRLoss'}}))
    theirs.save(0, 7)
    still = {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.0}}
    config = {**restoring_config(photos, 1, load_from=str(photos / 'models/net_g_7.pth')), 'optim_wrapper': still}
    runner = run(config)
    for key, value in theirs.net_g_ema.state_dict().items():
        assert torch.equal(runner.model.net.state_dict()[key], value)
    other = restoring_config(photos, 2, load_from=str(photos / 'models/net_g_7.pth'), log_level='ERROR')
    other['model']['net'] = {**NAFNET, 'width': 6}
    with pytest.raises(InputError, match='not a checkpoint of this network: it has net.* of shape .* instead of'):
        run(other)


def test_a_checkpoint_with_code_is_refused(tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / 'ran',))

    torch.save({'state_dict': {}, 'meta': Code()}, tmp_path / 'strange.pth')
    with pytest.raises(InputError, match='without running code'):
        bridge.checkpoint.read_checkpoint(tmp_path / 'strange.pth')
    assert not (tmp_path / 'ran').exists()


def test_ssim_is_that_of_scikit_image():
    metrics = pytest.importorskip('skimage.metrics')
    photo = torch.rand(1, 3, 24, 20, dtype=torch.float64)
    other = (photo + 0.1 * torch.randn_like(photo)).clamp(0, 1)
    _, similarity = metrics.structural_similarity(
        photo[0].numpy(), other[0].numpy(), channel_axis=0, data_range=1, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    assert ssim(photo, other).item() == pytest.approx(similarity[:, 5:-5, 5:-5].mean(), rel=1e-9)


def test_two_processes_train_as_one_does_and_without_basicsr(photos):
    config = restoring_config(photos, 2)
    config['train_cfg']['val_interval'] = 2
    del config['work_dir'], config['experiment_name']
    one = run({**config, 'work_dir': str(photos / 'one'), 'experiment_name': f'alone_{photos.name}'})
    config['train_dataloader']['batch_size'] = 1  # of each process
    config['model_wrapper_cfg'] = {'type': 'basis_blur.DistributedModel'}
    (photos / 'small.py').write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()))
    arguments = [str(photos / 'small.py'), '--work-dir', str(photos / 'out'), '--launcher', 'pytorch']
    (photos / 'train.py').write_text(
        'import sys\nsys.modules["basicsr"] = None\nfrom basis_blur.bridges.mmengine.__main__ import main\n'
        f'sys.exit(main({arguments}))'
    )
    launch = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    done = subprocess.run([*launch, str(photos / 'train.py')], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'WARNING - Failed to' not in done.stdout + done.stderr  # of registries that mmengine did not find
    net = torch.load(photos / 'out/models/net_g_2.pth', weights_only=True)['params']
    for key, value in one.model.net.state_dict().items():
        torch.testing.assert_close(net[key], value, rtol=1e-4, atol=1e-5)


def test_the_gradients_of_all_parts_are_clipped_as_one(monkeypatch):
    from basis_blur.bridges.mmengine import strategies

    monkeypatch.setattr(torch.distributed, 'all_reduce', lambda square: square.mul_(4))  # four like this one
    weight = torch.nn.Parameter(torch.zeros(2))
    wrapper = strategies.ShardedOptimWrapper(torch.optim.SGD([weight], 1.0), clip_grad={'max_norm': 5.0})
    (weight * torch.tensor([3.0, 4.0])).sum().backward()
    wrapper.step()
    torch.testing.assert_close(weight.detach(), -torch.tensor([1.5, 2.0]))  # the whole norm is 2 x 5


def test_networks_that_fsdp_cannot_save_are_refused_at_the_start():
    from basis_blur.bridges.mmengine import strategies

    net = torch.nn.ModuleDict({'net': ARCHS['UFPNet'](width=4, estimator_width=4, kernel_size=5)})
    with pytest.raises(InputError, match='FSDP cannot save'):
        strategies.ShardedModel(net)


def test_a_mistake_in_a_config_is_one_sentence(photos, capsys):
    config = restoring_config(photos, 2)
    config['train_dataloader']['dataset']['dataroot_gt'] = str(photos / 'none')
    (photos / 'small.py').write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()))
    assert command([str(photos / 'small.py')]) == 2
    assert str(photos / 'none') in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(('iterations', 'refused'), [(20, True), (5, True), (21, False)])
def test_a_training_shorter_than_its_warm_up_is_refused(iterations, refused):
    schedule = Config.fromfile(CONFIGS[0].parent / '_base_' / 'schedule_quick.py')
    schedule.train_cfg.max_iters = iterations
    if refused:
        with pytest.raises(InputError, match=f'CosineAnnealingLR begins at 20, but the training ends at {iterations}'):
            check_schedule(schedule)
    else:
        check_schedule(schedule)
    check_schedule(Config({'param_scheduler': {'type': 'StepLR', 'begin': 3}, 'train_cfg': {'max_iters': 2}}))
