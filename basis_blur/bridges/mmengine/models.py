"""One mmengine model per training stage, over the same objectives as the models of BasicSR in `basis_blur.models`.

    inputs        the blurred photos (N, 3, H, W), or kernels (N, K, K); what the network sees
    data_samples  what else the data set tells, by name: gt, kernels, mixing, weight, ...; each with N

    mode          'tensor'                     'loss'                     'predict'
    returns       what the network returns     {'loss_...': one number}   per photo: the estimate, and data_samples

Convention: networks are under `net`, so that the weights of a checkpoint are those of BasicSR with `net.` before them.
Mixed precision: the network alone is computed in it, the losses are not, as in BasicSR's models.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor, nn

from basis_blur import losses
from basis_blur.archs import ARCHS
from basis_blur.archs.iterate_fusion_arch import COLOURS, IterateFusion, clipped_to_range
from basis_blur.archs.kernel_flow_arch import KernelFlow
from basis_blur.archs.latent_kernel_arch import LatentKernels
from basis_blur.archs.network_facts import ESTIMATOR
from basis_blur.deblurring.restoring import restore
from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.losses.basis_objective import BasisObjective, estimated_field
from basis_blur.losses.consistency_loss import ConsistencyLoss
from basis_blur.losses.flow_nll_loss import FlowNLLLoss, bits_per_dimension, kernel_nll
from basis_blur.losses.iterate_fusion import fused_and_alone, iterate_stack, random_views
from basis_blur.losses.kernel_divergence_loss import KernelDivergenceLoss
from basis_blur.losses.kernel_loss import KernelLoss
from basis_blur.losses.pixel_reblur_loss import PixelReblurLoss
from basis_blur.losses.reblur_loss import ReblurLoss
from basis_blur.losses.restoration_loss import RestorationLoss
from basis_blur.losses.restoration_objective import (
    BLUR_NETWORKS,
    FIELD_NETWORKS,
    estimated_blur,
    images_of,
    restoration_losses,
)
from basis_blur.losses.sample import Sample, needed
from basis_blur.losses.self_supervised_objective import (
    Estimate,
    estimate_of,
    has_pixel_kernels,
    self_supervised_loss,
)
from basis_blur.registry import MODELS, SCOPE
from basis_blur.weights.checkpoints import load_decoder, load_fusion, load_network
from basis_blur.weights.fitting import give

for _component in (*ARCHS.values(), *(getattr(losses, name) for name in losses.__all__)):
    MODELS.register_module(module=_component)
MODELS.register_module('L1Loss', module=nn.L1Loss)

Samples = Mapping[str, Any]
Config = dict[str, Any]  # what mmengine builds a component from
Loss = TypeVar('Loss', bound=nn.Module)


@MODELS.register_module()
class BlurDataPreprocessor(BaseDataPreprocessor):
    """Move a batch to the device, and blur it there where the data set left that to the device.

    Neither photos nor kernels nor mixing are scaled, normalised or padded: networks and losses take them as they are.

    Args:
        gamma: exponent of the photos; light = photo ** gamma.
        non_blocking: whether to go on while the batch is copied from pinned memory.
    """

    def __init__(self, gamma: float = GAMMA, non_blocking: bool = True):
        super().__init__(non_blocking)
        self.gamma = gamma

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Return {'inputs': ..., 'data_samples': ...} of a collated batch."""
        data = self.cast_data(data)
        inputs, samples = data['inputs'], dict(data.get('data_samples') or {})
        if not isinstance(inputs, Tensor):
            raise InputError(
                'the batch is a list of photos, expected one tensor; set collate_fn=dict(type="default_collate") in '
                'the data loader.'
            )
        if 'labels' in samples:
            with torch.autocast(inputs.device.type, enabled=False):
                blurred = Sample.of({'sharp': inputs, **samples}, self.gamma)
            scene = {key: value for key, value in vars(blurred).items() if value is not None}
            inputs = scene.pop('lq')
            names = {key: samples[key] for key in ('key', 'lq_path') if key in samples}
            samples = {**names, **scene}
        return {'inputs': inputs, 'data_samples': samples}


