"""Fine-tune a network that restores photos by blurring them again: blurring to deblur [C21, Sec. 7.3].

    blur = B(lq),  B frozen;     image = network_g(lq);     L = consistency(blur, image, lq) + pixel(image, gt)

B is a trained BasisKPN, CorrelationKPN or LatentKernelNet. Without `pixel_opt` no sharp photo is needed.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, ClassVar

from torch import Tensor

from basis_blur.archs.network_facts import ESTIMATOR
from basis_blur.foundation.options import Option, OptionError
from basis_blur.losses.consistency_loss import ConsistencyLoss
from basis_blur.losses.restoration_objective import BLUR_NETWORKS, estimated_blur, images_of
from basis_blur.models.losses import build_loss_of
from basis_blur.models.restorer_model import RestorerModel
from basis_blur.weights.checkpoints import load_network


class BlurToDeblurModel(RestorerModel):
    """BasicSR model that trains a restoring network with the forward model of the blur.

    Its loss is `consistency_opt`; `pixel_opt` may be left out.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **RestorerModel.OPTIONS,
        'train': {
            **RestorerModel.OPTIONS['train'],
            'consistency_opt': Option(
                (dict, NoneType), None, holds='loss',
                meaning='ConsistencyLoss: the restored photo, blurred again, against the photo. A training needs it.',
            ),
        },
        'path': {
            **RestorerModel.OPTIONS['path'],
            'pretrain_blur': Option(
                (str, NoneType), None, is_path=True,
                meaning='Weights of the frozen network that estimates the blur. A training needs them.',
            ),
        },
    }  # fmt: skip

    has_other_losses = True

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        if not self.is_train:
            return
        section = self.train_options['consistency_opt'] or {}
        self.consistency = build_loss_of(ConsistencyLoss, section, 'consistency_opt').to(self.device)
        path = self.read_section('path')['pretrain_blur']
        if path is None:
            raise OptionError(
                'path lacks "pretrain_blur", the weights of the network that estimates the blur; name their file, or '
                f'train one of {", ".join(BLUR_NETWORKS)} first.'
            )
        net = load_network(path, self.device)
        if net.facts.kind != ESTIMATOR:
            raise OptionError(
                f'path: pretrain_blur: {path} holds a {type(net).__name__}, expected {" or ".join(BLUR_NETWORKS)}.'
            )
        self.net_blur = net.requires_grad_(False)

    def losses_of(self, result: Any, lq: Tensor, gt: Tensor | None) -> dict[str, Tensor]:
        """Return the losses of what the network made of `lq`, by name."""
        losses = super().losses_of(result, lq, gt)
        blur = estimated_blur(self.net_blur, lq, self.consistency.gamma)
        losses['l_consistency'] = self.consistency(blur, images_of(result)[0], lq)
        return losses
