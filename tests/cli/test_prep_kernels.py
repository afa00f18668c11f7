"""The command says what it did, and turns mistakes into InputError before anything has its final name."""

import argparse

import pytest

from basis_blur.cli import prep_kernels
from basis_blur.data.kernel_lmdb import KernelLmdb
from basis_blur.foundation.errors import InputError


def command(*words):
    parser = argparse.ArgumentParser()
    prep_kernels.add_arguments(parser)
    return prep_kernels.run(parser.parse_args([*map(str, words)]))


def test_it_says_what_it_did_and_that_it_is_done(tmp_path, capsys):
    words = ('-o', tmp_path / 'a.lmdb', '-n', 20, '--kernel-size', 9, '--seed', 3, '--workers', 1)
    assert command(*words) == 0
    said = capsys.readouterr()
    assert said.out == f'{tmp_path}/a.lmdb: 20 kernels of 9x9.\n'
    assert '20/20' in said.err
    assert len(KernelLmdb(tmp_path / 'a.lmdb')) == 20
    assert command(*words) == 0
    assert capsys.readouterr().out == f'{tmp_path}/a.lmdb is already finished: 20 kernels.\n'


def test_it_says_how_many_kernels_were_there_before(tmp_path, capsys, monkeypatch):
    words = ('-o', tmp_path / 'a.lmdb', '-n', 600, '--kernel-size', 5, '--workers', 0)

    def interrupt(writer):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('basis_blur.data.lmdb_store.LmdbWriter.finish', interrupt)
        with pytest.raises(KeyboardInterrupt):
            command(*words)
    assert command(*words) == 0
    assert capsys.readouterr().out == f'{tmp_path}/a.lmdb: 600 kernels of 5x5, 600 of them from before.\n'


@pytest.mark.parametrize(
    ('words', 'found'),
    [
        (['-n', '0'], 'the number of kernels is 0, expected 1 to'),
        (['--kernel-size', '32'], 'the kernel size is 32, expected an odd number'),
        (['--seed', '-1'], 'the seed is -1'),
        (['--workers', '-1'], '--workers is -1, expected at least 0'),
        (['-o', 'kernels'], 'kernels is not a name of an LMDB folder'),
    ],
)
def test_mistakes_are_told_and_leave_nothing_behind(tmp_path, monkeypatch, words, found):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=found):
        command('-o', 'a.lmdb', '-n', '20', '--workers', '0', *words)
    assert list(tmp_path.iterdir()) == []
