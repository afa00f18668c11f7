"""An approximation of a blur by fewer kernels, to a given tolerance.

The rows of the blur H are the kernels of the pixels, A = M' k with the mixing M (B, pixels) and the basis kernels k
(B, K*K). Its best approximation of rank r is its projection on r orthonormal kernels w, the first right singular
vectors of A,

    A_r = (M' k w') w,          |A - A_r| / |A| = (sum_{j > r} s_j^2 / sum_j s_j^2)^(1/2)          [Eckart, Young 1936]

in the Frobenius norm, which is the same for A and H. This error is also that of the blurred light of a scene whose
pixels are independent: its root mean square, as a share of that light. A has the singular values of  S k,  where
S'S = M M'  is a matrix of B x B numbers. Kernels w and mixing M' k w' may be negative, so they are no `BlurField`.

A lens, whose blur is smooth and changes slowly over the photo, needs 5 to 7 kernels for 1e-4. A shake of a camera that
turned needs nearly as many as there are: its kernels are thin lines, and such a line moved by a pixel is another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from basis_blur.field.blur_field import BlurField

ROWS = 128  # number of rows of a photo whose mixing is looked at together


class Factors(NamedTuple):
    """Kernels and mixing whose blur is that of a field to a tolerance; both may be negative.

    Args:
        kernels: (N, r, K, K); orthonormal.
        mixing: (N, r, H, W).
        error: (N,); |H_r - H| / |H| of each photo, in the Frobenius norm.
    """

    kernels: Tensor
    mixing: Tensor
    error: Tensor


@torch.no_grad()
def low_rank(field: BlurField, tolerance: float, most: int) -> Factors | None:
    """Return the fewest kernels whose blur is that of a field to a tolerance, or None if these are more than `most`.

    Args:
        field: the blur.
        tolerance: largest relative error in the Frobenius norm of the blur, > 0. Rounding of float32 is 1e-7.
        most: largest number of kernels, >= 0.
    """
    kernels = field.kernels.double().flatten(2)
    number, basis, _ = kernels.shape
    gram = kernels.new_zeros(number, basis, basis)
    for _, used, mixing in _strips(field):
        values = mixing.double().flatten(2)
        gram[:, used[:, None], used] += values @ values.mT
    powers, axes = torch.linalg.eigh(gram)
    _, singular, w = torch.linalg.svd((axes * powers.clamp_min(0).sqrt()[:, None]).mT @ kernels, full_matrices=False)
    energy = singular.square()
    left = energy.flip(-1).cumsum(-1).flip(-1) / energy.sum(-1, keepdim=True)  # share of the energy from each kernel on
    error = torch.cat([left, left.new_zeros(number, 1)], -1).sqrt()
    rank = int((error > tolerance).sum(-1).max())
    if rank > most:
        return None
    w = w[:, :rank]
    shares = (w @ kernels.mT).to(field.kernels.dtype)  # (N, r, B)
    height, width = field.image_size
    found = field.kernels.new_empty(number, rank, height, width)
    for rows, used, mixing in _strips(field):
        found[..., rows, :] = torch.einsum('nrb,nbhw->nrhw', shares[..., used], mixing)
    size = field.kernel_size
    return Factors(w.to(found).view(number, rank, size, size), found, error[:, rank])


def _strips(field: BlurField) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Go through the mixing in strips, so that little of it is unpacked or in double precision at a time.

    Yield the rows of the photo, the indices of the kernels that are used there, and their mixing.
    """
    height, width = field.image_size
    for top in range(0, height, ROWS):
        rows = min(ROWS, height - top)
        mixing = field.crop(top, 0, rows, width).mixing
        used = mixing.flatten(2).any(-1).any(0).nonzero().flatten()
        yield slice(top, top + rows), used, mixing if len(used) == mixing.shape[1] else mixing[:, used]
