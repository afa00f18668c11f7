"""Blurred photos of recorded shakes, and networks scored on them: what is right scores best, and trust is followed."""

import json
import math

import numpy as np
import pytest
import torch

import basis_blur as bb
from basis_blur.foundation.errors import InputError
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo


@pytest.fixture
def recordings(tmp_path):
    """Three seconds of a hand that pitches and yaws."""
    times = np.arange(300) / 100
    rates = np.stack([0.05 * np.sin(5 * times), 0.05 * np.cos(7 * times), 0 * times], 1)
    rows = np.concatenate([np.zeros((300, 3)), rates, times[:, None]], 1)
    (tmp_path / 'rec' / 'one').mkdir(parents=True)
    np.savetxt(tmp_path / 'rec' / 'one' / 'gyro.txt', rows)
    return tmp_path / 'rec'


def test_the_sharp_photo_under_its_field_is_the_blurred_one(script, recordings, picture, tmp_path, capsys):
    write_photo(tmp_path / 'photos' / 'a.png', picture(0, 280, 300))
    write_photo(tmp_path / 'photos' / 'small.png', picture(1, 200, 300))
    out = tmp_path / 'out'
    words = [str(tmp_path / 'photos'), '--recordings', str(recordings), '-o', str(out), '--side', '264']
    assert script('hand_shakes').main(words) == 0
    assert capsys.readouterr().out == f'{out}: 1 photos.\n'
    (name,) = (path.stem for path in (out / 'blurred').iterdir())
    blurred, sharp = (read_photo(out / kind / f'{name}.png').pixels for kind in ('blurred', 'sharp'))
    field = bb.BlurField.load(out / 'fields' / f'{name}.npz')
    assert blurred.shape == sharp.shape
    assert max(blurred.shape[-2:]) <= 264
    module = script('score_unseen')
    blur = bb.BasisBlur(field) @ bb.ReplicatePad(field)
    inside = (..., slice(10, -10), slice(10, -10))
    again = bb.to_srgb(blur(bb.to_linear(sharp)))[inside]
    ones = torch.ones_like(again[:, :1])
    right = module.trusted_psnr(again, blurred[inside], ones)
    assert right > 38  # the noise is at most 0.01
    assert right > module.trusted_psnr(sharp[inside], blurred[inside], ones) + 3
    with pytest.raises(InputError, match='already exists'):
        script('hand_shakes').main(words)


def test_pixels_count_by_their_trust(script):
    psnr = script('score_unseen').trusted_psnr
    truth = torch.rand(1, 3, 8, 8)
    photo = truth.clone()
    photo[..., :4, :] += 0.1
    photo[..., 4:, :] += 0.01
    trust = torch.ones(1, 1, 8, 8)
    assert psnr(photo, truth, trust) == pytest.approx(-10 * math.log10((0.01 + 0.0001) / 2))
    trust[..., :4, :] = 0
    assert psnr(photo, truth, trust) == pytest.approx(40)
    assert psnr(photo, truth, trust / 3) == pytest.approx(40)


def test_networks_are_scored_on_guesses_that_are_trusted(script, weights, ufpnet, picture, tmp_path, capsys):
    folder = tmp_path / 'guesses'
    for name, trust in (('good', 0.5), ('bad', 0.0)):
        photo = picture(0, 48, 48)
        write_photo(folder / 'blurred' / f'{name}.png', photo)
        write_photo(folder / 'guess' / f'{name}.png', photo)
        write_photo(folder / 'trust' / f'{name}.png', torch.full_like(photo[:, :1], trust))
        (folder / 'told').mkdir(exist_ok=True)
        (folder / 'told' / f'{name}.json').write_text(json.dumps({'trust': trust, 'mean_trust': trust}))
    out = tmp_path / 'record.json'
    torch.set_default_dtype(torch.float32)
    assert script('score_unseen').main([str(folder), str(weights), str(ufpnet), '--json', str(out)]) == 0
    record = json.loads(out.read_text())
    assert [row['photo'] for row in record['photos']] == ['good']
    assert record['means']['tiny'].keys() == {'reblur'}
    assert record['means']['ufpnet'].keys() == {'gain', 'worst', 'lose'}
    assert 'ufpnet' in capsys.readouterr().out


def test_folders_of_other_things_are_refused(script, weights, tmp_path):
    with pytest.raises(InputError, match='holds no guesses'):
        script('score_unseen').main([str(tmp_path), str(weights)])
