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

On a CPU the photo is worked on in tiles (overlap-save): transforms of one tile stay in the cache and reuse the same
few pages of memory, which is worth a factor of two at a megapixel. Other devices transform the whole photo at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from basis_blur.field import BlurField
from basis_blur.ops.linear_operator import LinearOperator

# A CPU tile covers about this many photo pixels a side.
CPU_TILE = 256
# Basis elements are transformed together while their planes hold at most this many numbers: small photos gain from
# fewer calls, larger ones stay in the cache (or within a modest part of a GPU's memory).
CPU_CHUNK_NUMBERS = 1 << 18
DEVICE_CHUNK_NUMBERS = 1 << 25


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
        plan.keep_tiles(lambda tile: u[plan.scene_window(tile)])
        spectra = plan.scene_spectra(u)
        image = u.new_zeros(*u.shape[:2], *plan.image_size)
        for part, tile, kernels in plan.steps(k):
            blurred = plan.to_image(spectra[tile.number].unsqueeze(1) * kernels, tile)
            mixing = m[tile.batch, part, tile.rows, tile.columns]
            _add_product(image[tile.image], blurred, mixing.unsqueeze(2))
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
        plan.keep_tiles(lambda tile: v[tile.image])
        spectra = plan.no_spectra(v)
        for part, tile, kernels in plan.steps(k):
            weighted = plan.weighted_spectrum(v, m, part, tile)
            _add_product(spectra[tile.number], weighted, kernels.conj().resolve_conj())
        return plan.to_scene(spectra)

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
        spectra = plan.scene_spectra(u)
        for part, tile, _ in plan.steps():
            weighted = plan.weighted_spectrum(v, m, part, tile)
            k[tile.batch, part] += plan.to_kernel((weighted.conj() * spectra[tile.number].unsqueeze(1)).sum(2))
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
        spectra = plan.scene_spectra(u)
        for part, tile, kernels in plan.steps(k):
            blurred = plan.to_image(spectra[tile.number].unsqueeze(1) * kernels, tile)
            m[tile.batch, part, tile.rows, tile.columns] = (blurred * v[tile.image].unsqueeze(1)).sum(2)
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


class _Tile(NamedTuple):
    """A window of some photos of the batch; `number` is its place in a list of spectra."""

    number: int
    batch: slice
    rows: slice
    columns: slice

    @property
    def image(self) -> tuple[slice, ...]:
        return self.batch, slice(None), self.rows, self.columns


