"""Train and validate a UFPNet: a restorer that looks at kernels, which a part of it estimates [F23, stage III]."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any, ClassVar

from basicsr.utils import get_root_logger
from torch import nn

from basis_blur.archs.network_facts import hyper_parameters_of
from basis_blur.foundation.options import Option, OptionError
from basis_blur.models.restorer_model import RestorerModel
from basis_blur.weights.checkpoints import load_network
from basis_blur.weights.fitting import give


class UFPNetModel(RestorerModel):
    """BasicSR model for a UFPNet.

    With `freeze_estimator` the kernels are not trained further. Together with a restorer that still changes little,
    they would become points, with which the unchanged photo satisfies the reblur loss.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **RestorerModel.OPTIONS,
        'train': {
            **RestorerModel.OPTIONS['train'],
            'freeze_estimator': Option((bool,), False, meaning='Whether the kernels stay as stage II found them.'),
        },
        'path': {
            **RestorerModel.OPTIONS['path'],
            'pretrain_estimator': Option(
                (str, NoneType), None, is_path=True, names=('latent_kernel_net',),
                meaning='Weights of the LatentKernelNet that a new UFPNet begins with.',
            ),
        },
    }  # fmt: skip

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        if not self.is_train:
            return
        estimator = self.read_section('path')['pretrain_estimator']
        # A resumed run, and one that begins with a whole network, has an estimator of its own.
        if estimator is not None and opt['path'].get('pretrain_network_g') is None:
            _begin_with(self.nets, estimator)

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network to the device, without gradients for what stays as it is, and wrap it if distributed."""
        if self.is_train and self.train_options['freeze_estimator']:
            if getattr(net, 'latent_kernels', None) is None:
                raise OptionError(f'train: freeze_estimator is true, but {type(net).__name__} estimates no kernels.')
            net.get_submodule('latent_kernels').requires_grad_(False)
        return super().model_to_device(net)


def _begin_with(nets: Sequence[nn.Module], path: str) -> None:
    """Give the kernel estimators and flows of equal networks the weights of a trained LatentKernelNet."""
    own = hyper_parameters_of(nets[0])
    estimator = load_network(path, expect='LatentKernelNet')
    stride = estimator.hyper_parameters['stride']
    if stride != own['estimator_stride']:
        raise OptionError(
            f'path: pretrain_estimator: {path} was trained with stride {stride}, but network_g has '
            f'estimator_stride {own["estimator_stride"]}; make them agree.'
        )
    where = f'path: pretrain_estimator: the LatentKernelNet in {path}'
    give(nets, estimator.state_dict(), where, whole=False, error=OptionError)
    get_root_logger().info(f'{type(nets[0]).__name__} estimates kernels with the weights of {path}.')
