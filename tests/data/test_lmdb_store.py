"""An LMDB folder is whole or hidden; what was committed survives any end of the process."""

import importlib.util
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from basis_blur.data import lmdb_store
from basis_blur.data.lmdb_store import LmdbReader, LmdbWriter
from basis_blur.foundation import files
from basis_blur.foundation.errors import InputError

PARAMETERS = {'size': 3, 'name': 'a'}


def entry(number, length=8):
    key = b'%08d' % number
    return key, bytes([number % 256]) * length, f'{key.decode()}.png (1,1,1) 0'


def fill(path, numbers, parameters=PARAMETERS, finish=True):
    with LmdbWriter(path, parameters) as writer:
        for number in numbers:
            writer.put(*entry(number))
        if finish:
            writer.finish()


def basicsr_file_client():
    """Load BasicSR's own reader without importing the whole of BasicSR."""
    folder = Path(importlib.util.find_spec('basicsr').submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location('file_client', folder / 'utils' / 'file_client.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FileClient


def test_what_was_put_is_read_back_in_the_order_of_the_keys(tmp_path):
    fill(tmp_path / 'a.lmdb', [2, 0, 1])
    reader = LmdbReader(tmp_path / 'a.lmdb')
    assert reader.keys == ['00000000', '00000001', '00000002']
    assert [reader[key] for key in reader.keys] == [entry(number)[1] for number in range(3)]
    assert reader.parameters == PARAMETERS


def test_basicsr_reads_it(tmp_path):
    fill(tmp_path / 'a.lmdb', [7])
    client = basicsr_file_client()('lmdb', db_paths=[str(tmp_path / 'a.lmdb')], client_keys=['gt'])
    assert client.get('00000007', 'gt') == entry(7)[1]
    assert (tmp_path / 'a.lmdb' / 'meta_info.txt').read_text() == '00000007.png (1,1,1) 0\n'


def test_nothing_stands_under_the_final_name_before_the_end(tmp_path):
    fill(tmp_path / 'a.lmdb', [0, 1], finish=False)
    assert not (tmp_path / 'a.lmdb').exists()
    fill(tmp_path / 'a.lmdb', [2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.lmdb']
    assert sorted(path.name for path in (tmp_path / 'a.lmdb').iterdir()) == [
        'basis_blur.json', 'data.mdb', 'meta_info.txt',
    ]  # fmt: skip
    assert len(LmdbReader(tmp_path / 'a.lmdb')) == 3


def test_entries_committed_before_a_kill_are_there_for_the_next_writer(tmp_path):
    code = (
        'import os, signal, sys; from basis_blur.data.lmdb_store import LmdbWriter; '
        f'writer = LmdbWriter(sys.argv[1], {PARAMETERS!r}); '
        'line = "{}.png (1,1,1) 0".format; '
        'writer.put(b"0", b"kept", line("0")); writer.commit(); writer.put(b"1", b"lost", line("1")); '
        'os.kill(os.getpid(), signal.SIGKILL)'
    )
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path / 'a.lmdb')])
    assert done.returncode == -signal.SIGKILL
    with LmdbWriter(tmp_path / 'a.lmdb', PARAMETERS) as writer:
        assert b'0' in writer
        assert b'1' not in writer
        writer.finish()
    assert LmdbReader(tmp_path / 'a.lmdb').lines == ['0.png (1,1,1) 0']


def test_no_value_is_without_its_line_wherever_a_commit_ends(tmp_path, monkeypatch):
    whole = lmdb_store._GrowingStore.put_all
    for last in (1, 2):
        calls = []

        def put_all(store, entries, last=last, calls=calls):
            calls.append(store)
            if len(calls) == last:
                raise KeyboardInterrupt
            whole(store, entries)

        with LmdbWriter(tmp_path / 'a.lmdb', PARAMETERS) as writer, monkeypatch.context() as patch:
            patch.setattr(lmdb_store._GrowingStore, 'put_all', put_all)
            writer.put(*entry(last))
            with pytest.raises(KeyboardInterrupt):
                writer.commit()
            writer._pending.clear()
    with LmdbWriter(tmp_path / 'a.lmdb', PARAMETERS) as writer:
        writer.put(*entry(0))
        writer.finish()
    assert LmdbReader(tmp_path / 'a.lmdb').keys == ['00000000']


def test_the_map_grows_with_its_contents(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_store, 'FIRST_MAP_SIZE', 2**16)
    with LmdbWriter(tmp_path / 'a.lmdb', PARAMETERS) as writer:
        for number in range(100):
            writer.put(*entry(number, length=10_000))
        writer.finish()
    reader = LmdbReader(tmp_path / 'a.lmdb')
    assert all(reader[key] == entry(number, length=10_000)[1] for number, key in enumerate(reader.keys))


def test_a_finished_folder_says_so_and_takes_nothing_more(tmp_path):
    fill(tmp_path / 'a.lmdb', [0])
    with LmdbWriter(tmp_path / 'a.lmdb', PARAMETERS) as writer:
        assert writer.finished
        assert b'00000000' in writer
        with pytest.raises(ValueError, match='is finished'):
            writer.put(*entry(1))


@pytest.mark.parametrize('finish', [True, False])
def test_other_parameters_are_refused_by_name(tmp_path, finish):
    fill(tmp_path / 'a.lmdb', [0], finish=finish)
    with pytest.raises(InputError, match=r'with size 3 \(now 4\); repeat'):
        LmdbWriter(tmp_path / 'a.lmdb', {**PARAMETERS, 'size': 4})


def test_a_folder_of_someone_else_is_left_alone(tmp_path):
    (tmp_path / 'a.lmdb').mkdir()
    (tmp_path / 'a.lmdb' / 'thesis.txt').write_text('')
    with pytest.raises(InputError, match=r'not prepared by basis-blur'):
        LmdbWriter(tmp_path / 'a.lmdb', PARAMETERS)


@pytest.mark.skipif(files.fcntl is None, reason='needs POSIX file locks')
def test_two_processes_do_not_fill_one_folder(tmp_path):
    code = f'import sys; from basis_blur.data.lmdb_store import LmdbWriter; LmdbWriter(sys.argv[1], {PARAMETERS!r})'
    with LmdbWriter(tmp_path / 'a.lmdb', PARAMETERS):
        done = subprocess.run([sys.executable, '-c', code, str(tmp_path / 'a.lmdb')], capture_output=True, text=True)
    assert 'another process is preparing' in done.stderr


@pytest.mark.parametrize(
    ('key', 'line', 'found'),
    [(b'a.b', 'a.b.png (1,1,1) 0', 'does not begin with the key'), (b'a' * 512, 'a' * 512 + '.png', '512 bytes')],
)
def test_keys_that_cannot_be_found_again_are_refused(tmp_path, key, line, found):
    with LmdbWriter(tmp_path / 'a.lmdb', PARAMETERS) as writer, pytest.raises(ValueError, match=found):
        writer.put(key, b'', line)


def test_a_full_disk_is_an_error_that_keeps_what_was_committed(tmp_path):
    fill(tmp_path / 'a.lmdb', [0], finish=False)
    code = (
        'import resource, sys; from basis_blur.data.lmdb_store import LmdbWriter\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n'
        'try:\n'
        f'    with LmdbWriter(sys.argv[1], {PARAMETERS!r}) as writer:\n'
        '        writer.put(b"1", bytes(2**22), "1.png (1,1,1) 0")\n'
        'except OSError as error: print(error); sys.exit(2)'
    )
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path / 'a.lmdb')], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert 'cannot be written' in done.stdout
    fill(tmp_path / 'a.lmdb', [2])
    assert LmdbReader(tmp_path / 'a.lmdb').keys == ['00000000', '00000002']


