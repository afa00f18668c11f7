"""Where windows of a large photo lie."""

import torch

from basis_blur.ops.windows import fullest_window


def test_the_fullest_window_holds_what_no_other_does():
    amounts = torch.zeros(9, 12)
    amounts[2, 3] = amounts[4, 8] = 2.0
    amounts[5, 9] = 1.0
    top, left = fullest_window(amounts, 3, 4)
    assert amounts[top : top + 3, left : left + 4].sum() == 3.0
    assert fullest_window(amounts, 9, 12) == (0, 0)
