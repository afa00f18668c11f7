"""Exported networks compute what the networks do, at the sizes they were exported for, and refuse the others."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tolerances import rounding
from torch import nn

from basis_blur.archs import BasisKPN, CorrelationKPN, IterateFusion, KernelFlow, LatentKernelNet, UFPNet
from basis_blur.cli.main import main
from basis_blur.foundation.errors import InputError
from basis_blur.photos.writing import write_photo
from basis_blur.weights import export
from basis_blur.weights.checkpoints import load_network, save_network
from basis_blur.weights.export import export_onnx, export_program

UFPNET = {'kernel_size': 3, 'estimator_width': 2, 'flow_hidden': 2, 'flow_blocks': 1}
LIGHT = {'width': 2, 'enc_blocks': (1,), 'dec_blocks': (0,), 'middle_blocks': 0, 'attention_levels': (0,)}
CLOSE = dict.fromkeys(('rtol', 'atol'), rounding(torch.float32))  # computed in another order
CLOSE_CORRELATIONS = dict.fromkeys(('rtol', 'atol'), rounding(torch.float32, 10))  # which are divided by their spread


@pytest.fixture(autouse=True)
def _float32():
    torch.set_default_dtype(torch.float32)


def basis_kpn(**more):
    return BasisKPN(num_feat=2, num_kernels=3, **more).eval()


def ufpnet(**more):
    net = UFPNet(**{**UFPNET, **LIGHT, **more}).eval()
    for name, parameter in net.named_parameters():
        if name.endswith(('beta', 'gamma')):
            nn.init.normal_(parameter)  # else the blocks do nothing
    return net


def kernel_flow():
    return KernelFlow(kernel_size=5, num_blocks=2, hidden=3).eval()


def session_of(path):
    runtime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])


def onnx_of(net, path, size=None):
    for name in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(name, reason=f'{name} is not installed')
    export_onnx(net, path, size)
    return session_of(path)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('export')


@pytest.fixture(scope='module')
def kpn(folder):
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    net = basis_kpn()
    return net, onnx_of(net, folder / 'basis_kpn.onnx')


@pytest.fixture(scope='module')
def restorer(folder):
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    net = ufpnet(local_size=8)
    return net, onnx_of(net, folder / 'ufpnet.onnx')


@torch.no_grad()
def check(net, session, *shape):
    x = torch.rand(shape)
    expected = net(x) if not isinstance(net, KernelFlow) else (net.decode(x),)
    if isinstance(net, BasisKPN):
        expected = (expected.kernels, expected.mixing)
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert len(found) == len(expected)
    for ours, theirs in zip(expected, found, strict=True):
        torch.testing.assert_close(torch.from_numpy(theirs), ours, **CLOSE)


SIZES = [(2, 3, 50, 70), (1, 3, 64, 32), (1, 3, 33, 65), (3, 3, 7, 41), (1, 3, 1, 1), (17, 3, 2, 3)]


@pytest.mark.parametrize('shape', SIZES, ids=str)
def test_a_basis_kpn_of_any_size(kpn, shape):
    check(*kpn, *shape)


@pytest.mark.parametrize('shape', SIZES, ids=str)
def test_a_ufpnet_of_any_size(restorer, shape):
    check(*restorer, *shape)


def strided_ufpnet():
    return ufpnet(estimator_stride=4)


@pytest.mark.parametrize('make', [basis_kpn, ufpnet, strided_ufpnet])
def test_a_program_of_any_size(make):
    net = make()
    program = export_program(net).module()
    for shape in [(1, 3, 40, 33), (2, 3, 3, 64), (1, 3, 64, 64)]:
        x = torch.rand(shape)
        with torch.no_grad():
            expected = net.predict(x) if isinstance(net, BasisKPN) else net(x)
            for ours, theirs in zip(expected, program(x), strict=True):
                torch.testing.assert_close(theirs, ours, **CLOSE)
    with pytest.raises((AssertionError, RuntimeError), match=r'size\(\)\[1\]|shape\[1\]'):
        program(torch.rand(1, 1, 40, 33))


def test_a_flow_decodes_any_number_of_codes(folder):
    net = kernel_flow()
    session = onnx_of(net, folder / 'flow.onnx')
    assert [each.name for each in session.get_inputs()] == ['code']
    for count in (1, 2, 33):
        check(net, session, count, 25)


def test_a_file_of_one_size_takes_that_size_only(folder):
    net = kernel_flow()
    session = onnx_of(net, folder / 'fixed.onnx', (2, 3))
    check(net, session, 6, 25)
    with pytest.raises(Exception, match='[Ii]nvalid dimensions'):
        session.run(None, {'code': np.zeros((5, 25), np.float32)})


def test_a_correlation_kpn_of_one_size(folder):
    net = CorrelationKPN(kernel_size=9, num_feat=8, window=24).eval()
    light = torch.rand(1, 3, 40, 56)
    expected = net(light)
    assert expected.kernels.shape[1] > 1
    expected = [expected.kernels.detach(), expected.mixing]
    torch.testing.assert_close(list(export_program(net, (40, 56)).module()(light)), expected, **CLOSE_CORRELATIONS)
    session = onnx_of(net, folder / 'correlation.onnx', (40, 56))
    found = session.run(['kernels', 'mixing'], {'light': light.numpy()})
    torch.testing.assert_close([torch.from_numpy(each) for each in found], expected, **CLOSE_CORRELATIONS)
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts['colour_space'], facts['gamma']) == ('linear light', '2.2')
    with pytest.raises(InputError, match='CorrelationKPN, which can be exported for one size only'):
        export_program(net)


@torch.no_grad()
def test_a_fusion_of_any_size(folder):
    net = IterateFusion((2, 4), width=4, deep_width=6, blocks=2, deep_blocks=1, trust_width=4).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)  # a fresh one's blocks do nothing
    session = onnx_of(net, folder / 'fusion.onnx')
    assert [each.name for each in (*session.get_inputs(), *session.get_outputs())] == ['stack', 'image']
    program = export_program(net).module()
    for size in ((1, 9, 40, 33), (2, 9, 64, 24), (1, 9, 1, 1)):
        stack = torch.rand(size)
        expected = net(stack)
        assert (expected - stack[:, :3]).abs().mean() > 0.01
        torch.testing.assert_close(program(stack), expected, **CLOSE)
        (found,) = session.run(None, {'stack': stack.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected, **CLOSE)


def test_tensors_have_names_and_meanings(kpn, restorer):
    for (net, session), names, space, gamma in (
        (kpn, ['light', 'kernels', 'mixing'], 'linear light', '2.2'),
        (restorer, ['photo', 'image', 'pixel_kernels', 'sigma'], 'sRGB', '1'),
    ):
        assert [each.name for each in (*session.get_inputs(), *session.get_outputs())] == names
        assert session.get_inputs()[0].shape == ['batch', 3, 'height', 'width']
        facts = session.get_modelmeta().custom_metadata_map
        assert facts['arch'] == type(net).__name__
        assert type(net)(**json.loads(facts['hyper_parameters'])).hyper_parameters == net.hyper_parameters
        assert list(json.loads(facts['tensors'])) == names
        assert (facts['colour_space'], facts['gamma']) == (space, gamma)


def test_the_network_stays_in_its_mode():
    net = kernel_flow().train()
    export_program(net, (1, 2))
    assert net.training
    assert all(module.training for module in net.modules())


def test_other_restorers_need_a_size():
    net = UFPNet(**UFPNET, restorer='mimo_unet', restorer_options={'width': 2, 'num_res': 1}).eval()
    with pytest.raises(InputError, match='restorer mimo_unet, which can be exported for one size only; give a size'):
        export_program(net)
    photo = torch.rand(1, 3, 9, 14)
    torch.testing.assert_close(export_program(net, (9, 14)).module()(photo)[0], net(photo).image, **CLOSE)


def test_a_ufpnet_that_sees_correlations_needs_a_size():
    sizes = {**UFPNET, 'kernel_size': 9}
    net = UFPNet(**sizes, estimator='correlation').eval()
    with pytest.raises(InputError, match='estimator "correlation", which can be exported for one size only'):
        export_program(net)
    photo = torch.rand(1, 3, 40, 30)
    torch.testing.assert_close(list(export_program(net, (40, 30)).module()(photo)), list(net(photo)), **CLOSE)


def test_other_networks_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match='LatentKernelNet, expected .* exported: BasisKPN, .*, IterateFusion'):
        export_program(LatentKernelNet(width=2, kernel_size=3, flow_hidden=2))
    with pytest.raises(ValueError, match=r'torch.float64, expected torch.float32; call net.float\(\)'):
        export_program(basis_kpn().double())
    with pytest.raises(ValueError, match=r'size is \(0, 3\)'):
        export_program(basis_kpn(), (0, 3))


def test_without_onnx_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(export.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match=r'onnx and onnxscript is not installed; "pip install basis_blur\[onnx\]"'):
        export_onnx(basis_kpn(), tmp_path / 'net.onnx')


def test_the_command_writes_a_program(tmp_path, capsys):
    save_network(kernel_flow(), tmp_path / 'flow.safetensors')
    out = tmp_path / 'new' / 'flow.pt2'
    assert main(['export', str(tmp_path / 'flow.safetensors'), '-o', str(out), '--format', 'pt2', '--size', '3x2']) == 0
    assert 'KernelFlow, 3x2' in capsys.readouterr().out
    files = {'description.json': ''}
    program = torch.export.load(out, extra_files=files).module()
    assert json.loads(files['description.json'])['arch'] == 'KernelFlow'
    code = torch.randn(6, 25)
    torch.testing.assert_close(program(code), load_network(tmp_path / 'flow.safetensors').decode(code), **CLOSE)
    assert [each.name for each in out.parent.iterdir()] == ['flow.pt2']


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['-o', 'net.pth'], 'ends in ".pth", expected ".onnx"'),
        (['-o', 'net.onnx', '--format', 'pt2'], 'expected ".pt2"'),
        (['-o', 'net.onnx', '--size', '64'], 'expected WIDTHxHEIGHT'),
        (['-o', 'there.onnx'], '--overwrite'),
        (
            ['-o', 'net.onnx', '--gamma', '1'],
            'of use to BasisKPN and CorrelationKPN, and a KernelFlow sees no light',
        ),
        (['-o', 'net.onnx', '--gamma', '0'], 'expected a number > 0'),
    ],
)
def test_mistakes_are_told(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path('there.onnx').touch()
    save_network(kernel_flow(), 'flow.safetensors')
    assert main(['export', 'flow.safetensors', *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_example_of_the_docs_runs(kpn, folder, monkeypatch):
    pytest.importorskip('PIL', reason='pillow is not installed')
    net, _ = kpn
    page = (Path(__file__).parents[2] / 'docs' / 'export.md').read_text()
    (code,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    photo = torch.randint(0, 256, (1, 3, 20, 37)) / 255
    monkeypatch.chdir(folder)
    write_photo('photo.png', photo)
    names = {}
    exec(code, names)
    with torch.no_grad():
        expected = net(photo**2.2)
    torch.testing.assert_close(torch.from_numpy(names['kernels']), expected.kernels, **CLOSE)
    torch.testing.assert_close(torch.from_numpy(names['mixing']), expected.mixing, **CLOSE)
