"""Other restorers in the stage of UFPNet: results of several scales, and kernels in their layers."""

import pytest
import torch

from basis_blur.models.restorer_model import RestorerModel
from basis_blur.models.validation import Validation

ESTIMATOR = {'kernel_size': 5, 'estimator_width': 2}
NETWORKS = {
    'MIMO-UNet': {'type': 'MIMOUNet', 'width': 4, 'num_res': 1},
    'MPRNet': {'type': 'MPRNet', 'width': 4, 'unet_step': 2, 'full_size_step': 2, 'num_cab': 1},
    'DeblurGAN': {'type': 'DeblurGANGenerator', 'width': 4, 'num_blocks': 1},
    'MIMO-UNet with kernels': {
        'type': 'UFPNet', 'restorer': 'mimo_unet', 'restorer_options': {'width': 4, 'num_res': 1}, **ESTIMATOR,
    },
}  # fmt: skip


@pytest.mark.parametrize('network', NETWORKS.values(), ids=NETWORKS.keys())
def test_it_learns_to_return_what_it_sees(options, network):
    torch.manual_seed(0)
    model = RestorerModel(options(network_g=network, train={'pixel_opt': {'type': 'L1Loss'}, 'ema_decay': 0.0}))
    photo = torch.rand(1, 3, 32, 40)
    losses = []
    for iteration in range(1, 13):
        model.feed_data({'lq': photo, 'gt': photo, 'lq_path': ['one.png']})
        model.optimize_parameters(iteration)
        losses.append(model.get_current_log()['l_pixel'])
    assert losses[-1] < losses[0]
    dataset = type('Pairs', (), {'opt': {'name': 'Pairs'}, '__len__': lambda self: 1})()
    batch = {'lq': photo, 'gt': photo, 'lq_path': ['one.png']}
    (scores,) = model.validate(Validation([batch], dataset, 1, None, False, model.opt))
    assert scores['psnr'] > 5
