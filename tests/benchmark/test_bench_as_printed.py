"""scripts/benchmark/bench_as_printed.py on one small scene, and the figures of it that docs/papers.md has."""

import importlib
import json
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / 'scripts' / 'benchmark'


def test_a_scene_has_a_score_by_every_method(monkeypatch, tmp_path):
    torch.set_default_dtype(torch.float32)
    monkeypatch.syspath_prepend(SCRIPTS)
    script = importlib.import_module('bench_as_printed')
    monkeypatch.setattr(script, 'CASES', [('one kernel', 1.0, 0.002, False)])
    monkeypatch.setattr(script, 'SIZE', 96)
    monkeypatch.setattr(sys, 'argv', ['bench_as_printed.py', '--json', str(tmp_path / 'figures.json')])
    assert script.main() == 0
    figures = json.loads((tmp_path / 'figures.json').read_text())
    (scene,) = figures['scenes']
    assert set(scene) == set(script.COLUMNS)
    assert scene == figures['mean']
    # The true blur is worth more than an estimate, by either method.
    assert scene['deblur'] > scene['estimated: deblur'] > 0
    assert scene['as printed'] > scene['estimated: as printed'] > 0


def test_the_page_has_the_figures_of_the_record():
    figures = json.loads((ROOT / 'docs' / 'results' / 'papers' / 'as_printed.json').read_text())
    page = (ROOT / 'docs' / 'papers.md').read_text()
    for scores in (*figures['scenes'], figures['mean']):
        cells = [f'{value:.0f}' if key == 'iterations' else f'{value:.2f}' for key, value in scores.items()]
        assert f'| {" | ".join(cells)} |' in page
