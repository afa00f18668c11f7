"""A folder of blurred photos becomes guesses: whole or not at all, and an interrupted preparation goes on."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import basis_blur as bb
from basis_blur.data.guesses import GuessFiles, names_in, prepare_guesses, read_told
from basis_blur.deblurring.deblurrer import Deblurrer
from basis_blur.estimation.estimate import Estimate
from basis_blur.estimation.shake.search import ShakeEstimate
from basis_blur.field.removal import Removal
from basis_blur.foundation.errors import InputError


def estimator(photo, gamma, progress=None):
    """One kernel, trusted unless the photo is dark."""
    kernel = photo.new_zeros(5, 5)
    kernel[2, 1:4] = 1 / 3
    field = bb.BlurField(kernel[None, None], photo.new_ones(1, 1, *photo.shape[-2:]))
    if photo.mean() < 0.3:
        return Estimate(field, 'network', Removal(2))
    return ShakeEstimate(field, 'shake', Removal(2), confidence=1.0, kernel=kernel, share_of_wrong=0.2)


DEBLURRER = Deblurrer(estimator, judge=lambda *_: ())


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, most in (('a.png', 200), ('b.jpg', 40)):
        Image.fromarray(generator.integers(0, most, (30, 40, 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_each_photo_gets_its_guess_and_trust(photos, tmp_path):
    out = tmp_path / 'out'
    result = prepare_guesses(photos, out, DEBLURRER)
    assert (result.photos, result.resumed, result.trusted, result.bad) == (2, 0, 1, {})
    assert names_in(out) == ['a', 'b']
    a, b = (GuessFiles.of(out, name) for name in 'ab')
    assert Image.open(a.guess).size == Image.open(a.trust).size == (40, 30)
    assert np.array_equal(np.array(Image.open(a.blurred)), np.array(Image.open(photos / 'a.png')))
    assert np.array(Image.open(a.trust)).max() > 128
    # What is not trusted is not restored.
    assert np.array(Image.open(b.trust)).max() == 0
    assert np.array_equal(np.array(Image.open(b.guess)), np.array(Image.open(b.blurred)))
    assert read_told(a.told)['source'] == 'shake'
    assert read_told(b.told)['trust'] == 0


def test_an_interrupted_preparation_does_the_rest(photos, tmp_path):
    out = tmp_path / 'out'

    def stop_after_one(names, total, done):
        yield next(iter(names))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_guesses(photos, out, DEBLURRER, watch=stop_after_one)
    assert names_in(out) == ['a']
    before = GuessFiles.of(out, 'a').told.stat().st_mtime_ns
    assert prepare_guesses(photos, out, DEBLURRER).resumed == 1
    assert names_in(out) == ['a', 'b']
    assert GuessFiles.of(out, 'a').told.stat().st_mtime_ns == before


def test_what_a_killed_process_left_is_removed(photos, tmp_path):
    prepare_guesses(photos, tmp_path / 'out', DEBLURRER)
    left = tmp_path / 'out' / 'guess' / '.a.0123abcd.partial.png'
    left.touch()
    prepare_guesses(photos, tmp_path / 'out', DEBLURRER)
    assert not left.exists()
    assert not (tmp_path / 'out' / '.lock').exists()


def test_large_photos_are_made_smaller(photos, tmp_path):
    prepare_guesses(photos, tmp_path / 'out', DEBLURRER, longest_side=20)
    files = GuessFiles.of(tmp_path / 'out', 'a')
    assert {Image.open(path).size for path in files[:3]} == {(20, 15)}


def test_photos_of_another_gamma_are_brought_to_that_of_the_training(photos, tmp_path):
    linear = bb.to_linear(torch.full((1, 3, 30, 40), 0.5))
    from basis_blur.photos.photo import Photo
    from basis_blur.photos.writing import write_photo

    write_photo(photos / 'c.tif', linear.float(), Photo(linear.float(), bits=16))
    prepare_guesses(photos, tmp_path / 'out', DEBLURRER, gamma=1.0)
    assert np.array(Image.open(GuessFiles.of(tmp_path / 'out', 'c').blurred)).mean() == pytest.approx(
        255 * linear[0, 0, 0, 0].item(), abs=1
    )


def test_guesses_made_otherwise_are_not_mixed(photos, tmp_path):
    prepare_guesses(photos, tmp_path / 'out', DEBLURRER)
    with pytest.raises(InputError, match=r'longest side None, not .* longest side 20; name another folder'):
        prepare_guesses(photos, tmp_path / 'out', DEBLURRER, longest_side=20)


def test_a_folder_of_other_things_is_left_as_it_is(photos, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'mine.txt').touch()
    with pytest.raises(InputError, match='is not empty and holds no guesses'):
        prepare_guesses(photos, tmp_path / 'out', DEBLURRER)


def test_damaged_photos_are_left_out_with_a_reason(photos, tmp_path):
    (photos / 'c.png').write_bytes(b'nothing')
    result = prepare_guesses(photos, tmp_path / 'out', DEBLURRER)
    assert result.photos == 2
    assert list(result.bad) == ['c.png']
    assert 'c.png' in result.bad['c.png']


def test_two_photos_of_one_name_and_empty_folders_are_refused(photos, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match='there is no photo in'):
        prepare_guesses(tmp_path / 'empty', tmp_path / 'out', DEBLURRER)
    Image.open(photos / 'a.png').save(photos / 'a.jpg')
    with pytest.raises(InputError, match='differ by their suffix alone'):
        prepare_guesses(photos, tmp_path / 'out', DEBLURRER)


def test_a_damaged_record_is_named(photos, tmp_path):
    prepare_guesses(photos, tmp_path / 'out', DEBLURRER)
    told = GuessFiles.of(tmp_path / 'out', 'a').told
    told.write_text(json.dumps({'trust': 'much'}))
    with pytest.raises(InputError, match=r'a\.json is no record of a guess'):
        read_told(told)
