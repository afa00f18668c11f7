"""A folder's photos are found whoever made it, and what is left out is named."""

import unicodedata

from basis_blur.photos.folders import list_photos, normal_name


def test_hidden_files_and_files_of_other_kinds_are_no_photos(tmp_path):
    for name in ('b.JFIF', 'a.png', '._a.png', '.DS_Store', 'notes.txt'):
        (tmp_path / name).touch()
    (tmp_path / 'c.png').mkdir()
    found = list_photos(tmp_path, ('.png', '.jfif'))
    assert [path.name for path in found.photos] == ['a.png', 'b.JFIF']
    assert found.others == ['.DS_Store', '._a.png', 'notes.txt']
    assert found.folders == ['c.png']
    assert found.left_out == 'left out: 3 files (.DS_Store, ._a.png, notes.txt)'


def test_many_names_make_a_short_sentence(tmp_path):
    for number in range(9):
        (tmp_path / f'{number}.txt').touch()
    assert list_photos(tmp_path, ('.png',)).left_out == (
        'left out: 9 files (0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more)'
    )
    assert list_photos(tmp_path, ('.txt',)).left_out == ''


def test_composed_and_decomposed_letters_are_one_name():
    assert normal_name(unicodedata.normalize('NFD', 'Zoë')) == unicodedata.normalize('NFC', 'Zoë')