@pytest.mark.parametrize('size', [0, 100, 50_000])
def test_a_truncated_file_is_named_before_anything_is_read(tmp_path, size):
    with LmdbWriter(tmp_path / 'a.lmdb', PARAMETERS) as writer:
        for number in range(20):
            writer.put(*entry(number, length=10_000))
        writer.finish()
    os.truncate(tmp_path / 'a.lmdb' / 'data.mdb', size)
    with pytest.raises(InputError, match=r'a\.lmdb.*(truncated|cannot be read)'):
        LmdbReader(tmp_path / 'a.lmdb')


def test_a_list_that_does_not_fit_its_entries_is_an_error(tmp_path):
    fill(tmp_path / 'a.lmdb', [0, 1])
    (tmp_path / 'a.lmdb' / 'meta_info.txt').write_text('00000000.png (1,1,1) 0\n')
    with pytest.raises(InputError, match='holds 2 entries, but its meta_info.txt lists 1'):
        LmdbReader(tmp_path / 'a.lmdb')


@pytest.mark.parametrize(('name', 'found'), [('b.lmdb', 'is not a folder'), ('a.lmdb', 'has no entry "9"')])
def test_what_is_missing_is_named(tmp_path, name, found):
    fill(tmp_path / 'a.lmdb', [0])
    with pytest.raises(InputError, match=found):
        LmdbReader(tmp_path / name)['9']


def test_a_reader_opens_its_files_anew_in_every_process(tmp_path):
    fill(tmp_path / 'a.lmdb', [0])
    reader = LmdbReader(tmp_path / 'a.lmdb')
    assert reader['00000000'] == pickle.loads(pickle.dumps(reader))['00000000']
    inherited = reader._store
    child = os.fork()
    if not child:
        os._exit(0 if reader['00000000'] == entry(0)[1] and reader._store is not inherited else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_parameters_are_readable_json(tmp_path):
    fill(tmp_path / 'a.lmdb', [0])
    assert json.loads((tmp_path / 'a.lmdb' / 'basis_blur.json').read_text()) == PARAMETERS


def test_a_writer_killed_in_its_last_steps_is_finished_by_the_next(tmp_path, monkeypatch):
    fill(tmp_path / 'whole.lmdb', [0, 1, 2])
    with monkeypatch.context() as patch:
        patch.setattr(lmdb_store.os, 'replace', stop_at_the_last_rename(os.replace))
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path / 'a.lmdb', [0, 1])
    unfinished = tmp_path / '.a.lmdb.partial'
    assert (unfinished / 'meta_info.txt').exists()
    (unfinished / '.meta_info.0123abcd.partial.txt').touch()  # of another kill
    fill(tmp_path / 'a.lmdb', [2])
    files = [{path.name for path in (tmp_path / name).iterdir()} for name in ('a.lmdb', 'whole.lmdb')]
    assert files[0] == files[1]
    for name in ('a.lmdb', 'whole.lmdb'):
        assert LmdbReader(tmp_path / name).lines == [entry(number)[2] for number in range(3)]


def stop_at_the_last_rename(replace):
    def replace_files_only(old, new):
        if str(new).endswith('.lmdb'):
            raise KeyboardInterrupt
        replace(old, new)

    return replace_files_only
