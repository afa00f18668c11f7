"""The demo without its trainings: the scenes it blurs, and the page that it ends with."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

import basis_blur as bb

SCRIPTS = Path(__file__).parents[2] / 'scripts'


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    torch.set_default_dtype(torch.float32)  # which a user has
    yield importlib.import_module
    for name in ('demo', 'demo_page', 'demo_flow', 'readme_pictures'):
        sys.modules.pop(name, None)


def test_a_scene_is_its_sharp_photo_blurred_by_its_field(script):
    demo = script('demo')
    sharp, blurred, field = demo.Shake('coffee.png', 9, 3, '').scene()
    assert sharp.shape == blurred.shape
    again = bb.to_srgb((bb.BasisBlur(field) @ bb.ReplicatePad(field))(bb.to_linear(sharp)))
    inner = (..., slice(9, -9), slice(9, -9))
    error = (again - blurred)[inner]
    assert error.std().item() == pytest.approx(demo.NOISE, rel=0.2)
    assert abs(error.mean().item()) < demo.NOISE / 10


def test_each_half_has_its_own_shake(script):
    demo = script('demo')
    blurred, field = demo.two_halves(torch.rand(1, 3, 60, 90, dtype=torch.float32))
    assert blurred.shape[-2:] == field.image_size
    left, right = field.kernels_at(torch.tensor([[5, 2], [5, field.image_size[1] - 3]]))[0]
    torch.testing.assert_close(left, field.kernels[0, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(right, field.kernels[0, 1], atol=1e-4, rtol=0)


def test_the_page_shows_its_sections_and_only_pictures_that_are_there(script, tmp_path):
    page = script('demo_page')
    losses = tmp_path / 'losses.jsonl'
    losses.write_text('\n'.join(json.dumps({'iter': i, 'l_a': 100 - i}) for i in range(100)))
    curve = page.loss_curve(losses, 'l_a', 'a loss')
    assert 'in 100 iterations: from 99.5 to 1.5' in curve
    (tmp_path / 'one').mkdir()
    (tmp_path / 'one' / 'restored.png').touch()
    sections = [
        page.Section('With a slider', 'fine <b>', 'words', 'one'),
        page.Section('Without', 'good', 'words', 'two', (('a.png', 'label'),), curve),
    ]
    page.write_page(tmp_path / 'index.html', 'title', sections, 'the end')
    text = (tmp_path / 'index.html').read_text()
    assert text.count('type="range"') == 1
    assert 'Fine &lt;b&gt;' in text
    assert '<img src="two/a.png" alt="label">' in text
    assert '<polyline' in text.partition('Without')[2]


def test_snapshots_are_in_the_order_of_their_iterations(script, tmp_path):
    for name in ('net_g_1000', 'net_g_200', 'net_g_latest'):
        (tmp_path / f'{name}.pth').touch()
    assert list(script('demo').snapshots(tmp_path)) == [200, 1000]
