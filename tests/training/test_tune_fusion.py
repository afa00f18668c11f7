"""scripts/training: scenes that are kept, and the training of the last blocks of an IterateFusion on them."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.photos.writing import write_photo
from basis_blur.weights.checkpoints import load_fusion, save_network

SCRIPTS = Path(__file__).parents[2] / 'scripts' / 'training'
SIZES = {'iterations': (2, 4), 'width': 4, 'deep_width': 4, 'blocks': 2, 'deep_blocks': 1}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    torch.set_default_dtype(torch.float32)  # which a user has
    yield importlib.import_module
    for name in ('fusion_scenes', 'tune_fusion', 'fit_trust'):
        sys.modules.pop(name, None)


@pytest.fixture
def begun(tmp_path):
    """Weights to begin with, none of which is 0."""
    torch.manual_seed(0)
    net = IterateFusion(**SIZES).float()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    save_network(net, tmp_path / 'old.safetensors')
    return tmp_path / 'old.safetensors'


def scenes(folder, number, seed):
    """Scenes whose first iterate is the sharp photo, and whose others are far from it."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    for index in range(number):
        colours = 1 + 2 * (index % 2)
        sharp, noise = torch.rand(2, colours, 32, 32, generator=generator)
        photo = 0.7 * sharp + 0.15
        images = torch.stack([photo, sharp, photo, 0.5 * sharp + 0.5 * noise, sharp])
        facts = {'kind': 'usual', 'gray': colours == 1, 'wrong': False, 'photo': 'a'}
        torch.save({'images': images.half(), **facts}, folder / f'{index:05}.pt')
    return str(folder)


def test_a_training_gains_and_leaves_the_first_blocks_as_they_are(script, tmp_path, begun, capsys):
    places = [scenes(tmp_path / name, number, number) for name, number in (('train', 6), ('val', 3))]
    out = tmp_path / 'new.safetensors'
    options = ['--weights', str(begun), '-o', str(out), '--steps', '16', '--every', '8', '--batch', '2', '--lr', '0.02']
    assert script('tune_fusion').main([places[0], '--val', places[1], *options]) == 0
    losses = [float(line.split('loss ')[1].split(',')[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 3
    assert losses[-1] < losses[0] - 0.5  # dB
    old, new = load_fusion(begun), load_fusion(out)
    assert torch.equal(new.intro.weight, old.intro.weight.half().float())
    assert not torch.equal(new.tail.weight, old.tail.weight.half().float())


def test_a_network_that_harms_is_trusted_less_and_stays_as_it_is(script, tmp_path, begun, capsys, monkeypatch):
    places = [scenes(tmp_path / name, number, number) for name, number in (('train', 4), ('val', 2))]
    out, again = tmp_path / 'new.safetensors', tmp_path / 'again.safetensors'
    module = script('fit_trust')
    monkeypatch.setattr(module, 'MEMBERS', 2)
    call = [places[0], '--val', places[1], '--weights', str(begun), '--steps', '60', '--lr', '0.05', '--width', '3']
    assert module.main([*call, '-o', str(out)]) == 0
    losses = [float(line.split('loss ')[1].split(',')[0]) for line in capsys.readouterr().out.splitlines()]
    assert losses[1] < losses[0] - 0.5  # dB
    old, new = load_fusion(begun), load_fusion(out)
    assert new.trust.hidden.weight.shape[0] == 6
    assert torch.equal(new.tail.weight, old.tail.weight.half().float())
    options = ['--weights', str(out), '-o', str(again), '--steps', '4', '--every', '2', '--batch', '2', '--lr', '0.02']
    assert script('tune_fusion').main([places[0], '--val', places[1], *options]) == 0
    losses = [float(line.split('loss ')[1].split(',')[0]) for line in capsys.readouterr().out.splitlines()]
    assert losses[-1] < losses[0]


def test_a_scene_depends_on_its_number_only(script, tmp_path):
    torch.manual_seed(0)
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 40, 40), scale_factor=4, mode='bicubic').clamp(0, 1)
    write_photo(tmp_path / 'photos' / 'a.png', photo)
    module = script('fusion_scenes')
    call = ['--photos', str(tmp_path / 'photos'), '--patch-size', '72', '-o']
    assert module.main([*call, str(tmp_path / 'one'), '-n', '2']) == 0
    assert module.main([*call, str(tmp_path / 'two'), '-n', '1']) == 0
    first, again = (torch.load(tmp_path / name / '00000.pt', weights_only=True) for name in ('one', 'two'))
    other = torch.load(tmp_path / 'one' / '00001.pt', weights_only=True)
    assert torch.equal(first['images'], again['images'])
    assert first['images'].shape[0] == 5
    assert not torch.equal(first['images'][-1].mean(0), other['images'][-1].mean(0))
