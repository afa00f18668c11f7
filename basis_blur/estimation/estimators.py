"""Estimators: ways to find the blur of a photo, with one signature (`basis_blur.estimation.estimate.Estimator`).

NetworkEstimator    a network looks at the photo once or twice
KnownField          the blur was measured, or estimated before; the photo is not looked at
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from basis_blur.estimation.by_network import estimate_blur, estimate_blur_at_half_size, removal_of
from basis_blur.estimation.estimate import KNOWN, LOOKING, Estimate, Progress
from basis_blur.estimation.trust import doubts_of_estimate, estimate_blur_at_best_size
from basis_blur.field.blur_field import BlurField
from basis_blur.field.removal import Removal
from basis_blur.foundation.choices import SIZES
from basis_blur.foundation.errors import InputError

# Time that the shipped network takes on two cores: for a photo, and for each of its megapixels.
SECONDS, SECONDS_OF_MEGAPIXEL = 1.0, 1.5


@dataclass(frozen=True, eq=False)
class NetworkEstimator:
    """Estimate the blur of a photo by a network.

    Args:
        net: network that takes light and returns a BlurField, such as `load_network` returns.
        size: size of the photo that the network sees: 'full'; 'half', where its kernels reach twice as far; or 'auto'
            for 'half' if the blur is larger than the kernels, and 'full' if not.
        removal: settings that suit the blurs of this network; by default its own, `facts.removal`.

    Raises:
        ValueError: `size` is none of the three.
    """

    net: nn.Module
    size: str = 'auto'
    removal: Removal | None = None

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f'size is {self.size!r}, expected one of {", ".join(SIZES)}.')

    def __call__(self, photo: Tensor, gamma: float, progress: Progress | None = None) -> Estimate:
        """Return the blur of a photo; arguments and errors are those of an `Estimator`."""
        notes: tuple[str, ...] = ()
        if self.size == 'auto':
            found, at_half_size = estimate_blur_at_best_size(self.net, photo, gamma, progress)
            if at_half_size:
                before, after = found.kernel_size // 2 + 1, found.kernel_size
                notes = (
                    f'the blur is larger than {before}x{before} pixels; it was estimated at half size, with kernels of '
                    f'{after}x{after}.',
                )
        else:
            look = estimate_blur if self.size == 'full' else estimate_blur_at_half_size
            found = look(self.net, photo, gamma)
        removal = self.removal or removal_of(self.net)
        doubts = tuple(doubts_of_estimate(photo, found))
        if progress is not None:
            progress(LOOKING, 2, 2)
        return Estimate(found, 'network', removal, doubts=doubts, notes=notes)

    def expected_seconds(self, pixels: int) -> dict[str, float]:
        """Return the seconds of each stage; see `Estimator`."""
        return {LOOKING: SECONDS + SECONDS_OF_MEGAPIXEL * pixels / 1e6}


@dataclass(frozen=True, eq=False)
class KnownField:
    """Return the same field for every photo; photos have to be of its size.

    Args:
        field: blur of one photo. If it was estimated, it has settings for its removal (`field.removal`).
    """

    field: BlurField

    def __call__(self, photo: Tensor, gamma: float, progress: Progress | None = None) -> Estimate:
        """Return the field; arguments are those of an `Estimator`.

        Raises:
            InputError: the photo has another size than the field.
        """
        height, width = photo.shape[-2:]
        if self.field.image_size != (height, width):
            raise InputError(
                f'the photo has {width}x{height} pixels and the field '
                f'{self.field.image_size[1]}x{self.field.image_size[0]} (width x height); give the field of this photo.'
            )
        field = self.field.to(photo)
        if field.removal is None:
            return Estimate(field, KNOWN)
        return Estimate(field, 'saved estimate', field.removal)
