"""Restore blurred photos: a network estimates the blur field, Richardson-Lucy removes it [C21, Eq. 9-14].

    lq --estimate_blur--> field;    deblur(lq, field) --> restored photo

For basicsr/test.py on folders of photos or pairs, BasicSR's SingleImageDataset or PairedImageDataset: `lq`, and `gt`
if there is one, are sRGB-like RGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, tensor2img
from torch import Tensor

from basis_blur.estimation.by_network import estimate_blur
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.options import Option, OptionError, options_of, read_options
from basis_blur.models.network_model import NetworkModel
from basis_blur.ops.camera_response import GAMMA
from basis_blur.photos.pictures import draw_kernel_grid, write_picture
from basis_blur.restoration import as_printed
from basis_blur.restoration.deblur import deblur
from basis_blur.restoration.settings import step_towards
from basis_blur.weights.checkpoints import load_fusion

RL_OPTIONS = {
    **{key: options_of(deblur)[key] for key in ('iterations', 'strength', 'tv_weight')},
    'method': Option((str,), 'rl', choices=('rl', as_printed.METHOD)),
}


class NonUniformRLModel(NetworkModel):
    """BasicSR model that tests a network for blur fields by the photos restored with it.

    Options in `val`: `gamma` of the photos, 1 for the Koehler set; `rl`, settings of `deblur`, which has its own
    defaults, and with `method: rl-c21` of the restoration as [C21] prints it; `metrics`, BasicSR's, between the
    restored photo and `gt`; `save_img` writes the restored photo and the kernel grid drawn over the blurred one;
    `kernels` writes the field as npz; `suffix` of the files' names, else the name of the test. In `path`:
    `pretrain_fusion`, weights of an IterateFusion, a file or "iterate_fusion", which `deblur` is to use.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **NetworkModel.OPTIONS,
        'train': {},
        'val': {
            **NetworkModel.OPTIONS['val'],
            'gamma': Option((float,), GAMMA),
            'rl': Option((dict, NoneType), None),
            'kernels': Option((bool,), False),
            'metrics': Option((dict, NoneType), None),
        },
        'path': {
            **NetworkModel.OPTIONS['path'],
            'pretrain_fusion': Option((str, NoneType), None, is_path=True, names=('iterate_fusion',)),
        },
    }

    VAL_GROUPS: ClassVar[dict[str, dict[str, Option]]] = {'rl': RL_OPTIONS}  # groups in `val`, and what they may hold

    def __init__(self, opt: dict[str, Any]):
        if opt['is_train']:
            raise OptionError('NonUniformRLModel restores photos and does not train; train with BasisBlurModel.')
        super().__init__(opt)
        self.solver = read_options(self.val_options['rl'] or {}, RL_OPTIONS, 'val: rl')
        self.method = self.solver.pop('method')
        self.fusion = load_fusion(self.read_section('path')['pretrain_fusion'], self.device)
        if self.fusion is not None and self.solver['iterations'] is not None:
            raise OptionError(
                'val: rl: "iterations" means nothing with "path: pretrain_fusion", which says how many it needs.'
            )
        if self.fusion is not None and self.method == as_printed.METHOD:
            raise OptionError(f'val: rl: the method "{self.method}" makes no use of "path: pretrain_fusion".')
        if opt['path'].get('pretrain_network_g') is None:
            get_root_logger().warning(
                'No weights are named in "path: pretrain_network_g"; the network is untrained and its blur arbitrary.'
            )

    def validate(
        self, samples: Iterable[dict], dataset: Any, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> list[dict[str, float]]:
        """Restore every photo, write what is wanted, and score those that have a sharp one beside them."""
        scores = []
        for data in self.progress(samples, len(dataset)):
            self.name_batch(data)
            photo = data['lq'].to(self.device)
            field, restored = self.restore(photo)
            path = self.picture_path(Path(self.batch_name).stem, dataset.opt['name'], current_iter)
            if save_img:
                write_picture(path, tensor2img(restored, rgb2bgr=False))
                grid = draw_kernel_grid(photo[0].cpu(), field[0].to('cpu'))
                write_picture(path.with_name(f'{path.stem}_kernels.png'), grid)
            if self.val_options['kernels']:
                field.save(path.with_suffix('.npz'))
            scores.append(self._score(restored, data))
        return scores

    def restore(self, photo: Tensor) -> tuple[BlurField, Tensor]:
        """Return the estimated field and the restored photo.

        Args:
            photo: (N, 3, H, W); sRGB-like in [0, 1].
        """
        gamma = self.val_options['gamma']
        with torch.no_grad():
            field = estimate_blur(self.best_net, photo, gamma)
            if self.method == as_printed.METHOD:
                return field, self._as_printed(photo, field, gamma)
            return field, deblur(photo, field, gamma, **self.solver, fusion=self.fusion)

    def _as_printed(self, photo: Tensor, field: BlurField, gamma: float) -> Tensor:
        usual = as_printed.REMOVAL
        iterations, strength = self.solver['iterations'], self.solver['strength']
        restored = as_printed.deblur_as_printed(
            photo,
            field,
            (usual.iterations if iterations is None else iterations,),
            gamma,
            tv_weight=self.solver['tv_weight'],
        )
        return step_towards(restored, photo, usual.strength if strength is None else strength)

    def _score(self, restored: Tensor, data: Mapping[str, Any]) -> dict[str, float]:
        metrics = self.val_options['metrics']
        if not metrics or 'gt' not in data:
            return {}
        pair = {'img': tensor2img(restored), 'img2': tensor2img(data['gt'])}
        return {name: float(calculate_metric(pair, options)) for name, options in metrics.items()}
