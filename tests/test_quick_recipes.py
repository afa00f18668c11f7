"""The quick option files as a user runs them: on real photos, stage after stage, saved, reloaded and resumed.

Photos of scikit-image, few steps of small batches; each file is changed in nothing else.
"""

import shutil
import sys
from pathlib import Path

import pytest
import skimage
import torch

import basis_blur as bb
from basis_blur.cli.main import main

OPTIONS = Path(__file__).parents[1] / 'options'
PHOTOS = Path(skimage.__file__).parent / 'data'
STAGES = (
    ('train_kernel_flow_quick', ('train:nll_opt:loss_weight=1.0',)),
    ('train_latent_kernel_quick', ()),
    ('train_ufpnet_quick', ()),
    ('train_nafnet_quick', ()),
    ('train_blur_to_deblur_quick', ()),
)
SMALL = (
    'train:total_iter=2', 'val:val_freq=2', 'logger:save_checkpoint_freq=1', 'logger:print_freq=1', 'num_gpu=0',
    'train:scheduler:periods=[100000]', 'datasets:train:num_worker_per_gpu=0', 'logger:use_tb_logger=false',
)  # fmt: skip
SMALLER_PHOTOS = (
    'datasets:train:batch_size_per_gpu=1', 'datasets:train:patch_size=32', 'datasets:val:samples_per_epoch=1',
    'datasets:val:patch_size=48',
)  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with the data sets that the option files name."""
    folder = tmp_path_factory.mktemp('quick')
    for split, name in (('train', 'astronaut.png'), ('val', 'chelsea.png')):
        (folder / split).mkdir()
        shutil.copy(PHOTOS / name, folder / split / name)
        assert main(['prep-lmdb', str(folder / split), '-o', str(folder / 'datasets' / 'demo' / split)]) == 0
    kernels = folder / 'datasets' / 'demo' / 'flow_kernels.lmdb'
    assert main(['prep-kernels', '-o', str(kernels), '-n', '600', '--kernel-size', '19']) == 0
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, 'argv', ['basis-blur'])
    torch.set_default_dtype(torch.float32)
    return folder


@pytest.mark.parametrize(('stage', 'changes'), STAGES, ids=[name for name, _ in STAGES])
def test_a_stage_trains_saves_reloads_and_resumes(here, stage, changes):
    small = [*SMALL, *(SMALLER_PHOTOS if 'flow' not in stage else ()), *changes]
    train = ['train', str(OPTIONS / f'{stage}.yml')]
    assert main([*train, '--force_yml', *small]) == 0
    models = here / 'experiments' / stage / 'models'
    after_two = torch.load(models / 'net_g_2.pth', weights_only=True)
    shutil.copytree(models, here / f'{stage}_uninterrupted')

    for path in (models / 'net_g_2.pth', here / 'experiments' / stage / 'training_states' / '2.state'):
        path.unlink()
    assert main([*train, '--auto_resume', '--force_yml', *small]) == 0
    resumed = torch.load(models / 'net_g_2.pth', weights_only=True)
    assert resumed['hyper_parameters'] == after_two['hyper_parameters']
    assert all(value.isfinite().all() for value in resumed['params'].values())

    net = bb.load_network(models / 'net_g_2.pth')
    assert type(net).__name__ == after_two['hyper_parameters']['type']
    averaged = resumed['params_ema']
    assert all(torch.equal(value, averaged[key]) for key, value in net.state_dict().items())
    pictures = list((here / 'experiments' / stage / 'visualization').rglob('*.png'))
    assert pictures
