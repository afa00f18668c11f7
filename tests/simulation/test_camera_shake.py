"""Shake kernels are light per time on a centred path; their motion has the spectrum of recorded hands."""

import numpy as np
import pytest

from basis_blur.simulation import camera_shake
from basis_blur.simulation.camera_shake import (
    angular_rates,
    kernel_generator,
    motion_kernel,
    shake_kernel,
    shake_kernels,
)


def many_motion_kernels(count, kernel_size):
    generator = np.random.default_rng(3)
    return np.stack([motion_kernel(generator, kernel_size) for _ in range(count)])


SOURCES = [pytest.param(shake_kernels, id='shake'), pytest.param(many_motion_kernels, id='motion')]


@pytest.mark.parametrize('kernel_size', [5, 19, 33])
@pytest.mark.parametrize('source', SOURCES)
def test_kernels_sum_to_one_and_are_not_negative(source, kernel_size):
    kernels = source(70, kernel_size)
    assert kernels.shape == (70, kernel_size, kernel_size)
    assert kernels.dtype == np.float32
    assert kernels.min() >= 0
    np.testing.assert_allclose(kernels.sum((1, 2), dtype=np.float64), 1, rtol=1e-6)


@pytest.mark.parametrize('source', SOURCES)
def test_the_centre_of_mass_is_the_middle_pixel(source):
    kernels = source(70, 33).astype(np.float64)
    offset = np.arange(33) - 16
    np.testing.assert_allclose((kernels.sum(2) * offset).sum(1), 0, atol=1e-5)
    np.testing.assert_allclose((kernels.sum(1) * offset).sum(1), 0, atol=1e-5)


@pytest.mark.parametrize('source', SOURCES)
def test_the_outermost_ring_is_empty_and_the_next_one_is_reached(source):
    kernels = source(400, 33)
    assert kernels[:, [0, -1]].max() == 0
    assert kernels[:, :, [0, -1]].max() == 0
    assert max(kernels[:, [1, -2]].max(), kernels[:, :, [1, -2]].max()) > 0


@pytest.mark.parametrize('source', SOURCES)
def test_small_and_large_blurs_are_both_common(source):
    bright = source(400, 33) > 1e-4
    extent = np.maximum(bright.any(1).sum(1), bright.any(2).sum(1))
    assert (extent < 8).mean() > 0.05
    assert (extent > 20).mean() > 0.15


def test_a_kernel_depends_on_its_seed_and_number_alone():
    series = shake_kernels(camera_shake.BATCH + 3, 33, seed=5, start=100)
    np.testing.assert_array_equal(shake_kernels(4, 33, seed=5, start=161), series[61:65])
    np.testing.assert_array_equal(shake_kernel(kernel_generator(5, 163), 33), series[63])
    assert not np.array_equal(shake_kernels(1, 33, seed=6, start=100)[0], series[0])
    assert len({kernel.tobytes() for kernel in series}) == len(series)


def test_a_path_that_does_not_fit_keeps_its_shape():
    path = 10 * np.cumsum(np.random.default_rng(0).standard_normal((1, 2, 200)), 2) + 50
    fitted = camera_shake._fit(path, 33, np.array([0.5]))
    centred = path - path.mean(2, keepdims=True)
    np.testing.assert_allclose(np.abs(fitted).max(), 15 * 0.55, rtol=1e-12)
    np.testing.assert_allclose(fitted / np.abs(fitted).max(), centred / np.abs(centred).max(), rtol=1e-9, atol=1e-12)


def test_the_angle_is_the_integral_of_the_rate():
    draw = camera_shake._stack([camera_shake._draw(kernel_generator(0, index)) for index in range(4)])
    angles = camera_shake._trajectory(draw)
    exposure = 0.05 + 0.95 * draw.uniform[:, 5]
    rate = camera_shake._synthesise(camera_shake._rate_spectrum(draw))
    rate += camera_shake.RATE * camera_shake._unsteadiness(draw) * draw.constant[..., None]
    for item in range(4):
        moments = exposure[item] * (np.arange(camera_shake.POINTS) + 0.5) / camera_shake.POINTS
        samples = np.arange(rate.shape[2]) / camera_shake.SAMPLE_RATE
        for axis in range(2):
            speed = np.interp(moments, samples, rate[item, axis])
            turned = np.cumsum(speed[:-1] + speed[1:]) / 2 * (moments[1] - moments[0])
            scale = np.abs(turned).max()
            np.testing.assert_allclose(angles[item, axis, 1:] - angles[item, axis, 0], turned, atol=0.01 * scale)


