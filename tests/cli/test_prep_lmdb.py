"""The command says what it did, and turns mistakes into InputError before anything has its final name."""

import argparse

import numpy as np
import pytest
from PIL import Image

from basis_blur.cli import prep_lmdb
from basis_blur.foundation.errors import InputError


@pytest.fixture
def photos(tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'masks').mkdir()
    for name in 'abc':
        Image.fromarray(np.full((8, 9, 3), ord(name), np.uint8)).save(tmp_path / f'photos/{name}.jpg')
        Image.fromarray(np.eye(8, 9, dtype=np.uint8)).save(tmp_path / f'masks/{name}.png')
    return tmp_path / 'photos'


def command(*words):
    parser = argparse.ArgumentParser()
    prep_lmdb.add_arguments(parser)
    return prep_lmdb.run(parser.parse_args([*map(str, words)]))


def test_it_says_what_it_did_and_that_it_is_done(photos, tmp_path, capsys):
    words = (photos, '-o', tmp_path / 'out', '--masks', tmp_path / 'masks', '--mask-format', 'labels', '--workers', 2)
    assert command(*words) == 0
    assert capsys.readouterr().out == f'{tmp_path}/out: 3 photos; 3 objects in the new ones, 0 without a mask.\n'
    assert command(*words) == 0
    assert capsys.readouterr().out == f'{tmp_path}/out is already finished: 3 photos.\n'


def test_it_names_what_it_leaves_out(photos, tmp_path, capsys):
    (photos / 'b.jpg').write_bytes(b'')
    assert command(photos, '-o', tmp_path / 'out', '--workers', 0, '--skip-bad') == 0
    said = capsys.readouterr()
    assert said.out.endswith('2 photos; 1 unusable left out.\n')
    assert 'left out: ' in said.err
    assert 'b.jpg cannot be read' in said.err


@pytest.mark.parametrize(
    ('words', 'found'),
    [
        (['--mask-format', 'voc'], "mask format is 'voc'"),
        (['--mask-format', 'coco'], 'no masks are given'),
        (['--masks', 'x', '--mask-format', 'labels'], 'x is not a folder'),
        (['--workers', '-1'], '--workers is -1, expected at least 0'),
        (['--min-size', '0'], '--min-size is 0, expected at least 1'),
        (['--min-size', '9'], 'no photo is left: 3 are too small'),
    ],
)
def test_mistakes_are_told_and_leave_nothing_finished(photos, tmp_path, words, found):
    with pytest.raises(InputError, match=found):
        command(photos, '-o', tmp_path / 'out', '--workers', 0, *words)
    assert not any((tmp_path / 'out').glob('*.lmdb'))
