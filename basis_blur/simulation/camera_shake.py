"""Point spread functions of a shaking hand and of a moving object, drawn from a seed.

A hand-held camera turns with the angular rate  w(t) = drift + tremor  about two axes [G11]:

    drift   white noise, integrated twice with a leak: power ~ (1 + (f / f_d)^2)^-2, f_d from 1.2 to 3.5 Hz
    tremor  a narrow band centred at 8 to 12 Hz, with 0.2 to 6 % of the power of the drift

The angle is the integral of the rate over the exposure of at most 1 s, and the picture moves by focal length times
angle. A trajectory is drawn as light per time, so where the hand is slow, the kernel is bright. Roll is left out, since
within a kernel it only adds to the two axes.

The numbers come from four gyro recordings of hand-held phones (93 to 100 Hz): above 1 Hz their rates have a median of
0.15 rad/s per axis (0.07 to 0.3); three peak at 1 to 2 Hz; they fall like f^-4 to f^-6 between 6 and 20 Hz and have 1
to 17 %, median 2 %, of their power from 8 to 12 Hz. The fourth swings at 6 to 7 Hz, faster than [G11] has drift and
slower than tremor, and is not imitated. A test compares the spectra where the recordings are at hand.

Kernel number i of a seed depends on (seed, i) alone, bit by bit. So a million kernels can be drawn in any order, in any
number of processes, and be continued after an interruption.

Convention: kernels are point spread functions (see `basis_blur.field.blur_field`). Their centre of mass is the middle
    pixel, so that a blurred picture is not shifted. The outermost ring of pixels is empty: the support is smaller than
    K.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from basis_blur.field.rasterise import rasterise
from basis_blur.foundation.numbers import check_number

# Rates are a sum of sinusoids at multiples of 1 / PERIOD up to HIGHEST_FREQUENCY; an exposure is a part of a period.
PERIOD = 4.0  # period of the rates, seconds
HIGHEST_FREQUENCY = 24.0  # highest frequency of the rates, Hz
SAMPLE_RATE = 256  # number of samples of the rates a second
FREQUENCIES = np.arange(1, round(HIGHEST_FREQUENCY * PERIOD) + 1) / PERIOD  # frequencies of the sinusoids, Hz

RATE = 0.2  # root mean square of the angular rate about one axis, rad/s; a hand has 0.5 to 2 times as much
LONGEST_EXPOSURE, SHORTEST_EXPOSURE = 1.0, 0.05  # longest and shortest exposure, seconds
# Range of the focal length in pixels, over K: the size of the kernel is chosen in proportion to that of the photo.
FOCAL_SCALE = (4.0, 40.0)
SHORTEST_EXTENT = 0.1  # least reach of a path that did not fit, as a share of the largest one
POINTS = 1536  # number of points of light on a trajectory; the longest, about 200 pixels at K = 33, has seven a pixel
BATCH = 64  # number of kernels that are drawn together


class ShakeDraw(NamedTuple):
    """The random numbers of one kernel, or of several along a first dimension.

    Args:
        uniform: (..., 8) in [0, 1); numbers for quantities that are constant during an exposure.
        normal: (..., 2, F, 2); amplitudes of the cosine and sine of each axis and frequency, standard normal.
        constant: (..., 2); the constant part of the rate about each axis, standard normal.
    """

    uniform: np.ndarray
    normal: np.ndarray
    constant: np.ndarray


def kernel_generator(seed: int, index: int) -> np.random.Generator:
    """Return the generator from which `shake_kernels` draws kernel number `index` of `seed`.

    Raises:
        ValueError: `seed` or `index` is negative.
    """
    if seed < 0 or index < 0:
        raise ValueError(f'seed {seed} and index {index} are given, expected both >= 0.')
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, index))))


def shake_kernel(generator: np.random.Generator, kernel_size: int = 33) -> np.ndarray:
    """Draw one camera-shake kernel.

    Args:
        generator: generator that is advanced by the same amount whatever the result.
        kernel_size: K, odd, >= 5.

    Returns:
        (K, K) float32; >= 0, sums to 1, its centre of mass in the middle, its outermost ring 0.

    Raises:
        ValueError: `kernel_size` is even or smaller than 5.
    """
    _check_size(kernel_size)
    return _kernels_of([_draw(generator)], kernel_size)[0]


def shake_kernels(count: int, kernel_size: int = 33, seed: int = 0, start: int = 0) -> np.ndarray:
    """Draw the camera-shake kernels number `start` to `start + count - 1` of a seed.

    `shake_kernels(1, K, seed, i)[0]` equals `shake_kernel(kernel_generator(seed, i), K)`, and any longer series that
    holds number i holds the same numbers there.

    Args:
        count: number of kernels, >= 0.
        kernel_size: K, odd, >= 5.
        seed: seed of the kernels, >= 0.
        start: number of the first one, >= 0.

    Returns:
        (count, K, K) float32; as `shake_kernel` returns them.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> kernels = bb.shake_kernels(2, kernel_size=19, seed=1)
        >>> kernels.shape, kernels.sum((1, 2)).round(4)
        ((2, 19, 19), array([1., 1.], dtype=float32))
    """
    _check_size(kernel_size)
    check_number('count', count, least=0, whole=True)
    kernels = np.empty((count, kernel_size, kernel_size), np.float32)
    for first in range(0, count, BATCH):
        last = min(first + BATCH, count)
        draws = [_draw(kernel_generator(seed, start + index)) for index in range(first, last)]
        kernels[first:last] = _kernels_of(draws, kernel_size)
    return kernels


def angular_rates(generator: np.random.Generator, count: int) -> np.ndarray:
    """Draw angular rates as the camera-shake kernels are made from them, for comparison with recordings.

    Args:
        generator: generator that is advanced by the draws of `count` kernels.
        count: number of recordings, >= 1.

    Returns:
        (count, 2, PERIOD * SAMPLE_RATE) in rad/s; pitch and yaw at SAMPLE_RATE per second, periodic.
    """
    draw = _stack([_draw(generator) for _ in range(count)])
    return _synthesise(_rate_spectrum(draw)) + RATE * _unsteadiness(draw) * draw.constant[..., None]


def motion_kernel(generator: np.random.Generator, kernel_size: int = 33) -> np.ndarray:
    """Draw the kernel of an object that moves along a line or an arc, at a constant or changing speed.

    One in three is straight; the others turn by up to 120 degrees. The path is 1 pixel to K - 3 pixels long, the speed
    at its end up to 3 times, or down to a third of, that at its start.

    Args:
        generator: generator that is advanced by the same amount whatever the result.
        kernel_size: K, odd, >= 5.

    Returns:
        (K, K) float32; >= 0, sums to 1, its centre of mass in the middle, its outermost ring 0.

    Raises:
        ValueError: `kernel_size` is even or smaller than 5.
    """
    _check_size(kernel_size)
    straight, direction, turn, length, speed = generator.random(5)
    time = (np.arange(POINTS) + 0.5) / POINTS
    ratio = 3 ** (2 * speed - 1)
    travelled = time * (1 + (ratio - 1) * time / 2) / ((1 + ratio) / 2)
    bend = 0.0 if straight < 1 / 3 else (2 * turn - 1) * 2 * np.pi / 3
    # The chord of an arc from 0 to s, by its tangent angle: s sinc(bend s / 2) at the angle bend s / 2.
    angle = 2 * np.pi * direction + bend * travelled / 2
    chord = travelled * np.sinc(bend * travelled / (2 * np.pi)) * (1 + length * (kernel_size - 4))
    path = np.stack([chord * np.sin(angle), chord * np.cos(angle)])[None]
    return rasterise(_fit(path, kernel_size, np.ones(1)), kernel_size)[0]


def _check_size(kernel_size: int) -> None:
    remedy = 'it is an odd number of pixels.'
    check_number('kernel_size', kernel_size, least=5, whole=True, remedy=remedy)
    if kernel_size % 2 == 0:
        raise ValueError(f'kernel_size is {kernel_size}, expected an odd number >= 5.')


def _draw(generator: np.random.Generator) -> ShakeDraw:
    return ShakeDraw(
        generator.random(8), generator.standard_normal((2, len(FREQUENCIES), 2)), generator.standard_normal(2)
    )


def _stack(draws: list[ShakeDraw]) -> ShakeDraw:
    return ShakeDraw(*(np.stack(parts) for parts in zip(*draws, strict=True)))


def _kernels_of(draws: list[ShakeDraw], kernel_size: int) -> np.ndarray:
    draw = _stack(draws)
    path = _trajectory(draw) * _between(draw.uniform[:, 6], *FOCAL_SCALE)[:, None, None] * kernel_size
    return rasterise(_fit(path, kernel_size, draw.uniform[:, 7]), kernel_size)


def _between(uniform: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map [0, 1) to [low, high), evenly in the logarithm."""
    return low * (high / low) ** uniform


