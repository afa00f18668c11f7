"""The blur of a photo as a linear operator: basis kernels, mixed per pixel.

    H u = sum_b mixing_b * (kernels_b conv u)              [C21, Eq. 2, 10]
    H^T v = sum_b K_b^T (mixing_b * v)

`u` is the scene with its border ("valid" convolution): image pixel i gathers

    (k conv u)[i] = sum_s k[s] u[i + (K - 1) - s],         s in [0, K-1] x [0, K-1],

so scene pixel i + (K-1)/2 lies under image pixel i.

Convention: `kernels` are convolved, not correlated: an impulse in the scene appears as the kernel itself.

Everything is one trilinear form  T(u, k, m, v) = <H(k, m) u, v>,  and H, H^T and the gradients with respect to
kernels and mixing are its four partial derivatives. Each is computed by FFT for a few basis elements at a time, and
the derivative of each is one of the others; so gradients of any order cost no more memory than one application.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd import Function

from basis_blur.field import BlurField
from basis_blur.ops.linear_operator import LinearOperator

# Basis elements are transformed together while their images hold at most this many numbers: small images gain from
# fewer calls, large ones stay in the cache.
CHUNK_NUMBERS = 1 << 20


class BasisBlur(LinearOperator):
    """The operator H of a blur field, from the scene to the image.

    `blur(scene)` maps (N, C, H+K-1, W+K-1) to (N, C, H, W), `blur.T(image)` back; both are differentiable with
    respect to their input, the kernels and the mixing, to any order. Working memory does not grow with B.
    Half-precision inputs are computed, and returned, in float32.

    Args:
        field: the blur; on any device.
        chunk: number of basis elements transformed at once; by default chosen by size. The result does not depend
            on it beyond rounding.

    Raises:
        ValueError: `chunk` is smaller than 1.
    """

    def __init__(self, field: BlurField, chunk: int | None = None):
        if chunk is not None and chunk < 1:
            raise ValueError(f'chunk is {chunk}, expected a number of basis elements >= 1.')
        super().__init__((len(field), 3, *field.scene_size), (len(field), 3, *field.image_size))
        self.field = field
        self.chunk = chunk

    def _apply(self, x: Tensor) -> Tensor:
        return _Blur.apply(*_common_dtype(x, self.field.kernels, self.field.mixing), self.chunk)

    def _apply_transpose(self, y: Tensor) -> Tensor:
        return _BlurTranspose.apply(*_common_dtype(y, self.field.kernels, self.field.mixing), self.chunk)


def _common_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    dtype = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
    return tuple(t.to(dtype) for t in tensors)


class _Blur(Function):
    """H(k, m) u."""

    @staticmethod
    def forward(ctx, u, k, m, chunk):
        ctx.save_for_backward(u, k, m)
        ctx.chunk = chunk
        plan = _Plan(k, m, u.shape[1], chunk)
        spectrum = plan.scene_spectrum(u)
        image = u.new_zeros(u.shape[0], u.shape[1], *plan.image_size)
        for part in plan.parts:
            blurred = plan.to_image(spectrum.unsqueeze(1) * plan.kernel_spectrum(k[:, part]))
            if blurred.shape[1] == 1:
                image.addcmul_(blurred[:, 0], m[:, part])
            else:
                image += torch.einsum('nbchw,nbhw->nchw', blurred, m[:, part])
        return image

    @staticmethod
    def backward(ctx, v):
        u, k, m = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _BlurTranspose.apply(v, k, m, ctx.chunk) if needs[0] else None,
            _KernelGradient.apply(u, m, v, k.shape[-1], ctx.chunk) if needs[1] else None,
            _MixingGradient.apply(u, k, v, ctx.chunk) if needs[2] else None,
            None,
        )


class _BlurTranspose(Function):
    """H(k, m)^T v."""

    @staticmethod
    def forward(ctx, v, k, m, chunk):
        ctx.save_for_backward(v, k, m)
        ctx.chunk = chunk
        plan = _Plan(k, m, v.shape[1], chunk)
        spectrum = None
        for part in plan.parts:
            product = plan.image_spectrum(v.unsqueeze(1) * m[:, part].unsqueeze(2))
            product *= plan.kernel_spectrum(k[:, part]).conj()
            total = product[:, 0] if product.shape[1] == 1 else product.sum(1)
            spectrum = total if spectrum is None else spectrum.add_(total)
        return plan.to_scene(spectrum)

    @staticmethod
    def backward(ctx, u):
        v, k, m = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _Blur.apply(u, k, m, ctx.chunk) if needs[0] else None,
            _KernelGradient.apply(u, m, v, k.shape[-1], ctx.chunk) if needs[1] else None,
            _MixingGradient.apply(u, k, v, ctx.chunk) if needs[2] else None,
            None,
        )


class _KernelGradient(Function):
    """dT/dk: for each basis element, sum_i m_b[i] v[i] u[i + (K - 1) - s], over channels."""

    @staticmethod
    def forward(ctx, u, m, v, kernel_size, chunk):
        ctx.save_for_backward(u, m, v)
        ctx.chunk = chunk
        k = m.new_zeros(*m.shape[:2], kernel_size, kernel_size)
        plan = _Plan(k, m, u.shape[1], chunk)
        spectrum = plan.scene_spectrum(u).unsqueeze(1)
        for part in plan.parts:
            weighted = plan.image_spectrum(v.unsqueeze(1) * m[:, part].unsqueeze(2))
            k[:, part] = plan.to_kernel((weighted.conj() * spectrum).sum(2))
        return k

    @staticmethod
    def backward(ctx, k):
        u, m, v = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _BlurTranspose.apply(v, k, m, ctx.chunk) if needs[0] else None,
            _MixingGradient.apply(u, k, v, ctx.chunk) if needs[1] else None,
            _Blur.apply(u, k, m, ctx.chunk) if needs[2] else None,
            None,
            None,
        )


class _MixingGradient(Function):
    """dT/dm: for each basis element, sum_c v_c (k_b conv u_c)."""

    @staticmethod
    def forward(ctx, u, k, v, chunk):
        ctx.save_for_backward(u, k, v)
        ctx.chunk = chunk
        m = v.new_empty(v.shape[0], k.shape[1], *v.shape[-2:])
        plan = _Plan(k, m, u.shape[1], chunk)
        spectrum = plan.scene_spectrum(u).unsqueeze(1)
        for part in plan.parts:
            blurred = plan.to_image(spectrum * plan.kernel_spectrum(k[:, part]))
            m[:, part] = torch.einsum('nbchw,nchw->nbhw', blurred, v)
        return m

    @staticmethod
    def backward(ctx, m):
        u, k, v = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _BlurTranspose.apply(v, k, m, ctx.chunk) if needs[0] else None,
            _KernelGradient.apply(u, m, v, k.shape[-1], ctx.chunk) if needs[1] else None,
            _Blur.apply(u, k, m, ctx.chunk) if needs[2] else None,
            None,
        )


class _Plan:
    """Transform sizes, and the way between pixels and spectra, for one kernel size and image size.

    A transform as large as the scene suffices: what wraps around falls on the K-1 border that is cropped away.
    """

    def __init__(self, kernels: Tensor, mixing: Tensor, channels: int, chunk: int | None):
        basis, size = kernels.shape[1], kernels.shape[-1]
        self.kernel_size = size
        self.image_size = tuple(mixing.shape[-2:])
        self.scene_size = tuple(side + size - 1 for side in self.image_size)
        self.size = tuple(fast_fft_size(side) for side in self.scene_size)
        numbers = mixing.shape[0] * channels * self.size[0] * self.size[1]
        chunk = chunk or max(1, CHUNK_NUMBERS // max(1, numbers))
        self.parts = [slice(start, min(start + chunk, basis)) for start in range(0, basis, chunk)]
        taps = torch.arange(size, device=kernels.device)
        self._rows = _fourier_matrix(torch.arange(self.size[0], device=taps.device), taps, self.size[0], kernels.dtype)
        half = torch.arange(self.size[1] // 2 + 1, device=taps.device)
        self._columns = _fourier_matrix(taps, half, self.size[1], kernels.dtype)

    def kernel_spectrum(self, k: Tensor) -> Tensor:
        """(N, b, K, K) -> (N, b, 1, F, F'): two small products, since all but K rows and columns are zero."""
        return (self._rows @ (k.to(self._rows.dtype) @ self._columns)).unsqueeze(2)

    def scene_spectrum(self, u: Tensor) -> Tensor:
        return torch.fft.rfft2(u, s=self.size)

    def image_spectrum(self, v: Tensor) -> Tensor:
        """Transform the image as if its pixel i were at i, not i + K - 1; `to_scene` and `to_kernel` know."""
        return torch.fft.rfft2(v, s=self.size)

    def to_image(self, spectrum: Tensor) -> Tensor:
        top = self.kernel_size - 1
        full = torch.fft.irfft2(spectrum, s=self.size)
        return full[..., top : top + self.image_size[0], top : top + self.image_size[1]]

    def to_scene(self, spectrum: Tensor) -> Tensor:
        shift = self.kernel_size - 1
        full = torch.fft.irfft2(spectrum, s=self.size).roll((shift, shift), (-2, -1))
        return full[..., : self.scene_size[0], : self.scene_size[1]]

    def to_kernel(self, spectrum: Tensor) -> Tensor:
        full = torch.fft.irfft2(spectrum, s=self.size)
        return full[..., : self.kernel_size, : self.kernel_size].flip(-2, -1)


def _fourier_matrix(rows: Tensor, columns: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """exp(-2 pi i r c / size); the product r c is reduced modulo size in whole numbers, so large sizes stay exact."""
    angle = torch.outer(rows, columns).remainder(size).to(torch.float64) * (-2 * math.pi / size)
    return torch.polar(torch.ones_like(angle), angle).to(
        torch.complex128 if dtype == torch.float64 else torch.complex64
    )


def fast_fft_size(size: int) -> int:
    """Return the smallest number >= `size` without prime factors above 5, for which FFTs are fast."""
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
