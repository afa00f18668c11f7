"""Restore blurred photos: a network estimates the blur field, Richardson-Lucy removes it [C21, Eq. 9-14].

    lq --Deblurrer--> field, restored photo

For basicsr/test.py on folders of photos or pairs, BasicSR's SingleImageDataset or PairedImageDataset: `lq`, and `gt`
if there is one, are sRGB-like RGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, tensor2img
from torch import Tensor

from basis_blur.deblurring.deblurrer import Deblurrer, DeblurSettings
from basis_blur.foundation.choices import ESTIMATORS, RESTORATIONS, SIZES
from basis_blur.foundation.numbers import GAMMA
from basis_blur.foundation.options import Option, OptionError, options_of, read_options
from basis_blur.models.network_model import NetworkModel
from basis_blur.models.validation import Validation
from basis_blur.photos.pictures import draw_kernel_grid, write_picture
from basis_blur.weights.checkpoints import load_fusion

RL_OPTIONS = {
    **{key: options_of(DeblurSettings)[key] for key in ('iterations', 'strength', 'tv_weight')},
    'method': Option(
        (str,),
        'rl',
        choices=RESTORATIONS,
        meaning='How blur is removed; "rl-c21" is the restoration as [C21] prints it.',
    ),
}


class NonUniformRLModel(NetworkModel):
    """BasicSR model that restores photos with the blur fields of a network, for a test.

    It does what `basis-blur deblur` does with such a network.

    `val: save_img` writes the restored photo, and the kernels drawn over the blurred one.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **NetworkModel.OPTIONS,
        'train': {},
        'val': {
            **NetworkModel.OPTIONS['val'],
            'gamma': Option((float,), GAMMA, above=0, meaning='Exponent of the photos; 1 for the Koehler set.'),
            'estimate_at': Option((str,), SIZES[0], choices=SIZES, meaning='Size of the photo that the network sees.'),
            'estimator': Option(
                (str,), 'network', choices=ESTIMATORS,
                meaning='What estimates the blur: the network; "shake", the search over the whole photo, which starts '
                'from the network; "rotations", a camera that turned about three axes, which starts from the search; '
                '"auto", what explains each photo, as the command chooses; or "none", which leaves photos as they are.',
            ),
            'rl': Option((dict, NoneType), None, group=RL_OPTIONS, meaning='Settings of the restoration.'),
            'kernels': Option((bool,), False, meaning='Whether the blur field of each photo is written, as npz.'),
            'metrics': Option(
                (dict, NoneType), None, holds='metrics', meaning='Scores of the restored photo against the sharp one.',
            ),
        },
        'path': {
            **NetworkModel.OPTIONS['path'],
            'pretrain_fusion': Option(
                (str, NoneType), None, is_path=True, names=('iterate_fusion',),
                meaning='Weights of an IterateFusion, which fuses the iterates of the restoration; ~ for none.',
            ),
        },
    }  # fmt: skip

    def __init__(self, opt: dict[str, Any]):
        if opt['is_train']:
            raise OptionError('NonUniformRLModel restores photos and does not train; train with BasisBlurModel.')
        super().__init__(opt)
        fusion = load_fusion(self.read_section('path')['pretrain_fusion'], self.device)
        chosen = self.val_options['rl'] or read_options({}, RL_OPTIONS, 'val: rl')
        if fusion is not None and chosen['iterations'] is not None:
            raise OptionError(
                'val: rl: "iterations" means nothing with "path: pretrain_fusion", which says how many it needs.'
            )
        try:
            self.deblurrer = Deblurrer.pretrained(
                self.best_net,
                fusion=fusion or False,
                estimate_at=self.val_options['estimate_at'],
                estimator=self.val_options['estimator'],
                device=self.device,
                gamma=self.val_options['gamma'],
                **chosen,
            )
        except ValueError as error:
            raise OptionError(f'val: rl: {error}') from error
        if opt['path'].get('pretrain_network_g') is None:
            get_root_logger().warning(
                'No weights are named in "path: pretrain_network_g"; the network is untrained and its blur arbitrary.'
            )

    def validate(self, run: Validation) -> list[dict[str, float]]:
        """Restore every photo, write what is wanted, and score those that have a sharp one beside them."""
        scores = []
        for data in run.progress():
            self.name_batch(data)
            photo = data['lq'].to(self.device)
            result = self.deblurrer(photo)
            path = run.picture_path(Path(self.batch_name).stem)
            if run.save_img:
                write_picture(path, tensor2img(result.photo, rgb2bgr=False))
                grid = draw_kernel_grid(photo[0].cpu(), result.field[0].to('cpu'))
                write_picture(path.with_name(f'{path.stem}_kernels.png'), grid)
            if self.val_options['kernels']:
                result.field.save(path.with_suffix('.npz'))
            scores.append(self._score(result.photo, data))
        return scores

    def _score(self, restored: Tensor, data: Mapping[str, Any]) -> dict[str, float]:
        metrics = self.val_options['metrics']
        if not metrics or 'gt' not in data:
            return {}
        pair = {'img': tensor2img(restored), 'img2': tensor2img(data['gt'])}
        return {name: float(calculate_metric(pair, options)) for name, options in metrics.items()}
