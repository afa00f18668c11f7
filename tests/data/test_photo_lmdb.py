"""Photos and label maps arrive in their LMDBs whole, in pairs, whatever ends the process on the way."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from basis_blur.data.lmdb_store import LmdbReader, LmdbWriter
from basis_blur.data.photo_lmdb import PhotoSource, list_others, list_photos, make_keys, prepare_photos
from basis_blur.foundation.errors import InputError

COUNT = 12


def picture(number, size=(24, 32)):
    return np.random.default_rng(number).integers(0, 256, (*size, 3)).astype(np.uint8)


@pytest.fixture
def source(tmp_path):
    """Twelve photos of 24x32 pixels in two folders, with label maps for all but the last."""
    for number in range(COUNT):
        name = f'{"day" if number % 2 else "night"}/p{number:02}'
        for root in ('photos', 'masks'):
            (tmp_path / root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(tmp_path / 'photos' / f'{name}.jpg')
        labels = np.zeros((24, 32), np.uint8)
        labels[:12, : number + 1] = 9
        labels[20:, :2] = 4
        if number < COUNT - 1:
            Image.fromarray(labels).save(tmp_path / 'masks' / f'{name}.png')
    return PhotoSource(tmp_path / 'photos', tmp_path / 'masks', 'labels')


def contents(out):
    """Everything the two LMDBs hold, by key."""
    readers = [LmdbReader(out / name) for name in ('photos.lmdb', 'masks.lmdb')]
    assert readers[0].keys == readers[1].keys
    return {key: [reader[key] for reader in readers] for key in readers[0].keys}, [reader.lines for reader in readers]


def decode(content, flag=cv2.IMREAD_UNCHANGED):
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)


@pytest.mark.parametrize('workers', [0, 2])
def test_photos_keep_their_bytes_and_their_labels(source, tmp_path, workers):
    result = prepare_photos(source, tmp_path / 'out', workers)
    assert (result.photos, result.unmasked, result.objects, result.resumed) == (COUNT, 1, 2 * (COUNT - 1), 0)
    values, lines = contents(tmp_path / 'out')
    assert values['day__p01'][0] == (source.photos / 'day/p01.jpg').read_bytes()
    labels = decode(values['day__p01'][1])
    assert (labels[:12, :2] == 1).all()
    assert (labels[20:, :2] == 2).all()
    assert (labels > 0).sum() == 32
    assert not decode(values['day__p11'][1]).any()
    assert lines[0][0] == 'day__p01.jpg (24,32,3) 0'
    assert lines[1][0] == 'day__p01.png (24,32,1) 1'


def test_without_masks_there_is_one_lmdb(source, tmp_path):
    prepare_photos(PhotoSource(source.photos), tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['photos.lmdb']


def kill_after(source, out, photos, workers=0):
    """Prepare in a process of its own, which commits every 3 entries and kills itself when it told of `photos` more."""
    code = f"""