class StageModel(BaseModel):
    """The base of the stages: one network that learns, its modes, and the preparation of its batch.

    Args:
        net: config of a network in MODELS, or the network.
        gamma: exponent of the photos, for the stages and the preprocessor alike.
        pretrained: weights that `net` begins with: any file that `basis_blur.load_network` reads.
        data_preprocessor: preprocessor of batches; by default a BlurDataPreprocessor with this gamma.
        init_cfg: argument of mmengine's BaseModel.

    Raises:
        InputError: the file of `pretrained` holds another network.
    """

    def __init__(
        self,
        net: Config | nn.Module,
        gamma: float = GAMMA,
        pretrained: str | None = None,
        data_preprocessor: Config | nn.Module | None = None,
        init_cfg: Config | None = None,
    ):
        super().__init__(data_preprocessor or {'type': 'basis_blur.BlurDataPreprocessor', 'gamma': gamma}, init_cfg)
        self.net = _built(net)
        self.gamma = gamma
        if pretrained is not None:
            _give_weights(self.net, pretrained)

    def forward(self, inputs: Tensor, data_samples: Samples | None = None, mode: str = 'tensor') -> Any:
        """Compute in one of the three modes at the top of this module.

        Raises:
            ValueError: there is no such mode.
        """
        if mode == 'tensor':
            return self.compute(inputs)
        if mode == 'loss':
            result = self.compute(inputs)
            with self.full_precision(inputs):
                return _named(self.losses_of(result, inputs, data_samples or {}))
        if mode == 'predict':
            samples = {**(data_samples or {}), 'lq': inputs}
            parts = self.predictions(inputs, data_samples or {})
            return [
                {**{key: value[index : index + 1] for key, value in samples.items()}, **part}
                for index, part in enumerate(parts)
            ]
        raise ValueError(f'mode is {mode!r}, expected "tensor", "loss" or "predict".')

    def compute(self, inputs: Tensor) -> Any:
        """Return what the network makes of the photos."""
        return self.net(inputs)

    @staticmethod
    def full_precision(inputs: Tensor) -> AbstractContextManager[Any]:
        """Return the context in which losses are computed, in full precision whatever that of the network is."""
        return torch.autocast(inputs.device.type, enabled=False)

    @abstractmethod
    def losses_of(self, result: Any, inputs: Tensor, samples: Samples) -> dict[str, Tensor]:
        """Return the losses, each one number, named `l_...` as in BasicSR."""

    @abstractmethod
    def predictions(self, inputs: Tensor, samples: Samples) -> list[dict[str, Any]]:
        """Return the estimates of each photo, by name; without gradients."""


@MODELS.register_module()
class BasisBlurModel(StageModel):
    """Stage for networks that map linear light to a `BlurField`, on synthetic blur [C21, Eq. 5, 6].

    Predicts: 'field', a BlurField of one photo; 'true_field', where the data set tells it.

    Args:
        net: config of the network, such as dict(type='BasisKPN', num_kernels=25).
        reblur: config of a ReblurLoss; its gamma is that of the photos.
        kernel: config of a KernelLoss.
        divergence: config of a KernelDivergenceLoss.
        restoration: config of a RestorationLoss; its gamma is that of the photos.
        fusion: weights of an IterateFusion for the RestorationLoss, a file or a name; by default the solver alone.
        kernel_p1_iter: the first iteration, counted from 1, with p = 1 in the kernel loss.
        others: keyword arguments of `StageModel`.
    """

    def __init__(
        self,
        net: Config | nn.Module,
        reblur: Config | None = None,
        kernel: Config | None = None,
        kernel_p1_iter: int | None = None,
        gamma: float = GAMMA,
        divergence: Config | None = None,
        restoration: Config | None = None,
        fusion: str | None = None,
        **others: Any,
    ):
        super().__init__(net, gamma, **others)
        self.objective = BasisObjective(
            _loss_if(reblur, ReblurLoss, 'reblur', gamma=gamma),
            _loss_if(kernel, KernelLoss, 'kernel'),
            kernel_p1_iter,
            gamma,
            _loss_if(divergence, KernelDivergenceLoss, 'divergence'),
            _loss_if(restoration, RestorationLoss, 'restoration', gamma=gamma, fusion=load_fusion(fusion)),
        )

    def compute(self, inputs: Tensor) -> BlurField:
        return estimated_field(self.net, inputs, self.gamma)

    def losses_of(self, result: BlurField, inputs: Tensor, samples: Samples) -> dict[str, Tensor]:
        return self.objective(result, _sample_of(inputs, samples), _iteration())

    @torch.no_grad()
    def predictions(self, inputs: Tensor, samples: Samples) -> list[dict[str, Any]]:
        return _with_true_field(self.compute(inputs), _sample_of(inputs, samples))