def _unsteadiness(draw: ShakeDraw) -> np.ndarray:
    """Return the factors on RATE by which this hand shakes about each of the two axes."""
    hand = _between(draw.uniform[:, 0], 0.5, 2.0)
    ratio = _between(draw.uniform[:, 1], 0.7, 1 / 0.7)
    return np.stack([hand * ratio, hand / ratio], 1)[:, :, None]


def _rate_spectrum(draw: ShakeDraw) -> np.ndarray:
    """Return the Fourier coefficients (n, 2, F) of the angular rate at FREQUENCIES; complex, in rad/s."""
    corner = _between(draw.uniform[:, 2], 1.2, 3.5)[:, None]
    drift = (1 + (FREQUENCIES / corner) ** 2) ** -2
    drift /= drift.sum(1, keepdims=True)
    centre, width = 8 + 4 * draw.uniform[:, 3][:, None], 0.8
    tremor = np.exp(-(((FREQUENCIES - centre) / width) ** 2) / 2)
    tremor *= _between(draw.uniform[:, 4][:, None], 0.002, 0.06) / tremor.sum(1, keepdims=True)
    amplitude = RATE * _unsteadiness(draw) * np.sqrt(drift + tremor)[:, None]
    return amplitude * (draw.normal[..., 0] - 1j * draw.normal[..., 1])


