"""The RealBlur protocol as metrics of BasicSR; `basis_blur.plugin` registers them.

    metrics:
      psnr: {type: calculate_psnr_realblur}
      ssim: {type: calculate_ssim_realblur}

What the protocol is stands in `basis_blur.metrics.aligned`. Where a photo cannot be aligned its score is NaN, with a
warning: the mean of the data set becomes NaN too, which no one takes for a success, and training goes on.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import torch

from basis_blur.foundation.errors import InputError
from basis_blur.metrics.aligned import AlignmentError, Score, realblur_score


def calculate_psnr_realblur(img: np.ndarray, img2: np.ndarray, input_order: str = 'HWC', **others: Any) -> float:
    """Return the PSNR in dB by the RealBlur protocol; NaN where the photos cannot be aligned.

    Args:
        img: restored photo, uint8 BGR, as BasicSR gives it.
        img2: ground truth, likewise.
        input_order: 'HWC' or 'CHW'.
        others: `crop_border` and what else options of BasicSR's metrics say; not used, the protocol has a border of its
            own. `test_y_channel` must not be on.

    Raises:
        InputError: the photos cannot be compared, or an option asks for what the protocol does not know.
    """
    return _score(img, img2, input_order, others).psnr


def calculate_ssim_realblur(img: np.ndarray, img2: np.ndarray, input_order: str = 'HWC', **others: Any) -> float:
    """Return the SSIM by the RealBlur protocol; as `calculate_psnr_realblur` in all else."""
    return _score(img, img2, input_order, others).ssim


def _score(img: np.ndarray, img2: np.ndarray, input_order: str, others: dict[str, Any]) -> Score:
    if others.get('test_y_channel'):
        raise InputError('test_y_channel is on, but the RealBlur protocol compares RGB; leave it out.')
    if input_order not in ('HWC', 'CHW'):
        raise InputError(f'input_order is "{input_order}", expected "HWC" or "CHW".')
    arrays = []
    for array in (img, img2):
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise InputError(f'a photo is {array.dtype} of shape {array.shape}, expected uint8 (H, W, 3) or (H, W).')
        if array.ndim == 2:
            array = array[..., None]
        elif input_order == 'CHW':
            array = array.transpose(1, 2, 0)
        arrays.append(array)
    try:
        return _aligned(*((each.tobytes(), each.shape) for each in arrays))
    except AlignmentError as error:
        warnings.warn(f'a photo has no score by the RealBlur protocol: {error}', stacklevel=3)
        return Score(float('nan'), float('nan'))


@functools.lru_cache(maxsize=1)
def _aligned(restored: tuple[bytes, tuple[Any, ...]], reference: tuple[bytes, tuple[Any, ...]]) -> Score:
    """Align once for both metrics of a photo: that takes seconds."""
    return realblur_score(_rgb(*restored), _rgb(*reference))


def _rgb(data: bytes, shape: tuple[int, ...]) -> torch.Tensor:
    pixels = np.frombuffer(data, np.uint8).reshape(shape)[..., ::-1].transpose(2, 0, 1)
    return torch.from_numpy(pixels.astype(np.float32) / 255)
