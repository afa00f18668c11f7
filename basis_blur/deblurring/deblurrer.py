"""Deblurrer: a blurred photo in, the sharp one out, exactly as `basis-blur deblur` does.

    deblurrer = Deblurrer.pretrained()
    result = deblurrer('photo.jpg')             or a PIL image, a numpy array, a tensor
    result.photo, result.field, result.doubts;  result.save('sharp.jpg')

    photo --estimator--> Estimate --refinement, if wanted--> restoration --> iterates --fusion--> strength --> photo
                                                             for each part of the estimate, added by its weight
                                                                                  doubts: about the photo at the end

Every step is a part that can be replaced: a function, or an object that is called. The fields of `Deblurrer` say how
each is called. To find the blur in another way, write an `Estimator` (see `basis_blur.estimation.estimate`) and give
it:

    def estimator(photo, gamma, progress=None):
        return Estimate(field, source='mine', removal=Removal(iterations=20, strength=1.0))

    Deblurrer(estimator)  or  dataclasses.replace(Deblurrer.pretrained(), estimator=estimator)

How a blur is best removed depends on who estimated it, so an estimate brings settings (`Removal`), and those that
`DeblurSettings` has take precedence. The fusion network is used where the estimate or the settings ask for it.
"""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs import names_of
from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.archs.network_facts import ESTIMATOR, FIELD
from basis_blur.estimation.by_network import removal_of
from basis_blur.estimation.choice import estimator_for
from basis_blur.estimation.estimate import Doubt, Estimate, Estimator, Progress
from basis_blur.estimation.estimators import KnownField, NetworkEstimator
from basis_blur.estimation.judge import Chances, Judgement, judged
from basis_blur.estimation.refinement import refine_field
from basis_blur.field.blur_field import BlurField
from basis_blur.field.local_kernels import LocalKernels
from basis_blur.foundation.choices import AS_PRINTED, DEFAULT_FUSION, DEFAULT_WEIGHTS
from basis_blur.foundation.errors import InputError, naming
from basis_blur.foundation.numbers import check_number
from basis_blur.ops.photo import check_larger_than_kernel
from basis_blur.photos.alpha import with_hidden_as_before, with_visible_continued
from basis_blur.photos.exif import film_focal_of
from basis_blur.photos.kinds import Given, take
from basis_blur.restoration import as_printed
from basis_blur.restoration.deblur import deblur_iterates
from basis_blur.restoration.fusion import fuse
from basis_blur.restoration.settings import Removal, Steps, check_strength, step_towards, steps_for
from basis_blur.weights.checkpoints import load_fusion, load_network

if TYPE_CHECKING:
    from basis_blur.photos.comparison import Comparison
    from basis_blur.photos.photo import Photo

# Names of the stages that follow those of an estimator, in their order.
REFINING, REMOVING, FUSING, CHECKING = 'refining', 'removing the blur', 'fusing the iterates', 'checking the result'
SECONDS_OF_ITERATION, SECONDS_OF_FUSION = 0.35, 1.5  # time that one takes for a megapixel on two cores