class _Plan:
    """How the work is cut into tiles and basis elements, and the way between pixels and spectra.

    A transform as large as a tile of the scene suffices: what wraps around falls on the K-1 border that is cropped.
    """

    def __init__(self, kernels: Tensor, mixing: Tensor, channels: int, chunk: int | None):
        number, basis, height, width = mixing.shape
        self.on_cpu = on_cpu = mixing.device.type == 'cpu'
        self.kernel_size = kernels.shape[-1]
        self.image_size = (height, width)
        self.scene_shape = (number, channels, *(side + self.kernel_size - 1 for side in self.image_size))
        tile_size = [_even_share(side, CPU_TILE) if on_cpu else side for side in self.image_size]
        self.size = tuple(fast_fft_size(side + self.kernel_size - 1) for side in tile_size)
        together = 1 if on_cpu else number
        self.tiles = [
            _Tile(index, *slices)
            for index, slices in enumerate(
                (batch, rows, columns)
                for batch in _cuts(number, together)
                for rows in _cuts(height, tile_size[0])
                for columns in _cuts(width, tile_size[1])
            )
        ]
        numbers = together * channels * self.size[0] * self.size[1]
        limit = CPU_CHUNK_NUMBERS if on_cpu else DEVICE_CHUNK_NUMBERS
        self.parts = _cuts(basis, chunk or max(1, limit // max(1, numbers)))
        taps = torch.arange(self.kernel_size, device=kernels.device)
        rows, half = (torch.arange(size, device=taps.device) for size in (self.size[0], self.size[1] // 2 + 1))
        self._rows = _fourier_matrix(rows, taps, self.size[0], kernels.dtype)
        self._columns = _fourier_matrix(taps, half, self.size[1], kernels.dtype)

    def keep_tiles(self, window: Callable[[_Tile], Tensor]) -> None:
        """Leave out the tiles whose part of the input, `window`, is zero throughout, as is that of the result."""
        if self.on_cpu:
            kept = [tile for tile in self.tiles if window(tile).any()]
            self.tiles = [tile._replace(number=number) for number, tile in enumerate(kept)]

    def steps(self, k: Tensor | None = None) -> Iterator[tuple[slice, _Tile, Tensor | None]]:
        """Go through basis elements and, for each, through the tiles, with the spectra (n, b, 1, F, F') of `k`."""
        for part in self.parts:
            spectrum = None if k is None else self._kernel_spectrum(k[:, part])
            for tile in self.tiles:
                yield part, tile, None if spectrum is None else spectrum[tile.batch]

    def _kernel_spectrum(self, k: Tensor) -> Tensor:
        """Two small products, since all but K rows and columns of a padded kernel are zero."""
        return (self._rows @ (k.to(self._rows.dtype) @ self._columns)).unsqueeze(2)

    def scene_spectra(self, u: Tensor) -> list[Tensor]:
        return [torch.fft.rfft2(u[self.scene_window(tile)], s=self.size) for tile in self.tiles]

    def no_spectra(self, v: Tensor) -> list[Tensor]:
        shape = (*v.shape[1:2], self.size[0], self.size[1] // 2 + 1)
        dtype = self._rows.dtype
        return [torch.zeros(len(v[tile.batch]), *shape, dtype=dtype, device=v.device) for tile in self.tiles]

    def weighted_spectrum(self, v: Tensor, m: Tensor, part: slice, tile: _Tile) -> Tensor:
        """Transform m_b v as if image pixel i were at i, not i + K - 1; `to_scene` and `to_kernel` know."""
        mixing = m[tile.batch, part, tile.rows, tile.columns]
        return torch.fft.rfft2(v[tile.image].unsqueeze(1) * mixing.unsqueeze(2), s=self.size)

    def to_image(self, spectrum: Tensor, tile: _Tile) -> Tensor:
        top = self.kernel_size - 1
        height, width = (part.stop - part.start for part in (tile.rows, tile.columns))
        return torch.fft.irfft2(spectrum, s=self.size)[..., top : top + height, top : top + width]

    def to_scene(self, spectra: list[Tensor]) -> Tensor:
        shift = self.kernel_size - 1
        scene = torch.zeros(self.scene_shape, dtype=self._rows.real.dtype, device=self._rows.device)
        for tile in self.tiles:
            window = scene[self.scene_window(tile)]
            full = torch.fft.irfft2(spectra[tile.number], s=self.size).roll((shift, shift), (-2, -1))
            window += full[..., : window.shape[-2], : window.shape[-1]]
        return scene

    def to_kernel(self, spectrum: Tensor) -> Tensor:
        full = torch.fft.irfft2(spectrum, s=self.size)
        return full[..., : self.kernel_size, : self.kernel_size].flip(-2, -1)

    def scene_window(self, tile: _Tile) -> tuple[slice, ...]:
        rows, columns = (slice(part.start, part.stop + self.kernel_size - 1) for part in (tile.rows, tile.columns))
        return tile.batch, slice(None), rows, columns


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += sum over the basis dimension of a * b, without a product in memory where there is one element."""
    if a.shape[1] == 1:
        total.addcmul_(a[:, 0], b[:, 0])
    else:
        total += (a * b).sum(1)


def _cuts(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _even_share(length: int, target: int) -> int:
    """Cut `length` into equal parts of about `target`; return the size of a part."""
    return math.ceil(length / max(1, round(length / target)))


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
