"""How likely a restored photo is better or worse than the blurred one: a small model, fitted to simulated scenes.

The judge sees numbers x_i that are known of an estimate and of the photo restored with it (`evidence_of`). It expects

    gain of the photo, dB   ~   logistic distribution of mean m and scale s
    m = a_0 + sum_i a_i z_i,    log s = b_0 + sum_i b_i z_i,    z_i = (clip(x_i) - middle_i) / deviation_i

so the photo is worse with the probability 1 / (1 + exp(m / s)), and better by d with 1 / (1 + exp((d - m) / s)).
Numbers are clipped to the range that they had in the scenes, so a photo unlike all of these is judged like the nearest.

`scripts/evaluate/fit_judge.py` finds a and b; `judge_numbers` has them. docs/shake.md tells how often the judge is
right. The kind of evidence (sparse gradients, ringing, noise) is that of Liu, Wang, Cho, Finkelstein and Rusinkiewicz,
"A no-reference metric for evaluating the quality of motion deblurring", 2013.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.estimation.estimate import Doubt, Estimate
from basis_blur.estimation.judge_numbers import NUMBERS
from basis_blur.estimation.shake.kernels import best_shift, on_canvas, spread
from basis_blur.estimation.shake.search import ShakeEstimate
from basis_blur.estimation.trust import doubt_of_residual, reblur_residual
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.windows import spread_windows
from basis_blur.restoration.noise import estimate_noise
from basis_blur.restoration.settings import LEAST_NOISE

BETTER = 0.2  # gain from which on a photo counts as better, dB
WINDOW, WINDOWS = 512, 6  # side in pixels, and largest number, of the windows of a photo that are looked at
PLACES = 9  # number of rows and columns of places whose kernels tell the extent of a field
SCALES = (1, 2, 4)  # sizes of pixels at which gradients are compared
LEAST_SCALE = 0.25  # lower bound of s, dB
LEAST = 1e-4  # lower bound of the numbers whose logarithms are taken
SHORTEST = 0.3  # pixels that are added to an extent before its logarithm is taken
FLAT_SHARE = 0.3  # share of a photo that counts as smooth


@dataclass(frozen=True)
class Chances:
    """What is to be expected of a restored photo, beside the blurred one.

    Args:
        gain: expected gain in PSNR at the best shift, dB.
        better: probability that the gain is at least 0.2 dB.
        worse: probability that the gain is negative.
    """

    gain: float
    better: float
    worse: float


class Judgement(NamedTuple):
    """What is thought of a restored photo.

    Args:
        doubts: reasons not to trust it.
        chances: what is to be expected of it; None for an estimate of which the judge knows nothing: a blur that was
            measured, or that of a roll, of rotations, of streaks or of windows (`MODELS` has the others).
    """

    doubts: tuple[Doubt, ...]
    chances: Chances | None


@dataclass(frozen=True)
class Model:
    """The numbers of the formula at the head of this module, each a sequence with one entry for each name.

    Args:
        names: names of the evidence.
        least, most: bounds to which it is clipped.
        middle, deviation: its mean and standard deviation in the scenes.
        mean, scale: a and b, with a_0 and b_0 in front.
        most_worse: probability of a worse photo from which on it is doubted.
    """

    names: Sequence[str]
    least: Sequence[float]
    most: Sequence[float]
    middle: Sequence[float]
    deviation: Sequence[float]
    mean: Sequence[float]
    scale: Sequence[float]
    most_worse: float

    def chances(self, evidence: Mapping[str, float]) -> Chances:
        """Return the chances of a photo with this evidence, which may have further entries.

        Raises:
            KeyError: a number is missing.
        """
        m, s = self.distribution(evidence)
        return Chances(m, _above(BETTER, m, s), 1 - _above(0.0, m, s))

    def distribution(self, evidence: Mapping[str, float]) -> tuple[float, float]:
        """Return the mean and the scale of the gain, dB; argument and error are those of `chances`."""
        z = [1.0]
        for name, least, most, middle, deviation in zip(
            self.names, self.least, self.most, self.middle, self.deviation, strict=True
        ):
            z.append((min(max(evidence[name], least), most) - middle) / deviation)
        m = sum(a * each for a, each in zip(self.mean, z, strict=True))
        s = max(LEAST_SCALE, math.exp(sum(b * each for b, each in zip(self.scale, z, strict=True))))
        return m, s


MODELS = {name: Model(**numbers) for name, numbers in NUMBERS.items()}  # models by the source of an estimate


def judged(photo: Tensor, sharp: Tensor, estimate: Estimate, gamma: float = GAMMA) -> Judgement:
    """Return what is thought of a restored photo: all doubts, and its chances.

    'harm' is raised where a worse photo is likelier than `Model.most_worse`; the others are those of the estimate and
    of `basis_blur.estimation.trust.doubts_of_restoration`.

    Args:
        photo, sharp: (1, 3 or 1, H, W); sRGB-like in [0, 1]; `sharp` is the photo that is handed out.
        estimate: the blur by which it was restored.
        gamma: exponent of the photo, light = photo ** gamma.

    Raises:
        ValueError: the field is of another size.
    """
    residual = reblur_residual(photo, sharp, estimate.field, gamma)
    doubts = [*estimate.doubts, *doubt_of_residual(photo, residual, not estimate.is_known)]
    model = model_of(estimate)
    if model is None or estimate.removal.strength == 0:
        return Judgement(tuple(doubts), None)
    chances = model.chances(evidence_of(photo, sharp, estimate, gamma, residual))
    if chances.worse > model.most_worse:
        words = (
            f'the sharp photo may be worse than the blurred one: {in_words(chances.worse)} of those with an estimate '
            'like this one are; compare the two.'
        )
        doubts.append(Doubt('harm', words, chances.worse))
    return Judgement(tuple(doubts), chances)


def model_of(estimate: Estimate) -> Model | None:
    """Return the model for an estimate; None if there is none for those of its origin."""
    if estimate.source == 'shake' and not (isinstance(estimate, ShakeEstimate) and len(starts_of(estimate)) == 1):
        return None
    return MODELS.get(estimate.source)


def in_words(probability: float) -> str:
    """Return a probability as a person says it: 'about 3 in 10'."""
    tenths = min(max(round(10 * probability), 1), 9)
    return 'about half' if tenths == 5 else f'about {tenths} in 10'


@torch.no_grad()
def evidence_of(
    photo: Tensor, sharp: Tensor, estimate: Estimate, gamma: float, residual: float | None = None
) -> dict[str, float]:
    """Return the evidence for or against a restored photo, numbers by name.

    Args:
        photo, sharp, estimate, gamma: arguments of `judged`.
        residual: `reblur_residual` of these, if it is known.
    """
    if residual is None:
        residual = reblur_residual(photo, sharp, estimate.field, gamma)
    extent = spread(estimate.kernel) if isinstance(estimate, ShakeEstimate) else extent_of(estimate)
    found = {'extent': math.log(extent + SHORTEST), **look_of(photo, sharp, extent, residual)}
    if isinstance(estimate, ShakeEstimate):
        found |= evidence_of_search(estimate)
    return found


def evidence_of_search(found: ShakeEstimate) -> dict[str, float]:
    """Return the numbers of a search that started from one kernel.

    agreement, share_of_wrong    the numbers of these names in the estimate
    extent_unlike                how much the extent of the kernel differs from that of its start, log
    start_alike                  how alike the kernel and its start are
    """
    start = starts_of(found)[0]
    size = max(start.shape[-1], found.kernel.shape[-1])
    pair = (on_canvas(each[None], size)[0] for each in (start, found.kernel))
    unlike = abs(math.log((spread(found.kernel) + SHORTEST) / (spread(start) + SHORTEST)))
    return {
        'agreement': found.agreement,
        'share_of_wrong': found.share_of_wrong,
        'extent_unlike': unlike,
        'start_alike': best_shift(*pair)[2],
    }


def starts_of(found: ShakeEstimate) -> list[Tensor]:
    """Return the kernels that a search started from."""
    return [each.kernel for each in found.tried if each.name == 'start']


def extent_of(estimate: Estimate) -> float:
    """Return the mean extent of the kernels of a field at places spread over the photo, pixels."""
    rows, columns = (torch.linspace(0, side - 1, PLACES).round().long() for side in estimate.field.image_size)
    kernels = estimate.field.kernels_at(torch.cartesian_prod(rows, columns).to(estimate.field.device))
    return sum(spread(kernel) for kernel in kernels[0]) / PLACES**2


def look_of(photo: Tensor, sharp: Tensor, extent: float, residual: float) -> dict[str, float]:
    """Return what the restored photo looks like beside the blurred one, means over windows.

        residual                 log(residual / noise)
        change, noise            log of the root mean square of the change; log of the noise
        tv_1, tv_2, tv_4         log of the gradients' mean size, after over before, of means of 1, 2, 4 pixels a side
        sparse                   how much less sparse they have become: mean over root mean square, for 2 pixels a side
        overshoot                log of what lies beyond the values around, over the change
        smooth                   log of the change in the smoothest places, over the change everywhere
        noise_gain               log of the noise after over the noise before

    Args:
        photo, sharp: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        extent: extent of the kernel, pixels.
        residual: what the blur leaves unexplained (`reblur_residual`).
    """
    windows = spread_windows(photo.shape[-2:], WINDOW, WINDOWS)
    noise = max(estimate_noise(photo).item(), LEAST_NOISE)
    looks = []
    for rows, columns in windows:
        before, after = (each[..., rows, columns].float().mean(1, keepdim=True) for each in (photo, sharp))
        looks.append(_look(before, after, max(2, round(extent))))
    found = {name: sum(look[name] for look in looks) / len(looks) for name in looks[0]}
    found['residual'] = math.log(max(residual, LEAST) / noise)
    found['noise'] = math.log(noise)
    found['noise_gain'] = math.log(max(estimate_noise(sharp).item(), LEAST) / noise)
    return found


def _look(before: Tensor, after: Tensor, reach: int) -> dict[str, float]:
    """Return what one window (1, 1, h, w) tells; `reach` is how far ringing goes, pixels."""
    change = after - before
    size = max(_rms(change), LEAST)
    found = {'change': math.log(size)}
    for scale in SCALES:
        old, new = (_gradients(F.avg_pool2d(each, scale, ceil_mode=True)) for each in (before, after))
        found[f'tv_{scale}'] = math.log(max(_mean(new), LEAST) / max(_mean(old), LEAST))
        if scale == 2:
            found['sparse'] = _mean(new) / max(_rms(new), LEAST) - _mean(old) / max(_rms(old), LEAST)
    around = 4 * reach + 1
    highest = F.max_pool2d(before, around, 1, around // 2)
    lowest = -F.max_pool2d(-before, around, 1, around // 2)
    beyond = (after - highest).clamp_min(0) + (lowest - after).clamp_min(0)
    found['overshoot'] = math.log(max(_rms(beyond), LEAST) / size)
    near = 2 * reach + 1
    mean, square = (F.avg_pool2d(each, near, 1, reach, count_include_pad=False) for each in (before, before.square()))
    texture = (square - mean.square()).flatten()
    smooth = texture.topk(max(1, int(FLAT_SHARE * texture.numel())), largest=False).indices
    found['smooth'] = math.log(max(_rms(change.flatten()[smooth]), LEAST) / size)
    return found


def _gradients(photo: Tensor) -> Tensor:
    return torch.cat([photo.diff(dim=dim).flatten() for dim in (-2, -1)])


def _mean(values: Tensor) -> float:
    return values.abs().sum().item() / max(values.numel(), 1)


def _rms(values: Tensor) -> float:
    return math.sqrt(values.square().sum().item() / max(values.numel(), 1))


def _above(least: float, mean: float, scale: float) -> float:
    """Return the probability that a number of a logistic distribution is above `least`."""
    return 1 / (1 + math.exp(min((least - mean) / scale, 700.0)))