@dataclass(frozen=True)
class DeblurSettings:
    """The settings of a deblurrer; one that is None follows from the photo and its estimate.

    Args:
        gamma: exponent of the photos, light = photo ** gamma; 1 for photos in linear light. By default it is that
            which the file of the photo states, or else 2.2.
        iterations: largest number of iterations of Richardson-Lucy, >= 1; where it is given, no fusion follows.
        strength: length of the step from the blurred photo to the restored one, in [0, 1].
        tv_weight: weight of total variation, in linear light.
        fusion: True if the fusion network makes the photo, False if not; by default as the estimate says.
        refine: number of steps by which the estimated blur is fitted to the photo before it is removed; 0 for none.

    Raises:
        ValueError: a value is out of its range, or two contradict each other.

    Example:
        >>> bb.DeblurSettings(gamma=1.0, strength=0.5).strength
        0.5
        >>> bb.DeblurSettings(strength=2)
        Traceback (most recent call last):
        ValueError: strength is 2, ...
    """

    gamma: float | None = None
    iterations: int | None = None
    strength: float | None = None
    tv_weight: float | None = None
    fusion: bool | None = None
    refine: int = 0

    def __post_init__(self) -> None:
        if self.gamma is not None:
            check_number('gamma', self.gamma, above=0, remedy='photos have 2.2, linear data 1.')
        if self.iterations is not None:
            remedy = 'leave it out for the best number.'
            check_number('iterations', self.iterations, least=1, whole=True, remedy=remedy)
        if self.tv_weight is not None:
            check_number('tv_weight', self.tv_weight, least=0, remedy='leave it out to follow the noise.')
        if self.iterations is not None and self.fusion:
            raise ValueError(f'iterations is {self.iterations}, but the fusion says how many it needs; leave one out.')
        if self.strength is not None:
            check_strength(self.strength)
        check_refine(self.refine, self.gamma)


def check_refine(steps: int, gamma: float | None) -> None:
    """Raise InputError unless `steps` is a number of refinement steps, >= 0, and gamma allows them: it is >= 1."""
    try:
        check_number('refine', steps, least=0, whole=True, remedy='it is a number of steps; 0 is none.')
    except ValueError as error:
        raise InputError(str(error)) from error
    if steps and gamma is not None and gamma < 1:
        raise InputError(f'refine is {steps} and gamma {gamma:g}, expected a gamma of at least 1 with it.')


class Restoration(Protocol):
    """A way to remove a known blur step by step, such as `basis_blur.restoration.deblur.deblur_iterates`."""

    def __call__(
        self,
        photo: Tensor,
        field: BlurField,
        iterations: Sequence[int],
        gamma: float,
        *,
        tv_weight: float | None,
        least_tv_weight: float,
        further: int,
        callback: Callable[[int], None] | None,
    ) -> Tensor:
        """Return the photos after some numbers of iterations, one after the other in dim 1; see `deblur_iterates`."""
        ...


METHODS: dict[str, Restoration] = {'rl': deblur_iterates, AS_PRINTED: as_printed.deblur_as_printed}
# A function of the photo, the restored photo that is handed out, the estimate, and gamma.
Judge = Callable[[Tensor, Tensor, Estimate, float], Sequence[Doubt] | Judgement]


FieldT = TypeVar('FieldT', bound=LocalKernels | None, covariant=True)


