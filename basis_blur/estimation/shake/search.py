"""The shake search of a photo: where it begins, which variants it tries, and how sure it is.

    1. start          kernels that a network saw at several sizes of the photo (`network_start`), those of a field, or
                      simple blobs
    2. variants       the search (`schedule`) with each of two rules for edges, by noise and by count (`edges`)
    3. aligned mean   mean of the variants' kernels; how alike they are says how sure the search is
    4. polish         more rounds at the last level, from the mean
    5. second look    only where the kernel explains the photo hardly better than its mirror image does (`residual`):
                      the search begins again from the start and from simple blobs, at small sizes; the two kernels that
                      explain the photo best at half the side go on to the last level. Of the kernels of 2 and 5 the
                      best is taken in place of the polished one if it explains the photo clearly better

The energy that a search minimises does not tell a right kernel from a wrong one: energies with L0, hyper-Laplacian and
variational priors are lowest for no blur at all. The agreement of variants does, since right kernels are alike and
wrong ones are wrong in different ways. So does the comparison with mirror images.

Kernels of up to 129 pixels are searched at the full size of the photo. Larger ones are searched at the size at which
they have 129 pixels, and enlarged.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

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
from basis_blur.field.blur_field import WHOLE_PIXELS, BlurField
from basis_blur.foundation.errors import InputError, kind_of
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.camera_response import to_linear
from basis_blur.ops.photo import check_photo, in_full_precision
from basis_blur.ops.threads import share
from basis_blur.restoration.noise import estimate_noise
from basis_blur.restoration.settings import LEAST_CONTRAST, Removal, contrast_of, tv_weight_for

LUMA = (0.299, 0.587, 0.114)  # weights of the colours in the gray light that is searched
LEAST_SIDE = 64  # least side of a photo, pixels
SIZES = (33, 65, 129, 257)  # sides of kernels that are tried, pixels
LARGEST_SEARCHED = 129  # largest side of a kernel that is searched at full size, pixels
# (q, radius): the network's kernel at 1/q of the photo's size is taken if its radius is larger, in pixels of the photo.
REACHES = ((8, 56.0), (4, 28.0), (2, 13.0))
SIZE_OF = {1: 33, 2: 65, 4: 129, 8: 257}  # q -> side of the kernel that is searched from such a start, pixels
FAINT_START, SMALL_START = 0.1, 0.1  # shares by which a start is `cleaned`
BLOB = 0.1  # standard deviation of a simple start, over the side of the kernel
# A kernel with more than the second, a share of its light, further from its middle than the first, a share of its side,
# is taken to be cut off.
RIM, RIM_LIGHT = 0.42, 0.03
# The two ways to search.
VARIANTS = (Variant(by_count=False, weight=4e-3, rounds=4), Variant(by_count=True, weight=1e-2, rounds=4))
POLISH_ROUNDS, POLISH_ROUNDS_LARGE = 15, 6  # rounds of the polish; the second for kernels of 129 pixels and more
POLISH_WEIGHT = 2e-3  # lambda at the beginning of the polish, squared linear light
CERTAIN, FAILED = 0.9, 0.75  # agreement of variants with confidence 1 and 0; below the second, a search has failed
DUBIOUS = 0.6  # share_of_wrong above which a kernel gets a second look
CLEARLY_BETTER = 0.85  # share_of_wrong of another kernel over that of the polished one, below which it is taken
COARSE = 2  # levels above the last at which the kernels of the second look are compared
KEPT = 2  # number of kernels with which the second look goes on
ITERATIONS = 20  # number of iterations of Richardson-Lucy by which a found blur is removed
KERNEL_NOISE = 0.01  # noise of a photo that harms as much as the errors of a found kernel, sRGB-like


@dataclass(frozen=True)
class Tried:
    """One kernel on the way of a search.

    Args:
        name: name of the step that it came from.
        kernel: (K, K), at full size.
    """

    name: str
    kernel: Tensor


@dataclass(frozen=True, eq=False)
class ShakeEstimate(Estimate):
    """The result of the shake search; see `Estimate`.

    Args:
        kernel: (K, K); the point spread function of the middle of the photo.
        agreement: similarity of the variants' kernels, 0 to 1: the largest normalised correlation, mean over pairs. For
            a kernel that the second look preferred, it is that with the most similar other kernel.
        tried: kernels on the way of the search, the starts first.
        share_of_wrong: residual of the photo with the kernel, over that with its mirror image (`residual`); 0.1 to 0.6
            for right kernels, about 1 for wrong ones.
    """

    kernel: Tensor = field(default_factory=lambda: torch.ones(1, 1))
    agreement: float = 0.0
    tried: tuple[Tried, ...] = ()
    share_of_wrong: float = 0.0


@torch.no_grad()
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
        start: field of this photo, such as a network estimates, whose mean kernel the search starts from; or kernels
            (N, K, K); by default simple blobs.
        kernel_size: K, odd; by default the size of the start, or 33, 65, 129 or 257 as the blur needs.
        leave_out_clipped: whether places near clipped ones are left out. That helps with photos of lamps, which are
            brighter than white, and harms where white is just white.
        progress: function that is called during the work.

    Returns:
        The estimate. Its `confidence` is 0 up to an agreement of 0.75, as failed searches have, and rises to 1 at 0.9.

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
            found = _searched(light, known, None, kernel_size, progress, _judged)
            if not _reaches_rim(found.kernel):
                break
    else:
        if kernel_size is None:
            assert starts is not None  # or the sizes would have been tried
            kernel_size = starts.shape[-1]
        found = _searched(light, known, starts, _largest_odd(min(kernel_size, most)), progress, _judged)
    return ShakeEstimate(
        uniform_field(found.kernel, photo),
        'shake',
        removal_for(photo, gamma),
        confidence=min(1.0, max(0.0, (found.agreement - FAILED) / (CERTAIN - FAILED))),
        kernel=found.kernel,
        agreement=found.agreement,
        tried=found.tried,
        share_of_wrong=found.judgement.share,
    )


def removal_for(photo: Tensor, gamma: float) -> Removal:
    """Return how a blur that the search found is removed: at full strength, but as if the photo were noisier."""
    noise = max(estimate_noise(photo).item(), KERNEL_NOISE)
    return Removal(ITERATIONS, least_tv_weight=tv_weight_for(noise, gamma, contrast_of(to_linear(photo, gamma))))


def network_start(net: nn.Module, photo: Tensor, gamma: float) -> Tensor:
    """Return a start, (1, K, K), by a network that looks at the photo at several sizes.

    The start is the mean of the kernels that it sees at 1/8, 1/4, 1/2 or the full size of the photo: at the smallest of
    these sizes at which the blur, in pixels of the photo, is too large for the next one (`REACHES`). Of a large photo
    the network sees the part with the most texture.

    Args:
        net: network that takes light (N, C, H, W) and returns a BlurField, such as a CorrelationKPN.
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
    """Return the gray linear light of a photo, (1, 1, H, W); arguments and errors are those of `estimate_shake`."""
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
    if has_no_contrast(light):
        raise InputError(
            'the photo is flat, so there is nothing to see its blur by; give a photo with some texture or edges.'
        )
    if light.shape[1] == 3:
        light = (light * light.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return light


def has_no_contrast(light: Tensor) -> bool:
    """Tell whether light (1, C, H, W) is so flat that there is nothing to see its blur by."""
    return contrast_of(light) < LEAST_CONTRAST / 10


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
    """Return simple starts (3, K, K): a round blob, one that is wider than high, and one that is higher than wide."""
    place = torch.arange(size, device=like.device, dtype=like.dtype) - size // 2
    long, short = (torch.exp(-(place**2) / (2 * (share * BLOB * size) ** 2)) for share in (1.0, 0.4))
    return normalised(torch.stack([long[:, None] * long, short[:, None] * long, long[:, None] * short]))


class Judgement(Protocol):
    """What a kernel leaves of a photo."""

    @property
    def share(self) -> float:
        """share_of_wrong of the kernel."""
        ...


J = TypeVar('J', bound=Judgement)


class Share(NamedTuple):
    """A judgement that is one number, the share_of_wrong."""

    share: float


@dataclass(frozen=True, eq=False)
class Found(Generic[J]):
    """A kernel, and what is known of it.

    Args:
        kernel: (K, K).
        agreement, tried: fields of a `ShakeEstimate`.
        judgement: judgement of the kernel, at the size of the last level.
    """

    kernel: Tensor
    agreement: float
    judgement: J
    tried: tuple[Tried, ...]


def find_kernel(light: Tensor, start: Tensor, polish_rounds: int, judge: Callable[[Tensor, Tensor], J]) -> Found[J]:
    """Search for the kernel of a photo or a part of one, as `estimate_shake` does, without making a field of it.

    Args:
        light: (1, 1, H, W); gray linear light, larger than twice the kernel.
        start: (K, K); kernel from which the search starts.
        polish_rounds: number of rounds of the polish, at full size, where most of the time goes.
        judge: function that judges a kernel (K, K) of the photo (1, 1, H, W), both at the size of the last level.
    """
    return _searched(light, None, start[None], start.shape[-1], None, judge, polish_rounds)


def _judged(light: Tensor, kernel: Tensor) -> Share:
    return Share(share_of_wrong(light, kernel))


def _searched(
    light: Tensor,
    known: Tensor | None,
    starts: Tensor | None,
    size: int,
    progress: Progress | None,
    judge: Callable[[Tensor, Tensor], J],
    polish_rounds: int = POLISH_ROUNDS,
) -> Found[J]:
    """Search for a kernel of `size` pixels, with a second look where it needs one."""
    starts = blobs(size, light) if starts is None else resized(starts.to(light), size)
    tried = [Tried('start', start) for start in starts]
    last = _level_of(size, LARGEST_SEARCHED)
    levels = levels_of(size) - last + 1
    tell = _counted(progress, SEARCHING, len(VARIANTS) * levels + 1)

    kernels = torch.cat(_of_variants(light, known, starts, last, tell))
    for number, kernel in enumerate(resized(kernels, size)):
        tried.append(Tried(VARIANTS[number // len(starts)].name, kernel))
    mean, agreement = aligned_mean(kernels)
    rounds = polish_rounds if size < LARGEST_SEARCHED else POLISH_ROUNDS_LARGE
    polish = dataclasses.replace(VARIANTS[0], weight=POLISH_WEIGHT, rounds=rounds)
    polished = search(light, mean[None], polish, first=last, last=last, watch=tell, known=known)
    kernel = resized(polished, size)[0]
    tried.append(Tried('polished', kernel))

    seen = reduced(light, 2 ** (-last / 2))
    judgement = judge(seen, polished[0])
    if judgement.share > DUBIOUS and levels > COARSE:
        again = _second_look(light, known, starts, last, progress)
        tried += [Tried('second look', each) for each in resized(again, size)]
        pool = torch.cat([kernels, again])
        judgements = [judge(seen, each) for each in pool]
        best = min(range(len(pool)), key=lambda n: judgements[n].share)
        if judgements[best].share < CLEARLY_BETTER * judgement.share:
            judgement, kernel = judgements[best], resized(pool[best : best + 1], size)[0]
            agreement = max(best_shift(pool[best], other)[2] for n, other in enumerate(pool) if n != best)
    return Found(kernel, agreement, judgement, tuple(tried))


def _of_variants(
    light: Tensor, known: Tensor | None, starts: Tensor, last: int, tell: Callable[..., None]
) -> list[Tensor]:
    """Return the kernels of each variant, on a CPU searched side by side; `tell` is called after each level."""
    abandoned = threading.Event()

    def after_level(*_: object) -> None:
        if abandoned.is_set():
            raise InterruptedError('the search was given up')
        tell()

    def begin(variant: Variant) -> Tensor:
        return search(light, starts, variant, last=last, watch=after_level, known=known)

    try:
        return share(begin, VARIANTS) if light.device.type == 'cpu' else [begin(each) for each in VARIANTS]
    except BaseException:  # such as Ctrl-C, which this thread hears alone; the end of the program waits for the others
        abandoned.set()
        raise


def _second_look(light: Tensor, known: Tensor | None, starts: Tensor, last: int, progress: Progress | None) -> Tensor:
    """Return kernels (2, K, K) of the last level, from those two that explain the photo best at a small size."""
    size = starts.shape[-1]
    coarse = last + COARSE
    levels = levels_of(size) + 1
    tell = _counted(progress, SEARCHING_AGAIN, len(VARIANTS) * (levels - coarse) + KEPT * COARSE)
    starts = torch.cat([starts, blobs(size, light)])
    small = reduced(light, 2 ** (-coarse / 2))
    candidates: list[tuple[float, int, Variant, Tensor]] = []  # their number decides between equal shares
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
    lock = threading.Lock()  # variants are searched side by side

    def tell(*_: object) -> None:
        nonlocal done
        with lock:
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
