"""The ways to deblur a photo are compared by a script, and the lines of the README are one of them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import basis_blur as bb
from basis_blur.cli.main import main
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

SCRIPTS = Path(__file__).parents[2] / 'scripts' / 'benchmark'


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    for name in ('bench_one_way', 'measure'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import bench_one_way

    return bench_one_way


def test_the_lines_of_the_readme_make_what_the_command_makes(script, tmp_path):
    write_photo(tmp_path / 'a.png', torch.rand(1, 3, 64, 72).float())
    (tmp_path / 'a.png').rename(tmp_path / script.PHOTO)
    assert main(['deblur', str(tmp_path / script.PHOTO), '-o', str(tmp_path / 'b.png')]) == 0
    written = script.levels_of(read_photo(tmp_path / 'b.png').pixels)
    assert script.apart(script.by_readme(tmp_path), written) == 0
    assert script.apart(script.levels_of(read_photo(tmp_path / script.PHOTO).pixels), written) > 0


def test_a_way_that_differs_is_told(script, tmp_path, monkeypatch, capsys):
    write_photo(tmp_path / 'a.png', torch.rand(1, 3, 40, 44).float())

    class Other:
        def __call__(self, photo):
            return bb.Deblurred(photo + 3, None, None, (), (), (), None)

    monkeypatch.setattr(script.bb.Deblurrer, 'pretrained', Other)
    for name in ('by_command', 'by_readme'):
        monkeypatch.setattr(script, name, lambda *_: np.zeros((40, 44, 3), np.uint8))
    monkeypatch.setattr(script, 'reduced', lambda path, pixels: np.zeros((40, 44, 3), np.uint8))
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, 'argv', ['bench_one_way.py', str(tmp_path), '--threads', str(threads)])
    assert script.main() == 1
    assert 'a.png' in capsys.readouterr().out