@dataclass(frozen=True, eq=False)
class Deblurred(Generic[FieldT]):
    """A sharp photo, and what it was made by.

    Args:
        photo: the sharp photo, of the kind that was given; for a path, a `basis_blur.photos.photo.Photo`.
        pixels: the same photo as a tensor, (N, 3 or 1, H, W); sRGB-like in [0, 1], before any rounding.
        field: the blur that was removed, of all photos of the batch; None where it is not known.
        estimates: the blur of each photo of the batch, with its origin.
        doubts: reasons not to trust the sharp photos, of all photos of the batch.
        notes: sentences for a person about how they were made.
        given: the blurred photo, and what it had beside its pixels.
        restored: the sharp photos of strength 1, one by one; `Deblurrer.with_strength` makes others of them.
        chances: how likely each photo of the batch has become better or worse; None for one of which the judge cannot
            tell, such as a photo whose blur was known, or that was left as it is.

    Example:
        >>> deblurrer = bb.Deblurrer.pretrained(estimator='network')
        >>> result: bb.Deblurred[bb.BlurField] = deblurrer(torch.rand(1, 3, 48, 64))
        >>> result.field.image_size, result.notes
        ((48, 64), ())
    """

    photo: Any
    pixels: Tensor
    field: FieldT
    estimates: tuple[Estimate, ...]
    doubts: tuple[Doubt, ...]
    notes: tuple[str, ...]
    given: Given
    restored: tuple[Tensor, ...] = ()
    chances: tuple[Chances | None, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the photo to a PNG, JPEG or TIFF file, whole or not at all.

        It has the bit depth, alpha, ICC profile, EXIF and resolution of the photo that was given, as far as that had
        them and the format has room. Colours under alpha 0 are as they were given. Floating point becomes 16 bits in
        PNG.

        Raises:
            InputError: the suffix is that of no format, or the photo has alpha and the file is a JPEG.
            ValueError: there are several photos.
            OSError: the file cannot be written.
        """
        from basis_blur.photos.writing import write_photo  # here, because it loads OpenCV and Pillow

        if len(self.pixels) != 1:
            raise ValueError(f'there are {len(self.pixels)} photos, expected one; write them one by one.')
        write_photo(path, self.pixels, like=self.given.photo)

    def save_comparison(self, path: str | os.PathLike[str], title: str = '') -> None:
        """Write the photo before and after, for a person to compare, whole or not at all.

        Args:
            path: name of the file. One in .html becomes a page with a slider, the blur drawn over the photo, and the
                doubts in words; one in .png or .jpg a picture of both photos beside each other.
            title: title of the page, such as the name of the photo.

        Raises:
            InputError: the suffix is none of these.
            ValueError: there are several photos.
            OSError: the file cannot be written.
        """
        self._comparison(title).save(path)

    def _comparison(self, title: str) -> Comparison:
        from basis_blur.photos.comparison import comparison_of  # here, because it loads OpenCV and Pillow

        if len(self.pixels) != 1:
            raise ValueError(f'there are {len(self.pixels)} photos, expected one; compare them one by one.')
        doubts = [str(doubt) for doubt in self.doubts]
        photo = dataclasses.replace(self.given.photo, pixels=self.given.pixels)
        return comparison_of(photo, self.pixels, self.field, title=title, doubts=doubts, notes=self.notes)

    def _repr_html_(self) -> str | None:
        """Show the comparison of one photo in a notebook."""
        if len(self.pixels) != 1:
            return None
        page = html.escape(self._comparison('').page())
        return f'<iframe srcdoc="{page}" style="width:100%; height:720px; border:0" title="before and after"></iframe>'


@dataclass(frozen=True, eq=False)
class Deblurrer:
    """Estimate the blur of photos and remove it.

    Args:
        estimator: function that finds the blur of a photo; see `basis_blur.estimation.estimate.Estimator`.
        settings: settings that take precedence over those of the estimate.
        fusion: network that makes one photo of the iterates, or None.
        restoration: function that removes the blur; see `Restoration`.
        judge: function that returns reasons not to trust a result, called with the photo, the photo that is handed
            out, the estimate and gamma; or a `Judgement`, which also says how likely it is better or worse.
        device: device on which photos are worked on; `estimator` and `fusion` have to be there too.

    Raises:
        ValueError: the settings ask for a fusion and there is none.

    Example:
        >>> deblurrer = bb.Deblurrer.pretrained(estimator='network')
        >>> result = deblurrer(torch.rand(1, 3, 48, 64))
        >>> result.photo.shape
        torch.Size([1, 3, 48, 64])
        >>> result.estimates[0].source
        'network'
    """

    estimator: Estimator
    settings: DeblurSettings = DeblurSettings()
    fusion: IterateFusion | None = None
    restoration: Restoration = deblur_iterates
    judge: Judge = judged
    device: torch.device | str = 'cpu'

    def __post_init__(self) -> None:
        if self.settings.fusion and self.fusion is None:
            raise ValueError('the settings ask for a fusion, but there is no fusion network; give one.')

    @classmethod
    def pretrained(
        cls,
        weights: str | os.PathLike[str] | nn.Module | None = None,
        *,
        kernels: str | os.PathLike[str] | BlurField | None = None,
        fusion: str | os.PathLike[str] | bool | IterateFusion | None = None,
        estimate_at: str = 'auto',
        estimator: str | None = None,
        focal_length: float | None = None,
        method: str = 'rl',
        device: torch.device | str = 'cpu',
        **settings: Any,
    ) -> Deblurrer:
        """Return the deblurrer of `basis-blur deblur`; the arguments are the command's options.

        Args:
            weights: file or name of the network that estimates the blur, or the network itself, on `device`; by default
                the shipped one.
            kernels: a known blur field, or the npz file of one, in place of a network.
            fusion: file or name of an IterateFusion that makes the photo, or the network itself; True for the shipped
                one, False for none. By default the shipped one is used where the estimate asks for it
                (`Removal.fusion`), as estimates of the shipped network do.
            estimate_at: size of the photo that the network sees: 'full', 'half', or 'auto' for the one that suits.
            estimator: 'network'; 'shake' for the search over the whole photo, which starts from the network;
                'rotations' for a camera that rotated about three axes, which starts from the search; 'auto' for
                what explains each photo (the head of `estimation.choice` says how it chooses); 'none' to leave photos
                as they are. By default 'auto', but 'network' where other weights, `estimate_at` or another method are
                given.
            focal_length: focal length of the photos for 'auto' and 'rotations', in mm, converted to film of
                36 x 24 mm; by default that of the photo's EXIF, or 28 for 'rotations' and none for 'auto'.
            method: 'rl' to remove the blur as `basis_blur.deblur` does; 'rl-c21' to do so as [C21] prints it, for
                comparisons: 30 iterations, the whole step, no fusion, unless the settings say otherwise.
            device: device on which to compute.
            settings: fields of `DeblurSettings`, such as gamma or strength.

        Raises:
            ValueError: a setting is out of its range, or two contradict each other.
            InputError: the weights or the field cannot be used.
            OSError: a file does not exist or cannot be read.
        """
        if kernels is not None and (weights is not None or estimate_at != 'auto' or estimator is not None):
            raise ValueError(
                'weights, estimate_at or estimator is given beside kernels, where nothing is estimated; leave it out.'
            )
        wanted = None if fusion is None else fusion is not False
        fuser = DEFAULT_FUSION if fusion is True else None if fusion is False else fusion
        if method not in METHODS:
            raise ValueError(f'method is {method!r}, expected one of {", ".join(METHODS)}.')
        chosen = DeblurSettings(**settings_of_method(method, settings, bool(wanted)), fusion=wanted)
        if kernels is not None:
            field = _one_field(kernels).to(device)
            part: Estimator = KnownField(field)
            knows_fusion = field.removal is not None and field.removal.fusion
        else:
            net = _loaded(DEFAULT_WEIGHTS if weights is None else weights, device)
            knows_fusion = removal_of(net).fusion
            usual = 'auto' if knows_fusion and estimate_at == 'auto' and method == 'rl' else 'network'
            part = estimator_for(estimator or usual, NetworkEstimator(net, estimate_at), focal_length)
        if fuser is None and wanted is None and knows_fusion and chosen.iterations is None:
            fuser = DEFAULT_FUSION
        if not isinstance(fuser, nn.Module):
            fuser = load_fusion(fuser, device)
        return cls(part, chosen, fuser, METHODS[method], device=device)

    def __call__(self, photo: Any, *, order: str = 'rgb', progress: Progress | None = None) -> Deblurred[BlurField]:
        """Return the sharp photo, of the kind that was given.

        Photos of a batch are worked on one by one. No gradients flow; `basis_blur.Deblur` is for that.

        Args:
            photo: a path, a PIL image, a numpy array (H, W[, C]) of uint8, uint16 or floating point in [0, 1], or a
                tensor (N, 3 or 1, H, W), sRGB-like in [0, 1]; see `basis_blur.photos.kinds`.
            order: 'bgr' for an array whose first channel is blue.
            progress: function that is called during the work with the name of a stage, such as 'removing the blur',
                the number of a step of it, from 1, and the number of its steps.

        Raises:
            InputError: the photo cannot be used, for example because it is smaller than the blur kernels.
            ValueError: its numbers are outside [0, 1].
            TypeError: it is of an unknown kind.
            OSError: a file cannot be read.
        """
        given = take(photo, order)
        gamma = given.gamma(self.settings.gamma)
        with naming(photo):
            seen = with_visible_continued(given.pixels, given.photo.alpha).split(1)
            suited = dataclasses.replace(self, estimator=_suited(self.estimator, given.photo))
            results = [suited._result_for(one.to(self.device), gamma, progress) for one in seen]
        return _deblurred(given, results)

    @torch.no_grad()
    def with_strength(self, result: Deblurred[BlurField], strength: float | None = None) -> Deblurred[BlurField]:
        """Return a result as it would be with another strength; nothing is estimated or restored again.

        Args:
            result: result of a call of this deblurrer.
            strength: length of the step from the blurred photo to the restored one, in [0, 1]; by default that of the
                settings, or else that of the estimate.

        Raises:
            ValueError: the strength is outside [0, 1], or no `Deblurrer` made the result.
        """
        if not result.restored:
            raise ValueError('the result holds no restored photos, expected a result of a Deblurrer; make one by it.')
        if strength is None:
            strength = self.settings.strength
        other = dataclasses.replace(self, settings=dataclasses.replace(self.settings, strength=strength))
        given, gamma = result.given, result.given.gamma(self.settings.gamma)
        seen = with_visible_continued(given.pixels, given.photo.alpha).split(1)
        results = [
            other._finished(one.to(self.device), restored, estimate, gamma)
            for one, restored, estimate in zip(seen, result.restored, result.estimates, strict=True)
        ]
        return _deblurred(given, results)

    @torch.no_grad()
    def estimate(self, photo: Any, *, order: str = 'rgb', progress: Progress | None = None) -> Estimate:
        """Return the blur of one photo without removing it; arguments and errors are those of a call.

        Raises:
            ValueError: there are several photos.
        """
        given = take(photo, order)
        if len(given.pixels) != 1:
            raise ValueError(f'there are {len(given.pixels)} photos, expected one; estimate them one by one.')
        with naming(photo):
            seen = with_visible_continued(given.pixels, given.photo.alpha)
            estimator = _suited(self.estimator, given.photo)
            return estimator(seen.to(self.device), given.gamma(self.settings.gamma), progress)

    @torch.no_grad()
    def _result_for(self, photo: Tensor, gamma: float, progress: Progress | None) -> _Result:
        """Return the result for one photo (1, 3 or 1, H, W), which lies on the device of the parts."""
        estimate = self.estimator(photo, gamma, progress)
        check_larger_than_kernel(photo, estimate.field.kernel_size)
        if self.settings.refine:
            check_refine(self.settings.refine, gamma)
            estimate = _refined(photo, estimate, gamma, self.settings.refine, progress)
        restored = self._restored(photo, estimate, gamma, progress)
        result = self._finished(photo, restored, estimate, gamma)
        if progress is not None:
            progress(CHECKING, 1, 1)
        return result

    def _restored(self, photo: Tensor, estimate: Estimate, gamma: float, progress: Progress | None) -> Tensor:
        """Return the photo restored with strength 1: that of the field, or the weighted sum of those of the parts."""
        if not estimate.parts:
            most = _most_iterations(self.how_far(estimate.removal)[0])
            return self._restored_by(photo, estimate.field, estimate.removal, gamma, progress, 0, most)
        numbers = [_most_iterations(self.how_far(part.removal)[0]) for part in estimate.parts]
        total = torch.zeros_like(photo)
        for place, part in enumerate(estimate.parts):
            before = sum(numbers[:place])
            found = self._restored_by(photo, part.field, part.removal, gamma, progress, before, sum(numbers))
            total.addcmul_(found, part.weight.to(found))
        return total

    def _restored_by(
        self,
        photo: Tensor,
        field: BlurField,
        removal: Removal,
        gamma: float,
        progress: Progress | None,
        before: int,
        most: int,
    ) -> Tensor:
        """Return the photo restored with one field; `before` of `most` iterations in all have been made before."""
        (kept, _, further), fusion = self.how_far(removal)
        iterates = self.restoration(
            photo,
            field,
            kept,
            gamma,
            tv_weight=self.settings.tv_weight,
            least_tv_weight=removal.least_tv_weight,
            further=further,
            callback=None if progress is None else lambda number: progress(REMOVING, before + number, most),
        )
        if fusion is None:
            return iterates[:, -photo.shape[1] :]
        tell = None if progress is None else lambda number, total: progress(FUSING, number, total)
        return fuse(fusion, photo, iterates, callback=tell)

    def strength_of(self, estimate: Estimate) -> float | Tensor:
        """Return the length of the step from the blurred photo to the restored one, in [0, 1].

        Returns:
            One number; or one for each pixel, (1, 1, H, W), where the parts of the estimate have different strengths.
        """
        if not estimate.parts:
            return self.how_far(estimate.removal)[0].strength
        strengths = [self.how_far(part.removal)[0].strength for part in estimate.parts]
        if len(set(strengths)) == 1:
            return strengths[0]
        weighted = [part.weight * strength for part, strength in zip(estimate.parts, strengths, strict=True)]
        return torch.stack(weighted).sum(0)

    def expected_seconds(self, pixels: int, only_estimate: bool = False) -> dict[str, float]:
        """Return the seconds that each stage is expected to take on two cores, in their order; see `Pace`.

        Args:
            pixels: number of pixels of a photo.
            only_estimate: whether the blur is to be found and not removed.
        """
        millions = pixels / 1e6
        iterations = (self.settings.iterations or 1) if self.fusion is None else max(self.fusion.iterations)
        of_estimator: dict[str, float] = getattr(self.estimator, 'expected_seconds', lambda pixels: {})(pixels)
        if only_estimate:
            return of_estimator
        return {
            **of_estimator,
            **({REFINING: self.settings.refine * millions} if self.settings.refine else {}),
            REMOVING: 0.2 + iterations * SECONDS_OF_ITERATION * millions,
            **({} if self.fusion is None else {FUSING: SECONDS_OF_FUSION * millions}),
            CHECKING: 0.3 + 0.3 * min(millions, 6),
        }

    def _finished(self, photo: Tensor, restored: Tensor, estimate: Estimate, gamma: float) -> _Result:
        sharp = step_towards(restored, photo, self.strength_of(estimate))
        found = self.judge(photo, sharp, estimate, gamma)
        judgement = found if isinstance(found, Judgement) else Judgement(tuple(found), None)
        return _Result(sharp, restored, estimate, judgement)

    def how_far(self, removal: Removal) -> tuple[Steps, IterateFusion | None]:
        """Return how far a restoration goes, and the network that fuses its iterates.

        Args:
            removal: settings of the estimate, which count where this deblurrer's are None.
        """
        wanted = self.settings
        is_fused = wanted.fusion
        if is_fused is None:
            is_fused = removal.fusion and wanted.iterations is None
        if is_fused and self.fusion is not None:
            # The network decides how far to go; but a photo that the estimate leaves alone stays as it is.
            whole = 1.0 if removal.strength else 0.0
            return steps_for(
                removal, None, whole if wanted.strength is None else wanted.strength, self.fusion
            ), self.fusion
        return steps_for(removal, wanted.iterations, wanted.strength), None


def settings_of_method(method: str, settings: Mapping[str, Any], is_fused: bool) -> dict[str, Any]:
    """Return the settings, completed by those of the method where they are not given.

    Args:
        method: one of `METHODS`.
        settings: arguments of `DeblurSettings`.
        is_fused: whether a fusion network is to make the photo.

    Raises:
        ValueError: a fusion is wanted together with the restoration of [C21], which has none.
    """
    if method != AS_PRINTED:
        return dict(settings)
    if is_fused:
        raise ValueError(f'a fusion is given beside the method {method!r}, which uses none; leave one out.')
    usual = {'iterations': as_printed.REMOVAL.iterations, 'strength': as_printed.REMOVAL.strength}
    return {**usual, **{key: value for key, value in settings.items() if value is not None}}


def _most_iterations(steps: Steps) -> int:
    return steps.kept[-1] + steps.further


class _Result(NamedTuple):
    """The result for one photo: at the strength that is wanted (`pixels`), and at strength 1 (`restored`)."""

    pixels: Tensor
    restored: Tensor
    estimate: Estimate
    judgement: Judgement


def _deblurred(given: Given, results: Sequence[_Result]) -> Deblurred[BlurField]:
    """Return the results for the photos of a batch as one."""
    pixels = results[0].pixels if len(results) == 1 else torch.cat([result.pixels for result in results])
    pixels = with_hidden_as_before(pixels.to(given.pixels), given.pixels, given.photo.alpha)
    estimates = tuple(result.estimate for result in results)
    return Deblurred(
        photo=given.back(pixels),
        pixels=pixels,
        field=joined([estimate.field for estimate in estimates]),
        estimates=estimates,
        doubts=tuple(doubt for result in results for doubt in result.judgement.doubts),
        notes=tuple(note for estimate in estimates for note in estimate.notes),
        given=given,
        restored=tuple(result.restored for result in results),
        chances=tuple(result.judgement.chances for result in results),
    )


def _suited(estimator: Estimator, photo: Photo) -> Estimator:
    """Return the estimator, told the focal length of the photo (from its EXIF) if it can make use of one."""
    for_film: Callable[[float | None], Estimator] | None = getattr(estimator, 'for_film', None)
    return estimator if for_film is None else for_film(film_focal_of(photo.exif))


def _loaded(weights: str | os.PathLike[str] | nn.Module, device: torch.device | str) -> nn.Module:
    if isinstance(weights, nn.Module):
        return weights
    return load_network(weights, device, expect=names_of(ESTIMATOR, returns=FIELD))


def _one_field(kernels: str | os.PathLike[str] | BlurField) -> BlurField:
    field = kernels if isinstance(kernels, BlurField) else BlurField.load(kernels)
    if len(field) != 1:
        place = '' if isinstance(kernels, BlurField) else f'{kernels} holds '
        raise InputError(f'{place}the fields of {len(field)} photos, expected one; save them one by one.')
    return field


def _refined(photo: Tensor, estimate: Estimate, gamma: float, steps: int, progress: Progress | None) -> Estimate:
    tell = None if progress is None else lambda step, _: progress(REFINING, step, steps)
    with torch.enable_grad():
        found = refine_field(photo, estimate.field, gamma, steps, tell)
    return dataclasses.replace(estimate, field=found.field, notes=(*estimate.notes, found.sentence), parts=())


def joined(fields: Sequence[BlurField]) -> BlurField:
    """Return the fields of several photos as one field of a batch.

    Smaller kernels get a border of zeros, and where one field has fewer kernels, more with a mixing of 0 are added. The
    settings for removal are those of the parts if they are all equal, and None otherwise.

    Args:
        fields: fields of photos of the same size.
    """
    if len(fields) == 1:
        return fields[0]
    size = max(field.kernel_size for field in fields)
    number = max(field.kernels.shape[1] for field in fields)
    kernels, mixing = [], []
    for field in fields:
        border, missing = (size - field.kernel_size) // 2, number - field.kernels.shape[1]
        padded = F.pad(field.kernels, [border] * 4)
        kernels.append(torch.cat([padded, *[padded[:, :1]] * missing], 1))
        mixing.append(F.pad(field.mixing, [0, 0, 0, 0, 0, missing]))
    removal = fields[0].removal if len({field.removal for field in fields}) == 1 else None
    return BlurField.unchecked(torch.cat(kernels), torch.cat(mixing), removal=removal)
