"""The judge: chances follow from the formula, evidence from the photos, and a likely loss is told."""

import math

import pytest
import torch

from basis_blur.estimation import judge
from basis_blur.estimation.estimate import KNOWN, Doubt, Estimate
from basis_blur.estimation.judge import Model, evidence_of, in_words, judged, look_of, starts_of
from basis_blur.estimation.shake.fields import uniform_field
from basis_blur.estimation.shake.search import ShakeEstimate, Tried
from basis_blur.field.removal import Removal


def model_of(mean=(0.0, 1.0), scale=(0.0, 0.0), most_worse=0.5):
    return Model(
        names=['change'], least=[-1.0], most=[3.0], middle=[1.0], deviation=[2.0], mean=mean, scale=scale,
        most_worse=most_worse,
    )  # fmt: skip


@pytest.fixture
def photo():
    return 0.2 + 0.6 * torch.nn.functional.interpolate(torch.rand(1, 3, 12, 14), size=(48, 56), mode='bilinear')


def search_of(photo, starts=1, **others):
    kernel = torch.zeros(9, 9)
    kernel[4, 2:7] = 1 / 5
    tried = (*[Tried('start', kernel)] * starts, Tried('polished', kernel))
    return ShakeEstimate(uniform_field(kernel, photo), 'shake', kernel=kernel, tried=tried, **others)


def test_chances_are_those_of_a_logistic_distribution():
    chances = model_of(mean=(0.5, 2.0), scale=(math.log(0.4), 0.0)).chances({'change': 2.0, 'of no use': 9.0})
    assert chances.gain == pytest.approx(1.5)  # 0.5 + 2 (2 - 1) / 2
    assert chances.worse == pytest.approx(1 / (1 + math.exp(1.5 / 0.4)))
    assert chances.better == pytest.approx(1 / (1 + math.exp((0.2 - 1.5) / 0.4)))


def test_a_photo_unlike_all_others_is_judged_like_the_nearest():
    model = model_of()
    assert model.chances({'change': 50.0}) == model.chances({'change': 3.0}) != model.chances({'change': 2.9})
    assert model.chances({'change': -50.0}) == model.chances({'change': -1.0})


def test_a_hopeless_photo_is_no_overflow():
    assert model_of(mean=(-500.0, 0.0), scale=(-0.7, 0.0)).chances({'change': 0.0}).worse == pytest.approx(1)


def test_missing_evidence_is_no_zero():
    with pytest.raises(KeyError):
        model_of().chances({'noise': 1.0})


def test_the_look_is_that_of_gray(photo):
    gray = photo.mean(1, keepdim=True)
    sharp = (gray + 0.05 * torch.randn(gray.shape)).clamp(0, 1)
    one, three = (look_of(gray.repeat(1, n, 1, 1), sharp.repeat(1, n, 1, 1), 2.0, 0.01) for n in (1, 3))
    assert one == pytest.approx(three, rel=1e-4, abs=1e-4)


def test_the_look_tells_sharper_from_softer(photo):
    soft = torch.nn.functional.avg_pool2d(photo, 3, 1, 1, count_include_pad=False)
    sharper, softer = look_of(soft, photo, 1.0, 0.01), look_of(photo, soft, 1.0, 0.01)
    assert sharper['tv_1'] == pytest.approx(-softer['tv_1'])
    assert sharper['tv_1'] > sharper['tv_4'] > 0  # a blur takes the finest detail
    assert sharper['change'] == pytest.approx(softer['change'])


def test_ringing_shows_in_smooth_places(photo):
    edge = torch.zeros(1, 1, 64, 64)
    edge[..., 32:] = 0.8
    at_edge, far_from_it = edge.clone(), edge.clone()
    at_edge[..., 31:33] = 0.4
    far_from_it[..., 8:10] += 0.3
    near, far = (look_of(edge, each, 1.0, 0.01) for each in (at_edge, far_from_it))
    assert far['smooth'] > near['smooth'] + 1
    assert far['overshoot'] > near['overshoot'] + 1  # brighter than all around


@pytest.mark.parametrize('side', [3, 7])
def test_the_smallest_photos_have_a_look(side):
    photo = torch.rand(1, 1, side, side)
    assert all(math.isfinite(value) for value in look_of(photo, photo.flip(-1), 5.0, 0.0).values())


def test_evidence_of_a_search_begins_with_its_start(photo):
    found = search_of(photo, agreement=0.8, share_of_wrong=0.3)
    evidence = evidence_of(photo, photo, found, 2.2)
    assert (evidence['agreement'], evidence['share_of_wrong']) == (0.8, 0.3)
    assert evidence['extent_unlike'] == pytest.approx(0)
    assert evidence['start_alike'] == pytest.approx(1)
    assert len(starts_of(search_of(photo, starts=3))) == 3


@pytest.mark.parametrize(('mean', 'doubted'), [(-1.0, True), (1.0, False)])
def test_a_likely_loss_is_doubted(photo, monkeypatch, mean, doubted):
    monkeypatch.setattr(judge, 'MODELS', {'network': model_of(mean=(mean, 0.0))})
    mine = Doubt('mine', 'odd.')
    estimate = Estimate(uniform_field(torch.full((3, 3), 1 / 9), photo), 'network', Removal(2), doubts=(mine,))
    found = judged(photo, photo, estimate, 2.2)
    assert found.chances is not None
    assert found.chances.gain == pytest.approx(mean)
    harm = [doubt for doubt in found.doubts if doubt.code == 'harm']
    assert bool(harm) == doubted
    assert found.doubts[0] == mine
    if doubted:
        assert harm[0].probability == found.chances.worse
        assert in_words(found.chances.worse) in str(harm[0])


@pytest.mark.parametrize(
    'of',
    [
        lambda photo: Estimate(uniform_field(torch.full((3, 3), 1 / 9), photo), KNOWN),
        lambda photo: Estimate(uniform_field(torch.full((3, 3), 1 / 9), photo), 'gyroscope'),
        lambda photo: Estimate(uniform_field(torch.full((3, 3), 1 / 9), photo), 'network', Removal(strength=0.0)),
        lambda photo: search_of(photo, starts=3),  # the extent that a network sees is not known
    ],
    ids=['known', 'of another origin', 'left alone', 'without a network'],
)
def test_of_some_estimates_the_judge_knows_nothing(photo, monkeypatch, of):
    monkeypatch.setattr(judge, 'MODELS', dict.fromkeys(('network', 'shake'), model_of(mean=(-9.0, 0.0))))
    found = judged(photo, photo, of(photo), 2.2)
    assert found.chances is None
    assert 'harm' not in [doubt.code for doubt in found.doubts]


@pytest.mark.parametrize(
    ('probability', 'words'),
    [(0.27, 'about 3 in 10'), (0.5, 'about half'), (0.999, 'about 9 in 10'), (0.01, 'about 1 in 10')],
)
def test_a_probability_is_told_in_plain_words(probability, words):
    assert in_words(probability) == words
