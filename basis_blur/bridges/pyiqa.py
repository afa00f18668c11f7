"""Perceptual scores of photos by pyiqa, an optional package: LPIPS, NIQE and others by their names there.

`niqe_basicsr` is the NIQE of BasicSR, which has its parameters with it.

pyiqa downloads the weights of a metric when it is first used, and keeps them. Metrics are of two modes: those with a
reference (FR), such as LPIPS, compare a restored photo with its ground truth; those without (NR), such as NIQE, look at
the restored photo alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from basis_blur.bridges import torchvision_shim
from basis_blur.foundation.errors import InputError, did_you_mean

HOW_TO_INSTALL = 'install it by  pip install "basis_blur[perceptual]"'  # advice where pyiqa is missing
NIQE_OF_BASICSR = 'niqe_basicsr'  # name of BasicSR's NIQE among the metrics
LEAST_SIDE = 192  # smallest side of a photo, pixels: NIQE takes covariances of windows of 96
OF_WHOLE_SETS = ('fid', 'inception_score')  # metrics that score sets of photos and not a photo, which are refused


class PerceptualMetric:
    """A metric of pyiqa.

    Args:
        name: name of the metric in pyiqa, such as 'lpips' or 'niqe'.
        compute: function of photos (1, 3, H, W) in [0, 1], as many as the mode asks for, that returns one number.
        mode: 'FR', which takes the restored photo and the ground truth, or 'NR', which takes the restored one.
        lower_is_better: whether a good photo has a small score.
    """

    def __init__(self, name: str, compute: Callable[..., Tensor], mode: str, lower_is_better: bool):
        self.name = name
        self.lower_is_better = lower_is_better
        self.needs_reference = mode == 'FR'
        self._compute = compute

    def __call__(self, restored: Tensor, reference: Tensor) -> float:
        """Score a restored photo.

        Args:
            restored: (3 or 1, H, W) or with N = 1; sRGB-like in [0, 1].
            reference: photo of the same size; not looked at by metrics without reference.

        Raises:
            InputError: the score is not finite, such as NIQE of a flat or a very small photo.
        """
        photos = [_colour(each) for each in ((restored, reference) if self.needs_reference else (restored,))]
        score = float(torch.as_tensor(self._compute(*photos)).reshape(()))
        if not math.isfinite(score):
            raise InputError(f'{self.name} of the photo is {score}, expected a number; leave {self.name} out.')
        return score


def perceptual_metrics(names: Sequence[str], device: str = 'cpu') -> list[PerceptualMetric]:
    """Return metrics of pyiqa by their names.

    Args:
        names: names of metrics in pyiqa, such as ['lpips', 'niqe'].
        device: device on which they compute.

    Raises:
        InputError: pyiqa is not installed, a name is given twice or not known to it, a metric is of whole sets, or its
            weights cannot be downloaded.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise InputError(f'the perceptual metric {twice[0]} is asked for twice; name each once.')
    found = _of_pyiqa([name for name in names if name != NIQE_OF_BASICSR], device)
    return [_niqe_of_basicsr() if name == NIQE_OF_BASICSR else found[name] for name in names]


def _niqe_of_basicsr() -> PerceptualMetric:
    """Return BasicSR's NIQE, of which the parameters lie beside it."""
    from basis_blur.bridges.basicsr import presence

    presence.check()
    torchvision_shim.install()
    from basicsr.metrics.niqe import calculate_niqe

    def compute(photo: Tensor) -> Tensor:
        if min(photo.shape[-2:]) < LEAST_SIDE:
            return torch.tensor(math.nan)
        levels = (photo[0].flip(0).movedim(0, -1) * 255).round().numpy()  # blue first
        with warnings.catch_warnings(), np.errstate(all='ignore'):
            warnings.simplefilter('ignore')
            return torch.tensor(float(calculate_niqe(levels, crop_border=0)))

    return PerceptualMetric(NIQE_OF_BASICSR, compute, 'NR', True)


def _of_pyiqa(names: Sequence[str], device: str) -> dict[str, PerceptualMetric]:
    """Return metrics of pyiqa by their names."""
    if not names:
        return {}
    torchvision_shim.install()  # pyiqa imports torchvision
    try:
        import pyiqa
    except ImportError as error:
        raise InputError(
            f'{", ".join(names)}: needs pyiqa, which cannot be loaded ({error}); {HOW_TO_INSTALL}.'
        ) from error
    known = pyiqa.list_models()
    metrics = {}
    for name in names:
        if name not in known:
            raise InputError(f'pyiqa has no metric "{name}".{did_you_mean(name, known)} It has {len(known)} metrics.')
        if name in OF_WHOLE_SETS:
            raise InputError(f'{name} is a metric of whole sets of photos, expected one of a photo; choose another.')
        try:
            metric = pyiqa.create_metric(name, device=torch.device(device))
        except OSError as error:
            raise InputError(
                f'the weights of {name} cannot be read or downloaded ({error}); go online once, they are kept then, or '
                'choose a metric without weights, such as gmsd.'
            ) from error
        metrics[name] = PerceptualMetric(name, metric, metric.metric_mode, bool(metric.lower_better))
    return metrics


def _colour(photo: Tensor) -> Tensor:
    """Return a photo as (1, 3, H, W) float32 within [0, 1], beyond which pyiqa refuses photos."""
    photo = photo if photo.ndim == 4 else photo[None]
    return photo.detach().float().clamp(0, 1).expand(1, 3, -1, -1).contiguous()
