"""deblur --workers and --shard: the same results in other processes, every photo once, and what fails is told."""

import os
import subprocess
import sys

import pytest
import torch

from basis_blur.cli.main import main
from basis_blur.photos.photo import Photo
from basis_blur.photos.writing import write_photo


@pytest.fixture
def folder(tmp_path):
    for number in range(5):
        levels = torch.randint(0, 256, (1, 3, 40, 48)) / 255
        write_photo(tmp_path / 'in' / f'{number}.png', levels, Photo(levels))
    return tmp_path / 'in'


def contents(path):
    return {each.name: each.read_bytes() for each in path.iterdir()}


def names(path):
    return sorted(each.stem for each in path.iterdir())


@pytest.mark.processes
def test_workers_write_what_one_process_does_and_tell_what_failed(tmp_path, folder, weights):
    (folder / '2.png').write_bytes(b'no photo')
    command = [sys.executable, '-m', 'basis_blur', 'deblur', str(folder), '--weights', weights]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    told = {}
    for workers in ('1', '2'):
        more = ['-o', str(tmp_path / workers), '--workers', workers, '--log', str(tmp_path / f'{workers}.log')]
        told[workers] = subprocess.run([*command, *more], capture_output=True, text=True, env=environment)
    for done in told.values():
        assert done.returncode == 2
        assert '2.png is not a photo file' in done.stderr
        assert '1 of 5 photos could not be deblurred' in done.stderr
        assert done.stderr.count('warning:') == told['1'].stderr.count('warning:') > 0
        assert done.stdout.count('.png ->') == 4
    assert contents(tmp_path / '1') == contents(tmp_path / '2')
    assert len(contents(tmp_path / '1')) == 4
    assert '2.png is not a photo file' in (tmp_path / '2.log').read_text()


def test_shards_are_disjoint_and_make_the_whole(tmp_path, folder, weights):
    whole, parts, alone = tmp_path / 'whole', tmp_path / 'parts', tmp_path / 'alone'
    assert main(['deblur', str(folder), '--weights', weights, '-o', str(whole)]) == 0
    for number in (1, 2, 3):
        part = ['--weights', weights, '--shard', f'{number}/3']
        assert main(['deblur', str(folder), *part, '-o', str(parts)]) == 0
        assert main(['deblur', str(folder), *part, '-o', str(alone / str(number))]) == 0
    assert contents(parts) == contents(whole)
    assert [names(alone / str(number)) for number in (1, 2, 3)] == [['0', '3'], ['1', '4'], ['2']]


def test_a_shard_goes_on_where_it_was_stopped(tmp_path, folder, weights, capsys):
    out = tmp_path / 'out'
    arguments = ['deblur', str(folder), '--weights', weights, '-o', str(out), '--shard', '1/2']
    assert main(arguments) == 0
    (out / '2.png').unlink()
    capsys.readouterr()
    assert main([*arguments, '--skip-done']) == 0
    assert '2 of 3 results are there' in capsys.readouterr().out
    assert names(out) == ['0', '2', '4']
    assert (
        main(['deblur', str(folder), '--weights', weights, '-o', str(out), '--shard', '7/7']) == 0
    )  # no photo is left
    assert names(out) == ['0', '2', '4']


def test_photos_of_two_shards_with_one_result_are_refused(tmp_path, folder, weights, capsys):
    arguments = ['deblur', str(folder / '0.png'), str(tmp_path / 'other' / '0.png'), '-o', str(tmp_path / 'out')]
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / '0.png').write_bytes((folder / '1.png').read_bytes())
    assert main([*arguments, '--weights', weights, '--shard', '1/2']) == 2
    assert 'two photos would both write' in capsys.readouterr().err


@pytest.mark.parametrize('shard', ['0/3', '4/3', '3', 'a/b', '-1/3', '1/0'])
def test_a_shard_that_is_none_is_refused(folder, shard, capsys):
    with pytest.raises(SystemExit):
        main(['deblur', str(folder), f'--shard={shard}'])
    assert 'is no part of a whole, expected such as 3/16' in capsys.readouterr().err
