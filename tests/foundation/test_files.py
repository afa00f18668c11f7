"""Folders and links that lead nowhere are an OSError, which commands tell in a line."""

import errno

import pytest

from basis_blur.foundation.files import atomic_path, make_folder, real_path


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
