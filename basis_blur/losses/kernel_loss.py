"""The distance of the kernel of every pixel from the true one [C21, Eq. 6].

    L = sum_i w_i || sum_b m_b^i k_b - sum_p t_p^i q_p ||_p^p,        p = 2 or 1

k and m are the predicted kernels and mixing, q and t the true ones, and w_i is the weight of pixel i. [C21] prints the
norm itself. For p = 2 its square is taken unless `squared` is false, since the slope of the norm does not shrink as the
truth is approached; for p = 1 the norm itself is taken.

The kernels of all pixels, K*K x H*W numbers or 285 MB at 256 x 256 and K = 33, are never held. With A = [k; q], one
kernel per row, and a_i = [m^i; -t^i]:

    p = 2:   || A' a_i ||_2 = || r_i ||_2,   r_i = R a_i,   A' = Q R   (Q orthonormal, R triangular);
             dL/da_i = 2 w_i R' r_i,                        dL/dA = 2 (sum_i w_i a_i r_i') Q'
             if not squared, r_i / || r_i ||_2 in place of 2 r_i, and 0 where r_i is 0
    p = 1:   d_i = A' a_i, a few pixels at a time;
             dL/da_i = w_i A sign(d_i),                     dL/dA = sum_i w_i a_i sign(d_i)'

The squared distance may also be had without A' a_i as a_i' (A A') a_i, but close to the truth that is a small
difference of large terms with a relative error of eps / distance^2; r_i is as exact as the difference of whole kernels.
For p = 2 all is computed in float64.

L is one number, so its gradient is computed with it, some pixels at a time, and only scaled in `backward`. That takes
as little memory as computing all again in `backward`, and a quarter less work.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import check_number
from basis_blur.losses.pixel_weight import check_pixel_weight


class KernelLoss(nn.Module):
    """The distance L of two blur fields, averaged over the batch, times `loss_weight`.

    Args:
        p: exponent, 2 for squared differences and 1 for absolute ones.
        loss_weight: factor of the result.
        chunk_pixels: number of pixels of the whole batch that are computed at once. Memory grows with it; the result
            does not depend on it beyond rounding.
        squared: whether the square of the norm is taken where p is 2; False for Eq. 6 as printed.

    Raises:
        ValueError: p is neither 1 nor 2, or `chunk_pixels` is smaller than 1.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> bb.KernelLoss()(field, field, torch.full((1, 1, 32, 48), 1 / (32 * 48))) < 1e-6
        tensor(True)
    """

    def __init__(self, p: Literal[2, 1] = 2, loss_weight: float = 1.0, chunk_pixels: int = 1024, squared: bool = True):
        super().__init__()
        if p not in (1, 2) or isinstance(p, bool):
            raise ValueError(f'p is {p!r}, expected 2 (squared differences) or 1 (absolute differences).')
        check_number('loss_weight', loss_weight)
        check_number('chunk_pixels', chunk_pixels, least=1, whole=True, remedy='it is a number of pixels.')
        self.p = p
        self.loss_weight = loss_weight
        self.chunk_pixels = chunk_pixels
        self.squared = squared

    def forward(self, field: BlurField, true_field: BlurField, weight: Tensor) -> Tensor:
        """Return the loss, one number in float32 or float64; its gradient flows to `field` only.

        Args:
            field: the prediction for N photos.
            true_field: the truth about the same photos; its number of kernels may differ.
            weight: (N, 1, H, W); w_i >= 0, such as 1 / number of pixels of i's object.

        Raises:
            ValueError: the two fields or the weight are of different sizes.
        """
        check_fields(field, true_field)
        check_pixel_weight(weight, field)
        with torch.autocast(field.kernels.device.type, enabled=False):
            total = _Distance.apply(
                field.kernels, field.mixing, true_field.kernels, true_field.mixing, weight,
                self.p, self.squared, max(1, self.chunk_pixels // len(field)),
            )  # fmt: skip
        return self.loss_weight / len(field) * total

    def extra_repr(self) -> str:
        return f'p={self.p}, loss_weight={self.loss_weight}, squared={self.squared}'


class _Distance(Function):
    """L summed over the batch, and its gradient with respect to the first two arguments."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Tensor,
        mixing: Tensor,
        true_kernels: Tensor,
        true_mixing: Tensor,
        weight: Tensor,
        p: int,
        squared: bool,
        chunk: int,
    ) -> Tensor:
        result_dtype = torch.promote_types(kernels.dtype, torch.float32)
        dtype = torch.float64 if p == 2 else result_dtype
        basis = kernels.shape[1]
        rows = torch.cat([kernels.to(dtype), true_kernels.to(dtype)], 1).flatten(2)
        orthonormal, triangular = torch.linalg.qr(rows.mT) if p == 2 else (rows, rows)  # p = 1 has no use for them

        wants_kernels, wants_mixing = ctx.needs_input_grad[:2]
        row_gradient: Any = torch.zeros_like(rows if p == 1 else triangular.mT) if wants_kernels else None
        mixing_gradient: Any = mixing.new_empty(mixing.flatten(2).shape) if wants_mixing else None
        total = rows.new_zeros(())
        parts = (each.flatten(2).split(chunk, 2) for each in (mixing, true_mixing, weight))
        for index, (m, t, w) in enumerate(zip(*parts, strict=True)):
            a, w = torch.cat([m.to(dtype), -t.to(dtype)], 1), w.to(dtype)
            if p == 2:
                rotated = triangular @ a
                if squared:
                    weighted = 2 * w * rotated
                    total += (rotated * weighted).sum() / 2
                else:
                    length = rotated.norm(dim=1, keepdim=True)
                    weighted = w * rotated / length.clamp_min(torch.finfo(dtype).tiny)
                    total += (w * length).sum()
                if wants_mixing:
                    slope = triangular.mT @ weighted
                if wants_kernels:
                    row_gradient += a @ weighted.mT
            else:
                difference = rows.mT @ a
                signs = difference.sign().mul_(w)
                total += difference.mul_(signs).sum()
                if wants_mixing:
                    slope = rows @ signs
                if wants_kernels:
                    row_gradient += a @ signs.mT
            if wants_mixing:
                mixing_gradient[..., index * chunk : index * chunk + chunk] = slope[:, :basis]

        if wants_kernels:
            row_gradient = row_gradient @ orthonormal.mT if p == 2 else row_gradient
            row_gradient = row_gradient[:, :basis].reshape(kernels.shape).to(kernels.dtype)
        if wants_mixing:
            mixing_gradient = mixing_gradient.view(mixing.shape)
        ctx.save_for_backward(row_gradient, mixing_gradient)
        return total.to(result_dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if each is None else factor.to(each.dtype) * each for each in ctx.saved_tensors)
        return *gradients, None, None, None, None, None, None


def check_fields(field: BlurField, true_field: BlurField) -> None:
    """Raise ValueError unless two fields have the same N, H, W and K; the number of their kernels may differ."""
    for name, found, expected in (
        ('photos', len(field), len(true_field)),
        ('pixels', field.image_size, true_field.image_size),
        ('pixels in a kernel', (field.kernel_size,) * 2, (true_field.kernel_size,) * 2),
    ):
        if found != expected:
            raise ValueError(
                f'the predicted field has {_text(found)} {name} and the true field {_text(expected)}; '
                'give fields of the same photos with kernels of one size.'
            )


def _text(size: int | tuple[int, int]) -> str:
    return str(size) if isinstance(size, int) else 'x'.join(map(str, size))
