"""Losses, which a training minimises: one formula a file. Each is one number, the mean over the batch.

They are named here and are in `*_loss.py`. What each stage of training makes of them, whatever the framework, is in
`*_objective.py` and `iterate_fusion.py`.
"""

from basis_blur.losses.consistency_loss import ConsistencyLoss
from basis_blur.losses.edge_loss import EdgeLoss
from basis_blur.losses.flow_nll_loss import FlowNLLLoss
from basis_blur.losses.frequency_loss import FrequencyLoss
from basis_blur.losses.kernel_divergence_loss import KernelDivergenceLoss
from basis_blur.losses.kernel_loss import KernelLoss
from basis_blur.losses.pixel_reblur_loss import PixelReblurLoss
from basis_blur.losses.psnr_loss import PSNRLoss
from basis_blur.losses.reblur_loss import ReblurLoss
from basis_blur.losses.restoration_loss import RestorationLoss
from basis_blur.losses.vgg_loss import VGGLoss
from basis_blur.losses.wasserstein_loss import WassersteinLoss

__all__ = [
    'ConsistencyLoss',
    'EdgeLoss',
    'FlowNLLLoss',
    'FrequencyLoss',
    'KernelDivergenceLoss',
    'KernelLoss',
    'PSNRLoss',
    'PixelReblurLoss',
    'ReblurLoss',
    'RestorationLoss',
    'VGGLoss',
    'WassersteinLoss',
]
