"""When an estimated blur, or a photo restored with it, is not to be trusted.

    code        the doubt                                   is raised if
    flat        nothing to see a blur by                    the photo's gradients are no larger than noise makes them
    large       the blur is larger than the kernels         in a tenth of the photo or more, kernels reach their rim
    residual    the blur does not explain the photo         the restored photo, blurred again, is far from the photo

A doubt says that the result may be wrong, not that it is; and a wrong blur that is small enough raises none. Where a
blur is larger than its kernels, a network mostly returns small kernels, since it was trained on blurs that fit. So
`estimate_blur_at_best_size` shows it the photo at half size too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from basis_blur.estimation.by_network import estimate_blur, estimate_blur_at_half_size
from basis_blur.estimation.estimate import LOOKING, Doubt, Progress
from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.camera_response import to_linear, to_srgb
from basis_blur.ops.windows import spread_windows
from basis_blur.restoration.noise import BRIGHT, estimate_noise
from basis_blur.restoration.settings import LEAST_CONTRAST, LEAST_NOISE, contrast_of

RIM = 0.45  # distance from the middle of a kernel, across or down, beyond which its rim lies; share of its side
RIM_LIGHT = 0.02  # share of a kernel's light in its rim above which the blur is taken to go on outside
# Share of the light of a kernel found at half size, outside the frame of the kernels of full size, above which the blur
# is taken to be larger than those. In 8 photos with noise of 0.01 the share was 0.01 to 0.13 where nothing was blurred,
# and about right where the true share was 0.18 to 0.44.
OUTSIDE_LIGHT = 0.15
LARGE_SHARE = 0.1  # share of a photo with blurs larger than the kernels from which on its blur counts as large
GRID = 48  # number of rows and of columns of the grid of pixels whose kernels are looked at
# Value of `contrast_of` for noise of 1, about: two differences of means of 4 x 4 pixels in three colours.
NOISE_CONTRAST = math.sqrt(2 * 3 * 2) / 4
FLAT_RATIO = 1.5  # least contrast of a photo that is not flat, as a multiple of that of its noise
RESIDUAL_RATIO = 3  # ratio of the residual to the noise up to which no doubt is raised
# Residual up to which no doubt is raised, for a known and for an estimated blur; sRGB-like, root mean square. The few
# iterations for an estimated blur leave something at edges: of 200 scenes of training photos (256 pixels, up to three
# objects, noise, JPEG), restored with their own estimates, 35 % leave more than 0.025 and 9 % more than 0.04, and the
# latter gain no less than the others. Of those that lose by the kernels of another photo, half leave more than 0.04.
LEAST_RESIDUAL, LEAST_RESIDUAL_ESTIMATED = 0.025, 0.04
SAMPLE_SIDE, SAMPLES = 512, 24  # side in pixels, and largest number, of the windows that stand for a whole photo
UNKNOWN_LIGHT = 0.01  # share of a pixel's kernel in places that may be clipped, above which the pixel may be brighter


def doubts_of_estimate(photo: Tensor, field: BlurField | PixelField) -> list[Doubt]:
    """Return why the estimated blur of a photo may be wrong: doubts that the photo and the estimate raise.

    'flat' is raised by `is_flat`, and 'large' by a `share_beyond_kernels` of at least 0.1.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        field: blur that was estimated from it.

    Raises:
        ValueError: the field is of several photos or another size.
    """
    _check_pair(photo, field)
    found = []
    if is_flat(photo):
        words = 'the photo is flat or mostly noise, so there is little to see its blur by; do not trust the estimate.'
        found.append(Doubt('flat', words))
    share = share_beyond_kernels(field)
    if share >= LARGE_SHARE:
        size = field.kernel_size
        words = (
            f'in {share:.0%} of the photo the blur reaches the rim of the kernels, {size}x{size} pixels, and may be '
            'larger; do not trust the estimate there, or scale the photo down.'
        )
        found.append(Doubt('large', words))
    return found


def is_flat(photo: Tensor) -> bool:
    """Tell whether a photo is flat or mostly noise.

    It is if its contrast (`contrast_of`, of its sRGB-like values) is less than 0.005, or less than 1.5 times that of
    its noise.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
    """
    noise = max(estimate_noise(photo).item(), LEAST_NOISE)
    return contrast_of(photo) < max(LEAST_CONTRAST, FLAT_RATIO * NOISE_CONTRAST * noise)


def share_beyond_kernels(field: BlurField | PixelField) -> float:
    """Return the share of a photo where the blur seems larger than the kernels hold.

    That is where more than 0.02 of a kernel's light lies in its rim: more than 0.45 of its side from its middle, across
    or down, or on the outermost pixels of a small kernel. Pixels on a grid are looked at.

    Args:
        field: blur of one photo or several.
    """
    return _share_outside(field, min(RIM * field.kernel_size, field.kernel_size // 2 - 0.5), RIM_LIGHT)


def _share_outside(field: BlurField | PixelField, reach: float, light: float) -> float:
    """Return the share of a photo where more than `light` of a kernel is farther than `reach` pixels across or down."""
    height, width = field.image_size
    rows, columns = (torch.linspace(0, side - 1, min(side, GRID)).round().long() for side in (height, width))
    kernels = field.kernels_at(torch.cartesian_prod(rows, columns).to(field.device))
    radius = field.kernel_size // 2
    across = torch.arange(-radius, radius + 1, device=kernels.device).abs() > reach
    outside = across[:, None] | across
    return ((kernels * outside).sum((-2, -1)) > light).float().mean().item()


def doubts_of_restoration(
    photo: Tensor, restored: Tensor, field: BlurField, gamma: float = GAMMA, estimated: bool | None = None
) -> list[Doubt]:
    """Return why a restored photo may be wrong: doubts that blurring it again raises.

    'residual' is raised by a `reblur_residual` of more than 0.025, or 0.04 for an estimated blur, that is also more
    than 3 times the photo's noise.

    Args:
        photo, restored: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        field: blur that was removed.
        gamma: exponent of the photo.
        estimated: whether the field was estimated; by default that is so if it has a `removal`.

    Raises:
        ValueError: the field is of several photos or another size.
    """
    estimated = field.removal is not None if estimated is None else estimated
    return doubt_of_residual(photo, reblur_residual(photo, restored, field, gamma), estimated)


def doubt_of_residual(photo: Tensor, residual: float, estimated: bool) -> list[Doubt]:
    """Return the doubt that a `reblur_residual` raises, or none; see `doubts_of_restoration`.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        residual: the residual of its restoration.
        estimated: whether the field was estimated.
    """
    noise = max(estimate_noise(photo).item(), LEAST_NOISE)
    least = LEAST_RESIDUAL_ESTIMATED if estimated else LEAST_RESIDUAL
    if residual <= max(least, RESIDUAL_RATIO * noise):
        return []
    words = (
        f'the blur does not explain the photo: the restored photo, blurred again, differs from it by {residual:.3f}, '
        f'{residual / noise:.0f} times its noise; do not trust the result.'
    )
    return [Doubt('residual', words)]


@torch.no_grad()
def reblur_residual(photo: Tensor, restored: Tensor, field: BlurField, gamma: float = GAMMA) -> float:
    """Return the root mean square of  H restored - photo,  sRGB-like, in windows spread over the photo.

    Pixels that may be clipped are left out, and so are those near the border, to which the blur brings light from
    outside. A lamp may be brighter than white, which is all that the restored photo can show. So where more than 0.01
    of a pixel's kernel lies in places of the restored photo that may be clipped, only a photo darker than H restored
    counts. Arguments and errors are those of `doubts_of_restoration`.
    """
    _check_pair(photo, field)
    total, count = 0.0, 0
    for rows, columns in spread_windows(photo.shape[-2:], SAMPLE_SIDE, SAMPLES):
        part, scene = photo[..., rows, columns], restored[..., rows, columns]
        blur = field.crop(rows.start, columns.start, *part.shape[-2:])
        squares, known = reblur_squares(part, scene, blur, gamma)
        total += squares.sum(dtype=torch.float64).item()
        count += int(known.sum())
    return math.sqrt(total / count) if count else 0.0


@torch.no_grad()
def reblur_squares(photo: Tensor, restored: Tensor, field: BlurField, gamma: float) -> tuple[Tensor, Tensor]:
    """Return the squares of  H restored - photo  where the kernels lie within the photo; see `reblur_residual`.

    Args:
        photo, restored: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        field: blur of the photo, with kernels of K x K pixels.
        gamma: exponent of the photo.

    Returns:
        The squares (1, C, H - K + 1, W - K + 1), 0 where the photo may be clipped, and where it is not, of that shape.
    """
    radius = field.kernel_size // 2
    size = [side - 2 * radius for side in photo.shape[-2:]]
    blur = BasisBlur(field.crop(radius, radius, *size))
    scene = restored.to(field.kernels)
    again = to_srgb(blur(to_linear(scene, gamma)).clamp(0, 1), gamma)
    at_least = blur((scene >= BRIGHT).to(scene)) > UNKNOWN_LIGHT
    seen = photo[..., radius : radius + size[0], radius : radius + size[1]]
    known = seen < BRIGHT
    difference = again - seen
    difference = torch.where(at_least, difference.clamp_min(0), difference)
    return difference.square() * known, known


def estimate_blur_at_best_size(
    net: nn.Module, photo: Tensor, gamma: float = GAMMA, progress: Progress | None = None
) -> tuple[BlurField, bool]:
    """Estimate the blur of a photo, at half size if it is larger than the kernels.

    It counts as larger if in a tenth of the photo or more the kernels of full size reach their rim
    (`share_beyond_kernels`), or those of half size have more than 0.15 of their light outside the K x K pixels of the
    others. A photo with a side of less than 2K - 1 pixels is looked at in full size only.

    Args:
        net, photo, gamma: arguments of `basis_blur.estimation.by_network.estimate_blur`.
        progress: function that is called after the look at full size.

    Returns:
        The field, and whether it was estimated at half size.

    Raises:
        ValueError, InputError: see `estimate_blur`.
    """
    field = estimate_blur(net, photo, gamma)
    if progress is not None:
        progress(LOOKING, 1, 2)
    if min(photo.shape[-2:]) < 2 * field.kernel_size - 1:
        return field, False
    enlarged = estimate_blur_at_half_size(net, photo, gamma)
    outside = _share_outside(enlarged, field.kernel_size // 2, OUTSIDE_LIGHT)
    is_large = max(share_beyond_kernels(field), outside) >= LARGE_SHARE
    return (enlarged if is_large else field), is_large


def _check_pair(photo: Tensor, field: BlurField | PixelField) -> None:
    if len(photo) != 1 or len(field) != 1 or tuple(photo.shape[-2:]) != tuple(field.image_size):
        raise ValueError(
            f'the photo is {tuple(photo.shape)} and the field is of {len(field)} photos of {tuple(field.image_size)}, '
            'expected one photo and its field; give them one by one.'
        )
