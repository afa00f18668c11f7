"""What rounding may do to a result: the one place where tests take their tolerances from.

A tolerance is derived, not tried out: it has to hold with other instruction sets, thread counts and seeds, where sums
are taken in another order. So it follows from the precision of the numbers and from how much the computation enlarges
a relative error of its inputs, and leaves a factor of `SLACK` for the length of sums.
"""

import torch

SLACK = 128


def rounding(dtype: torch.dtype = torch.float64, conditioning: float = 1.0) -> float:
    """Return the relative error that rounding may cause.

    Args:
        dtype: of the numbers that are computed with.
        conditioning: relative error of the result over that of the inputs, such as |a| / |a - b| for a difference.
    """
    return SLACK * torch.finfo(dtype).eps * conditioning


def difference_step(dtype: torch.dtype = torch.float64, smooth: bool = True) -> float:
    """Return the step of a central difference, relative to the size of what is varied.

    Args:
        smooth: whether the function has a third derivative; then the step balances its error, step^2, against that of
            rounding, eps / step. Where the function has kinks (clips, signs, maxima), the step is smaller, so that
            hardly any of them lies within it.
    """
    eps = torch.finfo(dtype).eps
    return eps ** (1 / 3) if smooth else eps**0.5
