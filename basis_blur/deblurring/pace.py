"""The progress of the work on a photo, as one share of all of it, and the seconds that are left.

    pace = Pace(deblurrer.expected_seconds(width * height))
    deblurrer(photo, progress=pace.tell)          meanwhile, from any thread:  pace.share, pace.seconds_left

The stages and the seconds that each takes on a usual computer are given. The time that has passed, divided by the time
that was expected for the same work, tells how slow this computer is. A stage that is left out counts as done and takes
no time. Between two reports the share grows at the expected pace, but not quite to that of the next report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

PRIOR_SECONDS = 2.0  # work at the expected pace, as if it had been measured, that is averaged into the measured pace
MOST_AHEAD = 0.9  # largest share of a step that counts as done before the step is reported


class Pace:
    """The share of the work that is done, and the time that is left.

    Args:
        expected: seconds that each stage takes, in their order.
        clock: function that returns the seconds since some moment.
    """

    def __init__(self, expected: Mapping[str, float], clock: Callable[[], float] = time.monotonic):
        self._expected = dict(expected)
        self._over = dict.fromkeys(expected, 0.0)  # share of each stage that is done
        self._clock = clock
        self._start = self._last = clock()
        self.stage = next(iter(expected), '')
        self._step = self._expected.get(self.stage, 0.0)  # expected seconds until the next report

    def tell(self, stage: str, number: int, total: int) -> None:
        """Take a report: `number` of the `total` steps of a stage are done; see `Progress`."""
        self.stage, self._last = stage, self._clock()
        if stage not in self._expected:
            return
        names = list(self._expected)
        for before in names[: names.index(stage)]:  # what is not done of them was left out
            self._expected[before] *= self._over[before]
            self._over[before] = 1.0
        self._over[stage] = max(self._over[stage], number / total)
        following = names[names.index(stage) + 1 :]
        if number < total:
            self._step = self._expected[stage] / total
        elif following:
            self.stage, self._step = following[0], self._expected[following[0]]
        else:
            self._step = 0.0

    @property
    def share(self) -> float:
        """The share of the work that is done, from 0 to 1."""
        done, left = self._done(), self._left()
        return min(1.0, (done + self._ahead()) / (done + left)) if done + left > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self._left() - self._ahead()) * self._slowness()

    def _done(self) -> float:
        return sum(seconds * self._over[stage] for stage, seconds in self._expected.items())

    def _left(self) -> float:
        return sum(seconds * (1 - self._over[stage]) for stage, seconds in self._expected.items())

    def _slowness(self) -> float:
        """Return how many seconds this computer takes for one second that was expected."""
        return (self._last - self._start + PRIOR_SECONDS) / (self._done() + PRIOR_SECONDS)

    def _ahead(self) -> float:
        return min((self._clock() - self._last) / self._slowness(), MOST_AHEAD * self._step)
