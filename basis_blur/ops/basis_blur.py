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
few pages of memory, which is worth a factor of two at a megapixel, and each thread has tiles of its own, so that none
waits for another. Other devices transform the whole photo at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import kind_of
from basis_blur.foundation.numbers import check_number
from basis_blur.ops.linear_operator import LinearOperator
from basis_blur.ops.threads import share
from basis_blur.ops.transforms import LinearForm, common_dtype, plain

# A CPU tile covers about this many photo pixels a side.
CPU_TILE = 256
# Basis elements are transformed together while their planes hold at most this many numbers: small photos gain from
# fewer calls, larger ones stay in the cache (or within a modest part of a GPU's memory).
CPU_CHUNK_NUMBERS = 1 << 19
DEVICE_CHUNK_NUMBERS = 1 << 25
SPARSE = 32  # distance of the pixels that are looked at first to find out whether any is not zero
PARTS_TOGETHER = 2  # number of chunks of basis elements whose kernels are transformed at once


class BasisBlur(LinearOperator):
    """The operator H of a blur field, from the scene to the image.

    `blur(scene)` maps (N, C, H+K-1, W+K-1) to (N, C, H, W), `blur.T(image)` back; both are differentiable with
    respect to their input, the kernels and the mixing, to any order. Working memory does not grow with B beyond 8.
    Half-precision inputs are computed, and returned, in float32.

    Args:
        field: the blur; on any device.
        chunk: number of basis elements transformed at once; by default chosen by size. The result does not depend
            on it beyond rounding.

    Raises:
        ValueError: `chunk` is smaller than 1, or `field` is no BlurField.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> blur = bb.BasisBlur(field)
        >>> image = blur(torch.rand(1, 3, 34, 50))  # the scene, with the border that the blur reaches into
        >>> image.shape, blur.T(image).shape
        (torch.Size([1, 3, 32, 48]), torch.Size([1, 3, 34, 50]))
    """

    def __init__(self, field: BlurField, chunk: int | None = None):
        if not isinstance(field, BlurField):
            raise ValueError(
                f'field is {kind_of(field)}, expected a BlurField, as estimate_blur returns it; PixelBlur takes a '
                'PixelField.'
            )
        if chunk is not None:
            check_number('chunk', chunk, least=1, whole=True, remedy='it is a number of basis elements.')
        super().__init__((len(field), 3, *field.scene_size), (len(field), 3, *field.image_size))
        self.field = field
        self.chunk = chunk

    def _apply(self, x: Tensor) -> Tensor:
        return _Blur.apply(*common_dtype(x, self.field.kernels, self.field.mixing), self.chunk)

    def _apply_transpose(self, y: Tensor) -> Tensor:
        return _BlurTranspose.apply(*common_dtype(y, self.field.kernels, self.field.mixing), self.chunk)


class _Blur(LinearForm):
    """H(k, m) u."""

    @staticmethod
    def forward(u, k, m, chunk):
        u, k, m = plain(u, k, m)
        plan = _Plan(k, m, u.shape[1], chunk)
        image = u.new_zeros(*u.shape[:2], *plan.image_size)

        def work(tiles):
            places = [
                (t.batch, plan.turned_scene_spectrum(u[t.scene]), image[t.image], m[t.image], plan.used(m[t.image]))
                for t in tiles
            ]
            for part, kernels, place in plan.steps(places, plan.turned_kernel_spectrum, k):
                batch, spectrum, window, mixing, used = place
                if not any(used[part]):
                    continue
                blurred = plan.to_image(spectrum * kernels[batch], *window.shape[-2:])
                _add_product(window, blurred, mixing[:, part].unsqueeze(2))

        plan.share(work, plan.lit_tiles(lambda tile: u[tile.scene]))
        return image

    @staticmethod
    def backward(ctx, v):
        u, k, m = ctx.saved_tensors
        needs, chunk = ctx.needs_input_grad, ctx.others[-1]
        return (
            _BlurTranspose.apply(v, k, m, chunk) if needs[0] else None,
            _KernelGradient.apply(u, m, v, k.shape[-1], chunk) if needs[1] else None,
            _MixingGradient.apply(u, k, v, chunk) if needs[2] else None,
            None,
        )


class _BlurTranspose(LinearForm):
    """H(k, m)^T v."""

    @staticmethod
    def forward(v, k, m, chunk):
        v, k, m = plain(v, k, m)
        plan = _Plan(k, m, v.shape[1], chunk)

        def work(tiles):
            places = [
                (t.batch, v[t.image], m[t.image], plan.no_spectrum(v[t.batch]), plan.used(m[t.image])) for t in tiles
            ]
            pad = plan.new_pad(v)
            for part, kernels, place in plan.steps(places, plan.mirrored_kernel_spectrum, k):
                batch, light, mixing, spectrum, used = place
                if not any(used[part]):
                    continue
                _add_product(spectrum, plan.weighted_spectrum(light, mixing[:, part], pad), kernels[batch])
            return [(tile, plan.to_scene(spectrum)) for tile, (*_, spectrum, _) in zip(tiles, places, strict=True)]

        scene = v.new_zeros(plan.scene_shape)
        for results in plan.share(work, plan.lit_tiles(lambda tile: v[tile.image])):
            for tile, light in results:
                window = scene[tile.scene]
                window += light[..., : window.shape[-2], : window.shape[-1]]
        return scene

    @staticmethod
    def backward(ctx, u):
        v, k, m = ctx.saved_tensors
        needs, chunk = ctx.needs_input_grad, ctx.others[-1]
        return (
            _Blur.apply(u, k, m, chunk) if needs[0] else None,
            _KernelGradient.apply(u, m, v, k.shape[-1], chunk) if needs[1] else None,
            _MixingGradient.apply(u, k, v, chunk) if needs[2] else None,
            None,
        )


