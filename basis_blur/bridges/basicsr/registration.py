"""Importing this module registers basis_blur in BasicSR: networks, losses, data sets, metrics, models.

Programs import it under the name `basis_blur.plugin`, the start-up hook under its own. Without BasicSR the import fails
with a sentence on what to install. What BasicSR itself lacks on this machine is mended in `mended`.
"""

from __future__ import annotations

from basis_blur.bridges import torchvision_shim
from basis_blur.bridges.basicsr import presence

presence.check()
torchvision_shim.install()  # Before the first import of basicsr, which imports torchvision.

import basicsr.utils.registry as registries  # noqa: E402

from basis_blur.archs import ARCHS  # noqa: E402
from basis_blur.bridges.basicsr import mended as compatibility  # noqa: E402
from basis_blur.bridges.basicsr import names  # noqa: E402
from basis_blur.data.guessed_photo_dataset import GuessedPhotoDataset  # noqa: E402
from basis_blur.data.kernel_dataset import KernelDataset  # noqa: E402
from basis_blur.data.synthetic_blur_dataset import SyntheticBlurDataset  # noqa: E402
from basis_blur.losses import (  # noqa: E402
    ConsistencyLoss,
    EdgeLoss,
    FlowNLLLoss,
    FrequencyLoss,
    KernelDivergenceLoss,
    KernelLoss,
    PixelReblurLoss,
    PSNRLoss,
    ReblurLoss,
    RestorationLoss,
    VGGLoss,
    WassersteinLoss,
)
from basis_blur.metrics.realblur import calculate_psnr_realblur, calculate_ssim_realblur  # noqa: E402
from basis_blur.models.adversarial_model import AdversarialModel  # noqa: E402
from basis_blur.models.basis_blur_model import BasisBlurModel  # noqa: E402
from basis_blur.models.blur_to_deblur_model import BlurToDeblurModel  # noqa: E402
from basis_blur.models.iterate_fusion_model import IterateFusionModel  # noqa: E402
from basis_blur.models.kernel_flow_model import KernelFlowModel  # noqa: E402
from basis_blur.models.non_uniform_rl_model import NonUniformRLModel  # noqa: E402
from basis_blur.models.restorer_model import RestorerModel  # noqa: E402
from basis_blur.models.self_supervised_reblur_model import SelfSupervisedReblurModel  # noqa: E402
from basis_blur.models.ufpnet_model import UFPNetModel  # noqa: E402

COMPONENTS = {
    registries.ARCH_REGISTRY: tuple(ARCHS.values()),
    registries.LOSS_REGISTRY: (
        FlowNLLLoss, ReblurLoss, KernelLoss, KernelDivergenceLoss, ConsistencyLoss, PSNRLoss, PixelReblurLoss,
        RestorationLoss, EdgeLoss, FrequencyLoss, VGGLoss, WassersteinLoss,
    ),
    registries.DATASET_REGISTRY: (SyntheticBlurDataset, KernelDataset, GuessedPhotoDataset),
    registries.METRIC_REGISTRY: (calculate_psnr_realblur, calculate_ssim_realblur),
    registries.MODEL_REGISTRY: (
        BasisBlurModel, KernelFlowModel, NonUniformRLModel, UFPNetModel, BlurToDeblurModel, SelfSupervisedReblurModel,
        IterateFusionModel, RestorerModel, AdversarialModel,
    ),
}  # fmt: skip


def register() -> None:
    """Put every component into its registry of BasicSR; see `basis_blur.bridges.basicsr.names` for the names."""
    names.register(COMPONENTS)


names.check(COMPONENTS)  # Before anything of BasicSR is changed: where this fails, BasicSR stays as it is.
compatibility.apply()
register()
