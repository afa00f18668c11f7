"""What the stages share in reading a batch: the gamma of its photos, and its tensors on the device, blurred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from basis_blur.ops.camera_response import GAMMA
from basis_blur.simulation.scene_blur import blur_scene


def gamma_of(dataset_options: Mapping[str, Any]) -> float:
    """Return the gamma of the photos of a data set, an option of it."""
    return float(dataset_options.get('gamma', GAMMA))


def tensors_of(data: Mapping[str, Any], device: torch.device, gamma: float) -> dict[str, Tensor]:
    """Return the tensors of a batch; scenes that the data set has left to be blurred are blurred here.

    Args:
        data: a batch of any data set.
        device: where they shall be.
        gamma: of the photos, for scenes that are blurred here.
    """
    tensors = {key: value.to(device, non_blocking=True) for key, value in data.items() if isinstance(value, Tensor)}
    return blur_scene(tensors, gamma) if 'sharp' in tensors else tensors