class _KernelGradient(LinearForm):
    """dT/dk: for each basis element, sum_i m_b[i] v[i] u[i + (K - 1) - s], over channels."""

    @staticmethod
    def forward(u, m, v, kernel_size, chunk):
        u, m, v = plain(u, m, v)
        none = m.new_zeros(*m.shape[:2], kernel_size, kernel_size)
        plan = _Plan(none, m, u.shape[1], chunk)

        def work(tiles):
            k = torch.zeros_like(none)
            pad = plan.new_pad(v)
            for tile in tiles:
                spectrum = torch.fft.rfft2(u[tile.scene], s=plan.size).unsqueeze(1)
                for part in plan.parts:
                    weighted = plan.weighted_spectrum(v[tile.image], m[tile.image][:, part], pad)
                    k[tile.batch, part] += plan.to_kernel((weighted.conj() * spectrum).sum(2))
            return k

        return sum(plan.share(work, plan.tiles), none)

    @staticmethod
    def backward(ctx, k):
        u, m, v = ctx.saved_tensors
        needs, chunk = ctx.needs_input_grad, ctx.others[-1]
        return (
            _BlurTranspose.apply(v, k, m, chunk) if needs[0] else None,
            _MixingGradient.apply(u, k, v, chunk) if needs[1] else None,
            _Blur.apply(u, k, m, chunk) if needs[2] else None,
            None,
            None,
        )


class _MixingGradient(LinearForm):
    """dT/dm: for each basis element, sum_c v_c (k_b conv u_c)."""

    @staticmethod
    def forward(u, k, v, chunk):
        u, k, v = plain(u, k, v)
        m = v.new_empty(v.shape[0], k.shape[1], *v.shape[-2:])
        plan = _Plan(k, m, u.shape[1], chunk)

        def work(tiles):
            places = [(t.batch, plan.turned_scene_spectrum(u[t.scene]), v[t.image], m[t.image]) for t in tiles]
            for part, kernels, (batch, spectrum, light, window) in plan.steps(places, plan.turned_kernel_spectrum, k):
                blurred = plan.to_image(spectrum * kernels[batch], *window.shape[-2:])
                window[:, part] = (blurred * light.unsqueeze(1)).sum(2)

        plan.share(work, plan.tiles)
        return m

    @staticmethod
    def backward(ctx, m):
        u, k, v = ctx.saved_tensors
        needs, chunk = ctx.needs_input_grad, ctx.others[-1]
        return (
            _BlurTranspose.apply(v, k, m, chunk) if needs[0] else None,
            _KernelGradient.apply(u, m, v, k.shape[-1], chunk) if needs[1] else None,
            _Blur.apply(u, k, m, chunk) if needs[2] else None,
            None,
        )


class _Tile(NamedTuple):
    """A window of some photos of the batch, and the border of K - 1 pixels that its scene has."""

    batch: slice
    rows: slice
    columns: slice
    border: int

    @property
    def image(self) -> tuple[slice, ...]:
        return self.batch, slice(None), self.rows, self.columns

    @property
    def scene(self) -> tuple[slice, ...]:
        rows, columns = (slice(part.start, part.stop + self.border) for part in (self.rows, self.columns))
        return self.batch, slice(None), rows, columns


