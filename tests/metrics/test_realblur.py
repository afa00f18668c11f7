"""The RealBlur protocol as BasicSR calls it."""

import math

import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from test_aligned import noise, pair

import basis_blur.plugin  # noqa: F401
from basis_blur.foundation.errors import InputError
from basis_blur.metrics.aligned import realblur_score


def bgr(photo) -> np.ndarray:
    return (photo[0].permute(1, 2, 0).numpy()[..., ::-1].clip(0, 1) * 255).round().astype(np.uint8)


@pytest.fixture
def data():
    restored, reference = pair(shift=(2, 1))
    restored[:, 0] *= 0.8  # red and blue must not be taken for each other
    return {'img': bgr(restored), 'img2': bgr(reference)}


@pytest.mark.parametrize(('kind', 'index'), [('psnr', 0), ('ssim', 1)])
def test_basicsr_gets_the_score_of_the_library(kind, index, data):
    import torch

    photos = [torch.from_numpy(each[..., ::-1].transpose(2, 0, 1) / np.float32(255)) for each in data.values()]
    expected = realblur_score(*photos)[index]
    options = {'type': f'calculate_{kind}_realblur', 'crop_border': 4, 'better': 'higher', 'test_y_channel': False}
    assert calculate_metric(data, options) == pytest.approx(expected, rel=1e-9)
    upright = {name: np.ascontiguousarray(each.transpose(2, 0, 1)) for name, each in data.items()}
    assert calculate_metric(upright, {**options, 'input_order': 'CHW'}) == pytest.approx(expected, rel=1e-9)


def test_a_photo_that_cannot_be_aligned_has_no_score_and_says_so():
    data = {'img': bgr(noise(0)), 'img2': bgr(noise(1))}
    with pytest.warns(UserWarning, match='no score by the RealBlur protocol: .*correlat'):
        assert math.isnan(calculate_metric(data, {'type': 'calculate_psnr_realblur'}))


def test_luma_is_refused(data):
    with pytest.raises(InputError, match='test_y_channel is on'):
        calculate_metric(data, {'type': 'calculate_psnr_realblur', 'test_y_channel': True})
