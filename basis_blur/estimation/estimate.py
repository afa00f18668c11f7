"""The value that every estimator returns: the blur of a photo, and what is known of it.

    estimator(photo, gamma, progress) -> Estimate         photo (1, C, H, W), sRGB-like in [0, 1]

An `Estimate` is a blur field with its origin, how sure its maker is, what speaks against it, and how a blur of that
origin is best removed. It is immutable; `dataclasses.replace` makes another. Where places of a photo have blurs of
several origins, which are not removed alike, it has a `Part` for each origin, and the restored photo is the sum of the
parts' photos, each times its weight:

    restored = sum_p weight_p restored_p                                        sum_p weight_p = 1 at every pixel

To add an estimator, write a function, or a class with `__call__`, of the signature of `Estimator`, and give it to
`basis_blur.Deblurrer(estimator=...)`. It sees one photo at a time, and the `Removal` that it returns decides how its
blur is removed; nothing else needs to know that it exists. An estimator may call others and choose among their answers,
since each brings its own settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.field.removal import TRUE_BLUR, Removal

KNOWN = 'known'  # source of a field that nobody estimated
# A function of the name of a stage, the number of a step of it, from 1, and the number of its steps.
Progress = Callable[[str, int, int], None]
# Names of stages, in the order in which they come; those that a photo does not need are left out.
BEGINNING, SEARCHING, SEARCHING_AGAIN, ROLLING, CHOOSING, LOOKING, SEARCHING_PLACES = (
    'looking for a start', 'searching for the shake', 'searching from other starts', 'searching for a roll',
    'choosing an estimate', 'estimating the blur', 'searching place by place',
)  # fmt: skip


@dataclass(frozen=True)
class Doubt:
    """A reason not to trust a result.

    Args:
        code: name of the reason, one word, for programs. `basis_blur.estimation.trust` lists most; the others are
            'search', a search that failed, and 'sharp', a photo that is left as it is (`basis_blur.estimation.choice`),
            and 'harm', a photo that may be worse than before (`basis_blur.estimation.judge`).
        sentence: the reason, for a person.
        probability: probability that the sharp photo is worse than the blurred one, where the judge told it
            (`basis_blur.estimation.judge`); None where it did not.
    """

    code: str
    sentence: str
    probability: float | None = None

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True, eq=False)
class Part:
    """One of several blurs of a photo, which are removed one by one.

    Args:
        field: blur of one photo, at every pixel of it.
        removal: settings that suit it.
        weight: (1, 1, H, W), in [0, 1]; share that the photo restored by it has of each pixel of the result.

    Raises:
        ValueError: the weight is not of the size of the field.
    """

    field: BlurField
    removal: Removal
    weight: Tensor

    def __post_init__(self) -> None:
        expected = (1, 1, *self.field.image_size)
        if tuple(self.weight.shape) != expected:
            raise ValueError(f'the weight is {tuple(self.weight.shape)}, expected {expected}, that of the field.')
        object.__setattr__(self, 'field', self.field.with_removal(self.removal))


@dataclass(frozen=True, eq=False)
class Estimate:
    """The blur of one photo, and what is known of how it was found.

    Args:
        field: the blur, of one photo; it carries `removal` too, for when it is saved and removed later.
        source: name of the maker, such as 'network' or 'shake'; 'known' for a field that was not estimated.
        removal: settings that suit blurs of this origin.
        confidence: certainty of the maker, from 0 to 1; None where it does not tell.
        doubts: reasons not to trust the field.
        notes: sentences for a person about how it was found, such as that it was found at half size.
        parts: blurs that are removed one by one, in this order, in place of `field`; their weights sum to 1. `field` is
            then their mean by these weights. Without parts, `field` is removed by `removal`.

    Raises:
        ValueError: `confidence` is not in [0, 1], the field is of several photos, or a part is of another size.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> estimate = bb.Estimate(field, 'gyroscope', bb.Removal(iterations=15), confidence=0.9)
        >>> estimate.is_known, estimate.field.removal.iterations
        (False, 15)
    """

    field: BlurField
    source: str
    removal: Removal = TRUE_BLUR
    confidence: float | None = None
    doubts: tuple[Doubt, ...] = ()
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f'confidence is {self.confidence}, expected a number from 0 to 1, or None.')
        if len(self.field) != 1:
            raise ValueError(f'the field is of {len(self.field)} photos, expected one; make an Estimate of each.')
        for part in self.parts:
            if part.field.image_size != self.field.image_size:
                raise ValueError(
                    f'a part is of {part.field.image_size} pixels and the field of {self.field.image_size}; '
                    'expected one size.'
                )
        object.__setattr__(self, 'field', self.field.with_removal(None if self.is_known else self.removal))

    @property
    def is_known(self) -> bool:
        """Return whether the field was given and not estimated."""
        return self.source == KNOWN


class Estimator(Protocol):
    """A way to find the blur of a photo.

    One that takes long may have a method `expected_seconds(pixels)`, which returns the seconds that each of its stages
    takes for a photo of so many pixels on a usual computer, by their names: what `progress` is called with.
    """

    def __call__(self, photo: Tensor, gamma: float, progress: Progress | None = None) -> Estimate:
        """Return the blur of a photo.

        Args:
            photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
            gamma: exponent of the photo, light = photo ** gamma.
            progress: function that is called during the work.

        Raises:
            InputError: the photo cannot be used, for example because it is too small.
        """
        ...
