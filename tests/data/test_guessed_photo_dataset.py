"""Windows of the blurred photo, the guess and its trust are those of the same place, and what is not trusted is out."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from basis_blur.data.guessed_photo_dataset import GuessedPhotoDataset
from basis_blur.data.sample_stream import Draw, SeededDataset
from basis_blur.foundation.errors import InputError


def write_guess(folder, name, trust, size=(40, 50)):
    """Guesses that tell their place: red is the row, green the column; trust is the row too."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.uint8)
    guess = np.stack([rows, columns, 0 * rows], 2)
    for kind, pixels in (('blurred', guess + np.uint8([0, 0, 9])), ('guess', guess), ('trust', rows)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f'{name}.png')
    (folder / 'told').mkdir(exist_ok=True)
    told = {'trust': trust, 'mean_trust': trust, 'size': list(size)}
    (folder / 'told' / f'{name}.json').write_text(json.dumps(told))


@pytest.fixture
def folder(tmp_path):
    write_guess(tmp_path, 'good', 0.5)
    write_guess(tmp_path, 'bad', 0.01)
    return tmp_path


def opened(folder, **options):
    return GuessedPhotoDataset({
        'dataroot': str(folder), 'patch_size': 16, 'kernel_size': 5, 'phase': 'train', **options
    })  # fmt: skip


def test_the_three_show_one_place_and_the_guess_has_a_border(folder):
    dataset = opened(folder, samples_per_epoch=20)
    turned = set()
    for index in range(20):
        sample = dataset[index]
        lq, gt, trust = sample['lq'], sample['gt'], sample['trust']
        assert (lq.shape, gt.shape, trust.shape) == ((3, 16, 16), (3, 20, 20), (1, 16, 16))
        torch.testing.assert_close(lq[:2], gt[:2, 2:-2, 2:-2])
        torch.testing.assert_close(trust[0], gt[0, 2:-2, 2:-2])
        turned.add((gt[0, 1, 0] > gt[0, 0, 0]).item())
    assert len(turned) == 2  # upright, and upside down or turned to the side


def test_what_is_not_trusted_is_not_trained_on_and_is_validated_whole(folder):
    assert [sample['key'] for sample in map(opened(folder).__getitem__, range(1))] == ['good']
    assert len(opened(folder)) == 1
    whole = opened(folder, phase='val')
    assert [whole[index]['key'] for index in range(len(whole))] == ['bad', 'good']
    assert whole[0]['lq'].shape == whole[0]['gt'].shape == (3, 40, 50)


def test_a_draw_alone_decides_on_the_window(folder):
    dataset = SeededDataset(opened(folder, samples_per_epoch=4))
    first, again, other = (dataset[Draw(0, entropy)]['gt'] for entropy in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nothing_trusted_small_photos_and_missing_files_are_told(folder, tmp_path):
    with pytest.raises(InputError, match=r'none of the 2 guesses in .* has a mean trust of 0\.6'):
        opened(folder, least_trust=0.6)
    with pytest.raises(InputError, match='50x40 pixels, but a sample takes 44x44'):
        opened(folder, patch_size=40)
    with pytest.raises(InputError, match='holds no guesses; make them by "basis-blur prep-guesses'):
        opened(tmp_path / 'guess')
    (folder / 'guess' / 'good.png').unlink()
    with pytest.raises(InputError, match=r'good\.png is missing; delete'):
        opened(folder)[0]
