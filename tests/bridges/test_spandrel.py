"""Restoring networks of spandrel, where it is installed and where it is not."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from basis_blur.bridges import torchvision_shim
from basis_blur.cli.main import main
from basis_blur.deblurring.network_deblurrer import NetworkDeblurrer
from basis_blur.foundation.errors import InputError
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo


class Unsupported(Exception):
    pass


class Described:
    """What spandrel says of a network: here one that darkens photos whose sides are multiples of 8."""

    def __init__(self, weight, scale=1):
        self.model = nn.Conv2d(3, 3, 1, bias=False)
        self.model.weight.data = weight
        self.architecture = SimpleNamespace(name='Darkener')
        self.input_channels = self.output_channels = 3
        self.scale = scale
        self.size_requirements = SimpleNamespace(get_padding=lambda width, height: (-width % 8, -height % 8))

    def __call__(self, photo):
        assert photo.shape[-1] % 8 == photo.shape[-2] % 8 == 0
        return self.model(photo)


class Loader:
    scale = 1

    def __init__(self, device, registry):
        pass

    def load_from_state_dict(self, state):
        if 'darken.weight' not in state:
            raise Unsupported
        return Described(state['darken.weight'], self.scale)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Weights that only the stand-in for spandrel knows."""
    fake = SimpleNamespace(ModelLoader=Loader, MAIN_REGISTRY=None, UnsupportedModelError=Unsupported)
    monkeypatch.setitem(sys.modules, 'spandrel', fake)
    monkeypatch.setitem(sys.modules, 'spandrel_extra_arches', None)
    torch.save({'darken.weight': torch.eye(3)[..., None, None].float() / 2}, tmp_path / 'a.pth')
    return tmp_path / 'a.pth'


def test_a_network_of_spandrel_restores_photos_of_any_size(weights):
    photo = torch.rand(1, 3, 13, 20).float()
    result = NetworkDeblurrer.pretrained(weights)(photo)
    torch.testing.assert_close(result.photo, photo / 2)


def test_the_command_takes_it_by_method_network(weights, tmp_path):
    write_photo(tmp_path / 'p.png', torch.full((1, 3, 16, 16), 0.8))
    call = ['deblur', str(tmp_path / 'p.png'), '-o', str(tmp_path / 'q.png'), '--method', 'network']
    assert main([*call, '--weights', str(weights)]) == 0
    assert read_photo(tmp_path / 'q.png').pixels.mean() == pytest.approx(0.4, abs=0.003)


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        ([], 'give its file by --weights'),
        (['--weights', 'x.pth', '--refine', '3'], '--refine means nothing'),
        (['--weights', 'x.pth', '--save-kernels'], '--save-kernels means nothing'),
    ],
)
def test_what_the_method_needs_is_asked_for(tmp_path, capsys, more, words):
    write_photo(tmp_path / 'p.png', torch.rand(1, 3, 16, 16))
    assert main(['deblur', str(tmp_path / 'p.png'), '--method', 'network', *more]) == 2
    assert words in capsys.readouterr().err


def test_what_spandrel_does_not_know_either_is_refused(weights, tmp_path):
    torch.save({'strange': torch.zeros(1)}, tmp_path / 'b.pth')
    with pytest.raises(InputError, match='its keys are strange.*spandrel does not know it either'):
        NetworkDeblurrer.pretrained(tmp_path / 'b.pth')


def test_a_network_that_enlarges_photos_is_refused(weights, monkeypatch):
    monkeypatch.setattr(Loader, 'scale', 2)
    with pytest.raises(InputError, match='Darkener, which makes 3 channels of 3 at 2 times the size'):
        NetworkDeblurrer.pretrained(weights)


def test_without_spandrel_it_is_said_how_to_install_it(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, 'spandrel', None)
    with pytest.raises(InputError, match=r'not known here.*pip install "basis_blur\[spandrel\]"'):
        NetworkDeblurrer.pretrained(weights)


def test_restormer_of_spandrel_itself_loads(tmp_path):
    torchvision_shim.install()
    pytest.importorskip('spandrel')
    arches = pytest.importorskip('spandrel_extra_arches.architectures.Restormer')
    net = arches.Restormer(dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1, heads=[1, 1, 1, 1])
    torch.save({'params': net.state_dict()}, tmp_path / 'restormer.pth')
    photo = torch.rand(1, 3, 20, 28).float()
    result = NetworkDeblurrer.pretrained(Path(tmp_path / 'restormer.pth'))(photo)
    assert result.photo.shape == photo.shape
