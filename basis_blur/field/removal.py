"""The settings by which a blur is best removed; they belong to the blur, since they depend on who estimated it.

A blur that was measured is removed at full strength. An estimate has errors, which later iterations fit, so fewer
iterations are made and only a part of the step is taken. How many and how much depends on the estimator: a network has
its settings stored with its weights (docs/training_log.md says how those of the shipped one were found).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from basis_blur.foundation.numbers import check_number

ITERATIONS = 11  # largest number of iterations with a true blur
FURTHER = 9  # largest number of those that may follow, so that all take at most twice the time
# Largest number of iterations with an estimate of unknown worth. Estimated kernels are wider than the true ones, and
# later iterations fit their errors (docs/training_log.md).
ESTIMATED_ITERATIONS = 3
# Strength with an estimate of unknown worth. Where a change of the photo may be wrong, a part of it is the best guess.
ESTIMATED_STRENGTH = 0.6


def check_strength(strength: float) -> None:
    """Raise ValueError unless `strength` is in [0, 1]."""
    check_number('strength', strength, least=0, most=1, remedy='0 is the blurred photo and 1 the restored one.')


@dataclass(frozen=True)
class Removal:
    """The settings with which a blur is best removed.

    Args:
        iterations: largest number of iterations of Richardson-Lucy, >= 1.
        strength: length of the step from the blurred photo to the restored one, in [0, 1].
        fusion: whether the shipped IterateFusion makes the photo; it was trained on blurs of the shipped network.
        least_tv_weight: lower bound of the weight of total variation that follows from the noise; linear light.
        further: largest number of iterations that follow where the blur explains the photo down to its noise, >= 0.

    Raises:
        ValueError: a value is out of its range.

    Example:
        >>> bb.Removal(iterations=3, strength=0.6)
        Removal(iterations=3, strength=0.6, fusion=False, least_tv_weight=0.0, further=0)
    """

    iterations: int = ITERATIONS
    strength: float = 1.0
    fusion: bool = False
    least_tv_weight: float = 0.0
    further: int = 0

    def __post_init__(self) -> None:
        check_strength(self.strength)
        check_number('iterations', self.iterations, least=1, whole=True)
        check_number('least_tv_weight', self.least_tv_weight, least=0)
        check_number('further', self.further, least=0, whole=True)

    def to_json(self) -> str:
        """Return the settings as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Removal:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is something else, or a value is out of its range.
        """
        try:
            found = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f'the settings for removing the blur are no JSON ({error}).') from error
        kinds = {
            'iterations': (int,), 'strength': (int, float), 'fusion': (bool,), 'least_tv_weight': (int, float),
            'further': (int,),
        }  # fmt: skip
        if not isinstance(found, dict) or set(found) - set(kinds):
            raise ValueError(f'the settings for removing the blur are {found!r}, expected {", ".join(kinds)}.')
        for key, value in found.items():
            if not isinstance(value, kinds[key]) or (isinstance(value, bool) and bool not in kinds[key]):
                raise ValueError(f'the settings for removing the blur have {key} {value!r}, expected a number or flag.')
        return cls(**found)


TRUE_BLUR = Removal(further=FURTHER)  # settings that suit a blur that is known
ESTIMATED_BLUR = Removal(ESTIMATED_ITERATIONS, ESTIMATED_STRENGTH)  # settings that suit an estimate of unknown worth