def test_objects_move_along_lines_and_along_arcs():
    def thickness(kernel):
        row, column = np.mgrid[-16:17, -16:17]
        moments = [[(kernel * a * b).sum() for a in (row, column)] for b in (row, column)]
        return np.linalg.eigvalsh(moments)

    # A straight, horizontal or oblique line is about half a pixel wide however long it is; an arc is not.
    thin, long = np.array([thickness(kernel) for kernel in many_motion_kernels(300, 33)]).T
    straight = thin[long > 25] < 0.35
    assert 0.3 < straight.mean() < 0.7


@pytest.mark.parametrize('kernel_size', [3, 4, 32])
def test_kernel_sizes_without_a_middle_or_an_inside_are_refused(kernel_size):
    for draw in (shake_kernel, motion_kernel):
        with pytest.raises(ValueError, match=f'kernel_size is {kernel_size}, expected (an odd|a whole) number'):
            draw(np.random.default_rng(0), kernel_size)


@pytest.mark.parametrize(
    ('arguments', 'found'), [({'count': -1}, 'count is -1'), ({'count': 1, 'seed': -2}, 'seed -2')]
)
def test_negative_numbers_are_refused(arguments, found):
    with pytest.raises(ValueError, match=found):
        shake_kernels(**arguments)


def spectrum(rates, sample_rate):
    """Power per frequency from 0 Hz in steps of 1 Hz: windows of 1 s that overlap by half, detrended, Hann."""
    side = round(sample_rate)
    windows = np.lib.stride_tricks.sliding_window_view(rates, side)[:: side // 2]
    time = np.arange(side) - (side - 1) / 2
    windows = windows - windows.mean(1, keepdims=True)
    windows = windows - (windows @ time / (time @ time))[:, None] * time
    hann = np.hanning(side + 1)[:-1]
    power = np.abs(np.fft.rfft(windows * hann)) ** 2 / (hann @ hann) / side * 2
    return power.mean(0)[:25]


def features(spectra):
    """Slope from 1 to 6 Hz, slope from 6 to 20 Hz, log energy in the tremor band relative to 1 to 20 Hz, log rate."""
    frequency = np.arange(25)
    logs = np.log(spectra)
    slopes = [np.polyfit(np.log(frequency[a:b]), logs[:, a:b].T, 1)[0] for a, b in ((1, 7), (6, 21))]
    band, all_of_it = spectra[:, 8:13].sum(1), spectra[:, 1:21].sum(1)
    return np.stack([*slopes, np.log(band / all_of_it), np.log(all_of_it) / 2])


def test_tremor_stands_out_of_the_drift_between_8_and_12_hz():
    rates = angular_rates(np.random.default_rng(0), 100).reshape(200, -1)
    power = np.mean([spectrum(rate, camera_shake.SAMPLE_RATE) for rate in rates], 0)
    # Half way, in logarithms, between an octave below and an octave above, a power law has the ratio 1.
    assert 2 < power[10] / np.sqrt(power[5] * power[20]) < 10


def test_simulated_rates_have_the_spectrum_of_recorded_hands(shared_data):
    recorded = []
    for file in sorted(shared_data.glob('gyro/*/gyro.txt')):
        rows = np.loadtxt(file)
        moments = np.arange(rows[0, 6], rows[-1, 6], 0.01)
        recorded += [spectrum(np.interp(moments, rows[:, 6], rows[:, axis]), 100) for axis in (3, 4)]
    assert len(recorded) == 8
    # Windows of an exposure, as many as the recordings have.
    rates = angular_rates(np.random.default_rng(0), 150)[:, :, : 3 * camera_shake.SAMPLE_RATE].reshape(300, -1)
    simulated = [spectrum(rate, camera_shake.SAMPLE_RATE) for rate in rates]
    of_hands, of_ours = (np.median(features(np.stack(spectra)), 1) for spectra in (recorded, simulated))
    low, high, tremor, rate = of_ours - of_hands
    text = f'recorded {of_hands.round(2)}, simulated {of_ours.round(2)}'
    assert abs(low) < 0.75, text
    assert abs(high) < 1, text
    assert abs(tremor) < np.log(2), text
    assert abs(rate) < np.log(1.5), text
