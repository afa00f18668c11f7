"""The share of the work that is done, and the time that is left, by what was expected and what has passed."""

import dataclasses

import pytest
import torch

from basis_blur.archs import ARCHS
from basis_blur.cli.estimation import in_words
from basis_blur.deblurring.deblurrer import Deblurrer, DeblurSettings
from basis_blur.deblurring.pace import MOST_AHEAD, Pace
from basis_blur.estimation.choice import BestEstimator
from basis_blur.estimation.estimators import NetworkEstimator


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_time_is_told_from_the_first_moment(clock):
    pace = Pace({'look': 2.0, 'search': 8.0}, clock)
    assert (pace.share, pace.seconds_left, pace.stage) == (0.0, 10.0, 'look')
    clock.now = 1.0
    assert 0 < pace.share < 0.2
    assert 8 < pace.seconds_left < 10


def test_between_reports_the_share_goes_on_but_not_past_the_next(clock):
    pace = Pace({'look': 2.0, 'search': 8.0}, clock)
    clock.now = 1000.0
    assert pace.share == pytest.approx(MOST_AHEAD * 0.2)
    pace.tell('look', 1, 1)
    assert pace.stage == 'search'
    assert pace.share == pytest.approx(0.2)


def test_a_slow_computer_is_noticed(clock):
    pace = Pace({'look': 100.0, 'search': 900.0}, clock)
    clock.now = 300.0
    pace.tell('look', 1, 1)
    assert pace.seconds_left == pytest.approx(2700, rel=0.02)


def test_a_stage_that_is_left_out_shortens_what_is_left(clock):
    pace = Pace({'look': 2.0, 'search': 8.0, 'remove': 10.0}, clock)
    clock.now = 2.0
    pace.tell('look', 1, 1)
    clock.now = 7.0
    pace.tell('remove', 1, 2)
    assert pace.share == pytest.approx((2 + 5) / 12)
    assert pace.seconds_left == pytest.approx(5)
    pace.tell('remove', 2, 2)
    assert pace.share == 1.0
    assert pace.seconds_left == 0.0


def test_reports_that_nobody_expected_and_those_that_come_again_do_no_harm(clock):
    pace = Pace({'look': 2.0, 'remove': 10.0}, clock)
    pace.tell('something', 3, 4)
    pace.tell('remove', 5, 10)
    before = pace.share
    for step in (('remove', 1, 20), ('look', 1, 2)):  # again, in smaller tiles
        pace.tell(*step)
        assert pace.share >= before
    assert Pace({}, clock).share == 0.0


@pytest.mark.parametrize(('seconds', 'words'), [(0.2, '1 s'), (72.4, '72 s'), (150, '2 min'), (3900, '1 h 5 min')])
def test_a_time_is_told_as_a_person_does(seconds, words):
    assert in_words(seconds) == words


def test_every_stage_that_is_reported_is_expected():
    net = ARCHS['BasisKPN'](num_feat=4, num_kernels=2, kernel_size=33)
    fusion = ARCHS['IterateFusion'](iterations=(1, 2), width=4, deep_width=4, blocks=0, deep_blocks=0)
    deblurrer = Deblurrer(BestEstimator(NetworkEstimator(net)), DeblurSettings(fusion=True, refine=1), fusion)
    told = []
    torch.manual_seed(3)
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 20, 24), size=(80, 96))
    deblurrer(photo, progress=lambda *step: told.append(step))
    expected = list(deblurrer.expected_seconds(80 * 96))
    assert expected[:2] == ['looking for a start', 'searching for the shake']
    stages = list(dict.fromkeys(stage for stage, *_ in told))
    assert stages == [stage for stage in expected if stage in stages]
    assert {'estimating the blur', 'refining', 'removing the blur', 'fusing the iterates', 'checking the result'} <= {
        *stages
    }
    assert told[-1] == ('checking the result', 1, 1)
    assert list(deblurrer.expected_seconds(100, only_estimate=True)) == expected[: expected.index('refining')]
    assert dataclasses.replace(deblurrer, fusion=fusion).expected_seconds(10**6)['refining'] == 1.0
