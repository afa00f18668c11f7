"""Train and validate a network that restores photos from pairs, with or without kernels [F23, stage III].

    lq --network_g--> image (and kernels K);     L = pixel(image, gt) + reblur: | image (*) K - lq |

The network is any of BasicSR's registry that maps a photo to a photo. If it returns several scales (MIMO-UNet, MPRNet),
they are compared scale by scale, and the first is the restored photo.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, ClassVar

from basicsr.losses import build_loss
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from torch import Tensor, nn

from basis_blur.deblurring.restoring import restore
from basis_blur.foundation.options import Option, OptionError
from basis_blur.losses.consistency_loss import ConsistencyLoss
from basis_blur.losses.restoration_objective import restoration_losses
from basis_blur.metrics.psnr import psnr
from basis_blur.models.batch import gamma_of, sample_of
from basis_blur.models.losses import build_loss_of
from basis_blur.models.network_model import NetworkModel
from basis_blur.models.validation import Validation
from basis_blur.photos.pictures import draw_side_by_side


class RestorerModel(NetworkModel):
    """BasicSR model for networks that map a blurred photo to a sharp one.

    A training has at least one of the two losses.

    Data: pairs (BasicSR's PairedImageDataset, folders or LMDB), SyntheticBlurDataset or GuessedPhotoDataset. Scores of
    a validation: psnr in dB and blurred_psnr to compare with, means over the photos; and the `metrics`.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **NetworkModel.OPTIONS,
        'train': {
            **NetworkModel.OPTIONS['train'],
            'pixel_opt': Option(
                (dict, NoneType), None, holds='loss', meaning='Loss of the restored against the sharp photo.',
            ),
            'reblur_opt': Option(
                (dict, NoneType), None, holds='loss',
                meaning="ConsistencyLoss: the restored photo, blurred by the network's own kernels, against the photo.",
            ),
        },
        'val': {
            **NetworkModel.OPTIONS['val'],
            'tile': Option(
                (int, NoneType), None, meaning='Side of the tiles of a restoration, pixels; ~ for the whole photo.',
            ),
            'metrics': Option(
                (dict, NoneType), None, holds='metrics', meaning='Scores of the restored photo against the sharp one.',
            ),
        },
    }  # fmt: skip

    has_other_losses = False  # whether a stage has a loss of its own, beside which both may be left out
    trust: Tensor | None = None  # how far each pixel of the batch's sharp photos is trusted; None is wholly

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        if self.is_train:
            pixel, reblur = self.train_options['pixel_opt'], self.train_options['reblur_opt']
            if pixel is None and reblur is None and not self.has_other_losses:
                raise OptionError('train has neither "pixel_opt" nor "reblur_opt"; give at least one loss.')
            self.pixel: nn.Module | None = None if pixel is None else build_loss(pixel).to(self.device)
            self.reblur: ConsistencyLoss | None = None
            if reblur is not None:
                self.reblur = build_loss_of(ConsistencyLoss, reblur, 'reblur_opt').to(self.device)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch of pairs, or of the ingredients of scenes, which are then blurred here."""
        self.name_batch(data)
        sample = sample_of(data, self.device, gamma_of(self.opt['datasets']['train']))
        self.lq, self.gt, self.trust = sample.lq, sample.sharp, sample.trust

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one training step on the batch.

        Raises:
            InputError: a loss or the gradient is not finite.
        """
        with self.autocast():
            result = self.net_g(self.lq)
        self.descend(self.losses_of(result, self.lq, self.gt), current_iter)

    def losses_of(self, result: Any, lq: Tensor, gt: Tensor | None) -> dict[str, Tensor]:
        """Return the losses of the result of the network for `lq`, by name."""
        if self.reblur is not None and getattr(result, 'pixel_kernels', None) is None:
            raise OptionError(
                f'train: reblur_opt needs kernels, but {type(self.get_bare_model(self.net_g)).__name__} returns '
                'none; remove it, or train with BlurToDeblurModel, which takes them from a second network.'
            )
        return restoration_losses(result, lq, gt, self.pixel, self.reblur, self.trust)

    def validate(self, run: Validation) -> list[dict[str, float]]:
        """Restore every photo, score it if there is a sharp one, and draw it beside the blurred one."""
        scores = []
        for index, data in enumerate(run.progress()):
            self.name_batch(data)
            sample = sample_of(data, self.device, run.gamma)
            images = self.restored(sample.lq, run.gamma)
            scores.append(self._score(images, sample.lq, sample.sharp))
            if run.wants_picture(index):
                picture = draw_side_by_side({'blurred': sample.lq.cpu(), 'restored': images[''].cpu()})
                run.show(index, self.batch_name, picture)
        return scores

    def restored(self, lq: Tensor, gamma: float) -> dict[str, Tensor]:
        """Return the restored photos of a validation under '', and others to compare with, by what names their PSNR.

        Args:
            lq: (N, C, H, W); sRGB-like.
            gamma: exponent of the photos.
        """
        with self.autocast():
            return {'': restore(self.best_net, lq, self.val_options.get('tile'))}

    def _score(self, images: Mapping[str, Tensor], lq: Tensor, gt: Tensor | None) -> dict[str, float]:
        if gt is None:
            return {}
        shown = {**images, 'blurred_': lq}
        scores = {f'{name}psnr': psnr(image, gt).item() for name, image in shown.items()}
        pair = {'img': tensor2img(images['']), 'img2': tensor2img(gt)}
        for name, options in (self.val_options.get('metrics') or {}).items():
            scores[name] = float(calculate_metric(pair, dict(options)))
        return scores
