"""The blur of a photo as a linear operator: basis kernels, mixed per pixel.

    H u = sum_b mixing_b * (kernels_b conv u)              [C21, Eq. 2, 10]
    H^T v = sum_b K_b^T (mixing_b * v)

`u` is the scene, with the border that the blur reaches into ("valid" convolution):

    (k conv u)[i] = sum_s k[s] u[i + (K - 1) - s],         s in [0, K-1] x [0, K-1],

so scene pixel i + (K-1)/2 lies under image pixel i. K_b^T is the transpose of the convolution with kernel b.

Convention: `kernels` are convolved, not correlated: an impulse in the scene appears as the kernel itself.

H, H^T and the gradients with respect to kernels and mixing are the four partial derivatives of one form that is linear
in each argument,  T(u, k, m, v) = <H(k, m) u, v>.  Each is computed by FFT for a few basis elements at a time. The
derivatives of each are made of the others, so gradients of any order cost no more memory than one application.

On a CPU the photo is worked on in tiles (overlap-save). The transforms of a tile stay in the cache and reuse the same
few pages of memory, which is twice as fast at a megapixel, and each thread has tiles of its own, so that none waits for
another. The mixing of a `CompactField` is unpacked tile by tile. Other devices transform the whole photo at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from basis_blur.field.blur_field import BlurField, CompactField, unpack
from basis_blur.foundation.errors import kind_of
from basis_blur.foundation.numbers import check_number
from basis_blur.ops.convolution import any_not_zero, convolve, equal_part, fast_fft_size
from basis_blur.ops.linear_operator import LinearOperator
from basis_blur.ops.low_rank import Factors, low_rank
from basis_blur.ops.threads import share
from basis_blur.ops.transforms import LinearForm, common_dtype, plain

CPU_TILE = 256  # approximate side of a tile on a CPU, pixels of the photo
# Largest number of numbers in the planes of a chunk, the basis elements that are transformed together. Small photos are
# faster in large chunks, which need fewer calls. For a large photo a chunk is one element: it stays in the cache, and a
# tile skips it where its mixing is 0. On other devices chunks take a modest part of the memory.
CPU_CHUNK_NUMBERS = 1 << 17
DEVICE_CHUNK_NUMBERS = 1 << 25
# Largest number of complex numbers in the spectra of a turn, the kernels that are held at once; 25 kernels on a CPU.
CPU_KERNEL_NUMBERS = 1 << 20
DEVICE_KERNEL_NUMBERS = 1 << 23
SIDE_MULTIPLE = 4  # pixels that divide the sides of transforms, see `fast_fft_size`
BUNCH = 8  # largest number of tiles that a thread works on together
PARTS_TOGETHER = 2  # number of chunks whose kernels stay in the cache while all tiles of a bunch use them


class BasisBlur(LinearOperator):
    """The operator H of a blur field, from the scene to the image.

    `blur(scene)` maps (N, C, H+K-1, W+K-1) to (N, C, H, W), `blur.T(image)` back; both are differentiable with
    respect to their input, the kernels and the mixing, to any order. Working memory does not grow with B beyond about
    25. With inputs of half precision, the result is computed and returned in float32.

    Args:
        field: the blur; on any device.
        chunk: number of basis elements that are transformed at once, which makes no difference beyond rounding; by
            default it follows from the size of the photo.
        tolerance: largest relative error, in the Frobenius norm, with which H may be computed from fewer kernels where
            that is faster, such as 1e-4; see `basis_blur.ops.low_rank`. H^T is the exact transpose of what H computes.
            It makes the blur of a lens faster, but not the shake of a camera. With 0, H is exact.

    Raises:
        ValueError: `chunk` is smaller than 1, `tolerance` is negative, or `field` is no BlurField; or a tolerance is
            given for a field with gradients, which would get none.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> blur = bb.BasisBlur(field)
        >>> image = blur(torch.rand(1, 3, 34, 50))  # the scene, with the border that the blur reaches into
        >>> image.shape, blur.T(image).shape
        (torch.Size([1, 3, 32, 48]), torch.Size([1, 3, 34, 50]))
    """

    def __init__(self, field: BlurField, chunk: int | None = None, tolerance: float = 0.0):
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
        check_number('tolerance', tolerance, least=0, remedy='it is a share of the blur; 0 is exact.')
        self._used: Used = {}  # kept from one application to the next, since the field does not change
        self._factors: Factors | None = None
        if tolerance:
            most = math.ceil(mean_kernels_used(field)) - 1  # with more, H would not be faster
            self._factors = low_rank(_without_gradients(field), tolerance, most)

    @property
    def num_kernels(self) -> int:
        """The number of kernels that are applied: B, or fewer where a tolerance is given and makes H faster."""
        return self.field.kernels.shape[1] if self._factors is None else self._factors.kernels.shape[1]

    def _apply(self, x: Tensor) -> Tensor:
        return _Blur.apply(*self._with_field(x), self.chunk)

    def _apply_transpose(self, y: Tensor) -> Tensor:
        return _BlurTranspose.apply(*self._with_field(y), self.chunk)

    def _apply_into(self, memory: Tensor, x: Tensor) -> Tensor:
        u, k, m = self._with_field(x)
        return _blurred(u, k, m, self.chunk, memory, self._used)

    def _apply_transpose_into(self, memory: Tensor, y: Tensor) -> Tensor:
        v, k, m = self._with_field(y)
        return _blurred_back(v, k, m, self.chunk, memory, self._used)

    def _with_field(self, photo: Tensor) -> tuple[Tensor, ...]:
        """Return photo, kernels and mixing in one dtype; mixing of 16 bits is unpacked tile by tile."""
        if self._factors is not None:
            return common_dtype(photo, self._factors.kernels, self._factors.mixing)
        if isinstance(self.field, CompactField):
            return *common_dtype(photo, self.field.kernels), self.field.packed
        return common_dtype(photo, self.field.kernels, self.field.mixing)


# Indices of the kernels that each tile of a photo uses, by the batch, row and column at which the tile begins.
Used = dict[tuple[int, int, int], set[int]]


class _Blur(LinearForm):
    """H(k, m) u."""

    @staticmethod
    def forward(u: Tensor, k: Tensor, m: Tensor, chunk: int | None) -> Tensor:
        return _blurred(u, k, m, chunk)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
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
    def forward(v: Tensor, k: Tensor, m: Tensor, chunk: int | None) -> Tensor:
        return _blurred_back(v, k, m, chunk)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
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
    def forward(u: Tensor, m: Tensor, v: Tensor, kernel_size: int, chunk: int | None) -> Tensor:
        u, m, v = plain(u, m, v)
        none = v.new_zeros(*m.shape[:2], kernel_size, kernel_size)
        plan = _Plan(none, m, u.shape[1], chunk)

        def work(tiles: list[_Tile]) -> Tensor:
            k = torch.zeros_like(none)
            for tile in tiles:
                spectrum = torch.fft.rfft2(u[tile.scene], s=plan.size).unsqueeze(1)
                for part in plan.parts:
                    weighted = plan.weighted_spectrum(v[tile.image], plan.unpacked(m[tile.image][:, part]))
                    k[tile.batch, part] += plan.to_kernel((weighted.conj() * spectrum).sum(2))
            return k

        return sum(plan.share(work, plan.bunches()), none)

    @staticmethod
    def backward(ctx: Any, k: Tensor) -> tuple[Tensor | None, ...]:
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
    def forward(u: Tensor, k: Tensor, v: Tensor, chunk: int | None) -> Tensor:
        u, k, v = plain(u, k, v)
        m = v.new_empty(v.shape[0], k.shape[1], *v.shape[-2:])
        plan = _Plan(k, m, u.shape[1], chunk)

        def work(turn: _Turn, tiles: list[_Tile]) -> None:
            places = [
                (
                    tile,
                    {part.start for part, _ in turn.kernels},
                    plan.turned_spectrum(u[tile.scene]),
                    v[tile.image].unsqueeze(1),
                    m[tile.image],
                )
                for tile in tiles
            ]
            for part, kernels, _, (tile, _, spectrum, light, window) in plan.steps(turn, places):
                blurred = plan.to_image(spectrum * kernels[tile.batch], *window.shape[-2:])
                window[:, part] = (blurred * light).sum(2)

        for turn in plan.turns(k, plan.turned_kernel_spectrum):
            plan.share(partial(work, turn), plan.bunches())
        return m

    @staticmethod
    def backward(ctx: Any, m: Tensor) -> tuple[Tensor | None, ...]:
        u, k, v = ctx.saved_tensors
        needs, chunk = ctx.needs_input_grad, ctx.others[-1]
        return (
            _BlurTranspose.apply(v, k, m, chunk) if needs[0] else None,
            _KernelGradient.apply(u, m, v, k.shape[-1], chunk) if needs[1] else None,
            _Blur.apply(u, k, m, chunk) if needs[2] else None,
            None,
        )


def _blurred(
    u: Tensor, k: Tensor, m: Tensor, chunk: int | None, memory: Tensor | None = None, used: Used | None = None
) -> Tensor:
    """Return H(k, m) u, written to the given memory if that fits; `used` is read, and filled where it is not."""
    u, k, m = plain(u, k, m)
    image = _room(memory, u, m.shape[-2:])
    if _is_uniform(m):
        return convolve(u, k[:, 0] * m[:, 0, :1, :1], k.shape[-1] - 1, image)
    plan = _Plan(k, m, u.shape[1], chunk, used)

    def work(turn: _Turn, tiles: list[_Tile]) -> None:
        places: list[tuple[Any, ...]] = []
        for tile in tiles:
            light, window, mixing = u[tile.scene], image[tile.image], m[tile.image]
            chosen = plan.chosen(turn, tile, mixing) if plan.is_lit(light) else set()
            if chosen:
                places.append((tile, chosen, plan.turned_spectrum(light), window, mixing))
            elif turn.is_first:
                window.zero_()
        for part, kernels, is_new, (tile, _, spectrum, window, mixing) in plan.steps(turn, places):
            blurred = plan.to_image(spectrum * kernels[tile.batch], *window.shape[-2:])
            coefficients = plan.unpacked(mixing[:, part]).unsqueeze(2)
            _add_product(window, blurred, coefficients, is_new and turn.is_first)

    for turn in plan.turns(k, plan.turned_kernel_spectrum):
        plan.share(partial(work, turn), plan.bunches())
    return image


def _blurred_back(
    v: Tensor, k: Tensor, m: Tensor, chunk: int | None, memory: Tensor | None = None, used: Used | None = None
) -> Tensor:
    """Return H(k, m)^T v, written to the given memory if that fits; `used` is read, and filled where it is not."""
    v, k, m = plain(v, k, m)
    scene = _room(memory, v, [side + k.shape[-1] - 1 for side in m.shape[-2:]])
    if _is_uniform(m):
        return convolve(v, k[:, 0].flip(-2, -1) * m[:, 0, :1, :1], 0, scene)
    plan = _Plan(k, m, v.shape[1], chunk, used)

    def work(turn: _Turn, tiles: list[_Tile]) -> list[tuple[Any, ...]]:
        places: list[tuple[Any, ...]] = []
        beyond: list[tuple[Any, ...]] = []
        for tile in tiles:
            light, mixing = v[tile.image], m[tile.image]
            chosen = plan.chosen(turn, tile, mixing) if plan.is_lit(light) else set()
            if chosen:
                places.append((tile, chosen, light, mixing, plan.no_spectrum(light)))
            elif turn.is_first:
                scene[tile.core].zero_()
        for part, kernels, is_new, (tile, _, light, mixing, spectrum) in plan.steps(turn, places):
            weighted = plan.weighted_spectrum(light, plan.unpacked(mixing[:, part]))
            _add_product(spectrum, weighted, kernels[tile.batch], is_new)
        for tile, *_, spectrum in places:
            found, core = torch.fft.irfft2(spectrum, s=plan.size), scene[tile.core]
            high, wide = core.shape[-2:]
            if turn.is_first:
                core.copy_(found[..., :high, :wide])
            else:
                core.add_(found[..., :high, :wide])
            # What lies beyond the core belongs to other tiles too, so it is added when all are done.
            right = slice(0, high), slice(wide, wide + plan.border)
            below = slice(high, high + plan.border), slice(0, wide + plan.border)
            beyond += [(tile.from_corner(*part), found[(..., *part)].clone()) for part in (right, below)]
        return beyond

    for turn in plan.turns(k.flip(-2, -1), plan.kernel_spectrum):
        shared = plan.share(partial(work, turn), plan.bunches())
        if turn.is_first:
            scene[..., plan.image_size[0] :, :] = 0
            scene[..., plan.image_size[1] :] = 0
        for place, light in (each for beyond in shared for each in beyond):
            scene[place] += light
    return scene


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

    @property
    def core(self) -> tuple[slice, ...]:
        """The part of the scene of the tile's size that begins where the tile does; cores of tiles do not overlap."""
        return self.image

    def from_corner(self, rows: slice, columns: slice) -> tuple[Any, ...]:
        """Return where a part of the tile's scene lies in the whole scene."""
        top, left = self.rows.start, self.columns.start
        rows, columns = slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)
        return self.batch, slice(None), rows, columns


