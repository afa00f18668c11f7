"""Scores of a restored photo against another shot of the scene: aligned first, then compared where both are.

Scale, with x the ground truth and z the restored photo, which may be darker or brighter:

    zs = (sum x z / sum z^2) z

Alignment: the homography that maximises the correlation of the gray photos (ECC, from the identity, 100 iterations,
Gaussian filter of 5 pixels). It warps zs (cubic, reflected border) and a photo of ones (nearest, zeros outside), which
becomes the mask m. Both photos are multiplied by the mask; then

    PSNR = 10 log10(sum m / sum m (x - zs)^2)       over pixels and channels
    SSIM = sum m s / sum m                          s: map of SSIM, Gaussian weights of sigma 1.5 in 11 x 11, population
                                                    covariance; 5 pixels of each border do not count

That is the protocol of RealBlur. That of Koehler's benchmark does so with every frame of the camera's trajectory, and
counts the frame of the highest PSNR. A photo that ECC cannot align is an error here, and gets no score unaligned.

Convention: the homography takes pixels (column, row, 1) of the ground truth to pixels of the restored photo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from basis_blur.foundation.errors import InputError

ITERATIONS, FILTER_SIZE = 100, 5  # number of iterations of ECC, and side of its Gaussian filter, pixels
SSIM_SIGMA, SSIM_CROP = 1.5, 5  # sigma of the weights of SSIM, and border that does not count, pixels
# Least correlation of aligned photos. ECC also returns homographies of photos that have nothing in common, mostly by
# magnifying a detail. Different scenes came out with correlations of up to 0.5; blurred photos of GoPro and RealBlur
# have more than 0.9 with the sharp ones.
LEAST_CORRELATION = 0.6
LARGEST_LOSS = 0.01  # largest loss of correlation by the alignment; above 0, since the overlap changes
LONGEST_MOVE = 0.2  # largest distance by which a corner may move, in diagonals of the photo
# Least correlation of photos that are aligned already, up to rounding. If ECC can compute no step, as in photos with
# structure in one direction only, it returns exactly the identity, without an error.
SAME = 1 - 1e-6


class AlignmentError(InputError):
    """A restored photo could not be aligned with its ground truth; it has no score."""


class Alignment(NamedTuple):
    """A restored photo brought into the place of its ground truth.

    Args:
        restored: (H, W, 3) float32, RGB; scaled, warped, 0 outside the mask.
        reference: (H, W, 3) float32, RGB; the ground truth, 0 outside the mask.
        mask: (H, W) float32, 1 where the warped photo is and 0 elsewhere.
        homography: (3, 3) float32.
        correlation: correlation of the two in gray within the mask, after the Gaussian filter; at most 1.
    """

    restored: np.ndarray
    reference: np.ndarray
    mask: np.ndarray
    homography: np.ndarray
    correlation: float


class Score(NamedTuple):
    """The scores of a restored photo.

    Args:
        psnr: PSNR in dB; infinite where the two are the same.
        ssim: structural similarity, at most 1.
        correlation: after the alignment; None where the protocol has none.
        frame: index of the ground-truth frame that counts.
        frames: number of frames.
        failed_frames: number of frames that could not be aligned with.
    """

    psnr: float
    ssim: float
    correlation: float | None = None
    frame: int = 0
    frames: int = 1
    failed_frames: int = 0


def plain_score(restored: Tensor, reference: Tensor) -> Score:
    """Compare two photos by PSNR and SSIM of all pixels, neither scaled nor aligned.

    Args:
        restored: (3 or 1, H, W) or with N = 1; sRGB-like in [0, 1].
        reference: photo of the same size; gray and colour may meet.

    Raises:
        InputError: the sizes differ, or are below 11 pixels.
        ValueError: another shape, or values that are not finite.
    """
    z, x = _pair(restored, reference)
    mask = np.ones(x.shape[:2], np.float32)
    return Score(masked_psnr(z, x, mask), masked_ssim(z, x, mask))


def realblur_score(restored: Tensor, reference: Tensor) -> Score:
    """Compare a restored photo with a ground truth that is another shot, by the protocol of RealBlur.

    Args:
        restored: (3 or 1, H, W) or with N = 1; sRGB-like in [0, 1].
        reference: photo of the same size.

    Raises:
        AlignmentError: see `align`.
        InputError, ValueError: see `plain_score`.
    """
    alignment = align(restored, reference)
    return Score(_psnr_of(alignment), _ssim_of(alignment), alignment.correlation)


def koehler_score(
    restored: Tensor, references: Iterable[Tensor], callback: Callable[[int], None] | None = None
) -> Score:
    """Compare a restored photo with all frames of a trajectory; the frame of the highest PSNR counts, also for SSIM.

    Args:
        restored: (3 or 1, H, W) or with N = 1; sRGB-like in [0, 1].
        references: ground-truth frames of the same size, one or more; taken one at a time.
        callback: function that is called with the number of frames that are done.

    Raises:
        AlignmentError: the photo could be aligned with none of the frames; the reason of the last is given.
        InputError, ValueError: there is no frame; and see `plain_score`.
    """
    best, failed, frames, reason = None, 0, 0, None
    for index, reference in enumerate(references):
        frames += 1
        try:
            alignment = align(restored, reference)
        except AlignmentError as error:
            failed, reason = failed + 1, error
        else:
            psnr = _psnr_of(alignment)
            if best is None or psnr > best[0]:
                best = psnr, index, alignment
        if callback is not None:
            callback(frames)
    if not frames:
        raise InputError('there is no ground-truth frame, expected one or more; give the frames of the trajectory.')
    if best is None:
        if frames == 1 and reason is not None:
            raise reason
        raise AlignmentError(f'none of {frames} frames: {reason}')
    psnr, index, alignment = best
    return Score(psnr, _ssim_of(alignment), alignment.correlation, index, frames, failed)


def align(restored: Tensor, reference: Tensor) -> Alignment:
    """Scale a restored photo and warp it into the place of its ground truth.

    Args:
        restored: (3 or 1, H, W) or with N = 1; sRGB-like in [0, 1].
        reference: photo of the same size.

    Raises:
        AlignmentError: ECC did not converge, or found no step, since the photos have too little structure; or its
            homography cannot be one between two shots of a scene: a corner moves far away, or the photos hardly
            correlate, or less than before.
        InputError, ValueError: see `plain_score`.
    """
    import cv2

    z, x = _pair(restored, reference)
    power = np.square(z, dtype=np.float64).sum()
    if power == 0:
        raise AlignmentError('the restored photo is black, expected a photo of the scene; restore it again.')
    z = np.float32(np.multiply(x, z, dtype=np.float64).sum() / power) * z
    gray_z, gray_x = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (z, x))
    homography = _homography(gray_z, gray_x)

    def warp(picture: np.ndarray, interpolation: int, border: int) -> np.ndarray:
        if picture.dtype != np.float32:  # OpenCV 5.0.0 writes garbage along two borders of float64
            raise TypeError(f'the picture is {picture.dtype}, expected float32.')
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(picture, homography, x.shape[1::-1], flags=flags, borderMode=border)

    mask = warp(np.ones_like(gray_z), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    soft_z, soft_x = (cv2.GaussianBlur(each, (FILTER_SIZE, FILTER_SIZE), 0) for each in (gray_z, gray_x))
    before = _correlation(soft_z, soft_x, np.ones_like(mask))
    if before < SAME and np.array_equal(homography, np.eye(3)):
        raise AlignmentError(
            f'the photos correlate by {before:.3f} and ECC found no way to align them, as in photos with structure '
            'in one direction only; compare them without alignment (plain), or give another photo.'
        )
    correlation = _correlation(warp(soft_z, cv2.INTER_CUBIC, cv2.BORDER_REFLECT), soft_x, mask)
    if not correlation >= LEAST_CORRELATION:
        raise AlignmentError(
            f'the photos correlate by {correlation:.2f} once aligned, expected at least {LEAST_CORRELATION}; '
            'check that they show the same scene.'
        )
    if correlation < before - LARGEST_LOSS:
        raise AlignmentError(
            f'alignment went wrong: the photos correlated by {before:.3f} before it and by {correlation:.3f} after it; '
            'bring them closer to each other.'
        )
    warped = warp(z, cv2.INTER_CUBIC, cv2.BORDER_REFLECT)
    return Alignment(warped * mask[..., None], x * mask[..., None], mask, homography, correlation)


def masked_psnr(restored: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Return the PSNR in dB of the pixels within a mask.

    Args:
        restored: (H, W, C), in [0, 1].
        reference: (H, W, C).
        mask: (H, W), of 0 and 1.
    """
    squares = np.square(np.subtract(restored, reference, dtype=np.float64)) * mask[..., None]
    error = squares.sum() / (mask.sum(dtype=np.float64) * restored.shape[-1])
    return float(-10 * np.log10(error)) if error > 0 else float('inf')


