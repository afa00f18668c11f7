"""Train a kernel estimator from pairs of a blurred and a sharp photo, without true kernels [F23, stage II].

    lq --network_g--> kernels;      L = | blur(gt, kernels) - lq | is minimised

The pairs are those of BasicSR's PairedImageDataset, or made by SyntheticBlurDataset. The latter knows the true blur,
which a validation compares with the estimate and a training never sees. GuessedPhotoDataset has no sharp photos, but
guesses of them, made from blurred photos alone, whose pixels count as far as they are trusted.

    LatentKernelNet sees the photo as it is and returns a kernel for every pixel:         PixelReblurLoss
    LatentKernelNet with "estimator: correlation" returns a blur field of its windows:    ReblurLoss
    BasisKPN and the like see linear light and return a blur field [C21]:                 ReblurLoss

The flow of a LatentKernelNet is frozen. Its weights are read from `path: pretrain_flow` and saved in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, ClassVar

import numpy as np
import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from basis_blur.archs.correlation_estimator import CorrelationEstimator
from basis_blur.archs.latent_kernel_arch import LatentKernels
from basis_blur.archs.modes import evaluation_mode
from basis_blur.archs.network_facts import facts_of, hyper_parameters_of
from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import Option, OptionError
from basis_blur.losses.pixel_reblur_loss import PixelReblurLoss
from basis_blur.losses.reblur_loss import ReblurLoss
from basis_blur.losses.sample import Sample, needed
from basis_blur.losses.self_supervised_objective import (
    Estimate,
    estimate_of,
    has_pixel_kernels,
    self_supervised_loss,
)
from basis_blur.metrics.aligned import plain_score
from basis_blur.metrics.kernel import field_errors
from basis_blur.metrics.psnr import psnr
from basis_blur.metrics.reblur import reblurred
from basis_blur.models.batch import gamma_of, sample_of
from basis_blur.models.losses import build_loss_of
from basis_blur.models.network_model import NetworkModel
from basis_blur.models.validation import Validation
from basis_blur.photos.pictures import draw_kernel_grids, draw_sigma, put_side_by_side, with_title
from basis_blur.weights.checkpoints import load_decoder, load_network
from basis_blur.weights.fitting import give


class SelfSupervisedReblurModel(NetworkModel):
    """BasicSR model for networks that estimate the blur of a photo, trained by reblurring alone.

    Scores of a validation, means over the photos: reblur_psnr in dB and reblur_ssim, between the photo and the sharp
    one blurred with the estimate; sigma, for a LatentKernelNet; kernel_l1, kernel_l2, kernel_correlation of
    `metrics.kernel`, where the data set tells the true blur.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **NetworkModel.OPTIONS,
        'train': {
            **NetworkModel.OPTIONS['train'],
            'reblur_opt': Option(
                (dict,), holds='loss',
                meaning='PixelReblurLoss, or ReblurLoss for networks that return a field: the photo against the sharp '
                'one blurred with the estimate.',
            ),
        },
        'path': {
            **NetworkModel.OPTIONS['path'],
            'pretrain_flow': Option(
                (str, NoneType), None, is_path=True, names=('kernel_flow',),
                meaning='Weights of the KernelFlow; not read where the network itself has weights to begin with.',
            ),
            'pretrain_decoder': Option(
                (str, NoneType), None, is_path=True, names=('correlation_kpn', 'basis_kpn'),
                meaning='Weights of a CorrelationKPN, with whose decoder a CorrelationEstimator begins; not read where '
                'the network itself has weights to begin with.',
            ),
        },
        'val': {
            **NetworkModel.OPTIONS['val'],
            'gamma': Option(
                (float, NoneType), None, above=0,
                meaning='Exponent with which pixel kernels blur; ~ for that of the loss, 1 in a test.',
            ),
        },
    }  # fmt: skip

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        self.of_pixels = has_pixel_kernels(self.get_bare_model(self.net_g))
        self._load_flow()
        self._load_decoder()
        self.pixel_gamma = 1.0
        if self.is_train:
            self.gamma = gamma_of(opt['datasets']['train'])
            self.loss = self._build_loss().to(self.device)
            self.pixel_gamma = self.loss.gamma
        if self.val_options.get('gamma') is not None:
            self.pixel_gamma = self.val_options['gamma']

    def _load_flow(self) -> None:
        path = self.read_section('path')['pretrain_flow']
        net = self.get_bare_model(self.net_g)
        if getattr(net, 'flow', None) is None:
            if path is not None:
                raise OptionError('path: pretrain_flow is given, but network_g has no flow; remove one of the two.')
            return
        if self._begins_with_all('flow', path):
            return
        if path is None:
            if self.is_train:
                raise OptionError(
                    'path lacks the key "pretrain_flow": an untrained flow, which stays as it is, knows no kernels. '
                    'Give "kernel_flow", the shipped one, train one with KernelFlowModel, or set "network_g: '
                    'flow_prior: false".'
                )
            return
        flow = load_network(path, expect='KernelFlow')
        own = net.get_submodule('flow')
        if flow.hyper_parameters != hyper_parameters_of(own):
            raise InputError(
                f'{path} holds a flow of {_settings(flow)}, but network_g one of {_settings(own)}; make '
                'kernel_size, flow_blocks and flow_hidden of network_g agree with it.'
            )
        give([each.get_submodule('flow') for each in self.nets], flow.state_dict(), f'path: pretrain_flow: {path}')
        get_root_logger().info(f'The flow has the weights of {path}.')

    def _load_decoder(self) -> None:
        path = self.read_section('path')['pretrain_decoder']
        if path is None:
            return
        estimators = [getattr(net, 'kernel_extra', None) for net in self.nets]
        if not isinstance(estimators[0], CorrelationEstimator):
            raise OptionError(
                'path: pretrain_decoder is given, but network_g is no LatentKernelNet with "estimator: correlation"; '
                'remove one of the two.'
            )
        if self._begins_with_all('decoder', path):
            return
        load_decoder(path, estimators)
        get_root_logger().info(f'The decoder has the weights of {path}.')

    def _begins_with_all(self, part: str, path: str | None) -> bool:
        """Tell whether the whole network begins with given weights, so that those of a part of it are not read."""
        if self.opt['path'].get('pretrain_network_g') is None:
            return False
        if path is not None:
            get_root_logger().info(f'The {part} is that of "path: pretrain_network_g"; {path} is not read.')
        return True

    def _build_loss(self) -> PixelReblurLoss | ReblurLoss:
        section = self.train_options['reblur_opt']
        net = self.get_bare_model(self.net_g)
        words = f' for {type(net).__name__}{" of windows" if facts_of(net).by_cells else ""}'
        if self.of_pixels:
            return build_loss_of(PixelReblurLoss, section, 'reblur_opt', words)
        return build_loss_of(ReblurLoss, section, 'reblur_opt', words, gamma=self.gamma)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch of pairs, or of the ingredients of scenes, which are then blurred here."""
        self.name_batch(data)
        self.sample = self._sample_of(data, self.gamma)

    def _sample_of(self, data: Mapping[str, Any], gamma: float) -> Sample:
        sample = sample_of(data, self.device, gamma)
        if sample.gt is None:
            raise InputError(
                f'the data set returns {", ".join(data)}, expected pairs: "lq" and "gt"; use PairedImageDataset or '
                'SyntheticBlurDataset.'
            )
        return sample

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one training step on the batch.

        Raises:
            InputError: the loss or the gradient is not finite.
        """
        with self.autocast():
            estimate = self._estimate(self.net_g, self.sample.lq, self.gamma)
        self.descend({'l_reblur': self._loss_of(estimate)}, current_iter)
        if isinstance(estimate, LatentKernels):
            self.log_dict['sigma'] = estimate.sigma.detach().mean().item()

    def _estimate(self, net: nn.Module, photo: Tensor, gamma: float) -> Estimate:
        return estimate_of(net, photo, gamma, self.get_bare_model(net))

    def _loss_of(self, estimate: Estimate) -> Tensor:
        sample = self.sample
        return self_supervised_loss(estimate, sample.lq, needed(sample.gt), self.loss, self.gamma, sample.trust)

    def lower_is_better(self, metric: str) -> bool:
        return metric in ('kernel_l1', 'kernel_l2', 'sigma')

    def validate(self, run: Validation) -> list[dict[str, float]]:
        """Score the estimates, and draw their kernels over the photos, beside sigma or the true kernels."""
        gamma = run.gamma
        scores = []
        with evaluation_mode(self.best_net) as net:
            for index, data in enumerate(run.progress()):
                self.name_batch(data)
                sample = self._sample_of(data, gamma)
                with torch.no_grad(), self.autocast():
                    estimate = self._estimate(net, sample.lq, gamma)
                scores.append(self._score(estimate, sample, gamma))
                if run.wants_picture(index):
                    run.show(index, self.batch_name, _picture(estimate, sample))
        return scores

    @torch.no_grad()
    def _score(self, estimate: Estimate, sample: Sample, gamma: float) -> dict[str, float]:
        blur = _field_of(estimate)
        again = reblurred(blur, needed(sample.gt), gamma, self.pixel_gamma)
        scores = {'reblur_psnr': psnr(again, sample.lq)}
        if isinstance(estimate, LatentKernels):
            scores['sigma'] = estimate.sigma.mean()
        if sample.true_field is not None:
            scores.update(field_errors(blur, sample.true_field))
        numbers = {key: value.item() for key, value in scores.items()}
        return {**numbers, 'reblur_ssim': plain_score(again.float(), sample.lq.float()).ssim}


def _field_of(estimate: Estimate) -> PixelField | BlurField:
    return PixelField(estimate.pixel_kernels) if isinstance(estimate, LatentKernels) else estimate


def _settings(net: nn.Module) -> str:
    return ', '.join(f'{key} {value}' for key, value in hyper_parameters_of(net).items())


def _picture(estimate: Estimate, sample: Sample) -> np.ndarray:
    """Return the photo with the estimated kernels, with the true ones if known, and sigma if there is one; uint8."""
    photo = sample.lq[0].float().cpu()
    fields = {'estimate': _field_of(estimate), 'truth': sample.true_field}
    known = {name: field[0] for name, field in fields.items() if field is not None}
    pictures = list(draw_kernel_grids(photo, known).values())
    if isinstance(estimate, LatentKernels):
        sigma = draw_sigma(estimate.sigma[0], max(pictures[0].shape[1], 1))
        pictures.append(with_title('sigma: how unsure the estimate is', sigma))
    return put_side_by_side(pictures)