class _Turn(NamedTuple):
    """Kernels whose spectra are held at once: chunks of basis elements (slices), each with the spectra."""

    is_first: bool
    kernels: list[tuple[slice, Tensor]]


class _Plan:
    """The cut of the work into tiles, chunks of basis elements and turns, and the way between pixels and spectra.

    A transform of the size of a tile of the scene suffices, since what wraps around falls on the border of K-1 pixels
    that is cropped. 'Turned' spectra are transposed, columns before rows: on the way back from them, the rows that are
    cropped are never computed, and both steps read along lines.
    """

    def __init__(self, kernels: Tensor, mixing: Tensor, channels: int, chunk: int | None, used: Used | None = None):
        number, basis, height, width = mixing.shape
        self.on_cpu = on_cpu = mixing.device.type == 'cpu'
        self.used = {} if used is None else used
        self.dtype = kernels.dtype
        self.border = kernels.shape[-1] - 1
        self.image_size = (height, width)
        self.scene_shape = (number, channels, height + self.border, width + self.border)
        tile_size = [equal_part(side, CPU_TILE) if on_cpu else side for side in self.image_size]
        self.size = tuple(fast_fft_size(side + self.border, SIDE_MULTIPLE) for side in tile_size)
        together = 1 if on_cpu else number  # number of photos in a tile
        self.tiles = [
            _Tile(batch, rows, columns, self.border)
            for batch in _cuts(number, together)
            for rows in _cuts(height, tile_size[0])
            for columns in _cuts(width, tile_size[1])
        ]
        of_element = together * channels * self.size[0] * self.size[1]  # numbers in the planes of one basis element
        limit = CPU_CHUNK_NUMBERS if on_cpu else DEVICE_CHUNK_NUMBERS
        chunk = chunk or max(1, limit // max(1, of_element))
        self.parts = _cuts(basis, chunk)
        of_chunk = number * self.size[0] * (self.size[1] // 2 + 1) * chunk  # numbers in the spectra of its kernels
        self.parts_of_turn = max(1, (CPU_KERNEL_NUMBERS if on_cpu else DEVICE_KERNEL_NUMBERS) // max(1, of_chunk))
        taps = torch.arange(self.border + 1, device=kernels.device)
        rows, half = (torch.arange(size, device=taps.device) for size in (self.size[0], self.size[1] // 2 + 1))
        self._rows = _fourier_matrix(rows, taps, self.size[0], kernels.dtype)
        self._columns = _fourier_matrix(taps, half, self.size[1], kernels.dtype)

    def is_lit(self, light: Tensor) -> bool:
        """Tell whether a tile of the input has a value other than 0; True on other devices, where asking takes long."""
        return not self.on_cpu or any_not_zero(light)

    def chosen(self, turn: _Turn, tile: _Tile, mixing: Tensor) -> set[int]:
        """Return the first elements of the chunks that a tile uses: their mixing is not 0 everywhere in it."""
        if not self.on_cpu:
            return {part.start for part, _ in turn.kernels}
        place = tile.batch.start, tile.rows.start, tile.columns.start
        if place not in self.used:
            self.used[place] = {element for element in range(mixing.shape[1]) if any_not_zero(mixing[:, element])}
        used = self.used[place]
        return {part.start for part, _ in turn.kernels if not used.isdisjoint(range(part.start, part.stop))}

    def bunches(self) -> list[list[_Tile]]:
        """Return the tiles in bunches: a few on a CPU, so that each thread has one, and all in one elsewhere."""
        most = max(1, min(BUNCH, len(self.tiles) // torch.get_num_threads())) if self.on_cpu else len(self.tiles)
        return [self.tiles[some] for some in _cuts(len(self.tiles), most)]

    def steps(self, turn: _Turn, places: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Go through the tiles of a bunch and the chunks that each uses: yield (chunk, spectra, is_new, place).

        A few chunks are used by all tiles before the next follow, so that they stay in the cache.

        Args:
            turn: the kernels.
            places: tuples that begin with a tile and the result of `chosen`; `is_new` is True at the first step of one.
        """
        begun = set()
        for some in _cuts(len(turn.kernels), PARTS_TOGETHER):
            for number, place in enumerate(places):
                for part, spectrum in turn.kernels[some]:
                    if part.start in place[1]:
                        yield part, spectrum, number not in begun, place
                        begun.add(number)

    def share(self, work: Callable[..., Any], pieces: list[Any]) -> list[Any]:
        """Return `work` of all pieces, done on a CPU by several threads, each alone on a piece."""
        return share(work, pieces) if self.on_cpu else [work(piece) for piece in pieces]

    def turns(self, k: Tensor, spectrum_of: Callable[[Tensor], Tensor]) -> Iterator[_Turn]:
        """Go through the kernels, some of them at a time, so that memory does not grow with their number."""
        for some in _cuts(len(self.parts), self.parts_of_turn):
            yield _Turn(some.start == 0, [(part, spectrum_of(k[:, part])) for part in self.parts[some]])

    def kernel_spectrum(self, k: Tensor) -> Tensor:
        """Return the spectra of kernels by two small products: a padded kernel is 0 but for K rows and columns."""
        return (self._rows @ (k.to(self._rows.dtype) @ self._columns)).unsqueeze(2)

    def turned_kernel_spectrum(self, k: Tensor) -> Tensor:
        """Return the turned spectra of kernels."""
        return (self._columns.mT @ (self._rows @ k.to(self._rows.dtype)).mT).unsqueeze(2)

    def turned_spectrum(self, scene: Tensor) -> Tensor:
        """Return the turned spectrum of the scene of a tile, with a dimension of 1 for the basis."""
        return torch.fft.rfft2(scene, s=self.size).mT.contiguous().unsqueeze(1)

    def unpacked(self, mixing: Tensor) -> Tensor:
        """Return mixing coefficients as floating point, also those of a `CompactField`."""
        return unpack(mixing, self.dtype) if mixing.dtype == torch.int16 else mixing

    def no_spectrum(self, light: Tensor) -> Tensor:
        """Return memory for the spectrum of a tile."""
        return self._rows.new_empty(*light.shape[:2], self.size[0], self.size[1] // 2 + 1)

    def weighted_spectrum(self, light: Tensor, mixing: Tensor) -> Tensor:
        """Return the spectra of m_b v, with image pixel i at i and not at i + K - 1.

        The kernels, if they are flipped, and `to_kernel` allow for that.
        """
        rows, columns = light.shape[-2:]
        pad = light.new_empty(*mixing.shape[:2], light.shape[1], *self.size)
        pad[..., rows:, :] = 0
        pad[..., :rows, columns:] = 0
        torch.mul(light.unsqueeze(1), mixing.unsqueeze(2), out=pad[..., :rows, :columns])
        return torch.fft.rfft2(pad)

    def to_image(self, turned: Tensor, height: int, width: int) -> Tensor:
        """Return the pixels of a turned spectrum that lie in the image of a tile."""
        rows, columns = (slice(self.border, self.border + side) for side in (height, width))
        turned = torch.fft.ifft(turned, dim=-1)[..., rows]
        return torch.fft.irfft(turned.mT, n=self.size[1], dim=-1)[..., columns]

    def to_kernel(self, spectrum: Tensor) -> Tensor:
        """Return the K x K pixels of a spectrum that are those of a kernel."""
        taps = slice(self.border + 1)
        return torch.fft.irfft2(spectrum, s=self.size)[..., taps, taps].flip(-2, -1)


def _without_gradients(field: BlurField) -> BlurField:
    if field.kernels.requires_grad or (not isinstance(field, CompactField) and field.mixing.requires_grad):
        raise ValueError('tolerance is given for a field with gradients, which would get none; leave it out.')
    return field


def mean_kernels_used(field: BlurField) -> float:
    """Return the number of kernels that H uses in a tile of a photo on average; on a GPU it uses all everywhere."""
    if field.device.type != 'cpu':
        return float(field.kernels.shape[1])
    mixing = field.packed if isinstance(field, CompactField) else field.mixing
    tiles = _Plan(field.kernels, mixing, 1, 1).tiles
    return sum(any_not_zero(each) for tile in tiles for each in mixing[tile.image][0]) / len(tiles)


def _is_uniform(mixing: Tensor) -> bool:
    """Return whether mixing lies on a CPU and is one coefficient, spread over the photo by `expand`."""
    return mixing.device.type == 'cpu' and mixing.shape[1] == 1 and mixing.stride()[-2:] == (0, 0)


def _room(memory: Tensor | None, like: Tensor, size: Sequence[int]) -> Tensor:
    """Return memory for photos of a size: the given memory if it fits, new memory otherwise."""
    shape = (*like.shape[:2], *size)
    if memory is not None and (memory.shape, memory.dtype, memory.device) == (shape, like.dtype, like.device):
        return memory
    return like.new_empty(shape)


def _add_product(total: Tensor, a: Tensor, b: Tensor, is_new: bool) -> None:
    """Add the sum of a * b over the basis dimension to `total`, or overwrite it with that if it is new."""
    for element in range(a.shape[1]):
        if is_new and element == 0:
            torch.mul(a[:, 0], b[:, 0], out=total)
        else:
            total.addcmul_(a[:, element], b[:, element])


def _cuts(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _fourier_matrix(rows: Tensor, columns: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Return exp(-2 pi i r c / size), where r c is reduced modulo size in whole numbers, so large sizes stay exact."""
    angle = torch.outer(rows, columns).remainder(size).to(torch.float64) * (-2 * math.pi / size)
    return torch.polar(torch.ones_like(angle), angle).to(
        torch.complex128 if dtype == torch.float64 else torch.complex64
    )
