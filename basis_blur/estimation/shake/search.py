"""The shake search of a photo: where it begins, which variants it tries, and how sure it is.

    start          kernels of a network at several sizes of the photo (`network_start`), a field, or simple blobs
    variants       the same search with edges taken by noise, and by their number (`edges`)
    aligned mean   of the variants' kernels; their agreement says how sure the search is
    polish         more rounds at the last level, from the mean
    second look    where the kernel explains the photo hardly better than its mirror image does (`residual`): the search
                   begins again with the start and simple blobs, goes to a quarter of the pixels, and on from the two
                   kernels that explain the photo best; of all kernels seen, the best is taken if it is clearly better

Energies do not tell a right kernel from a wrong one here: those of L0, hyper-Laplacian and variational priors prefer no
blur at all. That two variants agree does: right kernels are alike, wrong ones are wrong in different ways. So does the
comparison with mirror images.

Sizes: kernels of up to 129 pixels are searched at the full size of the photo. Larger ones are found at the size at
which they have 129 pixels, and enlarged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.estimation.by_network import estimate_blur, kernel_size_of
from basis_blur.estimation.estimate import SEARCHING, SEARCHING_AGAIN, Estimate, Progress
from basis_blur.estimation.shake.fields import uniform_field
from basis_blur.estimation.shake.kernels import (
    aligned_mean,
    best_shift,
    centred,
    cleaned,
    normalised,
    on_canvas,
    radius,
    resized,
)
from basis_blur.estimation.shake.residual import share_of_wrong
from basis_blur.estimation.shake.schedule import Variant, best_window, levels_of, reduced, search
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError, kind_of
from basis_blur.ops.camera_response import GAMMA, to_linear
from basis_blur.ops.photo import check_photo, in_full_precision
from basis_blur.ops.windows import WHOLE_PIXELS
from basis_blur.restoration.noise import estimate_noise
from basis_blur.restoration.settings import LEAST_CONTRAST, Removal, contrast_of, tv_weight_for

LUMA = (0.299, 0.587, 0.114)
LEAST_SIDE = 64  # pixels of a photo
SIZES = (33, 65, 129, 257)  # sides of kernels, pixels
LARGEST_SEARCHED = 129  # pixels; larger kernels are found at a smaller size of the photo
# The network's kernel at 1/q of the photo's size is believed where 90 % of it reach this far, in pixels of the photo.
REACHES = ((8, 56.0), (4, 28.0), (2, 13.0))
SIZE_OF = {1: 33, 2: 65, 4: 129, 8: 257}  # side of the kernel that is searched, where the start is of 1/q
FAINT_START, SMALL_START = 0.1, 0.1  # what of a start is cleaned away, as in `schedule`
BLOB = 0.1  # standard deviation of a simple start, over the side of the kernel
RIM, RIM_LIGHT = 0.42, 0.03  # more light beyond this share of the side means that the kernel is larger
VARIANTS = (Variant(by_count=False, weight=4e-3, rounds=4), Variant(by_count=True, weight=1e-2, rounds=4))
POLISH_ROUNDS, POLISH_ROUNDS_LARGE, POLISH_WEIGHT = 15, 6, 2e-3
CERTAIN, FAILED = 0.9, 0.75  # agreement of variants; below the second, a search has failed
# A kernel with a larger `share_of_wrong` than the first gets a second look; one that was found there is taken if its
# share, over that of the first kernel, is below the second.
DUBIOUS, CLEARLY_BETTER = 0.6, 0.85
COARSE = 2  # levels above the last at which starts of the second look are compared
KEPT = 2  # number of kernels with which the second look goes on
ITERATIONS = 20  # number of iterations of Richardson-Lucy with such a kernel
KERNEL_NOISE = 0.01  # what errors of the kernel are worth, as noise of the photo


@dataclass(frozen=True)
class Tried:
    """One kernel that was looked at.

    Args:
        name: name of its source.
        kernel: (K, K), at full size.
    """

    name: str
    kernel: Tensor


@dataclass(frozen=True, eq=False)
class ShakeEstimate(Estimate):
    """The result of the shake search; see `Estimate`.

    Args:
        kernel: (K, K); the point spread function of the middle of the photo.
        agreement: largest normalised correlation between the kernels of the variants; mean over pairs, 0 to 1.
        tried: kernels on the way, the starts first.
        share_of_wrong: what the kernel leaves unexplained, over what its mirror image does (`residual`); 0.1 to 0.6
            for right kernels, about 1 for wrong ones.
    """

    kernel: Tensor = field(default_factory=lambda: torch.ones(1, 1))
    agreement: float = 0.0
    tried: tuple[Tried, ...] = ()
    share_of_wrong: float = 0.0


def estimate_shake(
    photo: Tensor,
    gamma: float = GAMMA,
    start: BlurField | Tensor | None = None,
    kernel_size: int | None = None,
    leave_out_clipped: bool = False,
    progress: Progress | None = None,
) -> ShakeEstimate:
    """Estimate the blur of a camera that shook, one kernel for the whole photo, from the photo itself.

    Nothing is random: the same photo gives the same kernel.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1]; at least 64 pixels a side and larger than twice the kernel.
        gamma: exponent of the photo, light = photo ** gamma; 1 for photos in linear light.
        start: a field of this photo, such as that of a network, whose mean kernel is the start; or kernels (N, K, K);
            by default simple blobs.
        kernel_size: K, odd; by default the size of the start, or 33, 65, 129 or 257 as the blur needs.
        leave_out_clipped: whether places near clipped ones tell nothing; of use for photos with lamps, whose light is
            more than white, and of harm where white is white.
        progress: called while the work goes on.

    Returns:
        The estimate; its `confidence` is 0 where the variants of the search disagree as those of failed searches do,
        and 1 where they agree as those of good ones.

    Raises:
        ValueError: the photo is not as described, or there are several.
        InputError: the photo is too small, or flat, so that there is nothing to see its blur by.

    Example:
        >>> found = bb.estimate_shake(torch.rand(1, 1, 64, 64), kernel_size=9)  # noise; a photo tells more
        >>> found.kernel.shape, 0 <= found.agreement <= 1
        (torch.Size([9, 9]), True)
    """
    light = gray_light(photo, gamma)
    photo = in_full_precision(photo)
    known = unclipped(photo) if leave_out_clipped else None
    most = min(photo.shape[-2:]) // 2
    starts = _kernels_of(start)
    if kernel_size is None and starts is None:
        for kernel_size in _sizes_up_to(most):
            found = _searched(light, known, None, kernel_size, progress)
            if not _reaches_rim(found.kernel):
                break
    else:
        if kernel_size is None:
            assert starts is not None  # or the sizes would have been tried
            kernel_size = starts.shape[-1]
        found = _searched(light, known, starts, _largest_odd(min(kernel_size, most)), progress)
    return ShakeEstimate(
        uniform_field(found.kernel, photo),
        'shake',
        removal_for(photo, gamma),
        confidence=min(1.0, max(0.0, (found.agreement - FAILED) / (CERTAIN - FAILED))),
        kernel=found.kernel,
        agreement=found.agreement,
        tried=found.tried,
        share_of_wrong=found.share_of_wrong,
    )


def removal_for(photo: Tensor, gamma: float) -> Removal:
    """Return how a blur that the search found is removed from a photo: as a known one, for a noisier photo."""
    noise = max(estimate_noise(photo).item(), KERNEL_NOISE)
    return Removal(ITERATIONS, least_tv_weight=tv_weight_for(noise, gamma, contrast_of(to_linear(photo, gamma))))


def network_start(net: nn.Module, photo: Tensor, gamma: float) -> Tensor:
    """Return a start, (1, K, K), by a network that looks at the photo at several sizes.

    The kernels of its places are averaged; of the sizes that it looked at, the smallest whose blur is too large for the
    next one is believed. Of a large photo it sees the part with the most texture.

    Args:
        net: takes light (N, C, H, W) and returns a BlurField, such as a CorrelationKPN.
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        gamma: exponent of the photo.
    """
    light = to_linear(photo, gamma)
    least = kernel_size_of(net)

    def seen_at(q: int) -> Tensor:
        small = light if q == 1 else F.avg_pool2d(light, q)
        small = small[(..., *best_window(small.mean(1, keepdim=True), least))]
        seen = estimate_blur(net, small.clamp(0, 1), gamma=1.0)
        return seen.kernels[0].mean(0, keepdim=True).to(photo)

    for q, reach in REACHES:
        if min(photo.shape[-2:]) // q < 2 * least or min(photo.shape[-2:]) < 2 * SIZE_OF[q]:
            continue
        if q == 8 and photo.shape[-2] * photo.shape[-1] < WHOLE_PIXELS:
            continue
        kernel = seen_at(q)
        if q * radius(kernel[0]) > reach:
            clean = centred(cleaned(kernel, FAINT_START, SMALL_START))
            larger = F.interpolate(clean[:, None], scale_factor=q, mode='bilinear', align_corners=False)[:, 0]
            odd = F.pad(larger, (0, 1 - larger.shape[-1] % 2) * 2)
            return centred(normalised(on_canvas(odd, SIZE_OF[q])))
    return centred(cleaned(seen_at(1), FAINT_START, SMALL_START))


def unclipped(photo: Tensor) -> Tensor:
    """Return 1 where no colour of a photo (1, C, H, W) may be clipped, else 0, (1, 1, H, W)."""
    return (photo.amax(1, keepdim=True) < 0.98).to(photo)


def gray_light(photo: Tensor, gamma: float) -> Tensor:
    """Return what is searched of a photo, (1, 1, H, W) float32; arguments and errors are those of `estimate_shake`."""
    check_photo(photo)
    if len(photo) != 1:
        raise ValueError(f'{len(photo)} photos are given, expected one; estimate them one by one.')
    height, width = photo.shape[-2:]
    if min(height, width) < LEAST_SIDE:
        raise InputError(
            f'the photo is {width}x{height} pixels (width x height), expected at least {LEAST_SIDE} a side to search '
            'for its blur; give a larger photo.'
        )
    light = to_linear(photo.detach().float(), gamma)
    if contrast_of(light) < LEAST_CONTRAST / 10:
        raise InputError(
            'the photo is flat, so there is nothing to see its blur by; give a photo with some texture or edges.'
        )
    if light.shape[1] == 3:
        light = (light * light.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return light


def _kernels_of(start: BlurField | Tensor | None) -> Tensor | None:
    if start is None or isinstance(start, Tensor):
        return start
    if not isinstance(start, BlurField):
        raise ValueError(
            f'start is {kind_of(start)}, expected a BlurField or a kernel; give estimate_blur(net, photo).'
        )
    weights = start.kernels_at(_grid(start.image_size).to(start.device))[0].mean(0, keepdim=True)
    return centred(cleaned(weights.float(), FAINT_START, SMALL_START))


def _grid(size: tuple[int, int], places: int = 9) -> Tensor:
    rows, columns = (torch.linspace(0, side - 1, min(side, places)).round().long() for side in size)
    return torch.cartesian_prod(rows, columns)


def _sizes_up_to(most: int) -> list[int]:
    return [size for size in SIZES if size <= most] or [_largest_odd(most)]


def _largest_odd(size: int) -> int:
    return size if size % 2 else size - 1


def _reaches_rim(kernel: Tensor) -> bool:
    size = kernel.shape[-1]
    far = (torch.arange(size, device=kernel.device) - size // 2).abs() > RIM * size
    return bool((kernel * (far[:, None] | far)).sum() > RIM_LIGHT)


def blobs(size: int, like: Tensor) -> Tensor:
    """Return simple starts (3, K, K): a round blob, one that lies and one that stands."""
    place = torch.arange(size, device=like.device, dtype=like.dtype) - size // 2
    long, short = (torch.exp(-(place**2) / (2 * (share * BLOB * size) ** 2)) for share in (1.0, 0.4))
    return normalised(torch.stack([long[:, None] * long, short[:, None] * long, long[:, None] * short]))


class _Found(NamedTuple):
    """A kernel (K, K), and what the fields of the same names of a `ShakeEstimate` say."""

    kernel: Tensor
    agreement: float
    share_of_wrong: float
    tried: tuple[Tried, ...]


def _searched(
    light: Tensor, known: Tensor | None, starts: Tensor | None, size: int, progress: Progress | None
) -> _Found:
    """Search for a kernel of `size` pixels, with a second look where it needs one."""
    starts = blobs(size, light) if starts is None else resized(starts.to(light), size)
    tried = [Tried('start', start) for start in starts]
    last = _level_of(size, LARGEST_SEARCHED)
    levels = levels_of(size) - last + 1
    tell = _counted(progress, SEARCHING, len(VARIANTS) * levels + 1)

    kernels = torch.cat([search(light, starts, variant, last=last, watch=tell, known=known) for variant in VARIANTS])
    for number, kernel in enumerate(resized(kernels, size)):
        tried.append(Tried(VARIANTS[number // len(starts)].name, kernel))
    mean, agreement = aligned_mean(kernels)
    rounds = POLISH_ROUNDS if size < LARGEST_SEARCHED else POLISH_ROUNDS_LARGE
    polish = dataclasses.replace(VARIANTS[0], weight=POLISH_WEIGHT, rounds=rounds)
    polished = search(light, mean[None], polish, first=last, last=last, watch=tell, known=known)
    kernel = resized(polished, size)[0]
    tried.append(Tried('polished', kernel))

    seen = reduced(light, 2 ** (-last / 2))
    share = share_of_wrong(seen, polished[0])
    if share > DUBIOUS and levels > COARSE:
        again = _second_look(light, known, starts, last, progress)
        tried += [Tried('second look', each) for each in resized(again, size)]
        pool = torch.cat([kernels, again])
        shares = [share_of_wrong(seen, each) for each in pool]
        best = min(range(len(pool)), key=shares.__getitem__)
        if shares[best] < CLEARLY_BETTER * share:
            share, kernel = shares[best], resized(pool[best : best + 1], size)[0]
            agreement = max(best_shift(pool[best], other)[2] for n, other in enumerate(pool) if n != best)
    return _Found(kernel, agreement, share, tuple(tried))


def _second_look(light: Tensor, known: Tensor | None, starts: Tensor, last: int, progress: Progress | None) -> Tensor:
    """Return kernels (2, K, K) of the last level, from the starts that explain the photo best at a small size."""
    size = starts.shape[-1]
    coarse = last + COARSE
    levels = levels_of(size) + 1
    tell = _counted(progress, SEARCHING_AGAIN, len(VARIANTS) * (levels - coarse) + KEPT * COARSE)
    starts = torch.cat([starts, blobs(size, light)])
    small = reduced(light, 2 ** (-coarse / 2))
    candidates: list[tuple[float, int, Variant, Tensor]] = []  # a number tells those of one share apart
    for variant in VARIANTS:
        for kernel in search(light, starts, variant, last=coarse, watch=tell, known=known):
            candidates.append((share_of_wrong(small, kernel), len(candidates), variant, kernel))
    found = []
    for _, _, variant, kernel in sorted(candidates)[:KEPT]:
        rest = variant.after(levels - coarse)
        start = resized(kernel[None], size)
        found.append(search(light, start, rest, first=coarse - 1, last=last, watch=tell, known=known))
    return torch.cat(found)


def _counted(progress: Progress | None, stage: str, total: int) -> Callable[..., None]:
    """Return a function that reports one more step of a stage each time that it is called, whatever it is given."""
    done = 0

    def tell(*_) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(stage, done, total)

    return tell


def _level_of(size: int, most: int) -> int:
    """Return the first level, from full size, at which a kernel of `size` pixels has at most about `most`."""
    level = 0
    while size * 2 ** (-level / 2) > most + 1:
        level += 1
    return level
