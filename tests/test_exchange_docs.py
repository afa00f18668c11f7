"""The code of docs/exchange.md does what it says."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from basis_blur.archs import ARCHS
from basis_blur.bridges import torchvision_shim
from basis_blur.estimation.by_network import estimate_blur
from basis_blur.field.blur_field import BlurField
from basis_blur.field.tiff import write_field_tiff
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.restoration.deblur import deblur
from basis_blur.restoration.settings import ESTIMATED_ITERATIONS, ESTIMATED_STRENGTH
from basis_blur.weights.checkpoints import load_network, save_network

PAGE = Path(__file__).parents[1] / 'docs' / 'exchange.md'
SECTIONS = dict(re.findall(r'^## (.*?)\n(.*?)(?=^## |\Z)', PAGE.read_text(), flags=re.M | re.S))


def run(section, **names):
    (block,) = re.findall(r'```python\n(.*?)```', SECTIONS[section], flags=re.S)
    exec(compile(block, f'{PAGE.name}: {section}', 'exec'), names)
    return names


@pytest.fixture
def field(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kernels = (2 * torch.randn(1, 3, 25)).softmax(-1).reshape(1, 3, 5, 5)
    return BlurField(kernels, torch.randn(1, 3, 9, 7).softmax(1))


def test_every_block_is_run_here():
    assert PAGE.read_text().count('```python') == 4


def test_scipy_blurs_as_the_operator_does(field):
    field.save('blur.npz')
    sharp = torch.rand(9, 7)
    found = run('npz: exact', sharp=sharp.numpy())['blurred']
    light = (BasisBlur(field) @ ReflectPad(field))(sharp[None, None] ** 2.2)
    np.testing.assert_allclose(found, light[0, 0].numpy() ** (1 / 2.2), rtol=1e-12)


def test_the_transpose_is_as_described(field):
    from scipy.signal import fftconvolve

    image = torch.rand(1, 1, 9, 7)
    found = sum(
        fftconvolve(kernel[::-1, ::-1], weight * image[0, 0].numpy())
        for kernel, weight in zip(field.kernels[0].numpy(), field.mixing[0].numpy(), strict=True)
    )
    np.testing.assert_allclose(found, BasisBlur(field).T(image)[0, 0].numpy(), rtol=1e-10)


def test_what_numpy_writes_is_loaded(field):
    np.savez('blur.npz', kernels=field.kernels.numpy(), mixing=field.mixing.numpy())
    assert torch.equal(BlurField.load('blur.npz').mixing, field.mixing)


def test_the_pictures_are_read_as_the_field(field):
    write_field_tiff('blur.tif', field)
    names = run('TIFF: pictures of 16 bits')
    np.testing.assert_allclose(names['kernels'], field.kernels.numpy(), atol=2e-5)
    np.testing.assert_allclose(names['mixing'], field.mixing.numpy(), atol=2e-5)
    BlurField(torch.from_numpy(names['kernels']), torch.from_numpy(names['mixing']))


def test_deepinv_blurs_as_the_operator_does(field):
    torchvision_shim.install()
    pytest.importorskip('deepinv', reason='deepinv is not installed; "pip install basis_blur[deepinv]"')
    field.save('blur.npz')
    light = torch.rand(1, 3, 9, 7)
    names = run('deepinv', light=light)
    ours = BasisBlur(field) @ ReflectPad(field)
    torch.testing.assert_close(names['blurred'], ours(light))
    torch.testing.assert_close(names['back'], ours.T(ours(light)))
    assert torch.equal(names['same'].kernels, field.kernels)


def test_the_module_takes_a_step_from_deblur(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_network(ARCHS['BasisKPN'](num_feat=2, num_kernels=2).float(), 'network.safetensors')
    photo, sharp = torch.rand(2, 1, 3, 36, 36, dtype=torch.float32)
    names = run('Deblurring as a module', photo=photo, sharp=sharp)
    net = load_network('network.safetensors')
    settings = {'iterations': ESTIMATED_ITERATIONS, 'strength': ESTIMATED_STRENGTH}
    expected = (deblur(photo, estimate_blur(net, photo), **settings) - sharp).abs().mean()
    assert names['error'].item() == pytest.approx(expected.item(), rel=1e-6)
    trained = names['module'].net.state_dict()
    assert not any(torch.equal(value, trained[name]) for name, value in net.state_dict().items())
