"""The choice between the search and the network asks the network only where its answer counts."""

import pytest
import torch

from basis_blur.archs import ARCHS
from basis_blur.estimation import choice
from basis_blur.estimation.choice import BestEstimator
from basis_blur.estimation.estimate import Estimate
from basis_blur.estimation.shake.fields import uniform_field
from basis_blur.estimation.shake.local import Places
from basis_blur.estimation.shake.roll import Poses, Rolled
from basis_blur.estimation.shake.rotations import Poses as RotationPoses
from basis_blur.estimation.shake.rotations import Rotated
from basis_blur.estimation.shake.search import ShakeEstimate


class Network:
    def __init__(self):
        self.net = ARCHS['BasisKPN'](num_feat=2, num_kernels=2, kernel_size=33)
        self.asked = 0

    def __call__(self, photo, gamma, progress=None):
        self.asked += 1
        return Estimate(uniform_field(torch.full((3, 3), 1 / 9), photo), 'network')


@pytest.fixture
def photo():
    return torch.nn.functional.interpolate(torch.rand(1, 3, 20, 24), size=(80, 96))


@pytest.mark.parametrize(
    ('agreement', 'excess', 'source', 'asked'),
    [
        (0.95, 1.0, 'shake', 0),
        (0.95, 9.0, 'network', 1),
        (0.95, 2.0, 'shake', 1),
        (0.5, 1.0, 'network', 1),
    ],
)
def test_the_network_is_asked_where_it_counts(monkeypatch, photo, agreement, excess, source, asked):
    kernel = torch.zeros(33, 33)
    kernel[16, 10:23] = 1 / 13
    found = ShakeEstimate(uniform_field(kernel, photo), 'shake', kernel=kernel, agreement=agreement)
    monkeypatch.setattr(choice, 'network_start', lambda *_: kernel[None])
    monkeypatch.setattr(choice, 'estimate_shake', lambda *_, **__: found)
    monkeypatch.setattr(choice, 'excess_of', lambda *_: excess)
    monkeypatch.setattr(choice, 'likeness', lambda *_: 1.0)
    monkeypatch.setattr(choice, 'consistency', lambda *_: 1.0)
    monkeypatch.setattr(choice, 'estimate_places', lambda *_: None)
    network = Network()
    assert BestEstimator(network)(photo, 2.2).source == source
    assert network.asked == asked


def test_a_flat_photo_is_for_the_network_alone(photo):
    network = Network()
    assert BestEstimator(network)(0.5 + 0 * photo, 2.2).source == 'network'
    assert network.asked == 1


@pytest.mark.parametrize(
    ('share_of_extent', 'agreement', 'share_of_wrong', 'failed'),
    [
        (1.0, 0.9, 0.8, False),
        (1.0, 0.9, 0.97, True),  # no better than its mirror image
        (1.0, 0.7, 0.3, True),  # the variants disagree
        (0.65, 0.9, 0.8, True),  # a part of the kernel
        (0.65, 0.9, 0.3, False),  # the network sees too much
        (0.5, 0.9, 0.3, True),
        (2.5, 0.9, 0.8, True),  # many times too large
        (2.5, 0.9, 0.3, False),
    ],
)
def test_when_a_search_has_failed(photo, share_of_extent, agreement, share_of_wrong, failed):
    kernel = torch.zeros(33, 33)
    kernel[16, 10:23] = 1 / 13
    found = ShakeEstimate(
        uniform_field(kernel, photo), 'shake', kernel=kernel, agreement=agreement, share_of_wrong=share_of_wrong
    )
    assert (choice.why_failed(found, choice.spread(kernel) / share_of_extent) is not None) == failed


def search_that_finds(photo, share_of_wrong, monkeypatch):
    """Let the search find a line of three pixels, which it returns, with a share of wrong."""
    kernel = torch.zeros(5, 5)
    kernel[2, 1:4] = 1 / 3
    found = ShakeEstimate(
        uniform_field(kernel, photo), 'shake', kernel=kernel, agreement=0.9, share_of_wrong=share_of_wrong
    )
    monkeypatch.setattr(choice, 'network_start', lambda *_: kernel[None])
    monkeypatch.setattr(choice, 'spread', lambda _: 2.0)
    monkeypatch.setattr(choice, 'estimate_shake', lambda *_, **__: found)
    return kernel


