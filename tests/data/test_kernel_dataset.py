"""The kernels of an LMDB as they are, turned in training only, and split without overlap."""

import numpy as np
import pytest
import torch

from basis_blur.data.kernel_dataset import KernelDataset
from basis_blur.data.kernel_lmdb import KernelLmdb, KernelRecipe, prepare_kernels
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import OptionError


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('kernels') / 'a.lmdb'
    prepare_kernels(path, KernelRecipe(count=30, kernel_size=7))
    return path


def test_training_and_validation_share_all_kernels_and_overlap_in_none(folder):
    plain = {'dataroot': str(folder), 'use_hflip': False, 'use_rot': False, 'hold_out': 8}
    sets = [KernelDataset({**plain, 'phase': phase}) for phase in ('train', 'val')]
    assert [len(each) for each in sets] == [22, 8]
    samples = [each[index] for each in sets for index in range(len(each))]
    assert [sample['key'] for sample in samples] == [f'{number:08d}' for number in range(30)]
    stored = KernelLmdb(folder)
    for number, sample in enumerate(samples):
        assert sample['kernel'].dtype == torch.float32
        assert np.array_equal(sample['kernel'].numpy(), stored[number])
    assert len(KernelDataset({'dataroot': str(folder), 'phase': 'val'})) == 30


def test_training_shows_a_kernel_in_all_eight_poses_and_validation_in_one(folder):
    stored = KernelLmdb(folder)[3]
    poses = {np.rot90(pose, turns).tobytes() for pose in (stored, stored[::-1]) for turns in range(4)}
    train, val = (KernelDataset({'dataroot': str(folder), 'phase': phase}) for phase in ('train', 'val'))
    assert {train[3]['kernel'].numpy().tobytes() for _ in range(200)} == poses
    assert {val[3]['kernel'].numpy().tobytes() for _ in range(20)} == {stored.tobytes()}
    mirrored = KernelDataset({'dataroot': str(folder), 'phase': 'train', 'use_rot': False})
    assert {mirrored[3]['kernel'].numpy().tobytes() for _ in range(50)} == {stored.tobytes(), stored[:, ::-1].tobytes()}


def test_a_spread_sample_reaches_from_the_first_to_the_last(folder):
    dataset = KernelDataset({'dataroot': str(folder), 'phase': 'train', 'hold_out': 5})
    stored = KernelLmdb(folder)
    assert np.array_equal(dataset.spread(3).numpy(), np.stack([stored[number] for number in (0, 12, 24)]))
    assert len(dataset.spread()) == 25


@pytest.mark.parametrize(
    ('changes', 'found'),
    [
        ({'hold_out': 30}, '"hold_out" is 30, expected 0 to 29'),
        ({'holdout': 3}, 'unknown key "holdout"'),
        ({'io_backend': {'type': 'disk'}}, "type 'disk', expected lmdb"),
        ({'dataroot': 'nowhere.lmdb'}, 'does not exist'),
    ],
)
def test_wrong_options_are_named(folder, changes, found):
    with pytest.raises(OptionError, match=found):
        KernelDataset({'dataroot': str(folder), **changes})


def test_a_folder_without_kernels_is_an_input_error(tmp_path):
    with pytest.raises(InputError):
        KernelDataset({'dataroot': str(tmp_path)})