@MODELS.register_module()
class SelfSupervisedReblurModel(StageModel):
    """Stage for kernel estimators that learn by reblurring alone [F23, stage II].

    Predicts: 'field', a PixelField or BlurField of one photo; 'sigma' of a LatentKernelNet, one number; 'true_field',
    where the data set tells it.

    Args:
        net: a LatentKernelNet, whose flow is frozen, or a network that returns a BlurField.
        reblur: config of a PixelReblurLoss, for a LatentKernelNet with a kernel for every pixel, or of a ReblurLoss.
        pretrained_flow: weights of the KernelFlow in the network.
        pretrained_decoder: weights of a CorrelationKPN, with whose decoder a CorrelationEstimator begins.
        others: keyword arguments of `StageModel`.

    Raises:
        InputError: the flow of `pretrained_flow` is of another size.
    """

    def __init__(
        self,
        net: Config | nn.Module,
        reblur: Config,
        pretrained_flow: str | None = None,
        pretrained_decoder: str | None = None,
        gamma: float = GAMMA,
        **others: Any,
    ):
        super().__init__(net, gamma, **others)
        if pretrained_flow is not None:
            _give_weights(self.net.get_submodule('flow'), pretrained_flow)
        if pretrained_decoder is not None:
            load_decoder(pretrained_decoder, [self.net.kernel_extra])
        self.loss: PixelReblurLoss | ReblurLoss
        if has_pixel_kernels(self.net):
            self.loss = _loss(reblur, PixelReblurLoss, 'reblur')
        else:
            self.loss = _loss(reblur, ReblurLoss, 'reblur', gamma=gamma)

    def compute(self, inputs: Tensor) -> Estimate:
        return estimate_of(self.net, inputs, self.gamma)

    def losses_of(self, result: Estimate, inputs: Tensor, samples: Samples) -> dict[str, Tensor]:
        gt, trust = samples['gt'], samples.get('trust')
        return {'l_reblur': self_supervised_loss(result, inputs, gt, self.loss, self.gamma, trust)}

    @torch.no_grad()
    def predictions(self, inputs: Tensor, samples: Samples) -> list[dict[str, Any]]:
        estimate = self.compute(inputs)
        if not isinstance(estimate, LatentKernels):
            return _with_true_field(estimate, _sample_of(inputs, samples))
        parts = _with_true_field(PixelField(estimate.pixel_kernels), _sample_of(inputs, samples))
        return [{**part, 'sigma': sigma.mean()} for part, sigma in zip(parts, estimate.sigma, strict=True)]


@MODELS.register_module()
class KernelFlowModel(StageModel):
    """Stage for a `KernelFlow`, by maximum likelihood; inputs are kernels (N, K, K) [L21, F23, stage I].

    Predicts: 'bits_per_dim', one number. `NormalizationHook` derives the flow's `normalization` from the kernels.

    Args:
        net: config of the network, such as dict(type='KernelFlow', kernel_size=19).
        nll: config of a FlowNLLLoss.
        others: keyword arguments of `StageModel`.
    """

    net: KernelFlow

    def __init__(self, net: Config | nn.Module, nll: Config | None = None, **others: Any):
        super().__init__(net, **others)
        self.loss = _loss(nll or {'type': 'FlowNLLLoss'}, FlowNLLLoss, 'nll')

    def compute(self, inputs: Tensor) -> Tensor:
        """Return the codes of kernels, (N, K*K)."""
        return self.net.encode(inputs)

    def forward(self, inputs: Tensor, data_samples: Samples | None = None, mode: str = 'tensor') -> Any:
        if mode == 'loss':  # straight to the likelihood, in float32; codes are of no use there
            with self.full_precision(inputs):
                return {'loss_nll': self.loss(self.net, inputs)}
        return super().forward(inputs, data_samples, mode)

    def losses_of(self, result: Tensor, inputs: Tensor, samples: Samples) -> dict[str, Tensor]:
        return {'l_nll': self.loss(self.net, inputs)}

    @torch.no_grad()
    def predictions(self, inputs: Tensor, samples: Samples) -> list[dict[str, Any]]:
        generator = torch.Generator().manual_seed(0)  # the same noise at each validation
        noise = torch.rand(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)
        bits = bits_per_dimension(kernel_nll(self.net, inputs, noise), self.net.dims)
        return [{'bits_per_dim': each} for each in bits]


