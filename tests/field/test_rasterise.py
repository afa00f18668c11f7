"""Paths of light to kernels."""

import numpy as np

from basis_blur.field.rasterise import rasterise


def test_a_slow_part_of_the_path_is_brighter_in_proportion():
    # Three quarters of the time on the left five pixels, one quarter on the right five.
    points = 1536
    slow, fast = np.linspace(-5, 0, points * 3 // 4), np.linspace(0, 5, points // 4)
    path = np.stack([np.zeros(points), np.concatenate([slow, fast])])[None]
    row = rasterise(path, 13)[0, 6]
    np.testing.assert_allclose(row[2:6], 3 * row[7:11][::-1], rtol=0.02)


def test_light_is_shared_by_the_four_nearest_pixels():
    path = np.full((1, 2, 7), np.array([0.25, -0.5])[None, :, None])
    expected = np.zeros((5, 5))
    expected[2, 1:3] = 0.375
    expected[3, 1:3] = 0.125
    np.testing.assert_allclose(rasterise(path, 5)[0], expected, rtol=1e-6)
