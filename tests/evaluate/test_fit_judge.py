"""scripts/evaluate/fit_judge.py: a judge that is fitted to simulated evidence knows what the evidence tells."""

import numpy as np
import pytest

from basis_blur.estimation.judge import Model


@pytest.fixture
def fit(script, monkeypatch):
    module = script('fit_judge')
    monkeypatch.setattr(module, 'NAMES', {'shake': ('telling', 'idle')})
    monkeypatch.setattr(module, 'PARTS', 3)
    monkeypatch.setattr(module, 'RIDGES', (0.003,))
    return module


@pytest.fixture
def cases():
    """Estimates whose gain is 1.5 times the first number, and logistic noise of scale 0.3."""
    generator = np.random.default_rng(0)
    telling, idle = generator.normal(size=(2, 240))
    gains = 1.5 * telling + generator.logistic(0, 0.3, 240)
    return [
        {'photo': str(n % 40), 'scene': str(n), 'gain': gain, 'evidence': {'telling': one, 'idle': other}}
        for n, (gain, one, other) in enumerate(zip(gains.tolist(), telling.tolist(), idle.tolist(), strict=True))
    ]


def test_the_fit_finds_what_tells(fit, cases):
    model = Model(**fit.fitted(cases, 'shake', 0.003), most_worse=0.5)
    above, below = (model.chances({'telling': value, 'idle': 0.0}) for value in (1.0, -1.0))
    assert above.gain == pytest.approx(1.5, abs=0.2)
    assert below.gain == pytest.approx(-1.5, abs=0.2)
    assert model.chances({'telling': 1.0, 'idle': 1.5}).gain == pytest.approx(above.gain, abs=0.2)
    assert below.worse > 0.9 > 0.1 > above.worse


def test_probabilities_are_right_for_photos_that_were_not_seen(fit, cases):
    said = fit.crossed(cases, 'shake', 0.003)
    sure = [case['gain'] < 0 for case, each in zip(cases, said, strict=True) if 0.2 < each['worse'] < 0.8]
    expected = [each['worse'] for each in said if 0.2 < each['worse'] < 0.8]
    assert len(sure) > 20
    assert np.mean(sure) == pytest.approx(np.mean(expected), abs=0.2)


def test_no_photo_is_on_both_sides_of_the_cross_validation(fit, cases, monkeypatch):
    held = []

    def fitted(others, *_):
        held.append({case['photo'] for case in cases} - {case['photo'] for case in others})
        one = {'names': ['idle'], 'mean': [0.0, 0.0], 'scale': [0.0, 0.0]}
        return one | {'least': [0.0], 'most': [1.0], 'middle': [0.0], 'deviation': [1.0]}

    monkeypatch.setattr(fit, 'fitted', fitted)
    fit.crossed(cases, 'shake', 0.1)
    assert len(held) == 3
    assert set.union(*held) == {case['photo'] for case in cases}
    assert sum(map(len, held)) == 40


def test_nine_of_ten_losses_are_doubted_unless_that_costs_good_photos(fit):
    losses = [{'gain': -1.0}] * 10
    said = [{'worse': 0.1 * n} for n in range(1, 11)]
    least = fit.threshold(said, losses)
    assert sum(each['worse'] > least for each in said) == 9
    good = [{'gain': 2.0}] * 20
    said_of_good = [{'worse': 0.4}] * 20
    assert fit.threshold(said + said_of_good, losses + good) > 0.4


def test_figures_count_what_is_doubted(fit):
    cases = [{'gain': gain} for gain in (-1.0, -0.5, 0.0, 2.0, 3.0)]
    said = [{'gain': 0.0, 'scale': 1.0, 'worse': worse} for worse in (0.9, 0.2, 0.6, 0.7, 0.1)]
    found = fit.figures('a set', 'shake', cases, said, 0.5)
    assert (found['worse'], found['worse doubted'], found['good'], found['good doubted']) == (2, 1, 2, 1)
    assert found['area'] == pytest.approx(4 / 6, rel=1e-4)