@MODELS.register_module()
class RestorerModel(StageModel):
    """Stage for networks that restore photos: NAFNet and any other that maps a photo to one.

    Predicts: 'image', the restored photo (1, 3, H, W); 'gt', cut to it.

    Args:
        net: config of the network, such as dict(type='NAFNet', width=64).
        pixel: config of a loss of the restored and the sharp photo, such as PSNRLoss.
        reblur: config of a ConsistencyLoss with the network's own kernels.
        tile: largest side of a tile in prediction, pixels; by default photos are restored as a whole.
        others: keyword arguments of `StageModel`.

    Raises:
        ValueError: there is no loss.
    """

    def __init__(
        self,
        net: Config | nn.Module,
        pixel: Config | None = None,
        reblur: Config | None = None,
        tile: int | None = None,
        **others: Any,
    ):
        super().__init__(net, **others)
        self.pixel = None if pixel is None else _built(pixel)
        self.reblur = _loss_if(reblur, ConsistencyLoss, 'reblur')
        self.tile = tile
        self.check_losses()

    def check_losses(self) -> None:
        """Refuse a stage that has nothing to minimise."""
        if self.pixel is None and self.reblur is None:
            raise ValueError('neither "pixel" nor "reblur" is given; give at least one loss.')

    def losses_of(self, result: Any, inputs: Tensor, samples: Samples) -> dict[str, Tensor]:
        sample = _sample_of(inputs, samples)
        return restoration_losses(result, sample.lq, sample.sharp, self.pixel, self.reblur, sample.trust)

    @torch.no_grad()
    def predictions(self, inputs: Tensor, samples: Samples) -> list[dict[str, Any]]:
        sample = _sample_of(inputs, samples)
        with self.full_precision(inputs):
            images = restore(self.net, sample.lq, self.tile)
        return _with_truth(images, sample.sharp)


@MODELS.register_module()
class UFPNetModel(RestorerModel):
    """Stage for a UFPNet [F23, stage III].

    Args:
        net: config of the network, such as dict(type='UFPNet').
        pixel: config of a loss, see `RestorerModel`.
        reblur: config of a ConsistencyLoss, see `RestorerModel`.
        pretrained_estimator: weights of a LatentKernelNet that UFPNet begins with.
        freeze_estimator: whether UFPNet's kernels stay as they are; see BasicSR's UFPNetModel.
        others: keyword arguments of `RestorerModel`.

    Raises:
        InputError: the file of `pretrained_estimator` holds another network, or there is no estimator to freeze.
        ValueError: there is no loss.
    """

    def __init__(
        self,
        net: Config | nn.Module,
        pixel: Config | None = None,
        reblur: Config | None = None,
        pretrained_estimator: str | None = None,
        freeze_estimator: bool = False,
        **others: Any,
    ):
        super().__init__(net, pixel, reblur, **others)
        if pretrained_estimator is not None:
            _give_weights(self.net, pretrained_estimator, part='LatentKernelNet')
        if freeze_estimator:
            if getattr(self.net, 'latent_kernels', None) is None:
                raise InputError(f'freeze_estimator is True, but {type(self.net).__name__} estimates no kernels.')
            self.net.get_submodule('latent_kernels').requires_grad_(False)


class _BesideFrozenBlur(RestorerModel):
    """A stage beside whose network another, `net_blur`, estimates the blur and stays as it is."""

    def train(self, mode: bool = True) -> _BesideFrozenBlur:
        """Set the mode of all but the frozen network."""
        super().train(mode)
        if hasattr(self, 'net_blur'):
            self.net_blur.eval()
        return self


@MODELS.register_module()
class BlurToDeblurModel(_BesideFrozenBlur):
    """Stage that fine-tunes a restoring network by blurring again what it restored [C21, Sec. 7.3].

    Args:
        net: the network that learns.
        blur: weights of the frozen BasisKPN, CorrelationKPN or LatentKernelNet that estimates the blur of the input.
        consistency: config of a ConsistencyLoss.
        others: keyword arguments of `RestorerModel`; its losses may be left out, and then no sharp photo is read.

    Raises:
        InputError: the file of `blur` holds another network.
    """

    def __init__(self, net: Config | nn.Module, blur: str, consistency: Config, **others: Any):
        super().__init__(net, **others)
        frozen = load_network(blur)
        if frozen.facts.kind != ESTIMATOR:
            raise InputError(f'{blur} holds a {type(frozen).__name__}, expected {" or ".join(BLUR_NETWORKS)}.')
        self.net_blur = frozen.requires_grad_(False)
        self.consistency = _loss(consistency, ConsistencyLoss, 'consistency')

    def check_losses(self) -> None:
        """There is always the consistency."""

    def losses_of(self, result: Any, inputs: Tensor, samples: Samples) -> dict[str, Tensor]:
        found = super().losses_of(result, inputs, samples)
        blur = estimated_blur(self.net_blur, inputs, self.consistency.gamma)
        return {**found, 'l_consistency': self.consistency(blur, images_of(result)[0], inputs)}


