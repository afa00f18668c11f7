"""A check of numbers before anything is computed from them: they are a tensor, real, and have values."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from basis_blur.foundation.errors import kind_of


def check_tensor(name: str, values: Any, floating: bool = True) -> None:
    """Raise ValueError unless `values` are a tensor with real values.

    Args:
        name: name of the values, for the message.
        values: object that is checked.
        floating: whether whole numbers, such as those of an 8-bit photo, are refused too.
    """
    if not isinstance(values, Tensor):
        raise ValueError(f'{name} is {kind_of(values)}, expected a tensor; torch.from_numpy makes one of an array.')
    if values.is_complex():
        raise ValueError(f'{name} is {values.dtype}, expected real numbers; take the parts of it one by one.')
    if floating and not values.is_floating_point():
        raise ValueError(f'{name} is {values.dtype}, expected floating point; divide 8-bit values by 255.')
    if values.is_meta:
        raise ValueError(f'{name} is on the device "meta", where tensors have no values; give one with values.')
