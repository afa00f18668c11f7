"""The RealBlur and Koehler protocols: what does not count is undone, what counts is skimage's, failures are errors."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from basis_blur.foundation.errors import InputError
from basis_blur.metrics import aligned
from basis_blur.metrics.aligned import AlignmentError, align, koehler_score, plain_score, realblur_score

MARGIN = 20


def textured_photo(height: int = 100, width: int = 130, seed: int = 0) -> np.ndarray:
    """Coloured blobs, large and small, in [0.1, 0.9], so that only one place fits: (H, W, 3) float32.

    The seed is fixed, and not that of the tests: where a search ends is a matter of the scene.
    """
    generator = np.random.default_rng(seed)
    blobs = 0
    for sigma in (2.5, 5, 10):
        layer = cv2.GaussianBlur(generator.standard_normal((height, width, 3), dtype=np.float32), (0, 0), sigma)
        blobs = blobs + layer / layer.std()
    return (0.5 + 0.1 * blobs).clip(0.1, 0.9)


def tensor(samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples.transpose(2, 0, 1)))[None]


def pair(shift=(0.0, 0.0), degrees=0.0, noise=0.03) -> tuple[torch.Tensor, torch.Tensor]:
    """A shot of a scene from elsewhere, with coarse noise, and the scene; the content of the margin moves in.

    The noise is as coarse as the scene: interpolation between pixels would average fine noise away.
    """
    scene = textured_photo()
    height, width = scene.shape[:2]
    warp = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    warp[:, 2] += shift
    moved = cv2.warpAffine(scene, warp, (width, height), flags=cv2.INTER_CUBIC)
    grain = np.random.default_rng(1).standard_normal(moved.shape, dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 2)
    moved = moved + noise * grain / grain.std()
    inner = slice(MARGIN, -MARGIN)
    return tensor(moved[inner, inner]), tensor(scene[inner, inner])


@pytest.mark.parametrize(('shift', 'degrees'), [((3, -2), 0), ((2.5, 1.3), 0), ((0, 0), 4), ((-2.4, 1), -1.5)])
def test_another_stand_of_the_camera_costs_next_to_nothing(shift, degrees):
    still = realblur_score(*pair())
    moved = realblur_score(*pair(shift, degrees))
    assert plain_score(*pair(shift, degrees)).psnr < still.psnr - 3
    assert moved.psnr == pytest.approx(still.psnr, abs=1.5)
    assert moved.ssim == pytest.approx(still.ssim, abs=0.03)


def test_the_homography_leads_from_the_ground_truth_to_the_restored_photo():
    shift = (3, -2)
    alignment = align(*pair(shift, noise=0.001))
    expected = np.array([[1, 0, 3], [0, 1, -2], [0, 0, 1]])
    np.testing.assert_allclose(alignment.homography, expected, atol=0.3)
    # The first two rows, seen from the ground truth, lie above the restored photo, and the last three columns beside.
    assert not alignment.mask[:2].any()
    assert not alignment.mask[:, -3:].any()
    assert alignment.mask[2:, :-3].mean() > 0.97
    assert not alignment.restored[:2].any()
    assert not alignment.reference[:2].any()


def test_brightness_is_undone():
    restored, reference = pair(noise=0.02)
    for factor in (0.4, 1.3):
        assert plain_score(factor * restored, reference).psnr < 20
        found, expected = realblur_score(factor * restored, reference), realblur_score(restored, reference)
        assert found[:2] == pytest.approx(expected[:2], rel=1e-4)


def test_aligned_photos_score_as_by_skimage(monkeypatch):
    restored, reference = pair()
    # In its place already, so that the whole photo counts; where a search ends is none of this test's business. Not the
    # very identity, which is what a search returns that found nothing.
    in_place = np.eye(3, dtype=np.float32)
    in_place[2, 2] -= np.finfo(np.float32).eps
    monkeypatch.setattr(cv2, 'findTransformECC', lambda *_: (0.99, in_place))
    alignment = align(restored, reference)
    assert alignment.mask.all()
    x, z = reference[0].permute(1, 2, 0).numpy(), alignment.restored
    settings = {'channel_axis': -1, 'gaussian_weights': True, 'use_sample_covariance': False, 'data_range': 1}
    score = realblur_score(restored, reference)
    assert score.psnr == pytest.approx(peak_signal_noise_ratio(x, z, data_range=1), rel=1e-6)
    assert score.ssim == pytest.approx(structural_similarity(x, z, **settings), rel=1e-5)
    plain = plain_score(restored, reference)
    z = restored[0].permute(1, 2, 0).numpy()
    assert plain.psnr == pytest.approx(peak_signal_noise_ratio(x, z, data_range=1), rel=1e-6)
    assert plain.ssim == pytest.approx(structural_similarity(x, z, **settings), rel=1e-5)


def test_what_lies_outside_the_mask_does_not_count():
    mask = np.ones((30, 40))
    mask[:, 20:] = 0
    reference = np.full((30, 40, 3), 0.5)
    restored = reference + 0.1
    restored[:, 20:] = 0.9
    assert aligned.masked_psnr(restored, reference, mask) == pytest.approx(20)
    # Luminance term of two constants: (2 a b + C1) / (a^2 + b^2 + C1); windows at the edge of the mask see beyond it.
    mask[:, 14:] = 0
    expected = (2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4)
    assert aligned.masked_ssim(restored, reference, mask) == pytest.approx(expected)


def test_a_photo_and_itself_are_infinitely_alike():
    _, reference = pair()
    score = realblur_score(reference, reference)
    assert math.isinf(score.psnr) or score.psnr > 100
    assert score.ssim == pytest.approx(1)
    assert plain_score(reference, reference)[:2] == (math.inf, pytest.approx(1))


def noise(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ('restored', 'words'),
    [
        (noise(1), 'ECC: .*correlat|correlate by'),
        (torch.zeros(1, 3, 60, 80), 'is black'),
        (torch.full((1, 3, 60, 80), 0.5), 'ECC: '),
        (noise(0).flip(-1), 'ECC: .*correlat|correlate by'),
    ],
    ids=['other noise', 'black', 'flat', 'mirrored'],
)
def test_what_cannot_be_aligned_is_an_error(restored, words):
    with pytest.raises(AlignmentError, match=words):
        realblur_score(restored, noise(0))


@pytest.mark.parametrize(
    ('homography', 'words'),
    [
        (np.diag([3.0, 3, 1]), 'move a corner by 216 pixels in photos of 90x60, expected at most 22'),
        (np.array([[1, 0, 0], [0, 1, 0], [-0.02, 0, 1.0]]), 'move a corner by inf'),
        (np.full((3, 3), np.nan), 'move a corner by'),
        (np.array([[1.0, 0, 3], [0, 1, 0], [0, 0, 1]]), 'went wrong: the photos correlated by 0.9'),
        (np.array([[1.0, 0, 12], [0, 1, 9], [0, 0, 1]]), 'photos correlate by .* once aligned'),
    ],
    ids=['far', 'behind', 'nan', 'worse than before', 'nothing alike'],
)
def test_a_homography_of_no_two_shots_is_an_error(monkeypatch, homography, words):
    monkeypatch.setattr(cv2, 'findTransformECC', lambda *_: (0.99, homography.astype(np.float32)))
    with pytest.raises(AlignmentError, match=words):
        realblur_score(*pair(noise=0.01))


def stranger(seed: int = 2) -> torch.Tensor:
    """Another scene of the size of `pair`."""
    return tensor(textured_photo(seed=seed)[MARGIN:-MARGIN, MARGIN:-MARGIN])


def test_of_a_trajectory_the_nearest_frame_counts():
    restored, reference = pair()
    blurred = tensor(cv2.GaussianBlur(reference[0].permute(1, 2, 0).numpy(), (0, 0), 5))
    seen = []
    score = koehler_score(restored, iter([blurred, stranger(), reference, blurred]), seen.append)
    assert (score.frame, score.frames, score.failed_frames) == (2, 4, 1)
    assert score[:2] == realblur_score(restored, reference)[:2]
    assert score.psnr > realblur_score(restored, blurred).psnr
    assert seen == [1, 2, 3, 4]
    assert koehler_score(restored, [reference]) == realblur_score(restored, reference)


def test_a_trajectory_without_a_frame_to_align_with_is_an_error():
    restored, _ = pair()
    with pytest.raises(AlignmentError, match='none of 2 frames'):
        koehler_score(restored, [stranger(2), stranger(3)])
    with pytest.raises(InputError, match='there is no ground-truth frame'):
        koehler_score(restored, [])


@pytest.mark.parametrize('score', [plain_score, realblur_score])
def test_photos_that_do_not_fit_are_named(score):
    with pytest.raises(InputError, match=r'80x60 pixels and the ground truth 78x60'):
        score(noise(0), noise(0)[..., :78])
    with pytest.raises(InputError, match=r'80x10 pixels, expected at least 11'):
        score(noise(0)[..., :10, :], noise(0)[..., :10, :])
    with pytest.raises(ValueError, match='restored photo has values that are not finite'):
        score(noise(0) * torch.nan, noise(0))


# -------------------------------------------------------------------------------------------- what OpenCV does not say


@pytest.mark.parametrize('axis', [0, 1])
def test_photos_whose_structure_cannot_tell_their_alignment_have_no_score(axis):
    # Stripes: ECC returns the identity to the last bit without an error, though a shift along them is never known.
    line = cv2.GaussianBlur(np.random.default_rng(0).random((1, 100), dtype=np.float32), (0, 0), 3)[0]
    stripes = 0.1 + 0.8 * (line - line.min()) / (line.max() - line.min())
    photo = np.repeat(np.repeat(stripes[None, :, None], 80, 0), 3, 2)
    photo = photo if axis else photo.swapaxes(0, 1)
    with pytest.raises(AlignmentError, match='ECC found no way to align them'):
        align(tensor(np.roll(photo, 1, axis)), tensor(photo))
    assert realblur_score(tensor(photo), tensor(photo)).psnr == math.inf  # where there is nothing to tell


def test_no_picture_of_float64_is_warped(monkeypatch):
    # OpenCV 5.0.0 writes garbage into the outer pixels of those, with cubic interpolation.
    seen, warp = [], cv2.warpPerspective

    def watched(picture, *args, **kwargs):
        seen.append(picture.dtype)
        return warp(picture, *args, **kwargs)

    monkeypatch.setattr(cv2, 'warpPerspective', watched)
    restored, reference = pair((2.5, 1.3))
    alignment = align(restored.double(), reference.double())
    assert set(seen) == {np.dtype(np.float32)}
    border = np.ones(alignment.mask.shape, bool)
    border[3:-3, 3:-3] = False
    border &= alignment.mask > 0
    assert np.abs(alignment.restored - alignment.reference)[border].max() < 0.2


def test_aligned_is_the_only_place_that_warps():
    package = Path(aligned.__file__).parents[1]
    warping = ('warpPerspective', 'warpAffine', 'cv2.remap')
    found = [path for path in package.rglob('*.py') if any(word in path.read_text() for word in warping)]
    assert found == [Path(aligned.__file__)]
