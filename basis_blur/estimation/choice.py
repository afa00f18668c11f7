"""Which estimate a photo gets: one kernel of the shake search, a roll, the field of the network, or none.

    source      for a photo
    shake       whose blur is one kernel: the variants of the search agree on one that explains all of the photo, or the
                streaks of its lights show it
    roll        of a camera that rolled, if that explains it much better than the reverse roll does
    rotations   of a camera with a known lens that rotated about three axes, by the same rule
    places      in which objects move on their own, or on which the search failed: one kernel for each window that tells
                its own (`shake.local`), and the field of the network elsewhere
    network     the same, if no window tells its kernel
    none        that is nearly sharp; it is left as it is

A search has failed (`why_failed`) if its variants disagree, if its kernel is smaller or much larger than the blur that
the network sees, or if its kernel explains the photo no better than the kernel's mirror image does
(`residual.share_of_wrong`).

Whether one kernel explains all of a photo (`explains_all`) is told by three numbers:

    excess      residual of the restored photo, blurred again, over the noise: 1 for the right kernel, 2 to 9 where
                places have different blurs, less where noise hides them
    likeness    how alike the kernels are that the network sees at places of the photo
    mismatch    1 - `consistency`, over the extent of the kernel: how far parts of the photo ask for other kernels

Their limits, below, were chosen on synthetic shakes of whole photos, on the photos of Levin et al., and on the GoPro
frames of docs/shake.md, where objects move. The extent of a kernel is the standard deviation of its light (`spread`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from basis_blur.estimation.by_network import kernel_size_of
from basis_blur.estimation.estimate import (
    BEGINNING,
    CHOOSING,
    ROLLING,
    SEARCHING,
    SEARCHING_AGAIN,
    SEARCHING_PLACES,
    Doubt,
    Estimate,
    Estimator,
    Part,
    Progress,
)
from basis_blur.estimation.estimators import NetworkEstimator
from basis_blur.estimation.shake.consistency import consistency
from basis_blur.estimation.shake.fields import blended, uniform_field
from basis_blur.estimation.shake.kernels import best_shift, spread
from basis_blur.estimation.shake.local import REMOVAL_ITERATIONS, estimate_places
from basis_blur.estimation.shake.residual import ITERATIONS, unexplained
from basis_blur.estimation.shake.roll import Rolled, estimate_roll
from basis_blur.estimation.shake.rotations import (
    TURNING,
    KnowsLens,
    Rotated,
    RotationsEstimator,
    estimate_rotations,
)
from basis_blur.estimation.shake.schedule import reduced
from basis_blur.estimation.shake.search import (
    DUBIOUS,
    FAILED,
    LEAST_SIDE,
    ShakeEstimate,
    estimate_shake,
    gray_light,
    network_start,
    removal_for,
)
from basis_blur.estimation.shake.streaks import estimate_by_streaks
from basis_blur.estimation.trust import doubts_of_estimate, is_flat
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.choices import ESTIMATORS, WITH_LENS
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.camera_response import to_srgb
from basis_blur.ops.windows import spread_windows
from basis_blur.restoration.noise import estimate_noise
from basis_blur.restoration.settings import LEAST_NOISE, Removal

# Extent of a blur, pixels; a photo with a smaller one is left alone. Removing such a blur makes 26 of 30 nearly sharp
# photos (33 to 46 dB) worse. The network's kernels have the right extent to about a tenth, from 1.5 pixels on.
LEAST_EXTENT = 1.25
# Extent of the kernel of a search over the extent that the network sees; a search with a smaller one has failed, often
# at a point. The second holds for kernels whose `share_of_wrong` is at most `GOOD`.
LEAST_SHARE, LEAST_SHARE_OF_GOOD = 0.75, 0.6
# Extent of the kernel of a search, over that which the network sees, above which a search has failed if its
# `share_of_wrong` is above `DUBIOUS`.
MOST_SHARE = 2.0
GOOD = 0.5  # share_of_wrong up to which a kernel explains the photo much better than its mirror image does
NOT_BETTER = 0.95  # share_of_wrong from which on a kernel explains the photo no better than its mirror image does
# Limits of the excess. Below the first, one kernel explains the photo; from the last on, none does. Between them, the
# likeness has to be at least `LEAST_LIKENESS` and the mismatch small, and smaller above the middle one.
LOW_EXCESS, MIDDLE_EXCESS, HIGH_EXCESS = 1.6, 3.0, 5.0
LEAST_LIKENESS = 0.93  # least likeness between the first and the last of these
MOST_MISMATCH_MIDDLE, MOST_MISMATCH = 0.014, 0.005  # largest mismatch below and above `MIDDLE_EXCESS`, 1/pixel
# share_of_wrong up to which a kernel that explains the photo leaves no room for a camera that turned; the second if the
# focal length is known.
EXPLAINED, EXPLAINED_OF_LENS = 0.4, 0.2
# Share of what the reverse roll leaves unexplained, up to which a roll, and rotations, are believed. For a camera that
# did not turn it is 0.97 to 1.01 (7 simulated shakes, two frames with moving objects).
MOST_OF_REVERSE, MOST_OF_REVERSE_ROTATIONS = 0.7, 0.8
ROLLED = 'the camera rolled while it shook; the blur is that of its shifts and turns.'
ROTATED = 'the camera rotated about three axes while it shook; the blur is that of these rotations.'
PROBE_SIDE, PROBES = 448, 4  # side in pixels, and number, of the windows in which the excess is measured
# Time of each stage on two cores. It hardly depends on the size of the photo, of which a part is searched if it is
# large; few photos need the last stage.
SECONDS_OF_PLACES = 15.0
SECONDS_OF_SEARCH = {BEGINNING: 1.5, SEARCHING: 9.0, SEARCHING_AGAIN: 2.0}


@dataclass(frozen=True, eq=False)
class ShakeEstimator:
    """Estimate one kernel for the whole photo by the shake search.

    Args:
        net: network whose kernels the search starts from; None to start from simple blobs.
    """

    net: nn.Module | None = None

    def __call__(self, photo: Tensor, gamma: float, progress: Progress | None = None) -> ShakeEstimate:
        """Return the blur of a photo; arguments and errors are those of an `Estimator`."""
        start = None if self.net is None or not can_start(self.net, photo) else network_start(self.net, photo, gamma)
        if progress is not None:
            progress(BEGINNING, 1, 1)
        found = estimate_shake(photo, gamma, start, progress=progress)
        why = why_failed(found, None if start is None else spread(start[0]))
        if why is None:
            return found
        by_streaks = estimate_by_streaks(photo, gamma, progress)
        if by_streaks is not None:
            return by_streaks
        words = f'the search for the shake of the camera failed: {why}; do not trust the estimate.'
        return dataclasses.replace(found, doubts=(*found.doubts, Doubt('search', words)))

    def expected_seconds(self, pixels: int) -> dict[str, float]:
        """Return the seconds of each stage; see `Estimator`."""
        return dict(SECONDS_OF_SEARCH)


@dataclass(frozen=True, eq=False)
class NoEstimator:
    """Leave every photo as it is."""

    def __call__(self, photo: Tensor, gamma: float, progress: Progress | None = None) -> Estimate:
        """Return a field of points, which blur nothing, with settings by which nothing is removed."""
        return left_alone(photo)


@dataclass(frozen=True, eq=False)
class BestEstimator(KnowsLens):
    """Choose for each photo between the shake search, a network, and leaving it alone; see the head of this module.

    Args:
        network: estimator of fields, whose network also starts the search.
        focal_length: focal length of the photos in mm, converted to film of 36 x 24 mm; None for what a photo says
            itself (`for_film`). Rotations about three axes are looked for only if the lens is known.

    Raises:
        ValueError: `focal_length` is not positive.
    """

    network: NetworkEstimator
    focal_length: float | None = None

    def __call__(self, photo: Tensor, gamma: float, progress: Progress | None = None) -> Estimate:
        """Return the blur of a photo; arguments and errors are those of an `Estimator`."""
        if is_flat(photo) or not can_start(self.network.net, photo):
            return self.network(photo, gamma, progress)
        start = network_start(self.network.net, photo, gamma)
        if progress is not None:
            progress(BEGINNING, 1, 1)
        if spread(start[0]) < LEAST_EXTENT:
            return estimate_by_streaks(photo, gamma, progress) or left_alone(photo, spread(start[0]))
        try:
            found = estimate_shake(photo, gamma, start, progress=progress)
        except InputError:  # the photo is too small or too flat for the search, but not for the network
            return self.network(photo, gamma, progress)
        look = functools.cache(lambda: self._turned(photo, gamma, start[0], found, progress))
        room = EXPLAINED if self.focal_length is None else EXPLAINED_OF_LENS
        turned = look() if found.share_of_wrong > room else None
        return turned or self._chosen(photo, gamma, found, spread(start[0]), look, progress)

    def _turned(
        self, photo: Tensor, gamma: float, start: Tensor, found: ShakeEstimate, progress: Progress | None
    ) -> Estimate | None:
        """Return the blur of a camera that rolled or rotated, or None where that does not explain the photo.

        Args:
            photo, gamma, progress: arguments of a call.
            start: (K, K); kernel that the search started from.
            found: estimate of the search.
        """
        if self.focal_length is not None:
            rotated = estimate_rotations(photo, gamma, found.kernel, self.focal_length, progress)
            if is_right_turn(photo, gamma, rotated, MOST_OF_REVERSE_ROTATIONS):
                return Estimate(rotated.field(photo), 'rotations', found.removal, notes=(ROTATED,))
        if found.share_of_wrong <= EXPLAINED:
            return None
        rolled = estimate_roll(self.network.net, photo, gamma, start, progress)
        if rolled is None or not is_right_turn(photo, gamma, rolled, MOST_OF_REVERSE):
            return None
        return Estimate(rolled.field(photo), 'roll', found.removal, notes=(ROLLED,))

    def expected_seconds(self, pixels: int) -> dict[str, float]:
        """Return the seconds of each stage; see `Estimator`."""
        return {
            **SECONDS_OF_SEARCH,
            ROLLING: 1.0,
            TURNING: 3.0,
            CHOOSING: 2.0,
            **self.network.expected_seconds(pixels),
            SEARCHING_PLACES: SECONDS_OF_PLACES,
        }

    def _chosen(
        self,
        photo: Tensor,
        gamma: float,
        found: ShakeEstimate,
        extent: float,
        look: Callable[[], Estimate | None],
        progress: Progress | None,
    ) -> Estimate:
        """Return what the search found, or the estimate of the network, which works only where it is needed.

        Args:
            photo, gamma, progress: arguments of a call.
            found: estimate of the search.
            extent: extent of the kernel that the search started from, pixels.
            look: function that returns the blur of a camera that turned, if that explains the photo; called if needed.
        """
        by_network = functools.cache(lambda: self.network(photo, gamma, progress))
        if why_failed(found, extent) is not None:
            reason = 'the search for one camera shake failed'
        elif explains_all(photo, gamma, found, lambda: by_network().field, progress):
            return found
        else:
            reason = 'the photo is not blurred alike everywhere'
            turned = look()
            if turned is not None:
                return turned
        by_streaks = estimate_by_streaks(photo, gamma, progress)
        return by_streaks or place_by_place(photo, gamma, by_network(), reason, progress)


def place_by_place(
    photo: Tensor, gamma: float, seen: Estimate, reason: str, progress: Progress | None = None
) -> Estimate:
    """Return the estimate of a network, with kernels that were searched for at the places that tell their own.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        gamma: exponent of the photo.
        seen: estimate of the network.
        reason: why the photo does not get one kernel, in words.
        progress: function that is called during the work.
    """
    places = estimate_places(photo, gamma, seen.field, progress)
    if places is None:
        return _noted(seen, f'{reason}; the blur is that of the network.')
    field = blended(places.field, seen.field, places.weight)
    removal = dataclasses.replace(removal_for(photo, gamma), iterations=REMOVAL_ITERATIONS)
    parts = (Part(places.field, removal, places.weight), Part(seen.field, seen.removal, 1 - places.weight))
    note = (
        f'{reason}; the blur was found in {places.believed} of {places.windows} parts of the photo and makes '
        f"{places.weight.mean().item():.0%} of the restored photo; the network's estimate makes the rest."
    )
    return Estimate(
        field,
        'places',
        seen.removal,
        doubts=tuple(doubts_of_estimate(photo, field)),
        notes=(*seen.notes, note),
        parts=parts,
    )


def estimator_for(choice: str, network: NetworkEstimator, focal_length: float | None = None) -> Estimator:
    """Return the estimator of a name.

    Args:
        choice: one of `ESTIMATORS`: 'auto' for the best for each photo; 'network'; 'shake' for the search, which starts
            from the network; 'rotations' for a camera that turned about three axes, which starts from the search; or
            'none' to leave photos as they are.
        network: estimator by the network.
        focal_length: focal length of the photos for 'auto' and 'rotations', in mm, converted to film of 36 x 24 mm; by
            default that of the photo's EXIF, or else 28 for 'rotations' and none for 'auto'.

    Raises:
        ValueError: the name is another, or a focal length is given for another than 'auto' and 'rotations'.
    """
    if choice not in ESTIMATORS:
        raise ValueError(f'estimator is {choice!r}, expected one of {", ".join(ESTIMATORS)}.')
    if focal_length is not None and choice not in WITH_LENS:
        raise ValueError(
            f'focal_length is given with the estimator {choice!r}, expected it with {" or ".join(WITH_LENS)} only.'
        )
    if choice == 'network':
        return network
    if choice == 'none':
        return NoEstimator()
    if choice == 'auto':
        return BestEstimator(network, focal_length)
    search = ShakeEstimator(network.net)
    return RotationsEstimator(search, focal_length) if choice == 'rotations' else search


def left_alone(photo: Tensor, extent: float | None = None) -> Estimate:
    """Return an estimate by which nothing is removed from a photo.

    Args:
        photo: (1, C, H, W).
        extent: extent of its blur, pixels, where the reason is that it is small; None where there is another reason.
    """
    point = photo.new_zeros(3, 3)
    point[1, 1] = 1
    doubts: tuple[Doubt, ...] = ()
    if extent is not None:
        words = (
            f'the photo is nearly sharp: its blur has a standard deviation of {extent:.1f} pixels. It is left as it '
            'is; ask for --estimator network or shake to remove the blur all the same.'
        )
        doubts = (Doubt('sharp', words),)
    return Estimate(uniform_field(point, photo), 'none', Removal(1, strength=0.0), doubts=doubts)


def can_start(net: nn.Module, photo: Tensor) -> bool:
    """Tell whether a photo is large enough for a search that starts from the kernels of a network."""
    return min(photo.shape[-2:]) >= max(LEAST_SIDE, 2 * kernel_size_of(net))


def _noted(estimate: Estimate, note: str) -> Estimate:
    return dataclasses.replace(estimate, notes=(*estimate.notes, note))


def why_failed(found: ShakeEstimate, extent: float | None) -> str | None:
    """Return why a search ended at no kernel, at a point, at a part of the kernel or at a much larger one, in words.

    Args:
        found: estimate of the search.
        extent: extent of the kernel that the search started from, if a network saw it, pixels; one of less than
            `LEAST_EXTENT` tells nothing.

    Returns:
        The words; None where the search has not failed.
    """
    if found.agreement < FAILED:
        return f'its variants agree to {found.agreement:.2f}, expected {FAILED} at least'
    if found.share_of_wrong >= NOT_BETTER:
        return 'its kernel explains the photo no better than its mirror image does'
    if extent is None or extent < LEAST_EXTENT:
        return None
    least = LEAST_SHARE_OF_GOOD if found.share_of_wrong <= GOOD else LEAST_SHARE
    own = spread(found.kernel)
    if own < max(LEAST_EXTENT, least * extent) or (own > MOST_SHARE * extent and found.share_of_wrong > DUBIOUS):
        return f'its kernel has a standard deviation of {own:.1f} pixels where the network sees {extent:.1f}'
    return None


def explains_all(
    photo: Tensor, gamma: float, found: ShakeEstimate, look: Callable[[], BlurField], progress: Progress | None = None
) -> bool:
    """Tell whether one kernel explains all places of a photo.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        gamma: exponent of the photo.
        found: estimate with the kernel.
        look: function that returns the field of a network whose basis kernels are those of places; called if needed.
        progress: function that is called after each window in which the excess is measured.
    """
    excess = excess_of(photo, found, gamma, progress)
    if excess < LOW_EXCESS:
        return True
    if excess >= HIGH_EXCESS or likeness(look()) < LEAST_LIKENESS:
        return False
    mismatch = (1 - consistency(gray_light(photo, gamma), found.kernel)) / spread(found.kernel)
    return mismatch < (MOST_MISMATCH_MIDDLE if excess < MIDDLE_EXCESS else MOST_MISMATCH)


@torch.no_grad()
def is_right_turn(photo: Tensor, gamma: float, turned: Rolled | Rotated, most: float) -> bool:
    """Tell whether a roll explains a photo much better than its reverse, as a right one does.

    What one kernel for all places leaves unexplained is no measure: a wrong kernel often leaves as little.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        gamma: exponent of the photo.
        turned: what the camera did.
        most: share of what the reverse leaves unexplained, up to which it does.
    """
    gray = to_srgb(reduced(gray_light(photo, gamma), turned.size[0] / photo.shape[-2]).clamp(0, 1)).clamp(0, 1)
    windows = spread_windows(gray.shape[-2:], PROBE_SIDE, PROBES)
    right, reverse = (
        unexplained(gray, turned.field(gray, factor), GAMMA, Removal(ITERATIONS), windows) for factor in (1.0, -1.0)
    )
    return right < most * reverse


@torch.no_grad()
def excess_of(photo: Tensor, estimate: ShakeEstimate, gamma: float, progress: Progress | None = None) -> float:
    """Return the residual of a photo that is restored with an estimate, over its noise, in windows spread over it.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        estimate: estimate with one kernel for the whole photo.
        gamma: exponent of the photo.
        progress: function that is called after each window.
    """
    windows = spread_windows(photo.shape[-2:], max(PROBE_SIDE, 3 * estimate.kernel.shape[-1]), PROBES)
    residual = unexplained(photo, estimate.field, gamma, estimate.removal, windows, progress)
    return residual / max(estimate_noise(photo).item(), LEAST_NOISE)


def likeness(blur: BlurField) -> float:
    """Return how alike the basis kernels of a field are to their mean.

    It is the largest normalised correlation of a kernel with the mean that a fifth of the kernels stay below.
    """
    kernels = blur.kernels[0]
    mean = kernels.mean(0)
    alike = torch.tensor([best_shift(kernel, mean)[2] for kernel in kernels])
    return alike.quantile(0.2).item()
