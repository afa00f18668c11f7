"""The likelihood of a flow, by hand where it can be computed by hand."""

import math

import pytest
import torch

from basis_blur.archs.kernel_flow_arch import LEVELS, KernelFlow
from basis_blur.losses.flow_nll_loss import FlowNLLLoss, bits_per_dimension, kernel_nll


@pytest.fixture
def identity():
    """A flow whose code is x: its couplings are off, and its batch normalisation divides by 1 exactly."""
    flow = KernelFlow(3, 1, 2).eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.zero_()
        flow.net[1].running_var.fill_(1 - 1e-5)
    return flow


def test_the_loss_of_the_identity_is_the_normal_density_of_the_logits(identity):
    kernels = torch.full((2, 3, 3), 1 / 9)
    noise = torch.full_like(kernels, 0.5)
    p = 1e-6 + (1 - 2e-6) * (1 / 9 + 0.5 / 720)
    x = math.log(p / (1 - p))
    nats = 0.5 * x**2 + 0.5 * math.log(2 * math.pi) - math.log((1 - 2e-6) / (p * (1 - p)) / 720)
    loss = FlowNLLLoss(0.5)(identity, kernels, noise)
    assert loss.item() == pytest.approx(0.5 * 9 * nats, rel=1e-9)


def test_levels_drawn_evenly_take_their_logarithm_in_bits():
    # No flow needed: a density of 1 per step in one of 720 steps.
    assert bits_per_dimension(9 * math.log(LEVELS), 9) == pytest.approx(math.log2(LEVELS))
    assert bits_per_dimension(torch.tensor([math.log(2)]), 1).item() == pytest.approx(1)
    with pytest.raises(ValueError, match='dims is 0'):
        bits_per_dimension(1.0, 0)


def test_the_probabilities_of_all_levels_of_a_pixel_sum_to_one(identity):
    """The NLL is that of steps: integrated over the 720 steps of one pixel, given the others, it leaves theirs."""
    steps = 64  # points in each step, midpoint rule
    grid = (torch.arange(LEVELS * steps) + 0.5) / steps
    kernels = torch.zeros(len(grid), 3, 3)
    noise = torch.full_like(kernels, 0.5)
    kernels[:, 1, 1] = grid.floor() / LEVELS
    noise[:, 1, 1] = grid % 1
    density = (-kernel_nll(identity, kernels, noise)).exp()
    others = kernel_nll(identity, torch.zeros(1, 3, 3), torch.full((1, 3, 3), 0.5)) * 8 / 9
    assert (density.mean() * LEVELS / (-others).exp()).item() == pytest.approx(1, rel=1e-3)


def test_descending_the_loss_trains_the_flow_to_its_data():
    flow = KernelFlow(3, 2, 4).train()
    kernels = torch.rand(64, 3, 3).softmax(-1) / 3
    loss = FlowNLLLoss()
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.01)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(flow, kernels)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert all(parameter.grad is not None for parameter in flow.parameters())
    assert values[-1] < values[0] - 1
