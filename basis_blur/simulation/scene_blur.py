"""Blur a sharp photo as if its objects and the camera had moved  [C21, Alg. 1, A.3].

A scene has a background, slot 0, and up to P - 1 objects, each with a kernel k_p of its own. With the masks 1_p,

    mixing_p = (k_p conv 1_p + e 1_p) / sum_q (k_q conv 1_q + e 1_q)
    lq       = to_srgb(clip(sum_p mixing_p * (k_p conv light) + noise, 0, 1)),      light = to_linear(gt)

so the blurred photo is that of a blur field of P kernels. Differs from the paper in:

1. e = 1e-4. Pixels that no object reaches, since each moved away from there, keep the kernel of the object they belong
   to; and e decides between equal shares, so that rounding does not.
2. Blurred masks are divided by their sum, so that light is neither lost nor added where objects meet. The paper takes
   mixing_p = k_p conv 1_p; the ingredient `divided` chooses.
3. The data set chooses which objects move, see `choose_objects`. Noise of the sensor, noise of photons and light
   sources can be added.

Saturation: `illumination` multiplies the value of HSV, that is red, green and blue alike. So the scene `gt` may exceed
1; it is not clipped, since the sensor clips the blurred light. Bright spots therefore become streaks of full white,
which no operator without clipping explains [W14].

The same ingredients give the same numbers, whether alone or in a batch, in a loader worker or on the training device,
to rounding: noise is drawn on the CPU from one seed per photo, and masks are mixed in float64.

Convention: the photo is the middle of the scene, (K-1)/2 pixels smaller at each side; labels cover the whole scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.camera_response import to_linear, to_srgb

MAX_OBJECTS = 3  # largest number of objects that move
MIN_OBJECT_PIXELS = 400  # least number of pixels of an object that moves
RESIDUAL = 1e-4  # e: far above the rounding of a convolution in float64, far below any share that is visible


class Extras(TypedDict, total=False):
    """The ingredients that may be left out.

    Args:
        photons: (N,); number of photons of white light in a pixel, whose noise is Poisson's; 0 for none.
        lamps: (N, L, 4); light sources as row, column and radius in pixels of the scene, and light, where 1 is white; a
            radius of 0 for none.
        divided: (N,) bool; whether blurred masks are divided by their sum; if not, they are those that [C21, Alg. 1]
            prints, and the mixing does not sum to 1.
    """

    photons: Tensor
    lamps: Tensor
    divided: Tensor


class Ingredients(Extras):
    """The ingredients that determine a blurred photo: all of one scene, without N, or all of a batch.

    Args:
        sharp: (N, 3, H+K-1, W+K-1); sRGB-like, uint8 in [0, 255] or floating point in [0, 1].
        labels: (N, H+K-1, W+K-1) uint8; 0 is background, 1 to P - 1 are the objects.
        kernels: (N, P, K, K); convolution kernels, >= 0, each sums to 1; their dtype is that of the result.
        illumination: (N,); factor on the value of HSV, > 0.
        noise_std: (N,); standard deviation of the noise in linear light, >= 0.
        noise_seed: (N,) int64; >= 0.
    """

    sharp: Tensor
    labels: Tensor
    kernels: Tensor
    illumination: Tensor
    noise_std: Tensor
    noise_seed: Tensor


NAMES = (*Extras.__annotations__, *Ingredients.__annotations__)  # names of all ingredients


class BlurredScene(TypedDict):
    """A training sample, with N where its ingredients had it.

    Args:
        lq: (N, 3, H, W); the blurred photo, sRGB-like in [0, 1].
        gt: (N, 3, H+K-1, W+K-1); the scene, sRGB-like, >= 0; over 1 where the illumination is beyond white.
        kernels: (N, P, K, K); as given.
        mixing: (N, P, H, W); >= 0, sums to 1 over P unless masks are not divided; 0 in slots without object.
        weight: (N, 1, H, W); 1 / number of pixels of the object that the pixel belongs to, which is the one with the
            largest mixing. The weights of a photo sum to the number of its visible objects, background included.
    """

    lq: Tensor
    gt: Tensor
    kernels: Tensor
    mixing: Tensor
    weight: Tensor


def blur_scene(ingredients: Ingredients, gamma: float = GAMMA) -> BlurredScene:
    """Blur one scene or a batch; the head of this module has the formula.

    Args:
        ingredients: ingredients on any device; not modified. Further entries are ignored.
        gamma: light = srgb ** gamma.

    Returns:
        The sample, on the device and in the dtype of the kernels.

    Raises:
        ValueError: an ingredient has the wrong shape, a label has no kernel, or `gamma` is not positive.

    Example:
        >>> scene = bb.blur_scene({
        ...     'sharp': torch.rand(3, 36, 36),
        ...     'labels': torch.zeros(36, 36, dtype=torch.uint8),
        ...     'kernels': torch.full((1, 5, 5), 1 / 25),
        ...     'illumination': torch.tensor(1.0),
        ...     'noise_std': torch.tensor(0.0),
        ...     'noise_seed': torch.tensor(0),
        ... })
        >>> scene['lq'].shape, scene['gt'].shape
        (torch.Size([3, 32, 32]), torch.Size([3, 36, 36]))
    """
    if ingredients['sharp'].ndim == 3:
        one: Mapping[str, Any] = ingredients
        batch = {name: torch.as_tensor(one[name])[None] for name in NAMES if name in one}
        scene: Mapping[str, Any] = blur_scene(cast(Ingredients, batch), gamma)
        return cast(BlurredScene, {name: value[0] for name, value in scene.items()})
    _check(ingredients)
    kernels = ingredients['kernels']
    sharp = ingredients['sharp']
    sharp = sharp.to(kernels.dtype) / 255 if sharp.dtype == torch.uint8 else sharp.to(kernels.dtype)
    gt = _with_lamps(sharp * ingredients['illumination'].to(kernels)[:, None, None, None], ingredients, gamma)
    masks = _mixed_masks(ingredients['labels'], kernels, ingredients.get('divided'))
    mixing = masks.to(kernels.dtype)
    light = BasisBlur(BlurField.unchecked(kernels, mixing))(to_linear(gt, gamma))
    light = light + _noise(ingredients, light)
    return {
        'lq': to_srgb(light.clamp(0, 1), gamma),
        'gt': gt,
        'kernels': kernels,
        'mixing': mixing,
        'weight': _object_weight(masks).to(kernels.dtype),
    }


def choose_objects(
    labels: np.ndarray,
    generator: np.random.Generator,
    max_objects: int = MAX_OBJECTS,
    min_pixels: int = MIN_OBJECT_PIXELS,
) -> np.ndarray:
    """Keep a random few of the objects of a scene that are large enough, and number them from 1.

    Args:
        labels: (H, W) whole numbers; 0 is background, any other number an object.
        generator: generator that draws which ones, each object with equal chance.
        max_objects: largest number of objects that are kept, 0 to 255.
        min_pixels: least number of pixels within `labels`; an object with fewer becomes background.

    Returns:
        (H, W) uint8; 0 and 1 to n, n <= max_objects.

    Raises:
        ValueError: `max_objects` does not fit into uint8.
    """
    if not 0 <= max_objects <= 255:
        raise ValueError(f'max_objects is {max_objects}, expected 0 to 255.')
    values, where, pixels = np.unique(labels, return_inverse=True, return_counts=True)
    large = np.flatnonzero((pixels >= min_pixels) & (values != 0))
    chosen = generator.permutation(large)[:max_objects]
    number = np.zeros(len(values), np.uint8)
    number[chosen] = np.arange(1, len(chosen) + 1)
    return number[where].reshape(labels.shape)


def fill_slots(kernels: Tensor, slots: int = MAX_OBJECTS + 1) -> Tensor:
    """Append delta kernels, for slots without object, until there are as many as `slots`.

    Args:
        kernels: (n, K, K), n <= slots; background first.
        slots: P, the number of kernels with the appended ones.

    Returns:
        (P, K, K).

    Raises:
        ValueError: there are more kernels than slots.
    """
    missing = slots - len(kernels)
    if missing < 0:
        raise ValueError(f'{len(kernels)} kernels are given for {slots} slots; give at most one for each.')
    filled = F.pad(kernels, (0, 0, 0, 0, 0, missing))
    middle = kernels.shape[-1] // 2
    filled[len(kernels) :, middle, middle] = 1
    return filled


def _check(ingredients: Ingredients) -> None:
    sharp, labels, kernels = (ingredients[name] for name in ('sharp', 'labels', 'kernels'))
    if kernels.ndim != 4 or kernels.shape[0] != len(sharp) or kernels.shape[2] != kernels.shape[3]:
        raise ValueError(f'kernels have shape {tuple(kernels.shape)}, expected ({len(sharp)}, P, K, K).')
    number, slots, size, _ = kernels.shape
    if sharp.ndim != 4 or sharp.shape[1] != 3 or min(sharp.shape[2:]) < size:
        raise ValueError(f'sharp has shape {tuple(sharp.shape)}, expected (N, 3, H+{size - 1}, W+{size - 1}).')
    if labels.shape != (number, *sharp.shape[2:]):
        raise ValueError(
            f'labels have shape {tuple(labels.shape)}, expected {(number, *sharp.shape[2:])}; they cover the whole '
            'scene, border included.'
        )
    for name in ('illumination', 'noise_std', 'noise_seed'):
        if ingredients[name].shape != (number,):
            raise ValueError(f'{name} has shape {tuple(ingredients[name].shape)}, expected one number a scene.')
    if int(labels.max()) >= slots:
        raise ValueError(f'labels reach {int(labels.max())}, but there are kernels for 0 to {slots - 1} only.')


def _with_lamps(gt: Tensor, ingredients: Ingredients, gamma: float) -> Tensor:
    """Return the scene with its light sources: discs of one light, white; where they meet, the brighter one."""
    lamps = ingredients.get('lamps')
    if lamps is None or not lamps.numel():
        return gt
    rows, columns = (torch.arange(side, device=gt.device, dtype=gt.dtype) for side in gt.shape[-2:])
    for lamp in lamps.to(gt).unbind(1):
        row, column, radius, light = (each[:, None, None, None] for each in lamp.unbind(1))
        lit = (rows[:, None] - row) ** 2 + (columns - column) ** 2 < radius**2
        gt = torch.where(lit, torch.maximum(gt, to_srgb(light, gamma)), gt)
    return gt


def _mixed_masks(labels: Tensor, kernels: Tensor, divided: Tensor | None) -> Tensor:
    """Return the shares (N, P, H, W), in float64, that the blurred objects have in each pixel."""
    number, slots, size, _ = kernels.shape
    height, width = (side - size + 1 for side in labels.shape[-2:])
    numbers = torch.arange(slots, device=labels.device)[:, None, None]
    masks = (labels[:, None] == numbers).double()
    # Each slot by itself is a photo blurred everywhere by one kernel.
    alone = BlurField.unchecked(
        kernels.double().flatten(0, 1)[:, None], masks.new_ones(number * slots, 1, height, width)
    )
    blurred = BasisBlur(alone)(masks.flatten(0, 1)[:, None]).view(number, slots, height, width)
    radius = size // 2
    printed = blurred.clamp_min(0)
    shares = printed + RESIDUAL * masks[:, :, radius : radius + height, radius : radius + width]
    shares = shares / shares.sum(1, keepdim=True)
    return shares if divided is None else torch.where(divided.to(shares.device)[:, None, None, None], shares, printed)


def _object_weight(masks: Tensor) -> Tensor:
    """Return 1 / number of pixels of the object (N, 1, H, W) that has the largest share in the pixel."""
    owner = masks.max(1).indices.flatten(1)  # eight times faster than argmax on the CPU
    ones = masks.new_ones(owner.shape)
    pixels = masks.new_zeros(masks.shape[:2]).scatter_add(1, owner, ones)
    return (1 / pixels.gather(1, owner)).view(len(masks), 1, *masks.shape[2:])


def _noise(ingredients: Ingredients, light: Tensor) -> Tensor | float:
    deviations = ingredients['noise_std'].tolist()
    photons = ingredients['photons'].tolist() if 'photons' in ingredients else [0.0] * len(deviations)
    if not any(deviations) and not any(photons):
        return 0.0
    noise = torch.zeros(light.shape, dtype=torch.float32)
    seeds = ingredients['noise_seed'].tolist()
    for item, (deviation, count, seed) in enumerate(zip(deviations, photons, seeds, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        if deviation:
            noise[item] = deviation * torch.randn(light.shape[1:], generator=generator, dtype=torch.float32)
        if count:
            # In float64, because one photon more or less would show where rates differ by rounding.
            expected = count * light[item].detach().double().cpu().clamp_min(0)
            noise[item] += ((torch.poisson(expected, generator) - expected) / count).float()
    return noise.to(light)
