"""Scores for mmengine's evaluators: means over the photos of what the models predict.

PhotoPSNR         psnr, blurred_psnr        'image' and the blurred photo against 'gt', in dB
PhotoSSIM         ssim, blurred_ssim        the same by structural similarity
ReblurPSNR        reblur_psnr               the sharp photo, blurred with 'field', against the blurred one, in dB
KernelErrors      kernel_l1, ...            'field' against 'true_field', see `metrics.kernel`
BitsPerDimension  bits_per_dim              of a KernelFlow
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from torch import Tensor

from basis_blur.foundation.numbers import GAMMA
from basis_blur.metrics.aligned import realblur_score
from basis_blur.metrics.kernel import field_errors
from basis_blur.metrics.psnr import mean_score, psnr
from basis_blur.metrics.reblur import reblur_psnr
from basis_blur.registry import METRICS

SSIM_SIDE, SSIM_SIGMA = 11, 1.5  # the window of Wang et al. 2004
SSIM_CONSTANTS = (0.01**2, 0.03**2)  # numbers that are added to the means and variances, for values in [0, 1]


class MeanMetric(BaseMetric):
    """Scores each photo alone and averages over all of them."""

    default_prefix = 'blur'

    @abstractmethod
    def score(self, prediction: Mapping[str, Any]) -> Mapping[str, Tensor | float]:
        """Return the scores of one photo, each one number."""

    @torch.no_grad()
    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep the scores of a batch of predictions."""
        for prediction in data_samples:
            self.results.append({key: float(value) for key, value in self.score(prediction).items()})

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """Return the means, each without the photos that it is infinite for."""
        return {key: mean_score([each[key] for each in results]) for key in results[0]} if results else {}


@METRICS.register_module()
class PhotoPSNR(MeanMetric):
    """PSNR of the restored photo, and of the blurred one to compare with."""

    def score(self, prediction: Mapping[str, Any]) -> Mapping[str, Tensor | float]:
        return {
            'psnr': psnr(prediction['image'], prediction['gt']),
            'blurred_psnr': psnr(prediction['lq'], prediction['gt']),
        }


@METRICS.register_module()
class PhotoSSIM(MeanMetric):
    """SSIM of the restored photo, and of the blurred one to compare with."""

    def score(self, prediction: Mapping[str, Any]) -> Mapping[str, Tensor | float]:
        return {
            'ssim': ssim(prediction['image'], prediction['gt']),
            'blurred_ssim': ssim(prediction['lq'], prediction['gt']),
        }


@METRICS.register_module()
class RealBlurScore(MeanMetric):
    """PSNR and SSIM of the restored photo by the protocol of RealBlur, which aligns it with the sharp one first.

    Raises:
        InputError: a photo cannot be aligned.
    """

    default_prefix = 'realblur'

    def score(self, prediction: Mapping[str, Any]) -> Mapping[str, Tensor | float]:
        found = realblur_score(prediction['image'].float().cpu(), prediction['gt'].float().cpu())
        return {'psnr': found.psnr, 'ssim': found.ssim}


@METRICS.register_module()
class ReblurPSNR(MeanMetric):
    """PSNR of the sharp photo, blurred with the estimate, against the blurred one.

    Args:
        gamma: exponent of the photos, with a BlurField.
        pixel_gamma: gamma of the PixelReblurLoss by which a PixelField was trained.
        others: keyword arguments of `BaseMetric`.
    """

    def __init__(self, gamma: float = GAMMA, pixel_gamma: float = 1.0, **others: Any):
        super().__init__(**others)
        self.gamma = gamma
        self.pixel_gamma = pixel_gamma

    def score(self, prediction: Mapping[str, Any]) -> Mapping[str, Tensor | float]:
        field, gt, lq = (prediction[key] for key in ('field', 'gt', 'lq'))
        return {'reblur_psnr': reblur_psnr(field, gt, lq, self.gamma, self.pixel_gamma)}


@METRICS.register_module()
class KernelErrors(MeanMetric):
    """The kernels of the estimate against the true ones, at a grid of pixels."""

    def score(self, prediction: Mapping[str, Any]) -> Mapping[str, Tensor | float]:
        return field_errors(prediction['field'], prediction['true_field'])


@METRICS.register_module()
class BitsPerDimension(MeanMetric):
    """The bits per pixel that a KernelFlow needs to write a kernel down."""

    def score(self, prediction: Mapping[str, Any]) -> Mapping[str, Tensor | float]:
        return {'bits_per_dim': prediction['bits_per_dim']}


def ssim(photo: Tensor, reference: Tensor) -> Tensor:
    """Return the structural similarity of photos, averaged over channels and the pixels whose window is inside (N,).

    SSIM = (2 m m' + a) (2 c + b) / ((m^2 + m'^2 + a) (v + v' + b))   [Wang et al. 2004, Eq. 13]

    m, v, c: mean, variance and covariance under a Gaussian window of 11 x 11 pixels, sigma 1.5; a = 0.01^2, b = 0.03^2.

    Args:
        photo: (N, C, H, W), in [0, 1]; at least 11 pixels a side.
        reference: (N, C, H, W).

    Raises:
        ValueError: the shapes differ, or the photos are smaller than the window.
    """
    if photo.shape != reference.shape or min(photo.shape[-2:]) < SSIM_SIDE:
        raise ValueError(
            f'the photos have shapes {tuple(photo.shape)} and {tuple(reference.shape)}; expected equal ones, of at '
            f'least {SSIM_SIDE} pixels a side.'
        )
    places = torch.arange(SSIM_SIDE, dtype=torch.float64, device=photo.device) - SSIM_SIDE // 2
    line = torch.exp(-places.square() / (2 * SSIM_SIGMA**2))
    line = line / line.sum()

    def mean(values: Tensor) -> Tensor:
        rows = F.conv2d(values.flatten(0, 1)[:, None], line.view(1, 1, -1, 1))
        return F.conv2d(rows, line.view(1, 1, 1, -1)).view(
            *values.shape[:2], *(n - SSIM_SIDE + 1 for n in values.shape[2:])
        )

    x, y = photo.double(), reference.double()
    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    a, b = SSIM_CONSTANTS
    similarity = (2 * mean_x * mean_y + a) * (2 * covariance + b)
    similarity = similarity / ((mean_x**2 + mean_y**2 + a) * (var_x + var_y + b))
    return similarity.flatten(1).mean(1)
