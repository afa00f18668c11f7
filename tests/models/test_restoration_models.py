"""The stages that train restoring networks, on photos of noise."""

import pytest
import torch
from steps import step

from basis_blur.archs import BasisKPN, LatentKernelNet
from basis_blur.foundation.options import OptionError
from basis_blur.losses.restoration_objective import images_of
from basis_blur.models.blur_to_deblur_model import BlurToDeblurModel
from basis_blur.models.restorer_model import RestorerModel
from basis_blur.models.ufpnet_model import UFPNetModel
from basis_blur.models.validation import Validation
from basis_blur.weights.checkpoints import save_network

PIXEL = {'pixel_opt': {'type': 'PSNRLoss'}}
CONSISTENCY = {'consistency_opt': {'type': 'ConsistencyLoss', 'gamma': 1.0}}


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand(2, 3, 40, 40, generator=generator)
    return {'lq': torch.nn.functional.avg_pool2d(gt, 3, 1, 1), 'gt': gt, 'lq_path': ['one.png', 'two.png']}


@pytest.fixture
def blur_weights(tmp_path):
    path = tmp_path / 'blur.safetensors'
    save_network(BasisKPN(num_feat=2, num_kernels=2), path)
    return path


def test_any_registered_network_is_a_plain_restorer_and_learns(options, pair):
    torch.manual_seed(0)
    model = RestorerModel(options(train=PIXEL))
    losses = [step(model, pair)['l_pixel'] for _ in range(30)]
    assert losses[-1] < losses[0] - 3  # dB


def test_the_reblur_loss_needs_a_network_with_kernels(options, pair):
    model = RestorerModel(options(train={'reblur_opt': {'type': 'ConsistencyLoss'}}))
    with pytest.raises(OptionError, match='reblur_opt needs kernels, but ToyNet returns none'):
        step(model, pair)


def test_a_training_without_loss_is_refused(options):
    with pytest.raises(OptionError, match='neither "pixel_opt" nor "reblur_opt"'):
        RestorerModel(options())


def test_every_scale_is_compared_with_the_sharp_photo_at_its_size(options, pair):
    model = RestorerModel(options(train=PIXEL))
    lq, gt = pair['lq'], pair['gt']
    small = torch.nn.functional.interpolate(gt, size=(20, 20), mode='bilinear', antialias=True)
    perfect = model.losses_of([gt, small], lq, gt)['l_pixel']
    assert perfect.item() == pytest.approx(-160, abs=0.1)  # -80 dB for each of two


def test_validation_scores_the_photo_and_draws_it(options, pair, tmp_path):
    model = RestorerModel(options(train=PIXEL, val={'tile': 36}))
    photo = {'lq': pair['lq'][:1], 'gt': pair['gt'][:1], 'lq_path': ['one.png']}
    dataset = type('Pairs', (), {'opt': {'name': 'Pairs'}, '__len__': lambda self: 1})()
    (scores,) = model.validate(Validation([photo], dataset, 7, None, True, model.opt))
    assert set(scores) == {'psnr', 'blurred_psnr'}
    assert list((tmp_path / 'visualization').rglob('*.png'))


def test_a_scene_loses_its_border(options, pair):
    model = RestorerModel(options(train=PIXEL))
    model.feed_data({'lq': pair['lq'][..., 4:-4, 4:-4], 'gt': pair['gt'], 'lq_path': pair['lq_path']})
    torch.testing.assert_close(model.gt, pair['gt'][..., 4:-4, 4:-4])
    assert model.gt.shape == model.lq.shape


def test_blurring_to_deblur_trains_without_sharp_photos_and_leaves_the_blur_network(options, pair, blur_weights):
    opt = options(train=CONSISTENCY)
    opt['path']['pretrain_blur'] = str(blur_weights)
    torch.manual_seed(0)
    model = BlurToDeblurModel(opt)
    before = [parameter.clone() for parameter in model.net_blur.parameters()]
    batch = {'lq': pair['lq'], 'lq_path': pair['lq_path']}
    losses = [step(model, batch)['l_consistency'] for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(a, b) for a, b in zip(before, model.net_blur.parameters(), strict=True))


