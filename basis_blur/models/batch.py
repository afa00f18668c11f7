"""Functions that read a batch: the gamma of its photos, and its sample on the device, with blurred photos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.losses.sample import Sample


def gamma_of(dataset_options: Mapping[str, Any]) -> float:
    """Return the gamma of the photos of a data set, one of its options."""
    return float(dataset_options.get('gamma', GAMMA))


def sample_of(data: Mapping[str, Any], device: torch.device, gamma: float) -> Sample:
    """Return the sample of a batch; scenes that the data set did not blur itself are blurred here.

    Args:
        data: a batch of any data set of photos.
        device: device to which the sample is moved.
        gamma: exponent of the photos, for scenes that are blurred here.

    Raises:
        InputError: the batch has no blurred photos.
    """
    tensors = {key: value.to(device, non_blocking=True) for key, value in data.items() if isinstance(value, Tensor)}
    if not tensors.keys() & {'lq', 'sharp'}:
        raise InputError(
            f'the data set returns {", ".join(tensors)}, expected blurred photos, "lq"; use PairedImageDataset, '
            'SyntheticBlurDataset or GuessedPhotoDataset.'
        )
    return Sample.of(tensors, gamma)
