"""A network says what it is, and that is all that anybody asks: one more network is one more class."""

import dataclasses
import json
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import basis_blur as bb
from basis_blur.archs import ARCHS, names_of
from basis_blur.archs.network_facts import FIELD_TENSORS, NetworkFacts, facts_of
from basis_blur.cli.main import main
from basis_blur.field.removal import ESTIMATED_BLUR, TRUE_BLUR, Removal
from basis_blur.foundation.errors import InputError
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo
from basis_blur.weights.checkpoints import load_network, save_network
from basis_blur.weights.export import export_program

SMALL = {
    'BasisKPN': {'num_feat': 2, 'num_kernels': 2},
    'CorrelationKPN': {'num_feat': 2},
    'KernelFlow': {'kernel_size': 3, 'num_blocks': 1, 'hidden': 2},
    'LatentKernelNet': {'kernel_size': 3, 'width': 2, 'flow_blocks': 1, 'flow_hidden': 2},
    'UFPNet': {'width': 2, 'kernel_size': 3, 'estimator_width': 2, 'enc_blocks': (1,), 'dec_blocks': (1,),
               'attention_levels': (0,), 'flow_blocks': 1, 'flow_hidden': 2},
    'NAFNet': {'width': 2, 'enc_blocks': (1,), 'dec_blocks': (1,)},
    'MIMOUNet': {'width': 2, 'num_res': 1},
    'MPRNet': {},
    'DeblurGANGenerator': {'width': 2, 'num_blocks': 1},
    'DeblurGANv2Generator': {'backbone': 'mobilenet', 'width': 2},
    'DMPHN': {'width': 2, 'levels': 2},
    'IterateFusion': {'width': 4, 'deep_width': 4, 'blocks': 0, 'deep_blocks': 0},
}  # fmt: skip