def test_blurring_to_deblur_beside_the_pixel_loss_sums_both(options, pair, blur_weights):
    opt = options(train={**CONSISTENCY, **PIXEL})
    opt['path']['pretrain_blur'] = str(blur_weights)
    assert {'l_pixel', 'l_consistency'} <= step(BlurToDeblurModel(opt), pair).keys()


def test_blurring_to_deblur_needs_a_network_for_the_blur(options):
    with pytest.raises(OptionError, match='path lacks "pretrain_blur"'):
        BlurToDeblurModel(options(train=CONSISTENCY))


def test_images_of_finds_the_restored_photo_first():
    photo = torch.rand(1, 3, 4, 4)
    assert images_of(photo)[0] is photo
    assert images_of([photo, photo[..., :2, :2]])[0] is photo


UFPNET = {
    'type': 'UFPNet', 'width': 2, 'kernel_size': 5, 'estimator_width': 2, 'enc_blocks': [1], 'dec_blocks': [1],
    'attention_levels': [0],
}  # fmt: skip
REBLUR = {'reblur_opt': {'type': 'ConsistencyLoss', 'gamma': 1.0}}


def estimator_of(model):
    return {key: value.clone() for key, value in model.net_g.latent_kernels.kernel_extra.state_dict().items()}


@pytest.mark.parametrize('freeze', [True, False])
def test_a_frozen_estimator_stays_as_it_is_and_another_learns(options, pair, freeze):
    train = {**PIXEL, **REBLUR, 'freeze_estimator': freeze}
    model = UFPNetModel(options(network_g=UFPNET, train=train))
    before = estimator_of(model)
    assert {'l_pixel', 'l_reblur'} <= step(model, pair).keys()
    assert all(torch.equal(value, before[key]) for key, value in estimator_of(model).items()) == freeze


def test_the_estimator_begins_with_the_weights_of_stage_two(options, tmp_path):
    stage_two = LatentKernelNet(kernel_size=5, width=2)
    save_network(stage_two, tmp_path / 'latent.safetensors')
    opt = options(network_g=UFPNET, train=PIXEL)
    opt['path']['pretrain_estimator'] = str(tmp_path / 'latent.safetensors')
    model = UFPNetModel(opt)
    for net in (model.net_g, model.net_g_ema):
        for key, value in stage_two.state_dict().items():
            torch.testing.assert_close(net.latent_kernels.state_dict()[key], value)


def test_an_estimator_of_other_sizes_is_refused(options, tmp_path):
    save_network(LatentKernelNet(kernel_size=7, width=2), tmp_path / 'latent.safetensors')
    opt = options(network_g=UFPNET, train=PIXEL)
    opt['path']['pretrain_estimator'] = str(tmp_path / 'latent.safetensors')
    with pytest.raises(OptionError, match='path: pretrain_estimator: .* does not fit: it has '):
        UFPNetModel(opt)


def test_an_estimator_of_another_stride_is_refused(options, tmp_path):
    save_network(LatentKernelNet(kernel_size=5, width=2, stride=2), tmp_path / 'latent.safetensors')
    opt = options(network_g=UFPNET, train=PIXEL)
    opt['path']['pretrain_estimator'] = str(tmp_path / 'latent.safetensors')
    with pytest.raises(OptionError, match='trained with stride 2, but network_g has estimator_stride 1'):
        UFPNetModel(opt)


def test_a_run_that_goes_on_keeps_its_own_estimator(options, tmp_path):
    opt = options(network_g=UFPNET, train=PIXEL)
    torch.manual_seed(0)
    first = UFPNetModel(opt)
    first.save(0, 5)
    save_network(LatentKernelNet(kernel_size=5, width=2), tmp_path / 'latent.safetensors')
    opt['path']['pretrain_estimator'] = str(tmp_path / 'latent.safetensors')
    opt['path']['pretrain_network_g'] = str(tmp_path / 'models' / 'net_g_5.pth')  # as BasicSR does where it resumes
    again = UFPNetModel(opt)
    for key, value in first.net_g.state_dict().items():
        torch.testing.assert_close(again.net_g.state_dict()[key], value)
