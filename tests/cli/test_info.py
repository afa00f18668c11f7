"""basis-blur info tells what a network is made of and what it costs."""

import importlib.util

import pytest
import torch

from basis_blur.archs import ARCHS, BasisKPN
from basis_blur.cli import info
from basis_blur.cli.main import main
from basis_blur.weights.checkpoints import save_network

NAFNET = ['--set', 'width=4', '--set', 'enc_blocks=[1]', '--set', 'dec_blocks=[1]', '--set', 'middle_blocks=1']


@pytest.fixture(autouse=True)
def _float32():
    torch.set_default_dtype(torch.float32)


def test_parameters_are_counted_and_hyper_parameters_told(capsys):
    assert main(['info', 'NAFNet', '--size', '16x16', *NAFNET]) == 0
    out = capsys.readouterr().out
    net = ARCHS['NAFNet'](width=4, enc_blocks=(1,), dec_blocks=(1,), middle_blocks=1)
    assert f'{sum(each.numel() for each in net.parameters()) / 1e6:.3f} M' in out
    assert 'width            4' in out


def test_a_file_of_weights_is_described(capsys, tmp_path):
    save_network(BasisKPN(num_feat=2, num_kernels=3), tmp_path / 'net.safetensors')
    assert main(['info', str(tmp_path / 'net.safetensors'), '--size', '64x64']) == 0
    assert 'num_kernels      3' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['UFPnet'], 'Did you mean "UFPNet"?'),
        (['UFPNet', '--set', 'widht=4'], 'Did you mean "width"?'),
        (['UFPNet', '--set', 'width'], 'expected KEY=VALUE'),
        (['UFPNet', '--size', '256'], 'expected WIDTHxHEIGHT'),
    ],
)
def test_mistakes_are_told(capsys, arguments, words):
    assert main(['info', *arguments]) == 2
    assert words in capsys.readouterr().err


def test_without_mmengine_parameters_are_told_alone(capsys, monkeypatch):
    original = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *more: None if name == 'mmengine' else original(name, *more)
    )
    assert main(['info', 'KernelFlow']) == 0
    assert 'mmengine is not installed' in capsys.readouterr().out


SMALL = {
    'BasisKPN': 'num_feat=2 num_kernels=2',
    'KernelFlow': 'kernel_size=5 num_blocks=2 hidden=4',
    'LatentKernelNet': 'width=4 kernel_size=5',
    'UFPNet': 'width=4 estimator_width=4 kernel_size=5 enc_blocks=[1] dec_blocks=[1] attention_levels=[0]',
    'NAFNet': 'width=4 enc_blocks=[1] dec_blocks=[1]',
    'MIMOUNet': 'width=4 num_res=1',
    'MPRNet': 'width=8 unet_step=4 full_size_step=4 num_cab=1',
    'DeblurGANGenerator': 'width=4 num_blocks=1',
    'DeblurGANv2Generator': 'backbone=mobilenet width=4',
    'DMPHN': 'width=4 levels=2',
}


@pytest.mark.parametrize('arch', ARCHS)
def test_every_network_is_counted(capsys, arch):
    pytest.importorskip('mmengine', reason='mmengine is not installed')
    settings = [part for setting in SMALL.get(arch, '').split() for part in ('--set', setting)]
    assert main(['info', arch, '--size', '64x64', *settings]) == 0
    lines = dict(line.strip().split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:])
    assert float(lines['parameters'].split()[0]) > 0
    amount, unit = lines['FLOPs'].split()[:2]
    assert float(amount) * {'M': 1e6, 'G': 1e9}[unit] > (100 if arch == 'KernelFlow' else 1e6)


@pytest.mark.parametrize('arch', ['BasisKPN', 'NAFNet', 'LatentKernelNet'])
def test_flops_grow_with_the_photo(arch):
    pytest.importorskip('mmengine', reason='mmengine is not installed')
    settings = {
        'BasisKPN': {'num_feat': 2, 'num_kernels': 2},
        'NAFNet': {'width': 4, 'enc_blocks': (1,), 'dec_blocks': (1,), 'middle_blocks': 1},
        'LatentKernelNet': {'width': 4, 'kernel_size': 5},
    }[arch]
    net = ARCHS[arch](**settings).eval()
    small, large = (info.flops(net, (side, 64)) for side in (64, 128))
    assert 1e5 < small < large <= 2 * small + 1