def masked_ssim(restored: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Return the mean of the SSIM map within a mask, over channels and without 5 pixels of each border.

    Args:
        restored: (H, W, C), in [0, 1]; H and W at least 11.
        reference: (H, W, C).
        mask: (H, W), of 0 and 1.
    """
    from skimage.metrics import structural_similarity

    _, values = structural_similarity(
        reference.astype(np.float64),
        restored.astype(np.float64),
        channel_axis=-1,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    inner = slice(SSIM_CROP, -SSIM_CROP)
    weights = mask[inner, inner, None].astype(np.float64)
    return float((values[inner, inner] * weights).sum() / (weights.sum() * values.shape[-1]))


def _psnr_of(alignment: Alignment) -> float:
    return masked_psnr(alignment.restored, alignment.reference, alignment.mask)


def _ssim_of(alignment: Alignment) -> float:
    return masked_ssim(alignment.restored, alignment.reference, alignment.mask)


def _homography(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the homography from the gray x to the gray z; AlignmentError if there is none or it leads far away."""
    import cv2

    # Without a bound on the steps' size, all iterations are made, as in the protocol. The correlation that OpenCV
    # returns is not used: it normalises over another set of pixels, and falls where the alignment is right.
    criteria = (cv2.TERM_CRITERIA_COUNT, ITERATIONS, 0)
    try:
        _, homography = cv2.findTransformECC(
            x, z, np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, criteria, None, FILTER_SIZE
        )  # type: ignore[call-overload]
    except cv2.error as error:
        raise AlignmentError(
            f'the photos could not be aligned (ECC: {error.err}); check that they show the same scene.'
        ) from error
    height, width = x.shape
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    moved = corners @ homography.T.astype(np.float64)
    depth = moved[:, 2:]
    distance = np.linalg.norm(moved / depth - corners, axis=1).max() if (depth > 0).all() else np.inf
    most = LONGEST_MOVE * np.hypot(height, width)
    if not distance <= most:
        raise AlignmentError(
            f'alignment would move a corner by {distance:.0f} pixels in photos of {width}x{height}, expected at most '
            f'{most:.0f}; check that they show the same scene.'
        )
    return homography


def _correlation(z: np.ndarray, x: np.ndarray, mask: np.ndarray) -> float:
    """Return the correlation of two gray photos within a mask; 0 where one of them is flat."""
    z, x = (each[mask > 0].astype(np.float64) for each in (z, x))
    z, x = z - z.mean(), x - x.mean()
    norms = np.linalg.norm(z) * np.linalg.norm(x)
    return float(z @ x / norms) if norms > 0 else 0.0


def _pair(restored: Tensor, reference: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return both photos as (H, W, 3) float32.

    Raises:
        InputError, ValueError: see `plain_score`.
    """
    z, x = (_samples(photo, name) for photo, name in ((restored, 'restored photo'), (reference, 'ground truth')))
    if z.shape != x.shape:
        raise InputError(
            f'the restored photo is {z.shape[1]}x{z.shape[0]} pixels and the ground truth {x.shape[1]}x{x.shape[0]}, '
            'expected one size; crop both alike.'
        )
    least = 2 * SSIM_CROP + 1
    if min(x.shape[:2]) < least:
        raise InputError(
            f'the photos are {x.shape[1]}x{x.shape[0]} pixels, expected at least {least} each way for SSIM.'
        )
    return z, x


def _samples(photo: Tensor, name: str) -> np.ndarray:
    if photo.ndim == 4 and photo.shape[0] == 1:
        photo = photo[0]
    if photo.ndim != 3 or photo.shape[0] not in (1, 3):
        raise ValueError(f'the {name} has shape {tuple(photo.shape)}, expected (3, H, W) or (1, H, W).')
    if not photo.isfinite().all():
        raise ValueError(f'the {name} has values that are not finite, expected values in [0, 1].')
    samples = photo.detach().cpu().float().expand(3, -1, -1).permute(1, 2, 0)
    return np.ascontiguousarray(samples.numpy())
