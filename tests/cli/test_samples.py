"""basis-blur samples: a row for each sample, the same for the same seed."""

import cv2
import numpy as np
import pytest

from basis_blur.cli.main import main

OPTIONS = """
datasets:
  train:
    {name: a, type: SyntheticBlurDataset, dataroot_gt: photos, dataroot_masks: masks, mask_format: labels,
     patch_size: 48, kernel_size: 9, min_object_pixels: 20, noise_std: [0, 1e-2]}
  val: {name: b, type: KernelDataset, dataroot: none}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name in ('photos', 'masks'):
        (tmp_path / name).mkdir()
    for index in range(2):
        rough = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        cv2.imwrite(f'photos/{index}.png', cv2.resize(rough, (80, 80), interpolation=cv2.INTER_CUBIC))
        mask = np.zeros((80, 80), np.uint8)
        mask[20:60, 20:60] = 1
        cv2.imwrite(f'masks/{index}.png', mask)
    (tmp_path / 'a.yml').write_text(OPTIONS)
    return tmp_path


def test_a_seed_draws_the_same_samples(folder, capsys):
    pictures = {}
    for name, options in {'a': [], 'b': [], 'seed': ['--seed', '1'], 'more': ['-n', '3']}.items():
        assert main(['samples', 'a.yml', '-o', f'{name}.png', '-n', '2', *options]) == 0
        pictures[name] = cv2.imread(f'{name}.png')
    assert 'a.png: 2 samples of "train" of a.yml, of 2 an epoch.' in capsys.readouterr().out
    np.testing.assert_array_equal(pictures['a'], pictures['b'])
    assert not np.array_equal(pictures['a'], pictures['seed'])
    assert 2 * len(pictures['more']) == 3 * len(pictures['a'])
    # The object has a colour of its own among the masks.
    reddish = (pictures['a'][..., 2] > 200) & (pictures['a'][..., 1] < 100) & (pictures['a'][..., 0] < 80)
    assert reddish.sum() > 1000


@pytest.mark.parametrize(
    ('options', 'found'),
    [
        (['--set', 'val'], 'is a KernelDataset, expected a SyntheticBlurDataset'),
        (['--set', 'test'], 'has no data set "test"; it has train, val'),
        (['-n', '0'], '--number is 0, expected 1 to 100'),
        (['-o', 'a.txt'], 'expected .png or .jpg'),
        (['--seed', '-1'], '--seed is -1'),
        (['--force_yml', 'datasets:train:dataroot_gt=nowhere'], 'nowhere'),
    ],
)
def test_what_cannot_be_drawn_is_told(folder, capsys, options, found):
    assert main(['samples', 'a.yml', '-o', 'out.png', *options]) == 2
    assert found in capsys.readouterr().err
    assert not (folder / 'out.png').exists()
