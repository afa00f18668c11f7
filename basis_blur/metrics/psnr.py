"""Peak signal-to-noise ratio of photos in [0, 1]:  10 log10(1 / mean squared difference), in dB."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor


def psnr(photo: Tensor, reference: Tensor) -> Tensor:
    """Return how alike photos are, in dB; infinite where they are the same.

    Args:
        photo: (N, C, H, W), in [0, 1].
        reference: (N, C, H, W).

    Returns:
        (N,).

    Raises:
        ValueError: the shapes differ.
    """
    if photo.shape != reference.shape:
        raise ValueError(f'the photo has shape {tuple(photo.shape)} and the reference {tuple(reference.shape)}.')
    return -10 * (photo - reference).square().flatten(1).mean(1).log10()


def mean_score(scores: Sequence[float]) -> float:
    """Return the mean of a score over photos, without those that are equal to their truth to the last bit.

    The PSNR of such a photo, mostly a black one, is infinite, and so would be the mean. A NaN stays: it says that a
    photo has no score. Where all are infinite the mean is.
    """
    finite = [score for score in scores if score != math.inf]
    return sum(finite) / len(finite) if finite else math.inf
