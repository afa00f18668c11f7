"""Options as BasicSR's `parse_options` hands them to a model, and a stage small enough to be taken apart."""

import copy
import itertools

import pytest
import torch
from torch import nn

import basis_blur.plugin  # noqa: F401 (makes BasicSR importable and registers our components)

from basicsr.utils.registry import ARCH_REGISTRY  # isort: skip
from basis_blur.models.network_model import NetworkModel  # isort: skip


class ToyNet(nn.Module):
    """A convolution and a batch normalisation, so that there are buffers."""

    def __init__(self, width: int = 2):
        super().__init__()
        self.hyper_parameters = {'width': width}
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.Conv2d(width, 3, 1))

    def forward(self, x):
        return self.body(x)


class ToyModel(NetworkModel):
    """Learns to return what it sees; draws noise from the global generator, as a later stage may."""

    def feed_data(self, data):
        self.name_batch(data)
        self.lq = data['lq'].to(self.device)

    def optimize_parameters(self, current_iter):
        with self.autocast():
            output = self.net_g(self.lq + 0.1 * torch.randn_like(self.lq))
        self.descend({'l_pix': (output.float() - self.lq).square().mean()}, current_iter)

    def validate(self, run):
        return [{'level': data['lq'].mean().item()} for data in run.progress()]


if 'ToyNet' not in ARCH_REGISTRY:
    ARCH_REGISTRY.register(ToyNet)


@pytest.fixture(autouse=True)
def _float32():
    torch.set_default_dtype(torch.float32)  # trainings compute in float32; conftest.py above restores what was


@pytest.fixture
def options(tmp_path):
    """Options of a training on the CPU; `options(train={...}, ...)` replaces keys within sections."""

    def make(**sections):
        opt = {
            'name': 'toy',
            'model_type': 'ToyModel',
            'num_gpu': 0,
            'dist': False,
            'rank': 0,
            'world_size': 1,
            'is_train': True,
            'datasets': {'train': {}},
            'network_g': {'type': 'ToyNet'},
            'path': {
                'models': str(tmp_path / 'models'),
                'training_states': str(tmp_path / 'training_states'),
                'visualization': str(tmp_path / 'visualization'),
            },
            'train': {
                'total_iter': 100,
                'optim_g': {'type': 'AdamW', 'lr': 0.01, 'weight_decay': 0.1},
                'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [100], 'eta_min': 1e-6},
                'ema_decay': 0.9,
            },
            'val': {'save_img': False, 'pbar': False},
        }
        for name, section in sections.items():
            opt[name] = {**opt[name], **section} if isinstance(section, dict) and name != 'network_g' else section
        return copy.deepcopy(opt)

    return make


@pytest.fixture
def build():
    """The toy stage, built from options."""
    return ToyModel


@pytest.fixture
def batches():
    """Endless batches, the same for the same start: `batches(5)` begins with the fifth."""

    def make(first=0):
        for number in itertools.count(first):
            generator = torch.Generator().manual_seed(number)
            yield {
                'lq': torch.rand(2, 3, 6, 6, generator=generator),
                'lq_path': [f'photo_{number}a', f'photo_{number}b'],
            }

    return make


@pytest.fixture
def train():
    """`train(model, batches, first, last)` does what BasicSR's loop does for these iterations; returns the losses."""

    def run(model, batches, first, last):
        losses = []
        for iteration, batch in zip(range(first, last + 1), batches, strict=False):
            model.update_learning_rate(iteration)
            model.feed_data(batch)
            model.optimize_parameters(iteration)
            losses.append(dict(model.get_current_log()))
        return losses

    return run
