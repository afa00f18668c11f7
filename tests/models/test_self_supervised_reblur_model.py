"""The training stage without true kernels, on photos of noise."""

import copy

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from steps import step
from torch.utils.data import DataLoader, default_collate

from basis_blur.archs import CorrelationKPN, KernelFlow
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import OptionError
from basis_blur.models.self_supervised_reblur_model import SelfSupervisedReblurModel
from basis_blur.weights.checkpoints import load_network, save_network

NETWORK = {'type': 'LatentKernelNet', 'kernel_size': 5, 'width': 4, 'flow_blocks': 2, 'flow_hidden': 4}
WINDOWS = {
    'type': 'LatentKernelNet', 'kernel_size': 9, 'width': 4, 'flow_prior': False, 'estimator': 'correlation',
}  # fmt: skip
BASIS = {'type': 'BasisKPN', 'num_feat': 4, 'num_kernels': 2, 'norm': 'group'}


@pytest.fixture
def flow(tmp_path):
    torch.manual_seed(3)
    net = KernelFlow(kernel_size=5, num_blocks=2, hidden=4)
    torch.nn.init.normal_(net.net[1].running_mean)
    save_network(net, tmp_path / 'flow.safetensors')
    return tmp_path / 'flow.safetensors'


@pytest.fixture
def photos(tmp_path):
    """Two photos of coloured noise, and the same moved by a pixel, the blur of which is known."""
    generator = np.random.default_rng(0)
    for name in ('one', 'two'):
        noise = cv2.resize(generator.integers(0, 256, (24, 24, 3), np.uint8), (96, 96))
        for folder, moved in (('sharp', 0), ('blurred', 1)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), np.roll(noise, moved, 1))
    return tmp_path


@pytest.fixture
def pairs(photos):
    def make(phase='train'):
        section = {
            'name': 'Pairs', 'type': 'PairedImageDataset', 'phase': phase, 'scale': 1, 'gt_size': 24,
            'dataroot_gt': str(photos / 'sharp'), 'dataroot_lq': str(photos / 'blurred'),
            'io_backend': {'type': 'disk'}, 'use_hflip': False, 'use_rot': False,
        }  # fmt: skip
        return build_dataset(section)

    return make


@pytest.fixture
def synthetic(photos):
    def make(phase='train', **changes):
        section = {
            'name': 'Photos', 'type': 'SyntheticBlurDataset', 'phase': phase, 'dataroot_gt': str(photos / 'sharp'),
            'patch_size': 32, 'kernel_size': 9, 'seed': 0, **changes,
        }  # fmt: skip
        return build_dataset(section)

    return make


@pytest.fixture
def stage(options, flow):
    def make(network=NETWORK, train=None, path=None, **sections):
        latent = network['type'] == 'LatentKernelNet'
        of_pixels = latent and network.get('estimator') != 'correlation'
        loss = {'type': 'PixelReblurLoss' if of_pixels else 'ReblurLoss'}
        flow_path = {'pretrain_flow': str(flow)} if latent and network.get('flow_prior', True) else {}
        opt = options(
            network_g=network,
            train={'reblur_opt': loss, **(train or {})},
            path={**flow_path, **(path or {})},
            **sections,
        )
        return SelfSupervisedReblurModel(opt)

    return make


@pytest.mark.parametrize(
    'network', [NETWORK, {**NETWORK, 'flow_prior': False}, {**NETWORK, 'uncertainty': False}, WINDOWS, BASIS]
)
def test_training_on_pairs_lowers_the_loss(stage, pairs, network):
    torch.manual_seed(0)
    model = stage(network, train={'optim_g': {'type': 'Adam', 'lr': 0.003}})
    batch = default_collate([pairs()[0], pairs()[1]])
    logs = [step(model, batch, iteration) for iteration in range(1, 31)]
    assert logs[-1]['l_reblur'] < 0.85 * logs[0]['l_reblur']


@pytest.mark.parametrize('synthesis', ['worker', 'device'])
@pytest.mark.parametrize('network', [NETWORK, WINDOWS, BASIS])
def test_synthetic_scenes_are_trained_on_without_their_truth(stage, synthetic, network, synthesis):
    losses = []
    for tamper in (False, True):
        torch.manual_seed(0)
        model, source = stage(network), synthetic(synthesis=synthesis)
        torch.manual_seed(0)
        batch = default_collate([source[0], source[1]])
        if tamper and synthesis == 'worker':
            batch['kernels'], batch['mixing'], batch['weight'] = (
                torch.rand_like(batch[key]) for key in ('kernels', 'mixing', 'weight')
            )
        torch.manual_seed(0)
        losses.append(step(model, batch)['l_reblur'])
    assert losses[0] == losses[1] > 0


def test_a_correlation_estimator_begins_with_the_decoder_of_a_file(stage, pairs, flow, tmp_path):
    decoder = CorrelationKPN(num_feat=4)
    save_network(decoder, tmp_path / 'decoder.safetensors')
    path = {'pretrain_decoder': str(tmp_path / 'decoder.safetensors')}
    model = stage(WINDOWS, path=path)
    for net in (model.net_g, model.net_g_ema):
        found = net.kernel_extra.decoder.state_dict()
        torch.testing.assert_close(dict(found), dict(decoder.decoder.state_dict()), rtol=0, atol=0)
    with pytest.raises(
        InputError, match='the decoder in .* does not fit: it has .*; give the LatentKernelNet the width'
    ):
        stage({**WINDOWS, 'width': 6}, path=path)
    with pytest.raises(OptionError, match='network_g is no LatentKernelNet with "estimator: correlation"'):
        stage(NETWORK, path=path)
    model.save(0, 1)
    whole = {'pretrain_network_g': str(tmp_path / 'models' / 'net_g_1.pth'), **path}
    save_network(CorrelationKPN(num_feat=4), tmp_path / 'decoder.safetensors')  # another, which is not read
    again = stage(WINDOWS, path=whole)
    torch.testing.assert_close(
        dict(again.net_g.kernel_extra.state_dict()), dict(model.net_g_ema.kernel_extra.state_dict()), rtol=0, atol=0
    )


