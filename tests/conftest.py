"""Tests compute in float64 from one seed, so that identities can be asked to hold to rounding."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _float64_and_seed():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)