def _synthesise(coefficients: np.ndarray) -> np.ndarray:
    """Return the real part of sum_f c_f exp(2 pi i f t) over one PERIOD; a row depends on its coefficients alone."""
    samples = round(PERIOD * SAMPLE_RATE)
    spectrum = np.zeros((*coefficients.shape[:-1], samples // 2 + 1), complex)
    spectrum[..., 1 : len(FREQUENCIES) + 1] = coefficients * (samples / 2)
    return np.fft.irfft(spectrum, samples)


def _trajectory(draw: ShakeDraw) -> np.ndarray:
    """Return the angles (n, 2, POINTS), in rad, at evenly spaced moments of the exposure."""
    angles = _synthesise(_rate_spectrum(draw) / (2j * np.pi * FREQUENCIES))
    exposure = SHORTEST_EXPOSURE + (LONGEST_EXPOSURE - SHORTEST_EXPOSURE) * draw.uniform[:, 5]
    moment = exposure[:, None] * (np.arange(POINTS) + 0.5) / POINTS
    before = (moment * SAMPLE_RATE).astype(int)
    fraction = (moment * SAMPLE_RATE - before)[:, None]
    left, right = (np.take_along_axis(angles, index[:, None], 2) for index in (before, before + 1))
    constant = RATE * _unsteadiness(draw) * draw.constant[..., None]
    return left + fraction * (right - left) + constant * moment[:, None]


def _fit(path: np.ndarray, kernel_size: int, extent: np.ndarray) -> np.ndarray:
    """Centre the light of paths (n, 2, POINTS), in pixels, and bring to size those that do not fit.

    A path that reaches further from the middle than (K - 3) / 2 pixels is scaled, as by a shorter focal length, to a
    part of that between SHORTEST_EXTENT and 1, given by `extent` (n,) in [0, 1]. Redrawing the hand's motion instead
    would leave out the long exposures.
    """
    path = path - path.mean(2, keepdims=True)
    limit = (kernel_size - 3) / 2
    reach = np.abs(path).max(axis=(1, 2))
    wanted = limit * (SHORTEST_EXTENT + (1 - SHORTEST_EXTENT) * extent)
    return path * np.where(reach > limit, wanted / np.maximum(reach, limit), 1.0)[:, None, None]
