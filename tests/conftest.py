"""Tests compute in float64 from one seed, so that identities can be asked to hold to rounding."""

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _float64_and_seed():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def shared_data() -> Path:
    """The optional folder of development data; tests that want it are skipped, with this reason, where it is absent."""
    folder = Path(os.environ.get('BASIS_BLUR_SHARED', Path(__file__).parents[2] / 'shared')) / 'data'
    if not folder.is_dir():
        pytest.skip('the development data (BASIS_BLUR_SHARED/data) is not here')
    return folder
