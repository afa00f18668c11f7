"""Train and validate a flow over blur kernels by maximum likelihood: stage I of UFPNet [L21, F23].

    kernels --KernelFlow--> code;    FlowNLLLoss is minimised

Before the first step of a new training the flow's `normalization` is derived from the training kernels. It is saved
with the weights, so a training that is resumed, or that begins with other weights, keeps their value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import torch
from basicsr.data import build_dataset
from basicsr.utils import get_root_logger
from torch import Tensor

from basis_blur.archs.kernel_flow_arch import LEVELS, KernelFlow, derive_normalization
from basis_blur.archs.modes import evaluation_mode
from basis_blur.foundation.options import Option, OptionError
from basis_blur.losses.flow_nll_loss import FlowNLLLoss, bits_per_dimension, kernel_nll
from basis_blur.metrics.kernel import kernel_l1
from basis_blur.metrics.kernel_statistics import statistics_table
from basis_blur.models.losses import build_loss_of
from basis_blur.models.network_model import NetworkModel
from basis_blur.models.validation import Validation
from basis_blur.photos.pictures import draw_kernel_sets, write_picture

SAMPLES = 1000  # number of kernels drawn from the flow for the table
SHOWN = 48  # number of kernels of each kind in the picture
CHUNK = 1024  # number of kernels that are computed at once


@runtime_checkable
class Kernels(Protocol):
    """A data set of kernels of one size, such as KernelDataset."""

    @property
    def kernel_size(self) -> int:
        """K, the side of every kernel in pixels."""
        ...

    def spread(self, count: int = ...) -> Tensor:
        """Return at most `count` kernels, evenly spread over the data set, (M, K, K)."""
        ...


class KernelFlowModel(NetworkModel):
    """BasicSR model for `KernelFlow`.

    Scores of a validation, means over the held-out kernels: bits_per_dim, the NLL of `FlowNLLLoss`; round_trip_l1,
    the L1 distance of a kernel and decode(encode(kernel)), caused by values above `normalization`, which are cut off;
    inverse_error, the largest |inverse(forward(x)) - x|, caused by rounding. The log also compares kernels drawn from
    the flow with the held-out ones in a table; `save_img` draws them.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **NetworkModel.OPTIONS,
        'train': {
            **NetworkModel.OPTIONS['train'],
            'nll_opt': Option((dict,), holds='loss', meaning='FlowNLLLoss: minus the logarithm of the likelihood.'),
        },
    }

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        if not self.is_train:
            return
        if self.train_options['amp'] is not None:
            raise OptionError('train: "amp" is of no use to a flow, whose likelihoods need float32; leave it out.')
        self.loss = build_loss_of(FlowNLLLoss, self.train_options['nll_opt'], 'nll_opt')
        dataset = self._training_kernels()
        self.shown_kernels = dataset.spread(SHOWN)
        if opt['path'].get('pretrain_network_g') is None:
            value = derive_normalization(dataset.spread())
            for net in {self.get_bare_model(self.net_g), self.best_net}:
                net.set_normalization(value)
            get_root_logger().info(
                f'The normalization of the kernels is {value:.4f}, from {opt["datasets"]["train"]["dataroot"]}.'
            )

    @property
    def flow(self) -> KernelFlow:
        """The network that is validated."""
        return cast(KernelFlow, self.best_net)

    def _training_kernels(self) -> Kernels:
        section = self.opt['datasets']['train']
        dataset = build_dataset({'phase': 'train', **section})
        if not isinstance(dataset, Kernels):
            raise OptionError(f'datasets: train: "type" is {section["type"]!r}, expected "KernelDataset".')
        size = self.flow.hyper_parameters['kernel_size']
        if dataset.kernel_size != size:
            raise OptionError(
                f'network_g: "kernel_size" is {size}, but the kernels in {section["dataroot"]} have '
                f'{dataset.kernel_size} pixels a side; make them agree.'
            )
        return dataset

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch of KernelDataset."""
        keys = data['key']
        self.batch_name = f'kernels {", ".join(keys[:4])}{f" and {len(keys) - 4} more" if len(keys) > 4 else ""}'
        self.kernels = data['kernel'].to(self.device, non_blocking=True)

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one training step on the batch.

        Raises:
            InputError: the loss or the gradient is not finite.
        """
        self.descend({'l_nll': self.loss(self.net_g, self.kernels)}, current_iter)

    def lower_is_better(self, metric: str) -> bool:
        return metric in ('bits_per_dim', 'round_trip_l1', 'inverse_error')

    @torch.no_grad()
    def validate(self, run: Validation) -> list[dict[str, float]]:
        """Score held-out kernels, log the statistics of kernels drawn from the flow, and draw some."""
        kernels = torch.cat([data['kernel'] for data in run.progress()])
        generator = torch.Generator().manual_seed(0)  # the same noise and the same codes at each validation
        noise = torch.rand(kernels.shape, generator=generator)
        codes = torch.randn(SAMPLES, self.flow.dims, generator=generator)
        with evaluation_mode(self.flow) as flow:
            parts = zip(kernels.split(CHUNK), noise.split(CHUNK), strict=True)
            scores = [score for part in parts for score in self._score(*(each.to(self.device) for each in part))]
            if self.opt['rank'] == 0:
                size = flow.hyper_parameters['kernel_size']
                drawn = flow.decode_raw(codes.to(self.device), CHUNK).view(-1, size, size).cpu()
                noisy = flow.normalization.cpu() * noise / LEVELS
                table = statistics_table({'held out': kernels, 'held out + noise': kernels + noisy, 'samples': drawn})
                get_root_logger().info(f'Kernels of {run.name} and samples of the flow:\n{table}')
                self._draw(drawn, kernels, run)
        return scores

    def _score(self, kernels: Tensor, noise: Tensor) -> list[dict[str, float]]:
        flow = self.flow
        x = flow.preprocess(kernels, noise)
        columns = {
            'bits_per_dim': bits_per_dimension(kernel_nll(flow, kernels, noise), flow.dims),
            'round_trip_l1': kernel_l1(flow.decode(flow.encode(kernels)), kernels),
            'inverse_error': (flow.inverse(flow(x)[0])[0] - x).abs().amax(1),
        }
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _draw(self, drawn: Tensor, kernels: Tensor, run: Validation) -> None:
        if not run.save_img and run.tb_logger is None:
            return
        title, data = ('training kernels', self.shown_kernels) if self.is_train else ('kernels', kernels[:SHOWN])
        light = drawn[:SHOWN].clamp(min=0)
        picture = draw_kernel_sets({title: data, 'samples of the flow': light / light.sum((1, 2), keepdim=True)})
        if run.tb_logger is not None:
            run.tb_logger.add_image(f'{run.name}/samples', picture, run.iteration, dataformats='HWC')
        if run.save_img:
            write_picture(run.picture_path(f'{run.name}_samples'), picture)
