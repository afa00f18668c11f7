"""The negative log-likelihood of kernels by a flow, with their pixels as whole steps [L21, F23].

    NLL = -log p(q),    log p(q) = log N(u) + log |det du/dx| + log |det dx/dq|

q are the kernel's pixels in steps of `normalization` / 720, with uniform noise of one step (see
`KernelFlow.preprocess`); x are their logits, and u is the code. Since the logit's determinant is part of it, the NLL is
an upper bound of the mean number of nats that the pixels take if they are written down as whole steps. So it is
positive, 0 would mean that nothing is unknown, and flows of any size, depth or alpha can be compared by it if they have
the same `normalization`, which sets how fine a step is.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from basis_blur.foundation.numbers import check_number

Number = TypeVar('Number', float, Tensor)


class FlowNLLLoss(nn.Module):
    """The NLL in nats per kernel, averaged over the batch, times `loss_weight`.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        check_number('loss_weight', loss_weight)
        self.loss_weight = loss_weight

    def forward(self, flow: nn.Module, kernels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the loss, one number; its gradient flows to the flow's parameters.

        Args:
            flow: a `KernelFlow`, or a wrapper for distributed training that holds one in `.module`.
            kernels: (M, K, K); >= 0, sum 1.
            noise: noise of the same shape, uniform in [0, 1); by default drawn from torch's default generator.

        Raises:
            ValueError: a shape does not fit.
        """
        return self.loss_weight * kernel_nll(flow, kernels, noise).mean()

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}'


def kernel_nll(flow: nn.Module, kernels: Tensor, noise: Tensor | None = None) -> Tensor:
    """Return the NLL of each kernel, (M,) in nats; the arguments are those of `FlowNLLLoss`."""
    bare: Any = getattr(flow, 'module', flow)
    if noise is None:
        noise = torch.rand_like(kernels)
    x = bare.preprocess(kernels, noise)
    code, log_det = flow(x)  # through the wrapper, which sums the gradients of all processes
    return -(bare.code_log_prob(code) + log_det + bare.preprocess_log_det(x))


def bits_per_dimension(nll: Number, dims: int) -> Number:
    """Return an NLL in bits per pixel.

    Args:
        nll: negative log-likelihood in nats per kernel, such as `kernel_nll` returns.
        dims: number of pixels of a kernel, K*K.

    Raises:
        ValueError: `dims` is not positive.
    """
    if dims < 1:
        raise ValueError(f'dims is {dims}, expected the number of pixels of a kernel, K*K.')
    return nll / (dims * math.log(2))
