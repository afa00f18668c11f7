"""From a blurred photo and its blur to the sharp photo.

    deblur_iterates     photo --to_linear--> Richardson-Lucy with the field --to_srgb--> iterates, each a photo
    deblur              iterates --the last, or an IterateFusion of all--> restored --strength--> photo

Colour space: photos are sRGB-like in [0, 1], light = photo ** gamma; the conversion to light is made here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.field.blur_field import WHOLE_PIXELS, BlurField
from basis_blur.foundation.errors import kind_of
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.camera_response import to_linear, to_srgb
from basis_blur.ops.memory import with_smaller_tiles
from basis_blur.ops.photo import check_larger_than_kernel, check_photo, in_full_precision
from basis_blur.ops.tiled_blur import TiledBlur
from basis_blur.ops.transforms import refuse_transforms
from basis_blur.restoration.fusion import fuse
from basis_blur.restoration.richardson_lucy import Iterates, RichardsonLucy, richardson_lucy
from basis_blur.restoration.settings import solver_settings, step_towards, steps_for

INSTEAD = 'bb.Deblur has gradients by backward() and torch.autograd.grad.'  # advice to those who use torch.func
TILE = 1024  # side of the windows in which a large photo is blurred, pixels


def deblur(
    photo: Tensor,
    field: BlurField,
    gamma: float = GAMMA,
    iterations: int | None = None,
    tv_weight: float | None = None,
    callback: Callable[[int], None] | None = None,
    tile: int | None = None,
    strength: float | None = None,
    fusion: IterateFusion | None = None,
) -> Tensor:
    """Remove the blur of a photo by Richardson-Lucy iterations.

    Photos of a batch are restored one by one, each for its own noise. The scene around the photo, which the blur mixes
    into it, is estimated too, and saturated places are modelled as such. By default a blur is removed as its maker
    recommends (`field.removal`): an estimated one more carefully than a true one.

    Args:
        photo: (N, 3 or 1, H, W); sRGB-like in [0, 1].
        field: blur of that photo, on its device.
        gamma: exponent of the photo, light = photo ** gamma; 1 for photos in linear light.
        iterations: largest number of iterations; by default that of `field.removal`. For a true blur it is 11, and 9
            more where the blur explains the photo down to its noise and `tv_weight` is not given.
        tv_weight: weight of total variation, in linear light; by default it follows from the noise of the photo.
        callback: function that is called with the number of each iteration, from 1.
        tile: side of the windows in which the blur is applied, pixels; it saves memory and makes no difference beyond
            rounding, see `TiledBlur`. By default windows are used on a GPU for photos of more than 8 megapixels; on a
            CPU the blur is applied in small tiles anyway.
        strength: length of the step from the blurred photo to the restored one, in [0, 1]; by default that of
            `field.removal`, or 1 for a true blur and with `fusion`.
        fusion: network that makes the restored photo of several iterates, such as `load_network('iterate_fusion')`,
            which suits blurs that `load_network('correlation_kpn')` estimated. It sets the number of iterations.

    Returns:
        The sharp photo, in the shape and dtype of `photo`; half precision is computed in float32.

    Raises:
        ValueError: the photo is not as described, the field is of another size or no BlurField, a number is out of its
            range, `fusion` is another network, or both it and `iterations` are given.
        InputError: the photo is smaller than the kernels, or memory does not suffice for small tiles.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> photo = torch.rand(1, 3, 32, 48)
        >>> bb.deblur(photo, field, gamma=2.2).shape
        torch.Size([1, 3, 32, 48])
    """
    refuse_transforms('deblur', INSTEAD)
    check_is_field(field)
    kept, strength, further = steps_for(field.removal, iterations, strength, fusion)
    check_photo(photo)
    given, photo = photo.dtype, in_full_precision(photo)
    least_tv_weight = 0.0 if field.removal is None else field.removal.least_tv_weight
    iterates = deblur_iterates(photo, field, kept, gamma, tv_weight, callback, tile, least_tv_weight, further)
    sharp = step_towards(iterates if fusion is None else fuse(fusion, photo, iterates), photo, strength)
    return sharp.to(given)


def check_is_field(field: object) -> None:
    """Raise ValueError unless `field` is a BlurField."""
    if not isinstance(field, BlurField):
        raise ValueError(
            f'field is {kind_of(field)}, expected a BlurField of the photo, as estimate_blur(net, photo) returns it.'
        )


def deblur_iterates(
    photo: Tensor,
    field: BlurField,
    iterations: Sequence[int],
    gamma: float = GAMMA,
    tv_weight: float | None = None,
    callback: Callable[[int], None] | None = None,
    tile: int | None = None,
    least_tv_weight: float = 0.0,
    further: int = 0,
) -> Tensor:
    """Return the restored photos after some numbers of iterations, (N, C len(iterations), H, W).

    Where the stop rule of the solver ends the work before, the iterates after it equal the last one.

    Args:
        iterations: numbers of iterations, >= 1, ascending.
        photo, field, gamma, tv_weight, callback, tile: arguments of `deblur`, whose errors are raised too.
        least_tv_weight: lower bound of the weight of total variation that follows from the noise; linear light.
        further: largest number of iterations that follow where the blur explains the photo down to its noise, which has
            to be visible, and `tv_weight` is not given; the last iterate is what they lead to.
    """
    refuse_transforms('deblur', INSTEAD)
    check_is_field(field)
    check_photo(photo)
    check_larger_than_kernel(photo, field.kernel_size)
    given, photo, field = photo.dtype, in_full_precision(photo), field.in_full_precision()
    if tile is None and photo.device.type != 'cpu' and photo.shape[-2] * photo.shape[-1] > WHOLE_PIXELS:
        tile = TILE
    if (len(photo), *photo.shape[-2:]) != (len(field), *field.image_size):
        raise ValueError(
            f'the photo is {tuple(photo.shape)} and the field {tuple(field.mixing.shape)}, expected the same N, H and '
            'W; give the field that was estimated from this photo.'
        )
    results = []
    for n, one in enumerate(photo.split(1)):
        settings = solver_settings(one, gamma, iterations[-1], tv_weight, least_tv_weight, further)
        solver = _Solver(one, field[n], gamma, settings, callback)
        work = partial(solver.solve, iterations)
        results.append(with_smaller_tiles(work, tile, TILE, 'removing the blur'))
    return (results[0] if len(results) == 1 else torch.cat(results)).to(given)


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
        callback = self.callback
        tell = None if callback is None else lambda iteration, _: callback(iteration)
        light = to_linear(self.photo, self.gamma)
        scene = richardson_lucy(light, blur, ReflectPad(field)(light), self.settings, tell, iterates.watch).scene
        del light
        return iterates.joined(scene)

    def _photo_of(self, scene: Tensor) -> Tensor:
        return to_srgb(self.field.inside(scene).clamp(0, 1), self.gamma).to(self.photo.dtype)