def test_the_flow_is_the_one_of_the_file_and_stays_so(stage, pairs, flow):
    model = stage()
    expected = load_network(flow).state_dict()
    batch = default_collate([pairs()[0], pairs()[1]])
    for iteration in (1, 2):
        step(model, batch, iteration)
    for net in (model.net_g, model.net_g_ema):
        torch.testing.assert_close(dict(net.flow.state_dict()), dict(expected), rtol=0, atol=0)
    learning = {id(each) for group in model.optimizer_g.param_groups for each in group['params']}
    assert learning == {id(each) for each in model.net_g.kernel_extra.parameters()}


def test_a_checkpoint_holds_the_flow_and_goes_on_as_if_it_had_never_stopped(stage, pairs, tmp_path):
    batches = [default_collate([pairs()[0], pairs()[1]]) for _ in range(4)]
    torch.manual_seed(0)
    model = stage()
    for iteration in (1, 2):
        step(model, batches[iteration - 1], iteration)
    model.save(0, 2)
    straight = [step(model, batches[iteration - 1], iteration) for iteration in (3, 4)]

    path = tmp_path / 'models' / 'net_g_2.pth'
    resumed = stage(path={'pretrain_network_g': str(path), 'pretrain_flow': None})
    resumed.resume_training(torch.load(tmp_path / 'training_states' / '2.state', weights_only=True))
    assert [step(resumed, batches[iteration - 1], iteration) for iteration in (3, 4)] == straight
    net = load_network(path, expect='LatentKernelNet')
    torch.testing.assert_close(dict(net.flow.state_dict()), dict(model.net_g.flow.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize('network', [NETWORK, WINDOWS, BASIS])
def test_a_validation_scores_and_draws(stage, pairs, synthetic, tmp_path, network):
    model = stage(network)
    sigma = {'sigma'} if network is NETWORK else set()
    model.validation(DataLoader(pairs('val')), 7, None, save_img=True)
    assert model.metric_results.keys() == {'reblur_psnr', 'reblur_ssim'} | sigma
    assert 0 < model.metric_results['reblur_ssim'] < 1
    model.validation(DataLoader(synthetic('val')), 7, None, save_img=True)
    truth = {'kernel_l1', 'kernel_l2', 'kernel_correlation'}
    assert model.metric_results.keys() == {'reblur_psnr', 'reblur_ssim'} | sigma | truth
    assert len(list(tmp_path.glob('visualization/*/*/*_7.png'))) == 4
    before = model.metric_results
    model.validation(DataLoader(synthetic('val')), 8, None)
    assert model.metric_results == before
    assert model.net_g.training


def test_a_test_needs_the_checkpoint_alone(stage, options, synthetic, tmp_path):
    model = stage(train={'ema_decay': 0})
    model.save_network(model.net_g, 'net_g', -1)
    path = {'pretrain_network_g': str(tmp_path / 'models' / 'net_g_latest.pth')}
    opt = options(network_g=NETWORK, is_train=False, path=path, val={'gamma': 1.0})
    del opt['train']
    tester = SelfSupervisedReblurModel(opt)
    for each in (model, tester):
        each.validation(DataLoader(synthetic('val')), 1, None)
    assert tester.metric_results == pytest.approx(model.metric_results)


def test_the_flow_in_the_box_is_known_by_its_name(stage):
    model = stage({'type': 'LatentKernelNet', 'kernel_size': 19, 'width': 2}, path={'pretrain_flow': 'kernel_flow'})
    assert model.read_section('path')['pretrain_flow'] == 'kernel_flow'
    expected = load_network('kernel_flow').state_dict()
    torch.testing.assert_close(model.net_g.flow.state_dict(), expected, check_dtype=False)


def test_options_that_do_not_fit_are_refused(stage, flow, tmp_path):
    with pytest.raises(OptionError, match='path lacks the key "pretrain_flow"'):
        stage(path={'pretrain_flow': None})
    with pytest.raises(OptionError, match='network_g has no flow'):
        stage(BASIS, path={'pretrain_flow': str(flow)})
    with pytest.raises(OptionError, match="type 'ReblurLoss', expected .PixelReblurLoss"):
        stage(train={'reblur_opt': {'type': 'ReblurLoss'}})
    with pytest.raises(InputError, match=r'flow of kernel_size 5.*network_g one of kernel_size 7'):
        stage({**NETWORK, 'kernel_size': 7})
    with pytest.raises(InputError, match='the data set returns lq, expected pairs'):
        step(stage(), {'lq': torch.rand(1, 3, 8, 8)})


def test_photos_of_other_sizes_are_refused(stage):
    batch = {'lq': torch.rand(1, 3, 8, 8), 'gt': torch.rand(1, 3, 8, 9), 'lq_path': ['a']}
    with pytest.raises(ValueError, match=r'sharp photo has \(8, 9\) pixels'):
        step(stage(), copy.deepcopy(batch))
