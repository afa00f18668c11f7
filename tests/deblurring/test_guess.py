"""A guess is trusted where its estimate is, and where it explains the photo."""

import dataclasses

import pytest
import torch

import basis_blur as bb
from basis_blur.deblurring.deblurrer import Deblurrer
from basis_blur.deblurring.guess import TRUST_OF_TURNED, TURNED, guess_of, record_of, trust_of, trust_of_pixels
from basis_blur.estimation.choice import left_alone
from basis_blur.estimation.estimate import Doubt, Estimate, Part
from basis_blur.estimation.shake.search import ShakeEstimate
from basis_blur.field.removal import Removal


def line_field(size=(40, 48)):
    """A blur of five pixels to the right."""
    kernel = torch.zeros(1, 1, 7, 7)
    kernel[..., 3, 1:6] = 0.2
    return bb.BlurField(kernel, torch.ones(1, 1, *size))


def scene(size=(40, 48)):
    """A smooth photo without clipped pixels, and the same blurred."""
    sharp = 0.2 + 0.6 * torch.rand(1, 3, size[0] // 4, size[1] // 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    field = line_field(size)
    blur = bb.BasisBlur(field) @ bb.ReplicatePad(field)
    return sharp, bb.to_srgb(blur(bb.to_linear(sharp)))


def searched(share, confidence=0.8, doubts=()):
    field = line_field()
    return ShakeEstimate(
        field,
        'shake',
        Removal(10),
        confidence=confidence,
        doubts=doubts,
        share_of_wrong=share,
        kernel=field.kernels[0, 0],
    )


@pytest.mark.parametrize(('share', 'expected'), [(0.1, 0.8), (0.5, 0.8), (0.725, 0.4), (0.95, 0.0), (1.2, 0.0)])
def test_a_search_is_trusted_as_far_as_it_beats_its_mirror_image(share, expected):
    assert trust_of(searched(share)) == pytest.approx(expected)


def test_doubts_networks_and_photos_left_alone_are_not_trusted():
    photo = torch.rand(1, 3, 40, 48)
    assert trust_of(searched(0.1), (Doubt('residual', 'it does not explain the photo.'),)) == 0
    assert trust_of(searched(0.1, doubts=(Doubt('search', 'it failed.'),))) == 0
    assert trust_of(Estimate(line_field(), 'network', Removal(3))) == 0
    assert trust_of(left_alone(photo)) == 0
    assert {trust_of(Estimate(line_field(), source, Removal(10))) for source in TURNED} == {TRUST_OF_TURNED}


def test_pixels_that_the_right_guess_explains_are_trusted_and_others_are_not():
    sharp, photo = scene()
    right = trust_of_pixels(photo, sharp, line_field(), 2.2)
    assert right.shape == (1, 1, 40, 48)
    assert right.min() > 0.99
    changed = photo.clone()
    changed[..., :16, :16] = 0.5 * changed[..., :16, :16]
    wrong = trust_of_pixels(changed, sharp, line_field(), 2.2)
    assert wrong[..., :10, :10].max() < 0.1
    assert wrong[..., 28:, 32:].min() > 0.99


def test_clipped_pixels_and_those_that_they_reach_are_not_trusted():
    sharp, photo = scene()
    sharp[..., 20, 24] = 1.0
    trust = trust_of_pixels(photo, sharp, line_field(), 2.2)
    assert (trust[0, 0, 20, 22:27] == 0).all()
    assert trust[0, 0, 26, 24] > 0.5  # the blur is to the side, and the residual is that of four pixels around


def test_of_a_photo_in_parts_the_places_that_were_searched_are_trusted():
    _, photo = scene()
    weight = torch.zeros(1, 1, 40, 48)
    weight[..., :24] = 0.7
    parts = (Part(line_field(), Removal(10), weight), Part(line_field(), Removal(3), 1 - weight))
    estimate = Estimate(line_field(), 'places', Removal(3), parts=parts)
    result = dataclasses.replace(Deblurrer(lambda *_: estimate), judge=lambda *_: ())(photo)
    trust = guess_of(photo, result, 2.2).trust
    torch.testing.assert_close(trust, weight * trust_of_pixels(photo, result.pixels, result.field, 2.2))
    assert trust[..., :24].max() > 0.3
    assert (trust[..., 24:] == 0).all()
    assert trust_of(estimate, (Doubt('residual', 'it does not explain the photo.'),)) == 0


def test_sizes_that_differ_are_refused():
    sharp, photo = scene()
    with pytest.raises(ValueError, match='expected one size'):
        trust_of_pixels(photo, sharp[..., 1:], line_field(), 2.2)


def test_a_guess_is_the_result_with_its_trust_and_the_record_tells_both():
    _, photo = scene()
    estimate = searched(0.2)
    result = dataclasses.replace(Deblurrer(lambda *_: estimate), judge=lambda *_: ())(photo)
    guess = guess_of(photo, result, 2.2)
    told = record_of(guess, estimate, result.doubts)
    assert torch.equal(guess.photo, result.pixels)
    assert 0 < told['mean_trust'] <= told['trust'] == pytest.approx(0.8)
    assert told['mean_trust'] == pytest.approx(guess.trust.mean().item())
    assert told['share_of_wrong'] == 0.2
