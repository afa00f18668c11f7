"""KernelDivergenceLoss is the Kullback-Leibler divergence between the kernels of a grid of pixels."""

import math

import pytest
import torch

from basis_blur.field.blur_field import BlurField
from basis_blur.losses import KernelDivergenceLoss


def field_of(*kernels, size=(8, 12)):
    """A photo whose pixels all have the first kernel; the others are there, but mixed in nowhere."""
    mixing = torch.zeros(1, len(kernels), *size)
    mixing[:, 0] = 1
    return BlurField(torch.stack(kernels)[None], mixing)


def row(*values):
    kernel = torch.zeros(3, 3)
    kernel[1] = torch.tensor(values)
    return kernel


def test_value_is_that_of_the_formula_and_0_at_the_truth():
    true = field_of(row(0.5, 0.5, 0.0), row(0.0, 1.0, 0.0))
    loss = KernelDivergenceLoss(spacing=4)
    assert loss(true, true).item() == pytest.approx(0, abs=1e-12)
    found = loss(field_of(row(0.25, 0.25, 0.5)), true).item()
    assert found == pytest.approx(math.log(2))


def test_slope_by_logits_is_the_difference_of_the_kernels_even_where_they_do_not_overlap():
    true = row(0.999, 0.001, 0.0)
    logits = torch.full((3, 3), -6.0)
    logits[2, 2] = 6
    logits.requires_grad_()
    estimate = logits.flatten().softmax(0).view(3, 3)
    KernelDivergenceLoss()(field_of(estimate), field_of(true)).backward()
    torch.testing.assert_close(logits.grad, estimate.detach() - true, atol=1e-12, rtol=0)


def test_only_pixels_of_the_grid_count():
    true, wrong = row(0.0, 1.0, 0.0), row(0.0, 0.5, 0.5)
    mixing = torch.zeros(1, 2, 8, 8)
    mixing[:, 0] = 1
    mixing[..., 2, 2] = torch.tensor([0.0, 1.0])[None]  # on the grid of spacing 4: (2, 2), (2, 6), (6, 2), (6, 6)
    mixing[..., 3, 3] = torch.tensor([0.0, 1.0])[None]
    found = KernelDivergenceLoss(spacing=4)(
        BlurField(torch.stack([true, wrong])[None], mixing), field_of(true, size=(8, 8))
    )
    assert found.item() == pytest.approx(math.log(2) / 4)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match='spacing is 0'):
        KernelDivergenceLoss(spacing=0)
    with pytest.raises(ValueError, match='pixels'):
        KernelDivergenceLoss()(field_of(row(0, 1.0, 0)), field_of(row(0, 1.0, 0), size=(8, 8)))
