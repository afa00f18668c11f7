"""One command trains the recipes in their order, goes on where it was stopped, and tells what came of it."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import basis_blur as bb
from basis_blur.cli.main import main as basis_blur
from basis_blur.foundation.errors import InputError

SCRIPT = Path(__file__).parents[1] / 'scripts' / 'train_all.py'
FLOW = 'train_kernel_flow_quick'
TINY = (
    'train:total_iter=3', 'val:val_freq=3', 'val:save_img=false', 'logger:save_checkpoint_freq=1', 'num_gpu=0',
    'logger:use_tb_logger=false', 'datasets:train:num_worker_per_gpu=0', 'datasets:train:batch_size_per_gpu=4',
    'datasets:train:hold_out=8', 'datasets:val:hold_out=8', 'datasets:train:dataset_enlarge_ratio=1',
)  # fmt: skip


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script as a module, in an empty folder; its commands run in this process."""
    spec = importlib.util.spec_from_file_location('train_all', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'train_all', module)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['basis-blur'])
    torch.set_default_dtype(torch.float32)
    module.commands = []

    def run(command, check):
        assert command[:3] == [sys.executable, '-m', 'basis_blur']
        module.commands.append(command[3:])
        return subprocess.CompletedProcess(command, basis_blur(command[3:]))

    monkeypatch.setattr(module.subprocess, 'run', run)
    return module


def test_the_full_recipes_come_in_the_order_in_which_they_need_each_other(script):
    stages = script.in_order([script.stage_of(name) for name in reversed(script.STAGES)])
    names = [stage.name for stage in stages]
    assert sorted(names) == sorted(script.STAGES)
    assert names.index('train_kernel_flow') < names.index('train_latent_kernel') < names.index('train_ufpnet_gopro')
    assert stages[names.index('train_ufpnet_gopro')].after == ('train_latent_kernel',)


def test_a_stage_without_what_it_begins_with_is_refused(script):
    with pytest.raises(InputError, match='train_latent_kernel begins with the weights of train_kernel_flow; add it'):
        script.in_order([script.stage_of('train_latent_kernel')])
    Path('experiments/train_kernel_flow/models').mkdir(parents=True)
    assert len(script.in_order([script.stage_of('train_latent_kernel')])) == 1


def test_missing_data_are_told_with_the_commands_that_make_them(script, tmp_path, capsys):
    with pytest.raises(InputError, match=r'datasets/ade20k/masks\.lmdb does not exist, and \d+ more'):
        script.main(['-o', str(tmp_path / 'out')])
    lines = capsys.readouterr().out.splitlines()
    assert 'basis-blur prep-kernels -o datasets/kernels_33.lmdb -n 500000' in lines
    assert sum('prep-dataset gopro' in line for line in lines) == 1
    joined = next(line for line in lines if 'ADE20K_TRAINING' in line)
    assert joined.endswith('--classes person,car --min-object 400')
    assert script.commands == []


def test_the_plan_has_the_command_of_each_stage_with_its_changes(script, tmp_path, capsys):
    words = [
        '--set',
        'val:val_freq=7',
        'train_basis/train:total_iter=9',
        '--amp',
        'bf16',
        '--channels-last',
        '--compile',
    ]
    assert script.main(['-o', str(tmp_path / 'out'), '--plan', '--gpus', '8', *words]) == 0
    told = capsys.readouterr().out
    basis, flow = (next(line for line in told.splitlines() if f'train {name} ' in line) for name in script.STAGES[:2])
    assert '1. train_basis: 9 iterations' in told
    for part in ('train:amp=bf16', 'train:channels_last=true', 'train:compile=inductor', 'val:val_freq=7', '=8'):
        assert part in basis
        assert part in flow
    assert 'train:total_iter=9' in basis
    assert 'train:total_iter' not in flow
    assert '--launcher pytorch' in basis
    with pytest.raises(InputError, match='is for train_nafnet_gopro, expected one of'):
        script.main(['-o', 'out', '--plan', '--set', 'train_nafnet_gopro/train:total_iter=1'])


def test_stages_are_trained_profiled_scored_and_not_trained_again(script, tmp_path):
    assert basis_blur(['prep-kernels', '-o', 'datasets/demo/flow_kernels.lmdb', '-n', '24', '--kernel-size', '19',
                       '--workers', '0']) == 0  # fmt: skip
    out = tmp_path / 'trained'
    words = ['-o', str(out), '--stages', FLOW, '--profile', '2', '--set', *TINY]
    assert script.main(words) == 0
    flow = bb.load_network(out / f'{FLOW}.safetensors')
    assert type(flow).__name__ == 'KernelFlow'
    report = json.loads((out / 'report.json').read_text())[FLOW]
    assert report['profile']['iterations'] == 2
    assert report['profile']['samples_per_second'] > 0
    assert report['scores']['held_out']['iteration'] == 3
    card = (out / f'{FLOW}.md').read_text()
    assert '3 iterations of 4 samples' in card
    assert '| held_out, at iteration 3 | bits_per_dim |' in card
    table = (out / 'report.md').read_text()
    assert f'| {FLOW} | cpu ' in table
    assert len(script.commands) == 1
    # A second call does nothing but write the results again.
    assert script.main(words) == 0
    assert len(script.commands) == 1


def test_a_stage_that_fails_ends_the_whole(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script.Stage, 'missing', property(lambda stage: []))
    monkeypatch.setattr(script, 'trained', lambda stage, gpus: 2)
    assert script.main(['-o', str(tmp_path / 'out'), '--stages', FLOW]) == 2
    assert 'the same command goes on with it' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