import os, signal, sys
from pathlib import Path
from basis_blur.data import photo_lmdb
from basis_blur.data.photo_lmdb import PhotoSource, prepare_photos
photo_lmdb.PHOTOS_PER_COMMIT = 3
def watch(steps, total, done):
    for number, step in enumerate(steps):
        if number == {photos}:
            from multiprocessing import active_children
            print(*[child.pid for child in active_children()], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        yield step
source = PhotoSource(Path({str(source.photos)!r}), Path({str(source.masks)!r}), 'labels')
prepare_photos(source, {str(out)!r}, {workers}, watch=watch)
"""
    done = subprocess.run([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize('photos', [1, 5, 11])
def test_a_killed_preparation_goes_on_to_the_same_contents(source, tmp_path, photos):
    prepare_photos(source, tmp_path / 'whole')
    kill_after(source, tmp_path / 'out', photos)
    assert not any((tmp_path / 'out').glob('*.lmdb'))
    result = prepare_photos(source, tmp_path / 'out')
    assert photos < result.resumed <= min(photos + 3, COUNT)  # what was told is there
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')


def test_workers_of_a_killed_preparation_end_too(source, tmp_path):
    workers = kill_after(source, tmp_path / 'out', 5, workers=2)
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while workers and time.monotonic() < deadline:
        workers = [pid for pid in workers if is_alive(pid)]
        time.sleep(0.05)
    assert not workers
    assert prepare_photos(source, tmp_path / 'out').photos == COUNT


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f'/proc/{pid}/status')
    return not status.exists() or 'State:\tZ' not in status.read_text()


def test_a_kill_between_the_two_renames_is_mended(source, tmp_path, monkeypatch):
    prepare_photos(source, tmp_path / 'whole')
    finish = LmdbWriter.finish

    def finish_masks_only(writer):
        if writer.path.name == 'photos.lmdb':
            raise KeyboardInterrupt
        finish(writer)

    with monkeypatch.context() as patch:
        patch.setattr(LmdbWriter, 'finish', finish_masks_only)
        with pytest.raises(KeyboardInterrupt):
            prepare_photos(source, tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out').glob('*.lmdb')] == ['masks.lmdb']
    assert prepare_photos(source, tmp_path / 'out').photos == COUNT
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')


def test_a_second_call_finds_the_work_done(source, tmp_path):
    prepare_photos(source, tmp_path / 'out')
    assert prepare_photos(source, tmp_path / 'out').was_finished


def test_another_source_is_refused(source, tmp_path):
    prepare_photos(source, tmp_path / 'out')
    with pytest.raises(InputError, match='min_size 1 .now 9.'):
        prepare_photos(PhotoSource(source.photos, source.masks, 'labels', 9), tmp_path / 'out')


def test_a_bad_photo_ends_the_work_and_its_removal_lets_it_go_on(source, tmp_path):
    bad = source.photos / 'night/p06.jpg'
    bad.write_bytes(bad.read_bytes()[:-200])
    with pytest.raises(InputError, match=r'night/p06\.jpg cannot be read as a photo'):
        prepare_photos(source, tmp_path / 'out', workers=2)
    assert not any((tmp_path / 'out').glob('*.lmdb'))
    bad.unlink()
    result = prepare_photos(source, tmp_path / 'out')
    assert result.photos == COUNT - 1
    assert result.resumed == 9  # six of the day and three of the night


def test_photos_that_left_the_folder_leave_the_lmdb(source, tmp_path):
    (source.photos / 'night/p10.jpg').write_bytes(b'')
    with pytest.raises(InputError):
        prepare_photos(source, tmp_path / 'out')
    (source.photos / 'day/p01.jpg').unlink()
    prepare_photos(source, tmp_path / 'out', skip_bad=True)
    assert 'day__p01' not in contents(tmp_path / 'out')[0]


@pytest.mark.parametrize('workers', [0, 2])
def test_bad_photos_are_listed_when_they_are_skipped(source, tmp_path, workers):
    (source.photos / 'night/p06.jpg').write_bytes(b'no photo')
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(source.masks / 'day/p03.png')
    result = prepare_photos(source, tmp_path / 'out', workers, skip_bad=True)
    assert result.photos == COUNT - 2
    assert sorted(Path(name).name for name in result.bad) == ['p03.jpg', 'p06.jpg']
    assert '9x9 pixels, but its photo' in result.bad[str(source.photos / 'day/p03.jpg')]


def test_photos_without_an_object_of_the_wanted_size_are_left_out(source, tmp_path):
    # The largest object of photo n has max(12 (n + 1), 8) pixels; the last photo has none.
    result = prepare_photos(dataclasses.replace(source, min_object=12 * 5), tmp_path / 'out')
    assert (result.photos, result.without_object, result.too_small) == (COUNT - 5, 5, 0)
    assert 'night__p04' in contents(tmp_path / 'out')[0]
    with pytest.raises(InputError, match='min_object 60 .now None.'):
        prepare_photos(source, tmp_path / 'out')


def test_objects_cannot_be_wanted_without_masks(source, tmp_path):
    with pytest.raises(InputError, match='least object is 5 pixels, but the mask format is "none"'):
        prepare_photos(PhotoSource(source.photos, min_object=5), tmp_path / 'out')


def test_small_photos_are_left_out(source, tmp_path):
    Image.fromarray(picture(0, (23, 99))).save(source.photos / 'small.png')
    result = prepare_photos(PhotoSource(source.photos, source.masks, 'labels', 24), tmp_path / 'out')
    assert (result.photos, result.too_small) == (COUNT, 1)


@pytest.mark.parametrize(
    ('name', 'kept'),
    [('a.png', True), ('a.jpg', True), ('a.JPEG', True), ('a.bmp', False), ('a.tif', False), ('a.webp', False)],
)
def test_every_kind_of_photo_can_be_read_back(tmp_path, name, kept):
    (tmp_path / 'photos').mkdir()
    file = tmp_path / 'photos' / name
    Image.fromarray(cv2.GaussianBlur(picture(1), (0, 0), 3)).save(
        file, **({'lossless': True} if 'webp' in name else {})
    )
    prepare_photos(PhotoSource(tmp_path / 'photos'), tmp_path / 'out')
    content = LmdbReader(tmp_path / 'out/photos.lmdb')['a']
    assert (content == file.read_bytes()) == kept
    with Image.open(file) as photo:
        np.testing.assert_allclose(decode(content)[..., ::-1].astype(int), np.asarray(photo).astype(int), atol=3)


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'I;16'])
def test_alpha_and_16_bits_become_8_bit_photos(tmp_path, mode):
    (tmp_path / 'photos').mkdir()
    gray = picture(1)[..., 0]
    values = (gray.astype(np.uint16) * 257) if mode == 'I;16' else gray
    photo = Image.fromarray(values)
    (photo if mode == 'I;16' else photo.convert(mode)).save(tmp_path / 'photos/a.png')
    prepare_photos(PhotoSource(tmp_path / 'photos'), tmp_path / 'out')
    pixels = decode(LmdbReader(tmp_path / 'out/photos.lmdb')['a'])
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels if pixels.ndim == 2 else pixels[..., 1], gray)


def test_16_bit_colour_becomes_8_bit(tmp_path):
    (tmp_path / 'photos').mkdir()
    cv2.imwrite(str(tmp_path / 'photos/a.png'), picture(1).astype(np.uint16) * 257)
    prepare_photos(PhotoSource(tmp_path / 'photos'), tmp_path / 'out')
    np.testing.assert_array_equal(decode(LmdbReader(tmp_path / 'out/photos.lmdb')['a']), picture(1))


def test_a_turned_photo_is_listed_upright(tmp_path):
    (tmp_path / 'photos').mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0)).save(tmp_path / 'photos/a.jpg', exif=exif)
    prepare_photos(PhotoSource(tmp_path / 'photos'), tmp_path / 'out')
    reader = LmdbReader(tmp_path / 'out/photos.lmdb')
    assert reader.lines == ['a.jpg (32,24,3) 0']
    assert decode(reader['a'], cv2.IMREAD_COLOR).shape == (32, 24, 3)


def test_cmyk_is_refused(tmp_path):
    Image.fromarray(picture(0)).convert('CMYK').save(tmp_path / 'a.jpg')
    with pytest.raises(InputError, match=r'a\.jpg is a CMYK JPEG'):
        prepare_photos(PhotoSource(tmp_path), tmp_path / 'out')


@pytest.mark.parametrize('form', ['labels', 'ade20k', 'ade20k_2016'])
def test_masks_that_fit_no_photo_are_refused(source, tmp_path, form):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match='none of the 12 photos'):
        prepare_photos(PhotoSource(source.photos, tmp_path / 'empty', form), tmp_path / 'out')


def test_masks_below_the_photos_are_no_photos(source, tmp_path):
    names = list_photos(PhotoSource(tmp_path, source.masks, 'labels'))
    assert len(names) == COUNT
    assert names == sorted(names)


def test_ade20k_masks_beside_the_photos_are_no_photos(tmp_path):
    Image.fromarray(picture(0)).save(tmp_path / 'a.jpg')
    Image.fromarray(np.full((24, 32, 3), 11, np.uint8)).save(tmp_path / 'a_seg.png')
    assert list_photos(PhotoSource(tmp_path, None, 'ade20k')) == ['a.jpg']
    assert prepare_photos(PhotoSource(tmp_path, None, 'ade20k'), tmp_path / 'out').objects == 1


def test_keys_are_unique_and_survive_basicsrs_cut_at_the_dot():
    names = ['a/b.jpg', 'a__b.jpg', 'a.b.jpg', 'a_b.jpg', 'A_B.png', 'ü x.jpg', f'{"n" * 300}.jpg', 'c.jpg', 'c.png']
    keys = make_keys(names)
    assert len({key.lower() for key in keys}) == len(names)
    for key in keys:
        assert key.isascii()
        assert not set(key) & set('./ ')
        assert len(key) <= 511
    assert make_keys(names[::-1]) == keys[::-1]
    assert make_keys(['x/y.jpg']) == ['x__y']


def test_folders_without_photos_are_refused(tmp_path):
    with pytest.raises(InputError, match='has no photo'):
        list_photos(PhotoSource(tmp_path))
    with pytest.raises(InputError, match='is not a folder'):
        list_photos(PhotoSource(tmp_path / 'nowhere'))


def test_files_that_are_no_photos_are_listed_but_for_annotations(tmp_path):
    for name in ('a.jpg', 'b.jfif', '._a.jpg', 'sub/notes.md', 'a.json', '.hidden/c.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_photos(PhotoSource(tmp_path)) == ['a.jpg', 'b.jfif']
    assert list_others(PhotoSource(tmp_path)) == ['._a.jpg', 'a.json', 'sub/notes.md']
    assert list_others(PhotoSource(tmp_path, tmp_path, 'labels')) == ['._a.jpg', 'sub/notes.md']


def test_the_photo_of_a_tiff_is_taken_and_not_its_thumbnail(tmp_path):
    (tmp_path / 'photos').mkdir()
    with tifffile.TiffWriter(tmp_path / 'photos/a.tif') as file:
        file.write(picture(0)[::4, ::4], photometric='rgb', subfiletype=1)
        file.write(picture(1)[..., ::-1], photometric='rgb')
    prepare_photos(PhotoSource(tmp_path / 'photos'), tmp_path / 'out')
    np.testing.assert_array_equal(decode(LmdbReader(tmp_path / 'out/photos.lmdb')['a']), picture(1))


@pytest.mark.parametrize('channels', [1, 4])
def test_a_tiff_is_stored_as_deblur_reads_it(tmp_path, channels):
    (tmp_path / 'photos').mkdir()
    photo = np.concatenate([picture(1), picture(0)], -1)[..., :channels].astype(np.uint16) * 257
    kind = {'photometric': 'rgb', 'extrasamples': ['unassalpha']} if channels == 4 else {}
    tifffile.imwrite(tmp_path / 'photos/a.tif', photo[..., 0] if channels == 1 else photo, byteorder='>', **kind)
    prepare_photos(PhotoSource(tmp_path / 'photos'), tmp_path / 'out')
    reader = LmdbReader(tmp_path / 'out/photos.lmdb')
    pixels = decode(reader['a'])
    assert f'{min(channels, 3)})' in reader.lines[0]
    np.testing.assert_array_equal(pixels[..., ::-1] if channels == 4 else pixels, photo[..., :3].squeeze() // 257)


def test_a_png_with_a_long_text_keeps_its_bytes(tmp_path):
    (tmp_path / 'photos').mkdir()
    text = PngImagePlugin.PngInfo()
    text.add_text('Comment', 'a' * 3_000_000)
    Image.fromarray(picture(0)).save(tmp_path / 'photos/a.png', pnginfo=text)
    prepare_photos(PhotoSource(tmp_path / 'photos'), tmp_path / 'out')
    assert LmdbReader(tmp_path / 'out/photos.lmdb')['a'] == (tmp_path / 'photos/a.png').read_bytes()
