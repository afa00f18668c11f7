"""Scripts of scripts/evaluate as modules, a tiny untrained network, and tiny photos."""

import importlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import basis_blur as bb
from basis_blur.archs.iterate_fusion_arch import IterateFusion

SCRIPTS = Path(__file__).parents[2] / 'scripts' / 'evaluate'


@pytest.fixture
def script(monkeypatch):
    """A function from the name of a script to its module; modules by these names are forgotten afterwards."""
    monkeypatch.syspath_prepend(SCRIPTS)
    names = [path.stem for path in SCRIPTS.glob('*.py')]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(scope='session')
def ufpnet(tmp_path_factory) -> Path:
    """An untrained network that restores."""
    path = tmp_path_factory.mktemp('weights') / 'ufpnet.safetensors'
    torch.manual_seed(0)
    sizes = {'width': 2, 'kernel_size': 5, 'estimator_width': 2, 'enc_blocks': (1,), 'dec_blocks': (1,)}
    bb.save_network(bb.UFPNet(**sizes, attention_levels=(0,)).float(), path)
    return path


@pytest.fixture(scope='session')
def fusion(tmp_path_factory) -> Path:
    """A fresh network that fuses two iterates."""
    path = tmp_path_factory.mktemp('weights') / 'fusion.safetensors'
    sizes = {'width': 4, 'deep_width': 4, 'blocks': 0, 'deep_blocks': 0}
    bb.save_network(IterateFusion((1, 2), **sizes).float(), path)
    return path


@pytest.fixture
def picture():
    """A function from seed, height and width to a smooth photo (1, 3, H, W)."""

    def make(seed: int, height: int = 60, width: int = 72) -> torch.Tensor:
        noise = np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)
        blobs = cv2.GaussianBlur(noise, (0, 0), 2)
        return torch.from_numpy((blobs - blobs.min()) / (blobs.max() - blobs.min())).permute(2, 0, 1)[None]

    return make
