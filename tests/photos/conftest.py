"""Samples that tests write to files and read again."""

import numpy as np
import pytest
import torch

FULL = {np.uint8: 255, np.uint16: 65535, np.float32: 1}


@pytest.fixture
def random_samples():
    """A function that returns samples (H, W, C), always the same."""

    def make(channels, dtype=np.uint8, height=7, width=5):
        values = np.random.default_rng(0).random((height, width, channels), dtype=np.float32)
        return values if dtype == np.float32 else np.rint(values * FULL[dtype]).astype(dtype)

    return make


@pytest.fixture
def samples_of():
    """A function that returns the samples of a photo, with its alpha, as they lay in the file."""

    def stored(photo):
        parts = [photo.pixels] if photo.alpha is None else [photo.pixels, photo.alpha]
        samples = torch.cat(parts, 1)[0].permute(1, 2, 0).numpy()
        return samples if photo.bits == 32 else np.rint(samples * (2**photo.bits - 1)).astype(f'uint{photo.bits}')

    return stored
