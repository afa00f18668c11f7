"""Train and validate a network that predicts blur fields, on synthetically blurred scenes [C21, Alg. 1, Eq. 5, 6].

    scene, object masks, kernels --blur_scene--> lq, true field
    lq --to_linear--> network_g --> field;    BasisObjective(field, sample) is minimised

The scenes are blurred by the data set's workers (`synthesis: worker`) or here, on the training device (`device`).
The gamma of the photos is an option of the data set; the losses take theirs from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, ClassVar

import numpy as np
import torch
from basicsr.utils import tensor2img
from torch import Tensor

from basis_blur.archs.modes import evaluation_mode
from basis_blur.archs.network_facts import hyper_parameters_of
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.options import Option, OptionError
from basis_blur.losses.basis_objective import BasisObjective, estimated_field, restored_photo
from basis_blur.losses.kernel_divergence_loss import KernelDivergenceLoss
from basis_blur.losses.kernel_loss import KernelLoss
from basis_blur.losses.reblur_loss import ReblurLoss
from basis_blur.losses.restoration_loss import RestorationLoss
from basis_blur.losses.sample import Sample, needed
from basis_blur.metrics.kernel import field_errors
from basis_blur.metrics.psnr import psnr
from basis_blur.metrics.reblur import reblur_psnr
from basis_blur.models.batch import gamma_of, sample_of
from basis_blur.models.losses import Loss, build_loss_of
from basis_blur.models.network_model import NetworkModel
from basis_blur.models.validation import Validation
from basis_blur.photos.pictures import draw_kernel_grids, write_picture
from basis_blur.weights.checkpoints import load_fusion


class BasisBlurModel(NetworkModel):
    """BasicSR model for networks that map linear light to a `BlurField`, such as BasisKPN.

    A training has at least one of the four losses. `val: save_img` draws the estimated and the true kernels over each
    photo, and with `restore` also writes the restored photo.

    Scores of a validation, means over the photos: reblur_psnr in dB, between the photo and the scene blurred by the
    estimated field; kernel_l1, kernel_l2, kernel_correlation of `metrics.kernel`; with `restore` also restored_psnr,
    and blurred_psnr to compare with, against the sharp scene.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **NetworkModel.OPTIONS,
        'train': {
            **NetworkModel.OPTIONS['train'],
            'reblur_opt': Option(
                (dict, NoneType), None, holds='loss',
                meaning='ReblurLoss: the photo against the scene blurred by the estimated field.',
            ),
            'kernel_opt': Option(
                (dict, NoneType), None, holds='loss', meaning='KernelLoss: the estimated field against the true one.',
            ),
            'divergence_opt': Option(
                (dict, NoneType), None, holds='loss',
                meaning='KernelDivergenceLoss: the true kernels against the estimated ones, as distributions.',
            ),
            'restoration_opt': Option(
                (dict, NoneType), None, holds='loss',
                meaning='RestorationLoss: the photo restored with the estimated field against the sharp one.',
            ),
            'kernel_p1_iter': Option(
                (int, NoneType), None, least=1, meaning='First iteration with p = 1 in the kernel loss; ~ for none.',
            ),
        },
        'val': {
            **NetworkModel.OPTIONS['val'],
            'restore': Option((bool,), False, meaning='Whether the photos are restored with the estimated field too.'),
        },
        'path': {
            **NetworkModel.OPTIONS['path'],
            'pretrain_fusion': Option(
                (str, NoneType), None, is_path=True, names=('iterate_fusion',),
                meaning='Weights of an IterateFusion with which photos are restored; ~ for the solver alone.',
            ),
        },
    }  # fmt: skip

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        self.fusion = load_fusion(self.read_section('path')['pretrain_fusion'], self.device)
        if self.is_train:
            self.gamma = gamma_of(opt['datasets']['train'])
            self.objective = self._build_objective().to(self.device)
            self._check_kernel_size(opt)

    def _check_kernel_size(self, opt: Mapping[str, Any]) -> None:
        own = hyper_parameters_of(self.best_net)['kernel_size']
        for phase, section in opt['datasets'].items():
            found = section.get('kernel_size', own)
            if self.train_options['kernel_opt'] is not None and found != own:
                raise OptionError(
                    f'datasets: {phase}: "kernel_size" is {found}, but the kernels of network_g have {own} pixels a '
                    'side, and the kernel loss compares them; make them agree.'
                )

    def _build_objective(self) -> BasisObjective:
        def wanted(kind: type[Loss], key: str, **facts: Any) -> Loss | None:
            section = self.train_options[key]
            return None if section is None else build_loss_of(kind, section, key, **facts)

        losses = (
            wanted(ReblurLoss, 'reblur_opt', gamma=self.gamma),
            wanted(KernelLoss, 'kernel_opt'),
            self.train_options['kernel_p1_iter'],
            self.gamma,
            wanted(KernelDivergenceLoss, 'divergence_opt'),
            wanted(RestorationLoss, 'restoration_opt', gamma=self.gamma, fusion=self.fusion),
        )
        try:
            return BasisObjective(*losses)
        except ValueError as error:
            raise OptionError(
                f'train: {error} See reblur_opt, kernel_opt, divergence_opt, restoration_opt and kernel_p1_iter.'
            ) from error

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch of SyntheticBlurDataset, blurred or as ingredients, which are then blurred here."""
        self.name_batch(data)
        self.sample = sample_of(data, self.device, self.gamma)

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one training step on the batch.

        Raises:
            InputError: a loss or the gradient is not finite.
        """
        with self.autocast():
            field = estimated_field(self.net_g, self.sample.lq, self.gamma)
        self.descend(self.objective(field, self.sample, current_iter), current_iter)

    def lower_is_better(self, metric: str) -> bool:
        return metric in ('kernel_l1', 'kernel_l2')

    def validate(self, run: Validation) -> list[dict[str, float]]:
        """Score the estimated fields, and draw them over the photos beside the true ones."""
        gamma = run.gamma
        scores = []
        with evaluation_mode(self.best_net) as net:
            for index, data in enumerate(run.progress()):
                self.name_batch(data)
                sample = sample_of(data, self.device, gamma)
                with torch.no_grad(), self.autocast():
                    field = estimated_field(net, sample.lq, gamma)
                restored = self._restored(field, sample, gamma) if self.val_options['restore'] else None
                scores.append(self._score(field, sample, gamma, restored))
                if run.wants_picture(index):
                    run.show(index, self.batch_name, _picture(field, sample))
                if run.save_img and restored is not None:
                    path = run.photo_path(index, self.batch_name)
                    restored_path = path.with_name(f'{path.stem}_restored.png')
                    write_picture(restored_path, tensor2img(restored, rgb2bgr=False))
        return scores

    def _restored(self, field: BlurField, sample: Sample, gamma: float) -> Tensor:
        """Return the photo restored with the estimated field."""
        return restored_photo(self.best_net, field, sample.lq, gamma, self.fusion)

    def _score(
        self, field: BlurField, sample: Sample, gamma: float, restored: Tensor | None = None
    ) -> dict[str, float]:
        scene = needed(sample.gt)
        scores = {'reblur_psnr': reblur_psnr(field, scene, sample.lq, gamma)}
        if sample.true_field is not None:
            scores.update(field_errors(field, sample.true_field))
        if self.val_options['restore']:
            restored = self._restored(field, sample, gamma) if restored is None else restored
            sharp = field.inside(scene).clamp(0, 1)
            scores['restored_psnr'] = psnr(restored, sharp)
            scores['blurred_psnr'] = psnr(sample.lq, sharp)
        return {key: value.item() for key, value in scores.items()}


def _picture(field: BlurField, sample: Sample) -> np.ndarray:
    """Return the photo with the estimated kernels over it, left, and with the true ones, right: (H, W, 3) uint8."""
    photo = sample.lq[0].float().cpu()
    fields = {'estimate': field, 'truth': sample.true_field}
    known = {name: each[0].to('cpu', torch.float32) for name, each in fields.items() if each is not None}
    grids = draw_kernel_grids(photo, known)
    return np.hstack(list(grids.values()))