class Sideways(nn.Module):
    """An estimator that says of every photo that it moved sideways; stands for the network of another project."""

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(
        'estimator', 'light', 'field', channels=(1,), tensors=FIELD_TENSORS, one_size='which is simple; give a size'
    )
    removal: Removal | None = None

    def __init__(self, kernel_size: int = 5):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(kernel_size))

    @property
    def hyper_parameters(self) -> dict[str, int]:
        return {'kernel_size': len(self.logits)}

    @property
    def facts(self) -> NetworkFacts:
        return dataclasses.replace(self.FACTS, kernel_size=len(self.logits), removal=self.removal)

    def forward(self, light: Tensor) -> bb.BlurField:
        return bb.BlurField.unchecked(*self.plain(light))

    def plain(self, light: Tensor) -> tuple[Tensor, Tensor]:
        size = len(self.logits)
        rows = torch.eye(size)[size // 2].to(light)
        kernels = (rows[:, None] * self.logits.softmax(0)).expand(len(light), 1, -1, -1)
        return kernels, torch.ones_like(light[:, :1])


@pytest.fixture
def sideways(monkeypatch, tmp_path):
    """The weights of such a network, whose class is entered in the registry."""
    monkeypatch.setitem(ARCHS, 'Sideways', Sideways)
    save_network(Sideways().float(), tmp_path / 'sideways.safetensors', removal=TRUE_BLUR)
    return tmp_path / 'sideways.safetensors'


def test_one_more_network_is_one_more_class(sideways, tmp_path, capsys):
    write_photo(tmp_path / 'a.png', torch.rand(1, 3, 24, 28))
    photo = read_photo(tmp_path / 'a.png').pixels
    net = load_network(sideways)
    assert net.facts.removal == TRUE_BLUR
    known = bb.BlurField(*net.plain(torch.ones(1, 1, 24, 28, dtype=torch.float32)))
    result = bb.Deblurrer.pretrained(sideways, estimate_at='full')(photo)
    torch.testing.assert_close(result.photo, bb.deblur(photo, known.detach()))
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--weights', str(sideways)]) == 0
    assert main(['kernels', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.npz'), '--weights', str(sideways)]) == 0
    assert bb.BlurField.load(tmp_path / 'b.npz').removal == TRUE_BLUR
    assert main(['info', 'Sideways', '--size', '8x8']) == 0
    assert 'kernel_size      5' in capsys.readouterr().out
    program = export_program(net, (24, 28)).module()
    torch.testing.assert_close(program(photo[:, :1])[0], known.kernels)
    with pytest.raises(InputError, match='a Sideways, which is simple; give a size'):
        export_program(net)


@pytest.mark.parametrize('name', ARCHS)
def test_every_network_computes_the_same_with_channels_last(name):
    net = ARCHS[name](**SMALL[name]).eval()
    facts = facts_of(net)
    if facts.takes == 'code':
        pytest.skip('it has no convolutions')
    x = torch.rand(1, facts.channels[0], 40, 40)
    with torch.no_grad():
        expected = net(x)
        found = net.to(memory_format=torch.channels_last)(x)
    assert tensors_of(expected)
    for one, other in zip(tensors_of(found), tensors_of(expected), strict=True):
        torch.testing.assert_close(one, other)


def tensors_of(result):
    """The tensors in what a network returns."""
    if isinstance(result, torch.Tensor):
        return [result]
    parts = vars(result).values() if hasattr(result, '__dict__') else result
    return [tensor for part in parts if part is not None for tensor in tensors_of(part)]


@pytest.mark.parametrize('name', ARCHS)
def test_every_network_takes_what_its_facts_say(name):
    net = ARCHS[name](**SMALL[name]).eval()
    facts = facts_of(net)
    if facts.takes == 'code':
        x = torch.zeros(2, facts.channels[0])
    else:
        x = torch.rand(1, facts.channels[0], 40, 40)
    with torch.no_grad():
        found = net.decode(x) if facts.takes == 'code' else net(x)
        if facts.tensors:
            made = net.plain(x.to(x))
            assert len(facts.tensors) - 1 == (len(made) if isinstance(made, tuple) else 1)
    if facts.returns == 'field':
        assert (found.kernel_size, found.image_size) == (facts.kernel_size, (40, 40))
    elif facts.returns == 'pixel kernels':
        assert found.pixel_kernels.shape == (1, facts.kernel_size**2, 40, 40)
    elif facts.returns == 'kernels':
        assert found.shape == (2, facts.kernel_size, facts.kernel_size)
    else:
        assert getattr(found, 'image', found).shape == (1, 3, 40, 40)


def test_networks_are_found_by_their_facts():
    assert names_of('estimator', returns='field') == ('BasisKPN', 'CorrelationKPN')
    assert names_of(takes='light') == ('BasisKPN', 'CorrelationKPN')
    assert names_of('fusion') == ('IterateFusion',)


def test_a_network_without_facts_is_taken_for_an_estimator_of_light():
    class Bare(nn.Module):
        hyper_parameters: ClassVar = {'kernel_size': 7, 'in_channels': 1}

    assert facts_of(Bare()) == NetworkFacts('estimator', 'light', 'field', (1,), 7)


def test_how_blurs_are_removed_is_stored_with_the_weights(tmp_path):
    net, removal = ARCHS['CorrelationKPN'](num_feat=2).float(), Removal(iterations=6, strength=0.7)
    save_network(net, tmp_path / 'plain.safetensors')
    assert load_network(tmp_path / 'plain.safetensors').facts.removal is None
    save_network(net, tmp_path / 'own.safetensors', removal=removal)
    again = load_network(tmp_path / 'own.safetensors')
    save_network(again, tmp_path / 'again.safetensors')
    assert load_network(tmp_path / 'again.safetensors').facts.removal == removal
    told = {'hyper_parameters': {'type': 'CorrelationKPN', **net.hyper_parameters}, 'params': net.state_dict()}
    torch.save({**told, 'removal': removal.to_json()}, tmp_path / 'net.pth')
    assert load_network(tmp_path / 'net.pth').facts.removal == removal
    torch.save({**told, 'removal': json.dumps({'iterations': 0})}, tmp_path / 'bad.pth')
    with pytest.raises(InputError, match=r'bad\.pth: iterations is 0'):
        load_network(tmp_path / 'bad.pth')


def test_the_shipped_network_says_how_its_blurs_are_removed():
    assert load_network('correlation_kpn').facts.removal == dataclasses.replace(ESTIMATED_BLUR, fusion=True)
