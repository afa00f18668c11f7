"""The command says what it did, and goes on where it stopped."""

import argparse

import numpy as np
import pytest
from PIL import Image

from basis_blur.cli import prep_guesses
from basis_blur.foundation.errors import InputError


def command(*words):
    parser = argparse.ArgumentParser()
    prep_guesses.add_arguments(parser)
    return prep_guesses.run(parser.parse_args([*map(str, words)]))


@pytest.fixture
def photos(tmp_path):
    (tmp_path / 'photos').mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (48, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'photos' / 'a.png')
    return tmp_path / 'photos'


def test_it_says_what_it_did_and_does_nothing_twice(photos, tmp_path, capsys):
    words = (photos, '-o', tmp_path / 'out', '--estimator', 'network', '--device', 'cpu')
    assert command(*words) == 0
    assert capsys.readouterr().out == f'{tmp_path}/out: 1 photos; 0 have a guess that is trusted.\n'
    assert command(*words) == 0
    assert '1 photos, 1 of them from before' in capsys.readouterr().out


def test_what_cannot_be_used_is_named_and_the_rest_is_done(photos, tmp_path, capsys):
    (photos / 'b.png').write_bytes(b'')
    assert command(photos, '-o', tmp_path / 'out', '--estimator', 'none', '--device', 'cpu') == 2
    said = capsys.readouterr()
    assert 'left out: ' in said.err
    assert 'b.png' in said.err
    assert said.out.endswith('; 1 unusable left out.\n')


def test_mistakes_are_told_first(photos, tmp_path):
    with pytest.raises(InputError, match='--longest-side is 10, expected at least 64'):
        command(photos, '-o', tmp_path / 'out', '--longest-side', 10)
    with pytest.raises(InputError, match='is not a folder'):
        command(photos / 'a.png', '-o', tmp_path / 'out', '--estimator', 'none', '--device', 'cpu')
    assert not (tmp_path / 'out').exists()
