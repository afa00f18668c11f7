"""Tests compute in float64 from one seed, so that identities can be asked to hold to rounding.

`--seed 1` has them draw other numbers; they must hold for any. docs/testing.md has the ways in which they are run.
"""

import os
from pathlib import Path

import pytest
import torch

import basis_blur


def pytest_addoption(parser):
    parser.addoption('--seed', type=int, default=0, help="of the tests' random numbers (default: 0)")


@pytest.fixture(autouse=True)
def _float64_and_seed(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(request.config.getoption('seed'))
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def shared_data() -> Path:
    """The optional folder of development data; tests that want it are skipped, with this reason, where it is absent."""
    folder = Path(os.environ.get('BASIS_BLUR_SHARED', Path(__file__).parents[2] / 'shared')) / 'data'
    if not folder.is_dir():
        pytest.skip('the development data (BASIS_BLUR_SHARED/data) is not here')
    return folder


@pytest.fixture(scope='session')
def weights(tmp_path_factory) -> str:
    """The file of an untrained BasisKPN with kernels of 33 pixels."""
    path = tmp_path_factory.mktemp('weights') / 'tiny.safetensors'
    torch.manual_seed(0)
    basis_blur.save_network(basis_blur.BasisKPN(num_feat=4, num_kernels=3).float(), path)
    return str(path)
