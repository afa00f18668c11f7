"""A check of numbers that a person has chosen: finite, within their range, and whole where that is meant."""

from __future__ import annotations

import math
import operator
from typing import Any

from basis_blur.foundation.errors import kind_of

GAMMA = 2.2  # exponent of photos, light = photo ** gamma, unless another is given
LONGEST = 60  # largest number of characters of a value that is written out


def check_number(
    name: str,
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
    above: float | None = None,
    below: float | None = None,
    whole: bool = False,
    remedy: str = '',
) -> None:
    """Raise ValueError unless a value is a finite number within a range.

    Args:
        name: name of the value, for the message.
        value: number of Python or numpy, or a tensor with one element; True, False and texts are refused.
        least, most: bounds that belong to the range.
        above, below: bounds that do not belong to it.
        whole: whether only whole numbers of a whole type are accepted: 3, and neither 2.5 nor 3.0.
        remedy: advice for the message, such as 'the default is 30.'
    """
    number = _number_of(value, whole)
    if (
        number is not None
        and least <= number <= most
        and (above is None or number > above)
        and (below is None or number < below)
    ):
        return
    bounds = ((above, '>'), (least if least > -math.inf else None, '>='), (below, '<'))
    limits = [f'{sign} {bound:g}' for bound, sign in (*bounds, (most if most < math.inf else None, '<='))
              if bound is not None]  # fmt: skip
    kind = 'a whole number' if whole else 'a finite number'
    number_alone = number is not None and not whole
    expected = ' and '.join(limits) if number_alone and limits else ' '.join([kind, ' and '.join(limits)]).strip()
    written = repr(value)
    found = written if len(written) <= LONGEST else kind_of(value)  # such as a whole network
    raise ValueError(f'{name} is {found}, expected {expected}{f"; {remedy}" if remedy else "."}')


def _number_of(value: Any, whole: bool) -> float | None:
    if isinstance(value, (bool, str, bytes)):
        return None
    try:
        number = operator.index(value) if whole else float(value)
        return number if math.isfinite(number) else None
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last of a tensor of several elements
        return None
