"""From photo to blur field and from blurred to sharp photo: the steps that a program calls.

    estimate_blur   photo --to_linear--> network --> BlurField
    estimate_blur_at_half_size      the same of the photo at half size, with kernels twice as large
    deblur          photo --to_linear--> Richardson-Lucy with the field --> to_srgb --> photo
                    the same, and its iterates --> IterateFusion --> photo
    restore         photo --> restoring network, such as UFPNet --> photo, tile by tile if wanted

Colour space: photos are sRGB-like in [0, 1], light = photo ** gamma; the conversion to light is made here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import BasisKPN
from basis_blur.archs.iterate_fusion_arch import SIZE_MULTIPLE, IterateFusion
from basis_blur.foundation.errors import InputError
from basis_blur.field.blur_field import BlurField, CompactField, pack
from basis_blur.archs.modes import evaluation_mode
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.camera_response import to_linear, to_srgb
from basis_blur.ops.tiled_blur import TiledBlur
from basis_blur.restoration.richardson_lucy import Iterates, RichardsonLucy, richardson_lucy
from basis_blur.restoration.settings import solver_settings, step_towards, steps_for
from basis_blur.estimation.tiling import (
    Feathered,
    Window,
    blur_of_tiles,
    blur_tile,
    first_blur_tile,
    first_restoring_tile,
    inside,
    restoring_tile,
    shared_means,
    spread_windows,
    takes_means,
    tile_windows,
    tiles_with_halo,
    with_smaller_tiles,
)

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear light with the sRGB primaries, ITU-R BT.709
OVERLAP, LARGE_OVERLAP = 32, 128  # pixels; of small and of large tiles of a restoring network
WHOLE_PIXELS = 1 << 23  # of larger photos, fields are compact and the blur is applied in windows
TILE = 1024  # pixels; of the windows in which it then blurs
FUSION_TILE = 1536  # pixels; of the tiles of an IterateFusion
SAMPLE_SIDE, SAMPLES = 512, 24  # windows that tell what a whole photo is like


def estimate_blur(net: nn.Module, photo: Tensor, gamma: float = 2.2, tile: int | None = None) -> BlurField:
    """Estimate the blur of every pixel of a photo.

    The network runs in evaluation mode and without gradients; afterwards it is in the mode it was in before.
    A gray photo is repeated for a network that expects colour; a network that expects gray sees the luminance.

    Args:
        net: a network such as `load_network` returns: takes linear light (N, C, H, W), returns a BlurField, and has
            `hyper_parameters` with 'kernel_size', and with 'in_channels' unless it takes gray and colour alike.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1]; any size from the size of the network's kernels.
        gamma: of the photo, light = photo ** gamma; 1 for photos in linear light.
        tile: side of the tiles in which a BasisKPN works on the photo, pixels; by default a large photo is worked on
            in tiles for which memory stays moderate, and any other network and photo as a whole. See
            `basis_blur.estimation.tiling` for why they make no difference.

    Returns:
        The field, on the device and in the dtype of the photo; of more than 8 megapixels, as a `CompactField`. It says
        that it is `estimated`.

    Raises:
        ValueError: the photo has other dimensions, is not floating point, or has values outside [0, 1] or NaN.
        InputError: the photo is smaller than the network's kernels, or memory does not suffice for small tiles.
    """
    light = light_for(net, photo, gamma)

    large = photo.shape[-2] * photo.shape[-1] > WHOLE_PIXELS

    def estimate(side: int | None) -> BlurField:
        if side is None:
            field = net(light)
            return CompactField.of(field) if large else field
        shape = (len(light), net.hyper_parameters['num_kernels'], *light.shape[-2:])
        mixing = light.new_empty(shape, dtype=torch.int16 if large else light.dtype)
        parts = zip(light.split(1), mixing.split(1), strict=True)
        kernels = torch.cat([blur_of_tiles(net, one, side, place) for one, place in parts])
        return CompactField(kernels, mixing) if large else BlurField.unchecked(kernels, mixing)

    with torch.no_grad(), evaluation_mode(net):
        if isinstance(net, BasisKPN):
            tile = tile or blur_tile(net, photo.shape[-2:])
            field = with_smaller_tiles(estimate, tile, first_blur_tile(net), 'estimating the blur').to(photo)
        else:
            field = estimate(None).to(photo)
    field.estimated = True
    return field


def estimate_blur_at_half_size(net: nn.Module, photo: Tensor, gamma: float = 2.2) -> BlurField:
    """Estimate a blur that is larger than the network's kernels, from the photo at half its size.

    Pixels of the small photo are means of 2 x 2, in linear light. Its kernels are enlarged linearly, middle on middle:
    K pixels become 2K - 1, of which every second is one of theirs, up to the sum. What is sharp so gets the smallest
    kernel that half size tells from a point, 2 pixels wide.

    Args:
        net: as for `estimate_blur`.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1]; any size from 2K - 1 pixels.
        gamma: of the photo.

    Returns:
        The field of the photo, with kernels of 2K - 1 pixels a side.

    Raises:
        ValueError: as `estimate_blur`.
        InputError: the photo is smaller than the enlarged kernels, or memory does not suffice for small tiles.
    """
    check_photo(photo)
    side = 2 * net.hyper_parameters['kernel_size'] - 1
    check_larger_than_kernel(photo, side)
    light = F.avg_pool2d(to_linear(photo.detach(), gamma), 2, ceil_mode=True, count_include_pad=False)
    field = estimate_blur(net, to_srgb(light, gamma).clamp_(0, 1), gamma)
    kernels = F.interpolate(field.kernels, size=(side, side), mode='bilinear', align_corners=True)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True)
    large = photo.shape[-2] * photo.shape[-1] > WHOLE_PIXELS
    shape = (*field.mixing.shape[:2], *photo.shape[-2:])
    mixing = torch.empty(shape, dtype=torch.int16 if large else field.mixing.dtype, device=field.device)
    for place, small in zip(mixing.split(1, 1), field.mixing.split(1, 1), strict=True):
        whole = F.interpolate(small, scale_factor=2, mode='bilinear', align_corners=False)
        whole = whole[..., : shape[-2], : shape[-1]]
        place.copy_(pack(whole) if large else whole)
    return (CompactField if large else BlurField.unchecked)(kernels, mixing, estimated=True)


def light_for(net: nn.Module, photo: Tensor, gamma: float) -> Tensor:
    """Return what a network sees of a photo: (N, C, H, W) linear light; arguments and errors as `estimate_blur`."""
    check_photo(photo)
    check_larger_than_kernel(photo, net.hyper_parameters['kernel_size'])
    channels = net.hyper_parameters.get('in_channels', photo.shape[1])
    return _with_channels(to_linear(photo.to(next(net.parameters())), gamma), channels)


def deblur(
    photo: Tensor,
    field: BlurField,
    gamma: float = 2.2,
    iterations: int | None = None,
    tv_weight: float | None = None,
    callback: Callable[[int], None] | None = None,
    tile: int | None = None,
    strength: float | None = None,
    fusion: IterateFusion | None = None,
) -> Tensor:
    """Remove the blur of a photo by Richardson-Lucy iterations.

    Photos of a batch are restored one by one, each for its own noise. The border that the photo does not show is
    estimated with it, and saturated places are modelled as such. By default a blur that was estimated
    (`field.estimated`) is removed with more care than a true one.

    Args:
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1].
        field: of that photo, on its device.
        gamma: of the photo, light = photo ** gamma; 1 for photos in linear light.
        iterations: at most; by default 11 for a true blur, `ESTIMATED_ITERATIONS` for an estimated one.
        tv_weight: of total variation, in linear light; by default it follows from the noise of the photo.
        callback: called with the number of each iteration, from 1.
        tile: side of the windows in which the blur is applied, pixels; by default photos of more than 8 megapixels
            are worked on so, which takes less memory and makes no difference beyond rounding, see `TiledBlur`.
        strength: of the step from the blurred photo to the restored one, in [0, 1]; by default 1 for a true blur and
            with `fusion`, `ESTIMATED_STRENGTH` for an estimated one.
        fusion: a network that looks at several iterates and makes the restored photo of them, such as
            `load_network('iterate_fusion')`, which suits blurs that `load_network('basis_kpn')` estimated. It says how
            many iterations are made.

    Returns:
        The sharp photo, as `photo` is.

    Raises:
        ValueError: the photo is not as described, the field is of another size, `strength` is out of its range, or both
            `iterations` and `fusion` are given.
        InputError: the photo is smaller than the kernels, or memory does not suffice for small tiles.
    """
    kept, strength = steps_for(field.estimated, iterations, strength, fusion)
    iterates = deblur_iterates(photo, field, kept, gamma, tv_weight, callback, tile)
    return step_towards(iterates if fusion is None else fuse(fusion, photo, iterates), photo, strength)


def deblur_iterates(
    photo: Tensor,
    field: BlurField,
    iterations: Sequence[int],
    gamma: float = 2.2,
    tv_weight: float | None = None,
    callback: Callable[[int], None] | None = None,
    tile: int | None = None,
) -> Tensor:
    """Return the restored photos after some numbers of iterations, (N, C len(iterations), H, W).

    Where the stop rule of the solver ends before, later iterates are the last one.

    Args:
        iterations: >= 1, ascending.
        photo, field, gamma, tv_weight, callback, tile: as of `deblur`; errors too.
    """
    check_photo(photo)
    check_larger_than_kernel(photo, field.kernel_size)
    if tile is None and photo.shape[-2] * photo.shape[-1] > WHOLE_PIXELS:
        tile = TILE
    if (len(photo), *photo.shape[-2:]) != (len(field), *field.image_size):
        raise ValueError(
            f'the photo is {tuple(photo.shape)} and the field {tuple(field.mixing.shape)}, expected the same N, H and '
            'W; give the field that was estimated from this photo.'
        )
    results = []
    for n, one in enumerate(photo.split(1)):
        solver = _Solver(one, field[n], gamma, solver_settings(one, gamma, iterations[-1], tv_weight), callback)
        work = partial(solver.solve, iterations)
        results.append(with_smaller_tiles(work, tile, TILE, 'removing the blur'))
    return results[0] if len(results) == 1 else torch.cat(results)


@torch.no_grad()
def fuse(net: IterateFusion, photo: Tensor, iterates: Tensor, tile: int = FUSION_TILE) -> Tensor:
    """Return what a network makes of a photo and of its iterates, in tiles that see all that reaches them.

    Args:
        net: runs in evaluation mode and is afterwards in its mode of before.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1].
        iterates: (N, the same times the number of `net.iterations`, H, W); see `deblur_iterates`.
        tile: largest side of a tile, pixels, rounded down to a multiple of 8.

    Raises:
        InputError: memory does not suffice for small tiles.
    """

    def work(side: int) -> Tensor:
        result = torch.empty_like(photo)
        side = max(SIZE_MULTIPLE, side // SIZE_MULTIPLE * SIZE_MULTIPLE)
        for core, around in tiles_with_halo(photo.shape[-2:], side, net.reach):
            found = net.fused(photo[(..., *around)], iterates[(..., *around)])
            result[(..., *core)] = found[(..., *inside(core, around))]
        return result

    with evaluation_mode(net):
        return with_smaller_tiles(work, tile, tile, 'fusing the iterates')


@torch.no_grad()
def restore(
    net: nn.Module,
    photo: Tensor,
    tile: int | None = None,
    overlap: int | None = None,
    callback: Callable[[int, int], None] | None = None,
    watch: Callable[[Window, Any], None] | None = None,
) -> Tensor:
    """Restore a photo with a network that maps photos to photos, such as UFPNet.

    A photo larger than `tile` is restored in tiles, kernels included, which fade into each other where they overlap;
    memory then depends on the tile alone. Where the network takes means over a photo, all tiles take them from the
    same windows of it. The network runs in evaluation mode and is afterwards in its mode of before.

    Args:
        net: takes (N, 3, h, w), sRGB-like in [0, 1], and returns such a photo, a result with `.image`, or a list of
            photos whose first is the restored one.
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1]; gray is repeated, and the colours of the result averaged.
        tile: largest side of a tile, pixels; by default the photo is restored as a whole where that takes a few GB,
            as far as the network's hyper-parameters tell, and else in tiles for which it does.
        overlap: of neighbouring tiles, pixels; by default a quarter of their side, but from 32 to 128.
        callback: called after each tile with its number, from 1, and how many there are.
        watch: called after each tile with its place, (rows, columns) as slices, and what the network returned; once
            more from the start if memory did not suffice and the tiles are smaller.

    Returns:
        The restored photo in [0, 1], as `photo` is.

    Raises:
        ValueError: the photo is not as described, or `tile` is not larger than `overlap`.
        InputError: memory does not suffice for small tiles.
    """
    check_photo(photo)
    if tile is not None and not 0 <= _overlap_of(tile, overlap) < tile:
        overlap = _overlap_of(tile, overlap)
        raise ValueError(f'tiles of {tile} pixels overlap by {overlap}, expected less than their size, and >= 0.')
    first = next(net.parameters(), photo)
    colour = photo.to(first).expand(-1, 3, -1, -1)
    size = photo.shape[-2:]

    def work(side: int | None) -> Tensor:
        whole = Feathered(colour, 0 if side is None else _overlap_of(side, overlap))
        windows = tile_windows(size, side, whole.overlap)
        with shared_means([net] if len(windows) > 1 else []):
            if len(windows) > 1 and takes_means(net):
                samples = spread_windows(size, side // 2, 4)
                net(torch.cat([colour[(..., *window)] for window in samples]))
            for number, window in enumerate(windows, 1):
                result = net(colour[(..., *window)])
                whole.add(window, _restored_photo(result))
                if watch is not None:
                    watch(window, result)
                if callback is not None:
                    callback(number, len(windows))
        return whole.result().clamp_(0, 1)

    with evaluation_mode(net):
        tile = tile or restoring_tile(net, size)
        result = with_smaller_tiles(work, tile, first_restoring_tile(net), 'restoring')
    return (result if photo.shape[1] == 3 else result.mean(1, keepdim=True)).to(photo)


def _overlap_of(tile: int, overlap: int | None) -> int:
    return max(OVERLAP, min(LARGE_OVERLAP, tile // 4)) if overlap is None else overlap


def _restored_photo(result) -> Tensor:
    image = getattr(result, 'image', result)
    return image if isinstance(image, Tensor) else image[0]


class _Solver:
    """Richardson-Lucy on one photo."""

    def __init__(
        self,
        photo: Tensor,
        field: BlurField,
        gamma: float,
        settings: RichardsonLucy,
        callback: Callable[[int], None] | None,
    ):
        self.photo = photo
        self.field = field
        self.gamma = gamma
        self.settings = settings
        self.callback = callback

    def solve(self, kept: Sequence[int], tile: int | None) -> Tensor:
        """Return the photos after the iterations `kept`, one after the other in dim 1."""
        field = self.field
        blur = BasisBlur(field) if tile is None else TiledBlur(field, tile)
        iterates = Iterates(kept, self._photo_of)
        tell = None if self.callback is None else lambda iteration, _: self.callback(iteration)
        light = to_linear(self.photo, self.gamma)
        scene = richardson_lucy(light, blur, ReflectPad(field)(light), self.settings, tell, iterates.watch).scene
        del light
        return iterates.joined(scene)

    def _photo_of(self, scene: Tensor) -> Tensor:
        return to_srgb(self.field.inside(scene).clamp(0, 1), self.gamma).to(self.photo.dtype)


def check_photo(photo: Tensor) -> None:
    """Raise ValueError unless `photo` is (N, 3 or 1, H, W), floating point and within [0, 1]."""
    if photo.ndim != 4 or photo.shape[1] not in (1, 3):
        raise ValueError(f'the photo has shape {tuple(photo.shape)}, expected (N, 3, H, W) or (N, 1, H, W).')
    if not photo.is_floating_point():
        raise ValueError(f'the photo is {photo.dtype}, expected floating point in [0, 1]; divide 8-bit values by 255.')
    if photo.numel() == 0:
        raise ValueError(f'the photo is empty: shape {tuple(photo.shape)}.')
    low, high = (value.item() for value in photo.detach().aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons
        raise ValueError(
            f'the photo has values from {low:.4g} to {high:.4g}, expected sRGB-like values in [0, 1]; '
            'divide 8-bit values by 255, and clamp or remove values that are out of range or NaN.'
        )


def check_larger_than_kernel(photo: Tensor, kernel_size: int) -> None:
    """Raise InputError if a side of `photo` (..., H, W) has fewer pixels than a kernel of side `kernel_size`."""
    height, width = photo.shape[-2:]
    if min(height, width) < kernel_size:
        raise InputError(
            f'the photo is {width}x{height} pixels (width x height), expected at least {kernel_size} on each side, '
            'the size of the blur kernels; give a larger photo or a network with smaller kernels.'
        )


def _with_channels(light: Tensor, channels: int) -> Tensor:
    if channels == light.shape[1]:
        return light
    if channels == 3:
        return light.expand(-1, 3, -1, -1)
    if channels == 1:
        return (light * light.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
    raise ValueError(f'the network expects {channels} channels, a photo has 3 or 1.')
