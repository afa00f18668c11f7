"""Train and validate a network that fuses the iterates of Richardson-Lucy to one photo.

lq --pretrain_blur, frozen--> field --Richardson-Lucy--> iterates
network_g(lq, iterates) --> image;    L = pixel(image, gt)
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.archs.network_facts import FUSION, facts_of
from basis_blur.foundation.options import Option, OptionError
from basis_blur.losses.iterate_fusion import fused_and_alone, iterate_stack, random_views
from basis_blur.losses.restoration_objective import FIELD_NETWORKS
from basis_blur.losses.sample import needed
from basis_blur.models.batch import gamma_of
from basis_blur.models.restorer_model import RestorerModel
from basis_blur.weights.checkpoints import load_network


class IterateFusionModel(RestorerModel):
    """BasicSR model for an IterateFusion.

    Scores of a validation: psnr in dB; and for comparison blurred_psnr, that of the photo, and solver_psnr, that of
    `deblur` without the network.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **RestorerModel.OPTIONS,
        'train': {
            **RestorerModel.OPTIONS['train'],
            'views': Option((int,), 4, least=1, meaning='Number of views of each photo in a step.'),
            'view_size': Option((int,), 160, least=8, meaning='Side of a view, pixels.'),
        },
        'val': {key: option for key, option in RestorerModel.OPTIONS['val'].items() if key != 'tile'},
        'path': {
            **RestorerModel.OPTIONS['path'],
            'pretrain_blur': Option(
                (str,),
                'correlation_kpn',
                meaning='Weights of the frozen network that estimates the blur; a file or a name.',
            ),
        },
    }

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        if facts_of(self.best_net).kind != FUSION:
            raise OptionError(f'network_g is a {type(self.best_net).__name__}, expected an IterateFusion.')
        path = self.read_section('path')['pretrain_blur']
        self.net_blur = load_network(path, self.device, expect=FIELD_NETWORKS).requires_grad_(False)

    @property
    def fuser(self) -> IterateFusion:
        """The network that is validated."""
        return cast(IterateFusion, self.best_net)

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one training step on several views of each photo of the batch.

        Raises:
            InputError: a loss or the gradient is not finite.
        """
        stack = iterate_stack(self.net_blur, self.lq, self.fuser.iterations, gamma_of(self.opt['datasets']['train']))
        shown, gt = random_views(stack, needed(self.gt), self.train_options['view_size'], self.train_options['views'])
        with self.autocast():
            image = self.net_g(shown)
        self.descend(self.losses_of(image, shown, gt), current_iter)

    @torch.no_grad()
    def restored(self, lq: Tensor, gamma: float) -> dict[str, Tensor]:
        """Return the photos that the network makes, under '', and those of `deblur` without it, under 'solver_'."""
        fused, alone = fused_and_alone(self.fuser, self.net_blur, lq.clamp(0, 1), gamma)
        return {'': fused, 'solver_': alone}
