"""Each photo gets a result of its own, under a name that can be foretold, and no file that is needed is replaced."""

import os
import unicodedata
from pathlib import Path

import pytest

from basis_blur.cli.plan import Task, Wanted, check_outputs, plan
from basis_blur.foundation.errors import InputError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with photos, none of which is ever opened."""
    for name in ('a.jpg', 'b.png', 'c.heic', 'd.nef', 'e.webp', 'f.jfif', 'shots/a.jpg', 'shots/z.JPG'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(*sources, output=None):
    tasks = plan([Path(each) for each in sources], None if output is None else Path(output))
    return {str(task.photo): str(task.result) for task in tasks}


def test_without_an_output_results_lie_beside_their_photos(here):
    assert planned('a.jpg', 'shots/z.JPG') == {
        'a.jpg': 'a_deblurred.jpg',
        'shots/z.JPG': 'shots/z_deblurred.JPG',
    }
    assert planned('shots') == {'shots/a.jpg': 'shots_deblurred/a.jpg', 'shots/z.JPG': 'shots_deblurred/z.JPG'}
    assert planned('shots/') == planned('shots')


def test_the_folder_one_stands_in_has_a_folder_beside_it(here, monkeypatch):
    monkeypatch.chdir(here / 'shots')
    assert planned('.') == {'a.jpg': f'{here}/shots_deblurred/a.jpg', 'z.JPG': f'{here}/shots_deblurred/z.JPG'}


def test_several_photos_go_to_one_folder_each_once(here):
    assert planned('a.jpg', 'b.png', './a.jpg', output='out') == {'a.jpg': 'out/a.jpg', 'b.png': 'out/b.png'}
    assert planned('b.png', 'shots', output='out') == {
        'b.png': 'out/b.png',
        'shots/a.jpg': 'out/a.jpg',
        'shots/z.JPG': 'out/z.JPG',
    }


def test_formats_that_are_only_read_become_those_that_are_written(here):
    assert planned('c.heic', 'd.nef', 'e.webp', 'f.jfif', output='out') == {
        'c.heic': 'out/c.jpg',
        'd.nef': 'out/d.tif',
        'e.webp': 'out/e.png',
        'f.jfif': 'out/f.jfif',
    }
    assert planned('c.heic') == {'c.heic': 'c_deblurred.jpg'}
    assert planned('c.heic', output='x.png') == {'c.heic': 'x.png'}


def test_what_the_name_does_not_tell_is_left_to_what_the_file_holds(here):
    for name in ('shot', 'clip.mp4', 'x.bmp'):
        (here / name).touch()
    assert planned('shot', 'clip.mp4', 'x.bmp', output='out') == {
        'shot': 'out/shot.png',
        'clip.mp4': 'out/clip.mp4.png',
        'x.bmp': 'out/x.bmp.png',
    }


def test_one_photo_in_two_formats_makes_two_results(here):
    (here / 'c.jpg').touch()
    assert planned('c.heic', 'c.jpg', output='out') == {'c.heic': 'out/c.heic.jpg', 'c.jpg': 'out/c.jpg'}


def test_names_in_either_unicode_form_keep_theirs(here):
    names = [unicodedata.normalize(form, 'Zoë.png') for form in ('NFC', 'NFD')]
    for name in names:
        (here / name).touch()
    assert list(planned(*names, output='out').values()) == [f'out/{name}' for name in names]


def test_what_a_folder_holds_besides_is_named_in_one_line(here, capsys):
    for name in ('._a.jpg', 'notes.txt', 'clip.MOV'):
        (here / 'shots' / name).touch()
    planned('shots', output='out')
    assert capsys.readouterr().err == (
        'left out: 3 files (._a.jpg, clip.MOV, notes.txt; videos are not restored) of shots\n'
    )


@pytest.mark.parametrize(
    ('sources', 'output', 'words'),
    [
        (['a.jpg', 'none.jpg'], 'out', 'no photo or folder none.jpg'),
        (['a.jpg', 'b.png'], 'x.png', r'a\.jpg is one of 2 inputs and x\.png a file; give a folder'),
        (['shots'], 'x.heic', 'shots is a folder and x.heic a file'),
        (['a.jpg'], 'x.heic', r'x\.heic ends in "\.heic", expected one of \.png'),
    ],
)
def test_outputs_that_make_no_sense_are_refused(here, sources, output, words):
    with pytest.raises(InputError, match=words):
        planned(*sources, output=output)


@pytest.mark.parametrize(
    ('sources', 'output', 'options', 'words'),
    [
        (['a.jpg', 'shots/a.jpg'], 'out', {}, 'two photos would both write'),
        (['a.jpg'], 'b.png', {'needed': [Path('./b.png')]}, r'b\.png would replace a file that is given with another'),
        (['shots'], '.', {}, None),
        (['a.jpg', 'b.png'], '.', {}, r'a\.jpg would replace a photo'),
        (['b.png'], 'link/b.png', {}, 'would replace a photo'),
    ],
)
def test_no_file_is_written_over_another_that_is_needed(here, sources, output, options, words):
    (here / 'link').symlink_to(here)
    tasks = plan([Path(each) for each in sources], Path(output))
    if words is None:  # shots/a.jpg would replace a.jpg, which was not given: --overwrite is asked for
        words = 'already exists; add --overwrite'
    with pytest.raises(InputError, match=words):
        check_outputs(tasks, Wanted(), **options)


def test_the_results_of_an_earlier_run_are_never_read_and_written_at_once(here):
    (here / 'a_deblurred.jpg').touch()
    tasks = plan([Path('a.jpg'), Path('a_deblurred.jpg')], None)
    with pytest.raises(InputError, match=r'a_deblurred\.jpg would replace a photo that is to be read'):
        check_outputs(tasks, Wanted(), overwrite=True)


def test_a_name_that_becomes_too_long_is_refused_before_the_work(here):
    task = Task(Path('a.jpg'), Path('out') / f'{"é" * 122}.jpg')  # 248 bytes
    check_outputs([task], Wanted())
    with pytest.raises(InputError, match='has a name of 256 bytes, expected at most 255'):
        check_outputs([task], Wanted(kernels=True))
    assert 'out' not in os.listdir(here)
