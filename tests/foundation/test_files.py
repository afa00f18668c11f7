"""A final name never holds half a file, whatever the name; folders and links that lead nowhere are an OSError."""

import errno
import os

import pytest

from basis_blur.foundation.files import LONGEST_NAME, atomic_path, make_folder, real_path, remove_partials


@pytest.fixture
def loop(tmp_path):
    (tmp_path / 'a').symlink_to('b')
    (tmp_path / 'b').symlink_to('a')
    return tmp_path / 'a'


def test_a_loop_of_links_leads_to_itself(loop):
    assert real_path(loop).parent == loop.parent.resolve()
    assert real_path(loop / 'x').name == 'x'


@pytest.mark.parametrize('name', ['', 'deeper'])
def test_no_folder_is_made_in_a_loop_of_links(loop, name):
    with pytest.raises(OSError) as raised:
        make_folder(loop / name)
    assert raised.value.errno == errno.ELOOP


def test_a_file_is_no_folder_to_write_into(tmp_path):
    (tmp_path / 'taken').touch()
    with pytest.raises(NotADirectoryError), atomic_path(tmp_path / 'taken' / 'x.png') as path:
        path.touch()


@pytest.mark.parametrize('stem', ['n' * (LONGEST_NAME - 4), '模糊' * 41, 'é' * 125, 'short'])
def test_a_file_gets_every_name_that_the_file_system_takes(tmp_path, stem):
    path = tmp_path / f'{stem}.png'
    with atomic_path(path) as partial:
        assert partial.suffix == '.png'
        partial.write_bytes(b'whole')
    assert path.read_bytes() == b'whole'
    assert os.listdir(tmp_path) == [path.name]


def test_what_a_killed_process_left_of_a_long_name_is_found(tmp_path):
    with atomic_path(tmp_path / f'{"n" * 250}.png') as partial:
        partial.write_bytes(b'half')
        os.link(partial, tmp_path / f'kept{partial.suffix}')
    os.replace(tmp_path / 'kept.png', partial)  # as a kill would have left it
    remove_partials(tmp_path)
    assert [name[0] for name in os.listdir(tmp_path)] == ['n']