@pytest.mark.parametrize(
    ('share_of_wrong', 'right', 'reverse', 'source'),
    [
        (0.7, 0.005, 0.009, 'roll'),
        (0.3, 0.005, 0.009, 'shake'),  # one kernel explains the photo
        (0.7, 0.005, 0.006, 'shake'),  # the reverse roll explains it too
    ],
)
def test_a_roll_is_believed_where_its_reverse_is_worse(photo, monkeypatch, share_of_wrong, right, reverse, source):
    kernel = search_that_finds(photo, share_of_wrong, monkeypatch)
    weights = torch.zeros(3, 5, 5)
    weights[2] = kernel
    rolled = Rolled(Poses(weights, torch.tensor([-3.0, 0.0, 3.0])), photo.shape[-2:])

    def left(gray, field, *_):
        return right if torch.equal(field.kernels, rolled.field(gray).kernels) else reverse

    monkeypatch.setattr(choice, 'explains_all', lambda *_: True)
    monkeypatch.setattr(choice, 'estimate_roll', lambda *_: rolled)
    monkeypatch.setattr(choice, 'unexplained', left)
    assert BestEstimator(Network())(photo, 2.2).source == source


@pytest.mark.parametrize(
    ('film', 'share_of_wrong', 'explained', 'right', 'source'),
    [
        (28.0, 0.3, True, 0.005, 'rotations'),
        (28.0, 0.3, True, 0.008, 'shake'),  # the reverse rolls explain it too
        (28.0, 0.1, True, 0.005, 'shake'),  # one kernel explains the photo
        (28.0, 0.1, False, 0.005, 'rotations'),  # places have different blurs
        (None, 0.5, True, 0.005, 'shake'),  # the lens is not known
    ],
)
def test_rotations_are_believed_where_reverse_rolls_are_worse(
    photo, monkeypatch, film, share_of_wrong, explained, right, source
):
    search_that_finds(photo, share_of_wrong, monkeypatch)
    size = photo.shape[-2:]
    angles = torch.tensor([[0.0, 0.0, 0.01], [0.0, 0.0, 0.08]], dtype=torch.float64)
    rotated = Rotated(RotationPoses(angles, torch.tensor([0.8, 0.2]), 100.0), size, 15)
    films = []

    def estimate_rotations(photo, gamma, kernel, film, progress):
        films.append(film)
        return rotated

    def left(gray, field, *_):
        return right if torch.equal(field.kernels, rotated.field(gray).kernels) else 0.009

    monkeypatch.setattr(choice, 'explains_all', lambda *_: explained)
    monkeypatch.setattr(choice, 'estimate_roll', lambda *_: None)
    monkeypatch.setattr(choice, 'estimate_rotations', estimate_rotations)
    monkeypatch.setattr(choice, 'unexplained', left)
    estimate = BestEstimator(Network()).for_film(film)(photo, 2.2)
    assert estimate.source == source
    assert films == ([] if film is None or (share_of_wrong < 0.2 and explained) else [film])


def test_places_that_tell_their_blur_are_restored_by_it_and_the_others_as_the_network_says(monkeypatch, photo):
    kernel = torch.zeros(5, 5)
    kernel[2, 1:4] = 1 / 3
    weight = torch.zeros(1, 1, *photo.shape[-2:])
    weight[..., :40] = 1
    told = Places(uniform_field(kernel, photo), weight, 3, 4)
    monkeypatch.setattr(choice, 'estimate_places', lambda *_: told)
    seen = Network()(photo, 2.2)
    found = choice.place_by_place(photo, 2.2, seen, 'objects move')
    assert found.source == 'places'
    assert '3 of 4 parts' in found.notes[0]
    searched, left = found.parts
    assert (searched.removal.iterations, left.removal) == (10, seen.removal)
    torch.testing.assert_close(searched.weight + left.weight, torch.ones_like(weight))
    ends = torch.tensor([[9, 3], [9, 90]])
    torch.testing.assert_close(found.field.kernels_at(ends)[0, 0], kernel.to(photo))
    torch.testing.assert_close(found.field.kernels_at(ends)[0, 1, 1:-1, 1:-1], torch.full((3, 3), 1 / 9).to(photo))


def test_where_no_place_tells_its_blur_the_estimate_is_that_of_the_network(monkeypatch, photo):
    monkeypatch.setattr(choice, 'estimate_places', lambda *_: None)
    found = choice.place_by_place(photo, 2.2, Network()(photo, 2.2), 'objects move')
    assert (found.source, found.parts) == ('network', ())
    assert found.notes == ('objects move; the blur is that of the network.',)
