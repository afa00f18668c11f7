"""What a command tells is kept in a file, without the hundreds of states of a progress bar."""

import re
import sys

import pytest
from tqdm import tqdm

from basis_blur.cli import log_file
from basis_blur.cli.main import main


def words_of(path):
    lines = path.read_text().splitlines()
    assert all(re.match(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S', line) for line in lines)
    return [line[20:] for line in lines]


def test_lines_of_both_streams_are_kept_and_told(tmp_path, capsys):
    path = tmp_path / 'a.log'
    path.write_text('2026-01-01 00:00:00 from before\n')
    with log_file.kept_in(path):
        print('one')
        print('two', 'parts', file=sys.stderr)
        print('no end', end='')
    assert words_of(path) == ['from before', 'one', 'two parts', 'no end']
    assert capsys.readouterr() == ('one\nno end', 'two parts\n')


@pytest.mark.parametrize(('seconds', 'kept'), [(60.0, 1), (0.0, 6)])
def test_a_bar_leaves_its_state_from_time_to_time_and_at_its_end(tmp_path, monkeypatch, seconds, kept):
    monkeypatch.setattr(log_file, 'SECONDS_BETWEEN_BARS', seconds)
    with log_file.kept_in(tmp_path / 'a.log'):
        for _ in tqdm(range(5), desc='work', mininterval=0):
            pass
    words = words_of(tmp_path / 'a.log')
    assert kept <= len(words) <= kept + 3
    assert words[-1].startswith('work: 100%|')
    assert '5/5 [' in words[-1]
    assert not any('\r' in each for each in words)


def test_a_command_keeps_its_log(tmp_path):
    path = tmp_path / 'a.log'
    arguments = ['prep-kernels', '-o', f'{tmp_path}/k.lmdb', '-n', '3', '--kernel-size', '5', '--workers', '0']
    assert main([*arguments, '--log', str(path)]) == 0
    assert any('3 kernels of 5x5' in each for each in words_of(path))
    assert main([*arguments[:4], '5', '--workers', '0', '--log', str(path)]) == 2
    assert any('was finished with' in each for each in words_of(path))


def test_a_log_that_cannot_be_written_is_told(tmp_path, capsys):
    assert main(['prep-kernels', '-o', f'{tmp_path}/k.lmdb', '--log', f'{tmp_path}/none/a.log']) == 2
    assert 'none/a.log: No such file or directory.' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('log', 'words'),
    [
        ('a.png', 'has the name of a photo or of data'),
        ('new.jpg', 'has the name of a photo or of data'),
        ('binary', 'is no text file'),
        ('notes', 'is given to --log and to another option'),
        ('folder', 'Is a directory'),
    ],
)
def test_a_log_is_written_into_no_other_file(tmp_path, capsys, log, words):
    (tmp_path / 'a.png').write_bytes(b'a photo')
    (tmp_path / 'binary').write_bytes(bytes(9))
    (tmp_path / 'notes').write_text('a text')
    (tmp_path / 'folder').mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    command = ['deblur', tmp_path / 'notes', '-o', tmp_path / 'b.png', '--log', tmp_path / log]
    assert main([str(each) for each in command]) == 2
    assert words in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
