"""BasicSR's unmodified scripts, run as its users run them: from a source tree, resumed, distributed, on the CPU.

The tree is a copy of the installed BasicSR, changed where the git master's interface differs from that of 1.4.2.
Each run is a process of its own that imports all of BasicSR, so there are few of them and each checks several things.
"""

import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from basis_blur.bridges import torchvision_shim
from basis_blur.bridges.basicsr import hook as basicsr_hook
from basis_blur.foundation.errors import InputError

pytestmark = pytest.mark.processes

PLUGIN_LINE = 'plugin: !!python/name:basis_blur.plugin.loaded\n'
OPTIONS = """
name: tiny
model_type: BasisBlurModel
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: Photos
    type: SyntheticBlurDataset
    dataroot_gt: photos
    patch_size: 32
    num_worker_per_gpu: 0
    batch_size_per_gpu: 1
network_g: {type: BasisKPN, num_feat: 2, num_kernels: 2}
path: {pretrain_network_g: ~, resume_state: ~, experiments_root: runs/tiny}
train:
  total_iter: 2
  optim_g: {type: AdamW, lr: 1e-4}
  scheduler: {type: MultiStepLR, milestones: [100], gamma: 0.5}
  reblur_opt: {type: ReblurLoss}
logger: {print_freq: 1, save_checkpoint_freq: 2, use_tb_logger: false}
"""
# A training of another project: nothing in it is of basis_blur. Of five photos in batches of four, BasicSR counts two
# batches an epoch, so it makes four of these six iterations.
FOREIGN = """
name: foreign
model_type: SRModel
scale: 1
num_gpu: 0
manual_seed: 0
datasets:
  train:
    {name: pairs, type: PairedImageDataset, dataroot_gt: pairs, dataroot_lq: pairs, io_backend: {type: disk},
     gt_size: 32, use_hflip: true, use_rot: true, num_worker_per_gpu: 0, batch_size_per_gpu: 4}
network_g: {type: SRVGGNetCompact, num_feat: 4, num_conv: 1, upscale: 1}
path: {pretrain_network_g: ~, resume_state: ~, strict_load_g: true}
train:
  total_iter: 6
  ema_decay: 0
  optim_g: {type: Adam, lr: !!float 1e-3}
  scheduler: {type: MultiStepLR, milestones: [100], gamma: 0.5}
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
logger: {print_freq: 1, save_checkpoint_freq: 2, use_tb_logger: false}
"""
# Where the git master differs from 1.4.2, in what this plugin touches.
MASTER = {
    'utils/options.py': {
        "with open(args.opt, mode='r') as f:\n        opt = yaml.load(f, Loader=ordered_yaml()[0])": (
            'opt = yaml_load(args.opt)'
        ),
        'def dict2str(': (
            'def yaml_load(f):\n    return yaml.load(open(f), Loader=ordered_yaml()[0])\n\n\ndef dict2str('
        ),
        "experiments_root = osp.join(root_path, 'experiments', opt['name'])": (
            "experiments_root = opt['path'].get('experiments_root') or osp.join(root_path, 'experiments', opt['name'])"
        ),
    },
    'data/degradations.py': {'transforms.functional_tensor': 'transforms.functional'},
}


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A source tree of BasicSR with photos to train on, an option file, and three ways to start Python in it."""
    root = tmp_path_factory.mktemp('tree')
    shutil.copytree(
        Path(importlib.util.find_spec('basicsr').origin).parent,
        root / 'basicsr',
        ignore=shutil.ignore_patterns('__pycache__', '*.npz'),
    )
    for name, changes in MASTER.items():
        text = (root / 'basicsr' / name).read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        (root / 'basicsr' / name).write_text(text)
    (root / 'photos').mkdir()
    generator = np.random.default_rng(0)
    for index in range(4):
        photo = generator.integers(0, 256, (80, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(root / 'photos' / f'{index}.png'), photo)
    (root / 'options.yml').write_text(OPTIONS)
    (root / 'options_with_line.yml').write_text(PLUGIN_LINE + OPTIONS)
    # Without the hook, BasicSR needs a torchvision that suits it; this stands for one.
    hook = root / 'hook'
    hook.mkdir()
    shutil.copy(basicsr_hook.__file__, hook / '_basis_blur_hook.py')
    (hook / 'sitecustomize.py').write_text('import _basis_blur_hook\n')
    suited = root / 'suited'
    suited.mkdir()
    shutil.copy(torchvision_shim.__file__, suited / 'suited_torchvision.py')
    (suited / 'sitecustomize.py').write_text('import suited_torchvision\nsuited_torchvision.install()\n')
    return root


def environment(tree, way):
    """The variables with which Python in the tree loads the plugin by 'hook' only or by the 'line' only."""
    return {
        **os.environ,
        'BASIS_BLUR_HOOK': 'off',
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': os.pathsep.join(['.', str(tree / ('hook' if way == 'hook' else 'suited'))]),
    }


def run(tree, way, *command):
    """Run a command in the tree with the plugin loaded by 'hook' only or by the 'line' of the option file only."""
    return subprocess.run(command, cwd=tree, env=environment(tree, way), capture_output=True, text=True, check=False)


def test_a_training_of_another_project_runs_as_without_us(tree):
    (tree / 'foreign.yml').write_text(FOREIGN)
    (tree / 'pairs').mkdir()
    for index in range(5):
        shutil.copy(tree / f'photos/{index % 4}.png', tree / f'pairs/{index}.png')
    found = {}
    for way in ('line', 'hook'):  # of which the first is without us, since the file has no line
        done = run(tree, way, *TRAIN, 'foreign.yml', '--force_yml', f'name={way}')
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
        weights = torch.load(tree / f'experiments/{way}/models/net_g_latest.pth', weights_only=True)
        found[way] = re.findall(r'iter: +\d|l_pix: \S+', said), str(weights['params']), 'full batches' in said
        assert (tree / f'experiments/{way}/training_states/4.state').is_file()
    assert found['hook'] == found['line']
    assert len([word for word in found['hook'][0] if 'l_pix' in word]) == 4


TRAIN = (sys.executable, 'basicsr/train.py', '-opt')


@pytest.fixture(scope='module')
def first_run(tree):
    """A training whose option file alone loads the plugin."""
    return run(tree, 'line', *TRAIN, 'options_with_line.yml')


def test_the_line_of_an_option_file_is_enough(tree, first_run):
    assert first_run.returncode == 0, first_run.stderr
    assert 'Model [BasisBlurModel] is created' in first_run.stdout + first_run.stderr
    assert (tree / 'runs/tiny/models/net_g_2.pth').is_file()
    assert (tree / 'runs/tiny/training_states/2.state').is_file()


def test_the_hook_is_enough_and_auto_resume_finds_the_run(tree, first_run):
    assert first_run.returncode == 0, first_run.stderr
    # Batches of 3 of 4 photos: one full batch an epoch, where BasicSR counts two and would end at iteration 7.
    changes = ('train:total_iter=8', 'datasets:train:batch_size_per_gpu=3')
    done = run(tree, 'hook', *TRAIN, 'options.yml', '--auto_resume', '--force_yml', *changes)
    assert done.returncode == 0, done.stderr
    assert 'iter: 2.' in done.stderr.split('Resuming training from epoch: ')[1].split('\n')[0]
    assert (tree / 'runs/tiny/training_states/8.state').is_file()


def test_two_processes_train_together_without_a_gpu(tree):
    done = run(
        tree, 'hook', sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--standalone',
        *TRAIN[1:], 'options.yml', '--launcher', 'pytorch', '--force_yml', 'path:experiments_root=runs/two', 'name=two',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tree / 'runs/two/models/net_g_2.pth').is_file()
    assert done.stderr.count('Save the latest model') == 1


def test_a_mistake_stops_before_a_folder_is_made(tree):
    done = run(tree, 'line', *TRAIN, 'options_with_line.yml', '--force_yml', 'name=bad', 'train:total_itre=3',
               'path:experiments_root=runs/bad')  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        'basis_blur: train has the unknown key "total_itre". Did you mean "total_iter"?'
    )
    assert 'Traceback' not in done.stderr
    assert not (tree / 'runs/bad').exists()


def test_ctrl_c_saves_the_state_and_the_folder_is_locked_until_then(tree):
    import basis_blur.plugin  # noqa: F401
    from basis_blur.bridges.basicsr import run_folder

    changes = ('name=stopped', 'path:experiments_root=runs/stopped', 'train:total_iter=1000000',
               'logger:save_checkpoint_freq=1000000')  # fmt: skip
    command = (*TRAIN, 'options_with_line.yml', '--force_yml', *changes)
    hear = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background may ignore it
    running = subprocess.Popen(
        command, cwd=tree, env=environment(tree, 'line'), stderr=subprocess.PIPE, text=True, preexec_fn=hear
    )
    for line in running.stderr:
        if 'iter:       3' in line:
            break
    with pytest.raises(InputError, match='another process is at work in .*stopped'):
        run_folder.lock_folder({'path': {'experiments_root': str(tree / 'runs/stopped')}}, 'experiments_root')
    running.send_signal(signal.SIGINT)
    rest = running.communicate()[1]
    assert running.returncode == 130, rest
    assert 'Traceback' not in rest
    found = re.search(r'basis_blur: interrupted; iteration (\d+) is done and saved in', rest)
    assert (tree / 'runs/stopped/training_states' / f'{found[1]}.state').is_file()
