"""From light to the numbers in a photo and back: gamma, and the sensor's saturation.

    light = srgb ** gamma                                       gamma 2.2 unless told; 1 for linear photos
    R(x) = x - log(1 + exp(a (x - 1))) / a,     a = 50          [W14, Eq. 9], [C21, Eq. 4]

No other module changes the colour space.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.field.tensors import check_tensor
from basis_blur.foundation.numbers import GAMMA, check_number

SHARPNESS = 50.0  # a, in 1/light
DARKEST = 1 / 255  # value below which `photo_of` is a straight line: one step of an 8-bit photo


def to_linear(srgb: Tensor, gamma: float = GAMMA) -> Tensor:
    """Return linear light, srgb ** gamma.

    Args:
        srgb: any shape; values of a photo, where 1 is white; negative ones become 0.
        gamma: exponent of the photo; 1 leaves it as it is.

    Raises:
        ValueError: `gamma` is not positive and finite.

    Example:
        >>> bb.to_linear(torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.0000, 0.2176, 1.0000])
    """
    check_tensor('the photo', srgb)
    _check_gamma(gamma)
    srgb = srgb.clamp_min(0)
    return srgb if gamma == 1 else srgb**gamma


def to_srgb(light: Tensor, gamma: float = GAMMA, floor: float = 0.0) -> Tensor:
    """Return the photo of linear light, light ** (1 / gamma).

    For gamma > 1 the slope is infinite at 0, so a loss that is differentiated through this sets a `floor`.

    Args:
        light: any shape; linear light. Values below `floor` become `floor`.
        gamma: exponent of the photo; 1 leaves it as it is.
        floor: least light, >= 0; what is raised to it passes no gradient.

    Raises:
        ValueError: `gamma` is not positive, or the values are no real floating point.

    Example:
        >>> bb.to_srgb(torch.tensor([0.0, 0.25, 1.0]), gamma=2)
        tensor([0.0000, 0.5000, 1.0000])
    """
    check_tensor('light', light)
    _check_gamma(gamma)
    light = light.clamp_min(floor)
    return light if gamma == 1 else light ** (1 / gamma)


def photo_of(light: Tensor, gamma: float) -> Tensor:
    """Return g(light): light ** (1 / gamma), but a straight line to 0 below the light of one 8-bit step.

    Args:
        light: any shape; linear light. Slightly negative light, from rounding, lies on the line too.
        gamma: exponent of the photo, >= 1.
    """
    if gamma == 1:
        return light
    darkest = DARKEST**gamma
    # The power sees no light below `darkest`, or its infinite slope would turn into NaN in the unused branch.
    return torch.where(light > darkest, to_srgb(light, gamma, floor=darkest), light * (DARKEST / darkest))


def camera_response(light: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """Return R(x), light that saturates the way a sensor does, with a smooth knee at 1.

    At no light it is slightly below 0, by log(1 + exp(-a)) / a, about 1e-23.

    Args:
        light: any shape; linear light, where 1 is full well.
        sharpness: a, in 1/light; larger makes a harder knee.

    Raises:
        ValueError: `sharpness` is not positive, or the values are no real floating point.

    Example:
        >>> bb.camera_response(torch.tensor([0.5, 1.0, 2.0]))
        tensor([0.5000, 0.9861, 1.0000])
    """
    check_tensor('light', light)
    _check_sharpness(sharpness)
    return light - F.softplus(sharpness * (light - 1), threshold=40) / sharpness


def camera_response_derivative(light: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """Return R'(x) = 1 / (1 + exp(a (x - 1))), from 1 in the dark to 0 in saturation.

    Args:
        light: any shape; linear light, where 1 is full well.
        sharpness: a, in 1/light.

    Raises:
        ValueError: `sharpness` is not positive, or the values are no real floating point.
    """
    check_tensor('light', light)
    _check_sharpness(sharpness)
    return torch.sigmoid(sharpness * (1 - light))


def _check_gamma(gamma: float) -> None:
    check_number('gamma', gamma, above=0, remedy='photos have 2.2, linear data 1.')


def _check_sharpness(sharpness: float) -> None:
    check_number('sharpness', sharpness, above=0, remedy=f'the default is {SHARPNESS:g}.')