@MODELS.register_module()
class IterateFusionModel(_BesideFrozenBlur):
    """Stage for an IterateFusion, which makes one photo of the iterates of Richardson-Lucy.

    Args:
        net: config of the network, such as dict(type='IterateFusion').
        blur: weights of the frozen network that estimates the blur, a file or a name; by default the shipped one.
        views: number of views of each photo in a step, see `basis_blur.losses.iterate_fusion`.
        view_size: side of the views, pixels.
        others: keyword arguments of `RestorerModel`.

    Raises:
        InputError: the file of `blur` holds another network.
    """

    net: IterateFusion

    def __init__(
        self,
        net: Config | nn.Module,
        blur: str = 'correlation_kpn',
        views: int = 4,
        view_size: int = 160,
        **others: Any,
    ):
        super().__init__(net, **others)
        self.net_blur = load_network(blur, expect=FIELD_NETWORKS).requires_grad_(False)
        self.views = views
        self.view_size = view_size

    def compute(self, inputs: Tensor) -> Tensor:
        stack = self.shown(inputs)
        return clipped_to_range(self.net(stack), stack.split(COLOURS, 1))

    def shown(self, inputs: Tensor) -> Tensor:
        """Return what the network is shown of the photos."""
        with self.full_precision(inputs):
            return iterate_stack(self.net_blur, inputs, self.net.iterations, self.gamma)

    def forward(self, inputs: Tensor, data_samples: Samples | None = None, mode: str = 'tensor') -> Any:
        if mode != 'loss':
            return super().forward(inputs, data_samples, mode)
        sample = _sample_of(inputs, data_samples or {})
        stack, gt = random_views(self.shown(sample.lq), needed(sample.sharp), self.view_size, self.views)
        image = self.net(stack)
        with self.full_precision(inputs):
            return _named(self.losses_of(image, stack, {'gt': gt}))

    @torch.no_grad()
    def predictions(self, inputs: Tensor, samples: Samples) -> list[dict[str, Any]]:
        sample = _sample_of(inputs, samples)
        with self.full_precision(inputs):
            fused, _ = fused_and_alone(self.net, self.net_blur, sample.lq.clamp(0, 1), self.gamma)
        return _with_truth(fused, sample.sharp)


def _named(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the losses under names that mmengine adds up."""
    return {f'loss_{name.removeprefix("l_")}': value for name, value in losses.items()}


def _with_truth(images: Tensor, gt: Tensor | None) -> list[dict[str, Any]]:
    """Return the predictions of photos: each restored one, and the sharp one where there is any."""
    return [
        {'image': images[index : index + 1], **({} if gt is None else {'gt': gt[index : index + 1]})}
        for index in range(len(images))
    ]


def _built(net: Config | nn.Module) -> nn.Module:
    """Return a network or a loss as it is, or build it from its config."""
    return net if isinstance(net, nn.Module) else MODELS.build({'_scope_': SCOPE, **net})


def _loss_if(config: Config | None, kind: type[Loss], name: str, **facts: Any) -> Loss | None:
    return None if config is None else _loss(config, kind, name, **facts)


def _loss(config: Config, kind: type[Loss], name: str, **facts: Any) -> Loss:
    """Build a loss.

    Args:
        config: config of the loss.
        kind: class that it has to be of.
        name: name of the argument, for the message of an error.
        facts: arguments that the stage knows, unless the config has them.

    Raises:
        InputError: it is of another class.
    """
    loss = _built({**facts, **config})
    if not isinstance(loss, kind):
        raise InputError(f'{name} has the type {type(loss).__name__}, expected {kind.__name__}.')
    return loss


def _give_weights(net: nn.Module, path: str, part: str | None = None) -> None:
    """Load a file into a network, or into that part of it that has the keys of another architecture."""
    found = load_network(path, expect=part or type(net).__name__).state_dict()
    give([net], found, f'{path}, for a {type(net).__name__},', whole=part is None, remedy='make both of one size')


def _iteration() -> int:
    """Return the iteration of the running training, counted from 1; mmengine counts from 0."""
    return int(MessageHub.get_current_instance().get_info('iter', 0)) + 1


def _with_true_field(field: BlurField | PixelField, sample: Sample) -> list[dict[str, Any]]:
    """Return the predictions of photos: the estimated blur of each, and the true one where the data set knows it."""
    true_field = sample.true_field
    return [
        {'field': field[index], **({} if true_field is None else {'true_field': true_field[index]})}
        for index in range(len(field))
    ]


def _sample_of(inputs: Tensor, samples: Samples) -> Sample:
    return Sample.of({**samples, 'lq': inputs})
