"""Restoring networks that spandrel knows, an optional package: Restormer, Uformer, FFTformer and others, by their keys.

spandrel tells the architecture of a state dict by its keys, and builds it; the package spandrel_extra_arches adds those
whose licences restrict their use, Restormer among them. Only networks that map a colour photo to one of the same size
are taken. Files are read by `basis_blur.weights.weight_files`, so pickled code is never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs.network_facts import PHOTO, RESTORER, NetworkFacts
from basis_blur.bridges import torchvision_shim
from basis_blur.foundation.errors import InputError
from basis_blur.weights.weight_files import first_line, read_weights

HOW_TO_INSTALL = 'pip install "basis_blur[spandrel]"'  # advice where spandrel is missing


class SpandrelRestorer(nn.Module):
    """A network of spandrel as a restorer of photos.

    Args:
        described: spandrel's description of the network: `model`, `architecture`, `size_requirements`, and the call.
    """

    def __init__(self, described: Any):
        super().__init__()
        self.net = described.model
        self._described = described
        self.facts = NetworkFacts(RESTORER, PHOTO, PHOTO)

    def forward(self, photo: Tensor) -> Tensor:
        """Return the restored image, (N, 3, H, W); sRGB in [0, 1].

        Args:
            photo: (N, 3, H, W); sRGB in [0, 1]; sides that do not suit the network are continued by reflection.
        """
        height, width = photo.shape[-2:]
        right, down = self._described.size_requirements.get_padding(width, height)
        mode = 'reflect' if down < height and right < width else 'replicate'
        return self._described(F.pad(photo, (0, right, 0, down), mode=mode))[..., :height, :width]


def load_restorer(path: Path, device: torch.device | str, reason: InputError) -> SpandrelRestorer:
    """Return the network of a file that is in no layout of ours, in evaluation mode.

    Args:
        path: a file of weights.
        device: device to which the network goes.
        reason: error that is raised if spandrel is of no help.

    Raises:
        InputError: spandrel is not installed, does not know the network, or it is none that restores photos.
        OSError: the file cannot be read.
    """
    torchvision_shim.install()  # spandrel imports torchvision
    try:
        import spandrel
    except ImportError as error:
        raise InputError(f'{reason} spandrel knows more networks; install it by  {HOW_TO_INSTALL}') from error
    registry = spandrel.MAIN_REGISTRY
    try:
        import spandrel_extra_arches

        spandrel_extra_arches.install(ignore_duplicates=True)
    except ImportError:
        pass  # it is a package of its own, which many do without
    try:
        described = spandrel.ModelLoader(device=torch.device(device), registry=registry).load_from_state_dict(
            read_weights(path).state
        )
    except spandrel.UnsupportedModelError as error:
        raise InputError(f'{reason} spandrel does not know it either.') from error
    except (RuntimeError, KeyError, ValueError) as error:
        raise InputError(f'{path} does not fit the network that spandrel takes it for: {first_line(error)}') from error
    name = described.architecture.name
    if (described.input_channels, described.output_channels, described.scale) != (3, 3, 1):
        raise InputError(
            f'{path} holds {name}, which makes {described.output_channels} channels of {described.input_channels} at '
            f'{described.scale} times the size; expected a network that restores a colour photo at its own size.'
        )
    return SpandrelRestorer(described).to(device).eval()