class _Plan:
    """The cut of the work into tiles and basis elements, and the way between pixels and spectra.

    A transform as large as a tile of the scene suffices: what wraps around falls on the K-1 border that is cropped.
    'Turned' spectra are transposed, columns before rows: back from them, the rows that are cropped are never computed,
    and each of the two steps reads along lines.
    """

    def __init__(self, kernels: Tensor, mixing: Tensor, channels: int, chunk: int | None):
        number, basis, height, width = mixing.shape
        self.on_cpu = on_cpu = mixing.device.type == 'cpu'
        self.border = kernels.shape[-1] - 1
        self.image_size = (height, width)
        self.scene_shape = (number, channels, height + self.border, width + self.border)
        tile_size = [_even_share(side, CPU_TILE) if on_cpu else side for side in self.image_size]
        self.size = tuple(fast_fft_size(side + self.border) for side in tile_size)
        self.together = together = 1 if on_cpu else number
        self.tiles = [
            _Tile(batch, rows, columns, self.border)
            for batch in _cuts(number, together)
            for rows in _cuts(height, tile_size[0])
            for columns in _cuts(width, tile_size[1])
        ]
        numbers = together * channels * self.size[0] * self.size[1]
        limit = CPU_CHUNK_NUMBERS if on_cpu else DEVICE_CHUNK_NUMBERS
        self.parts = _cuts(basis, chunk or max(1, limit // max(1, numbers)))
        taps = torch.arange(self.border + 1, device=kernels.device)
        rows, half = (torch.arange(size, device=taps.device) for size in (self.size[0], self.size[1] // 2 + 1))
        self._rows = _fourier_matrix(rows, taps, self.size[0], kernels.dtype)
        self._columns = _fourier_matrix(taps, half, self.size[1], kernels.dtype)

    def lit_tiles(self, window: Callable[[_Tile], Tensor]) -> list[_Tile]:
        """Leave out the tiles whose part of the input, `window`, is zero throughout, as is that of the result."""
        return [tile for tile in self.tiles if _any(window(tile))] if self.on_cpu else self.tiles

    def used(self, mixing: Tensor) -> list[bool]:
        """Return which basis elements a tile uses: often not those of other places of the photo."""
        if not self.on_cpu:
            return [True] * mixing.shape[1]  # looking would wait for the device
        found = mixing[..., ::SPARSE, ::SPARSE].any(-1).any(-1).any(0).tolist()
        return [some or bool(mixing[:, element].any()) for element, some in enumerate(found)]

    def share(self, work: Callable[[list[_Tile]], object], tiles: list[_Tile]) -> list:
        """Do `work` on all tiles, in as many threads as torch would use, and return what each returned.

        A tile is too small a piece of work for several threads: they would wait for each other most of the time.
        """
        threads = max(1, min(len(tiles), torch.get_num_threads())) if self.on_cpu else 1
        return share(work, [tiles[first::threads] for first in range(threads)])

    def steps(self, places: list, kernel_spectrum: Callable[[Tensor], Tensor], k: Tensor) -> Iterator[tuple]:
        """Go through `places` and basis elements, with the spectra of some kernels at a time: (part, spectra, place).

        What a place has in the cache serves several steps, and memory does not grow with the number of kernels.
        """
        for parts in (self.parts[some] for some in _cuts(len(self.parts), PARTS_TOGETHER)):
            kernels = [(part, kernel_spectrum(k[:, part])) for part in parts]
            for place in places:
                for part, spectrum in kernels:
                    yield part, spectrum, place

    def kernel_spectrum(self, k: Tensor) -> Tensor:
        """Two small products, since all but K rows and columns of a padded kernel are zero."""
        return (self._rows @ (k.to(self._rows.dtype) @ self._columns)).unsqueeze(2)

    def mirrored_kernel_spectrum(self, k: Tensor) -> Tensor:
        return self.kernel_spectrum(k).conj_physical()

    def turned_kernel_spectrum(self, k: Tensor) -> Tensor:
        return (self._columns.mT @ (self._rows @ k.to(self._rows.dtype)).mT).unsqueeze(2)

    def turned_scene_spectrum(self, scene: Tensor) -> Tensor:
        return torch.fft.rfft2(scene, s=self.size).mT.contiguous().unsqueeze(1)

    def no_spectrum(self, v: Tensor) -> Tensor:
        shape = (*v.shape[:2], self.size[0], self.size[1] // 2 + 1)
        return torch.zeros(shape, dtype=self._rows.dtype, device=v.device)

    def new_pad(self, v: Tensor) -> Tensor:
        """Memory for `weighted_spectrum`, the same for all tiles; fresh pages would cost as much as the transform."""
        return v.new_empty(self.together, self.parts[0].stop, v.shape[1], *self.size)

    def weighted_spectrum(self, light: Tensor, mixing: Tensor, pad: Tensor) -> Tensor:
        """Transform m_b v as if image pixel i were at i, not i + K - 1; `to_scene` and `to_kernel` know."""
        rows, columns = light.shape[-2:]
        pad = pad[: len(light), : mixing.shape[1]]
        pad[..., rows:, :] = 0
        pad[..., :rows, columns:] = 0
        torch.mul(light.unsqueeze(1), mixing.unsqueeze(2), out=pad[..., :rows, :columns])
        return torch.fft.rfft2(pad)

    def to_image(self, turned: Tensor, height: int, width: int) -> Tensor:
        rows, columns = (slice(self.border, self.border + side) for side in (height, width))
        turned = torch.fft.ifft(turned, dim=-1)[..., rows]
        return torch.fft.irfft(turned.mT, n=self.size[1], dim=-1)[..., columns]

    def to_scene(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=self.size).roll((self.border, self.border), (-2, -1))

    def to_kernel(self, spectrum: Tensor) -> Tensor:
        taps = slice(self.border + 1)
        return torch.fft.irfft2(spectrum, s=self.size)[..., taps, taps].flip(-2, -1)


def _any(values: Tensor) -> bool:
    """Return whether any of the values (..., H, W) is not zero; most often a few pixels show it."""
    return bool(values[..., ::SPARSE, ::SPARSE].any() or values.any())


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += sum over the basis dimension of a * b, without the product in memory."""
    for element in range(a.shape[1]):
        total.addcmul_(a[:, element], b[:, element])


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
