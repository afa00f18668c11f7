"""Samples are cut, turned and blurred consistently, never repeat in training, and repeat exactly with their seed."""

import io
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate

from basis_blur.data import synthetic_blur_dataset
from basis_blur.data.kernel_lmdb import KernelLmdb, KernelRecipe, prepare_kernels
from basis_blur.data.lmdb_store import LmdbWriter
from basis_blur.data.photo_lmdb import PhotoSource, prepare_photos
from basis_blur.data.synthetic_blur_dataset import SyntheticBlurDataset
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import OptionError
from basis_blur.simulation.scene_blur import blur_scene

PHOTOS, HEIGHT, WIDTH, PATCH, KERNEL = 5, 40, 60, 20, 9
SIDE = PATCH + KERNEL - 1
STEP = 4


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Photos whose red tells the row, green the column and blue the object; their masks; both as LMDB; kernels."""
    root = tmp_path_factory.mktemp('data')
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for name in ('photos', 'masks'):
        (root / name).mkdir()
    for number in range(PHOTOS):
        labels = (rows // 10 + number) % 3 + 3 * (columns // 30)
        photo = np.stack([STEP * rows, STEP * columns, 30 * labels + number], axis=2).astype(np.uint8)
        Image.fromarray(photo).save(root / f'photos/p{number}.png')
        Image.fromarray(labels.astype(np.uint8)).save(root / f'masks/p{number}.png')
    prepare_photos(PhotoSource(root / 'photos', root / 'masks', 'labels'), root)
    prepare_kernels(root / 'kernels.lmdb', KernelRecipe(20, KERNEL))
    return root


def options(folder, **changes):
    return {
        'name': 'toy', 'type': 'SyntheticBlurDataset', 'phase': 'train', 'batch_size_per_gpu': 2,
        'dataroot_gt': str(folder / 'photos.lmdb'), 'dataroot_masks': str(folder / 'masks.lmdb'),
        'dataroot_kernels': str(folder / 'kernels.lmdb'), 'io_backend': {'type': 'lmdb'},
        'kernel_size': KERNEL, 'patch_size': PATCH, 'min_object_pixels': 1, 'max_objects': 5, **changes,
    }  # fmt: skip


def dataset(folder, **changes):
    return SyntheticBlurDataset(options(folder, **changes))


def ingredients(folder, **changes):
    return dataset(folder, synthesis='device', **changes)


def on_disk(folder, form='labels'):
    return {
        'dataroot_gt': str(folder / 'photos'), 'dataroot_masks': str(folder / 'masks') if form != 'none' else None,
        'mask_format': form, 'io_backend': {'type': 'disk'},
    }  # fmt: skip


def test_a_sample_is_a_photo_with_its_blur(folder):
    sample = dataset(folder)[2]
    assert sample['lq'].shape == (3, PATCH, PATCH)
    assert sample['gt'].shape == (3, SIDE, SIDE)
    assert sample['weight'].shape == (1, PATCH, PATCH)
    assert sample['key'] == sample['lq_path'] == 'p2'
    field = BlurField(sample['kernels'][None], sample['mixing'][None])
    assert len(sample['kernels']) == 6
    assert field.scene_size == (SIDE, SIDE)


def test_the_window_is_a_piece_of_the_photo_in_the_order_red_green_blue(folder):
    sharp = ingredients(folder, use_hflip=False, use_rot=False)[3]['sharp'].int()
    assert sharp.shape == (3, SIDE, SIDE)
    top, left = sharp[0, 0, 0] // STEP, sharp[1, 0, 0] // STEP
    with Image.open(folder / 'photos/p3.png') as photo:
        expected = torch.from_numpy(np.array(photo)).int()[top : top + SIDE, left : left + SIDE]
    assert torch.equal(sharp.permute(1, 2, 0), expected)


def test_every_window_of_a_photo_can_come(folder):
    data = ingredients(folder, use_hflip=False, use_rot=False)
    corners = {tuple((data[0]['sharp'][:2, 0, 0] // STEP).tolist()) for _ in range(300)}
    assert {row for row, _ in corners} == set(range(HEIGHT - SIDE + 1))
    assert {column for _, column in corners} == set(range(WIDTH - SIDE + 1))


def test_labels_are_turned_with_their_photo(folder):
    data = ingredients(folder)
    for _ in range(20):
        sample = data[1]
        pairs = torch.stack([sample['sharp'][2].flatten(), sample['labels'].flatten()], dim=1).unique(dim=0)
        # A function in both directions, but for the two regions that have become one background.
        for column in (0, 1):
            kept = pairs[pairs[:, 1] > 0]
            assert len(kept[:, column].unique()) == len(kept)


def orientations(data):
    found = set()
    for _ in range(100):
        sharp = data[0]['sharp'].int()
        down, right = sharp[:, 1, 0] - sharp[:, 0, 0], sharp[:, 0, 1] - sharp[:, 0, 0]
        found.add((*down[:2].sign().tolist(), *right[:2].sign().tolist()))
    return found


def test_mirrors_and_turns_are_those_that_are_asked_for(folder):
    upright, mirrored, upset = (1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, 1)
    assert orientations(ingredients(folder, use_hflip=False, use_rot=False)) == {upright}
    assert orientations(ingredients(folder, use_rot=False)) == {upright, mirrored}
    assert {upright, upset, (0, 1, 1, 0)} < orientations(ingredients(folder, use_hflip=False))
    assert len(orientations(ingredients(folder))) == 8
    assert orientations(ingredients(folder, phase='val')) == {upright}


def test_objects_are_few_and_large_as_asked(folder):
    for _ in range(10):
        assert ingredients(folder, max_objects=2)[0]['labels'].max() == 2
        assert ingredients(folder, min_object_pixels=SIDE**2)[0]['labels'].max() == 0
        assert ingredients(folder, dataroot_masks=None)[0]['labels'].max() == 0


def test_kernels_come_from_their_lmdb(folder):
    known = KernelLmdb(folder / 'kernels.lmdb')
    sample = ingredients(folder)[0]
    objects = int(sample['labels'].max())
    for kernel in sample['kernels'][: objects + 1]:
        assert any(np.array_equal(kernel.numpy(), other) for other in known)


def test_kernels_are_drawn_where_there_is_no_lmdb(folder):
    kernels = ingredients(folder, dataroot_kernels=None)[0]['kernels']
    assert kernels.shape == (6, KERNEL, KERNEL)
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(6, dtype=kernels.dtype))
    assert len(kernels.flatten(1).unique(dim=0)) > 1


def test_half_of_the_objects_move_by_themselves(folder, monkeypatch):
    still = np.zeros((KERNEL, KERNEL), np.float32)
    still[0, 0] = 1
    monkeypatch.setattr(synthetic_blur_dataset, 'motion_kernel', lambda generator, size: still)
    data = ingredients(folder, dataroot_kernels=None)
    corners = []
    for index in range(40):
        sample = data[index % PHOTOS]
        corners += sample['kernels'][1 : int(sample['labels'].max()) + 1, 0, 0].tolist()
        assert sample['kernels'][0, 0, 0] == 0
    assert 0.35 < np.mean(corners) < 0.65


def test_illumination_and_noise_stay_in_their_ranges(folder):
    data = ingredients(folder, illumination=[0.7, 0.8], noise_std=['1e-2', 0.02])
    for name, low, high in (('illumination', 0.7, 0.8), ('noise_std', 0.01, 0.02)):
        values = torch.stack([data[0][name] for _ in range(50)])
        assert low <= values.min() < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < values.max() <= high


def test_photos_are_scaled_by_factors_of_the_range(folder):
    data = ingredients(folder, resize=[1.0, 2.0])
    slopes = []  # of the red, which rises by STEP a row; a mirrored window's falls, a transposed one's is flat
    for _ in range(60):
        sharp = data[0]['sharp'][0].float()
        slopes.append(max(sharp.diff(dim=dim).mean().abs().item() for dim in (0, 1)))
    assert STEP / 2 <= min(slopes) < 0.6 * STEP
    assert 0.9 * STEP < max(slopes) < 1.1 * STEP
    assert np.median(slopes) == pytest.approx(STEP / 2**0.5, rel=0.1)


def test_the_still_share_is_that_of_points_among_kernels(folder):
    data = ingredients(folder, still_share=0.3)
    point = torch.zeros(KERNEL, KERNEL)
    point[KERNEL // 2, KERNEL // 2] = 1
    still = []
    for _ in range(100):
        sample = data[0]
        still += [torch.equal(kernel, point) for kernel in sample['kernels'][: int(sample['labels'].max()) + 1]]
    assert len(still) > 200
    assert np.mean(still) == pytest.approx(0.3, abs=0.12)


def test_a_clean_photo_has_no_photon_noise_either(folder):
    samples = ingredients(folder, photons=[50, 60], clean_share=1.0)
    assert samples[0]['photons'] == 0


def test_samples_of_a_seed_do_not_depend_on_options_that_are_off(folder):
    torch.manual_seed(3)
    plain = ingredients(folder)[0]
    torch.manual_seed(3)
    named = ingredients(folder, resize=[1.0, 1.0], still_share=0.0, jpeg_quality=None, clean_share=0.0)[0]
    assert all(torch.equal(plain[name], named[name]) for name in ('sharp', 'labels', 'kernels', 'noise_seed'))


def test_jpeg_is_what_a_camera_writes_of_the_blurred_photo_alone(folder):
    def sample(**changes):
        torch.manual_seed(3)
        return dataset(folder, noise_std=[0.0, 0.0], **changes)[0]

    plain, good, poor = sample(), sample(jpeg_quality=[100, 100]), sample(jpeg_quality=[5, 5])
    for name in ('gt', 'kernels', 'mixing', 'weight'):
        assert torch.equal(plain[name], poor[name])
    pixels = (plain['lq'].clamp(0, 1) * 255).round().byte().movedim(0, 2).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', quality=5, subsampling='4:2:0')
    expected = torch.from_numpy(np.array(Image.open(file))).movedim(2, 0) / 255
    # Two encoders round differently.
    assert (poor['lq'] - expected).abs().mean() < 0.01 < (poor['lq'] - plain['lq']).abs().mean()
    assert (good['lq'] - plain['lq']).abs().mean() < 0.01
    assert torch.equal(good['lq'] * 255, (good['lq'] * 255).round())


def test_the_clean_share_has_neither_noise_nor_jpeg(folder):
    def quality_loss(sample):  # of a sharp photo as it is: with kernels that are points, lq is its middle
        return (sample['lq'] - sample['gt'][..., 4:-4, 4:-4].clamp(0, 1)).abs().mean().item()

    torch.manual_seed(3)
    data = dataset(
        folder, still_share=1.0, illumination=[1.0, 1.0], noise_std=[0.05, 0.05], jpeg_quality=[60, 60], clean_share=0.3
    )
    losses = np.array([quality_loss(data[0]) for _ in range(100)])
    clean = losses < 1e-4  # there and back through the gamma
    assert clean.mean() == pytest.approx(0.3, abs=0.12)
    assert losses[~clean].min() > 0.01


def test_other_generators_choices_are_drawn_as_asked(folder):
    few = dataset(folder, samples_per_epoch=40, photons=[100, 400], light_sources=3, divide_masks=False)
    drawn = [ingredients(folder, samples_per_epoch=40, **{key: few.opt[key] for key in (
        'photons', 'light_sources', 'divide_masks')})[number] for number in range(40)]  # fmt: skip
    photons = torch.stack([sample['photons'] for sample in drawn])
    assert 100 <= photons.min() < 150
    assert 300 < photons.max() <= 400
    lamps = torch.stack([sample['lamps'] for sample in drawn])
    assert {int(count) for count in (lamps[..., 2] > 0).sum(1)} == {0, 1, 2, 3}
    lit = lamps[lamps[..., 2] > 0]
    assert (lit[:, :2] < SIDE).all()
    assert (lit[:, 3] >= 2).all()
    sums = torch.stack([few[number]['mixing'].sum(0) for number in range(8)])
    assert (sums - 1).abs().max() > 0.05


def test_blurring_later_in_a_batch_gives_the_same_numbers(folder):
    settings = {'noise_std': [0.01, 0.02], 'gamma': 1.8}
    torch.manual_seed(3)
    early = default_collate([dataset(folder, **settings)[index] for index in range(3)])
    torch.manual_seed(3)
    late = blur_scene(default_collate([ingredients(folder, **settings)[index] for index in range(3)]), gamma=1.8)
    for name, value in late.items():
        torch.testing.assert_close(value, early[name], rtol=0, atol=1e-6)


def digest(batches):
    return [(tuple(batch['key']), *batch['noise_seed'].tolist()) for batch in batches]


def run(folder, workers, epochs=2, manual_seed=7, persistent=False, **changes):
    """What the epochs of a training hold, with the worker seeds that BasicSR gives."""

    def as_basicsr_does(worker):
        np.random.seed(worker)  # noqa: NPY002, these are the generators that BasicSR seeds
        random.seed(worker)

    torch.manual_seed(manual_seed)
    data = ingredients(folder, **changes)
    loader = DataLoader(
        data, 1, num_workers=workers, worker_init_fn=as_basicsr_does, persistent_workers=persistent, shuffle=False
    )
    return [digest(loader) for _ in range(epochs)]


@pytest.mark.parametrize(('workers', 'persistent'), [(0, False), (2, False), (2, True)])
def test_epochs_differ_and_runs_agree(folder, workers, persistent):
    first = run(folder, workers, persistent=persistent)
    seeds = [seed for epoch in first for _, seed in epoch]
    assert len(set(seeds)) == 2 * PHOTOS
    assert run(folder, workers, persistent=persistent) == first


@pytest.mark.parametrize('change', [{'manual_seed': 8}, {'seed': 1}])
def test_ranks_and_sets_of_another_seed_differ(folder, change):
    other, here = run(folder, 0, 1, **change), run(folder, 0, 1)
    assert not {seed for _, seed in other[0]} & {seed for _, seed in here[0]}


def test_a_resumed_training_does_not_begin_with_the_same_draws(folder):
    seeds = []
    for index in range(2):
        torch.manual_seed(7)
        seeds.append(ingredients(folder)[index]['noise_seed'])
    assert seeds[0] != seeds[1]


def test_validation_is_the_same_every_time(folder):
    first, second = run(folder, 0, phase='val')
    assert first == second
    assert run(folder, 0, manual_seed=99, phase='val') == [first, first]
    assert run(folder, 2, phase='val')[0] == first
    assert digest([default_collate([ingredients(folder, phase='val')[3]])]) == first[3:4]


def test_lmdb_and_folder_give_the_same_samples(folder):
    torch.manual_seed(5)
    from_lmdb = dataset(folder)[4]
    torch.manual_seed(5)
    from_folder = dataset(folder, **on_disk(folder))[4]
    assert Path(from_folder.pop('key')).stem == from_lmdb['key']
    for name in ('lq', 'gt', 'mixing'):
        assert torch.equal(from_folder[name], from_lmdb[name])


def test_the_length_of_an_epoch_can_be_chosen(folder):
    assert len(dataset(folder)) == PHOTOS
    long = ingredients(folder, samples_per_epoch=60)
    assert len(long) == 60
    assert {long[index]['key'] for index in range(60)} == {f'p{number}' for number in range(PHOTOS)}
    short = ingredients(folder, samples_per_epoch=2, phase='val')
    assert [short[index]['key'] for index in range(2)] == ['p0', 'p2']
    with pytest.raises(IndexError):
        short[2]


def test_small_photos_are_enlarged_with_a_warning(folder):
    with pytest.warns(UserWarning, match='5 of 5 photos have less than the 68 pixels'):
        data = ingredients(folder, patch_size=60)
    assert data[0]['sharp'].shape == (3, 68, 68)


def test_labels_are_enlarged_with_their_photo(tmp_path):
    labels = np.zeros((20, 30), np.uint8)
    labels[3:9, 2:7] = 9
    for name, values in (('photos/a.png', np.dstack([labels * 20] * 3)), ('masks/a.png', labels)):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(values).save(tmp_path / name)
    with pytest.warns(UserWarning, match='enlarged'):
        data = ingredients(tmp_path, **on_disk(tmp_path), patch_size=60, dataroot_kernels=None)
    while not (sample := data[0])['labels'].any():  # the window may miss the object
        pass
    assert sample['labels'].max() == 1
    assert ((sample['sharp'][0] > 90) == (sample['labels'] == 1)).float().mean() > 0.99


def test_enlarging_makes_no_new_labels():
    labels = np.zeros((20, 30), np.uint8)
    labels[3:9, 2:7] = 9
    photo, enlarged = synthetic_blur_dataset._resize(np.dstack([labels] * 3), labels, 1.0, 68)
    assert photo.shape == (68, 102, 3)
    assert set(np.unique(enlarged)) == {0, 9}


def test_no_warning_where_photos_are_large_enough(folder):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        dataset(folder)
        dataset(folder, **on_disk(folder))


@pytest.mark.parametrize(
    ('changes', 'found'),
    [
        ({'patch_sise': 3}, 'unknown key "patch_sise".*"patch_size"'),
        ({'dataroot_gt': '/nowhere'}, 'does not exist'),
        ({'mask_format': 'voc'}, '"mask_format" is \'voc\''),
        ({'mask_format': 'coco'}, 'an LMDB holds label maps'),
        ({'io_backend': {'type': 'memcached'}}, "type 'memcached', expected disk or lmdb"),
        ({'kernel_size': 11}, '"kernel_size" is 11, but the kernels in .* have 9'),
        ({'kernel_size': 8}, 'expected an odd number'),
        ({'patch_size': 0}, 'expected at least 1'),
        ({'max_objects': 256}, '"max_objects" is 256, expected 0 to 255'),
        ({'gamma': 0}, '"gamma" is 0'),
        ({'synthesis': 'gpu'}, "one of 'worker', 'device'"),
        ({'illumination': [0, 1]}, r'"illumination" is \[0, 1\], expected two numbers'),
        ({'illumination': [2, 1]}, 'low <= high'),
        ({'noise_std': [0.1]}, 'expected two numbers'),
        ({'noise_std': ['a', 'b']}, 'expected two numbers'),
        ({'resize': [0, 1]}, r'"resize" is \[0, 1\], expected two numbers'),
        ({'still_share': 1.5}, '"still_share" is 1.5, expected 0 to 1'),
        ({'clean_share': -0.1}, '"clean_share" is -0.1, expected 0 to 1'),
        ({'jpeg_quality': [50, 101]}, '1 <= low <= high <= 100'),
        ({'jpeg_quality': [0, 90]}, '1 <= low <= high <= 100'),
        ({'jpeg_quality': [50, 90], 'synthesis': 'device'}, 'needs synthesis: worker'),
    ],
)
def test_wrong_options_are_named(folder, changes, found):
    with pytest.raises(OptionError, match=found):
        dataset(folder, **changes)


def test_masks_without_a_format_are_refused(folder):
    with pytest.raises(InputError, match='name their format'):
        dataset(folder, **{**on_disk(folder), 'mask_format': None})


def lmdb(path, entries):
    with LmdbWriter(path, {}) as writer:
        for key, value in entries.items():
            writer.put(key.encode(), value, f'{key}.png ({HEIGHT},{WIDTH},3) 0')
        writer.finish()
    return str(path)


def test_masks_of_other_photos_are_refused(folder, tmp_path):
    masks = lmdb(tmp_path / 'masks.lmdb', {'q': (folder / 'masks/p0.png').read_bytes()})
    with pytest.raises(InputError, match='has 5 photos and .* has 1 masks, and "p0" is in one of them only'):
        dataset(folder, dataroot_masks=masks)


def test_a_mask_of_another_size_is_named_with_both_sizes(folder, tmp_path):
    Image.fromarray(np.zeros((7, 8), np.uint8)).save(tmp_path / 'a.png')
    photos = lmdb(tmp_path / 'photos.lmdb', {'a': (folder / 'photos/p0.png').read_bytes()})
    masks = lmdb(tmp_path / 'masks.lmdb', {'a': (tmp_path / 'a.png').read_bytes()})
    with pytest.raises(InputError, match='mask "a" of .*masks.lmdb has 8x7 pixels, but .*photos.lmdb has 60x40'):
        dataset(folder, dataroot_gt=photos, dataroot_masks=masks)[0]


@pytest.mark.parametrize('content', [b'', b'no photo'])
def test_a_damaged_photo_is_named(folder, tmp_path, content):
    photos = lmdb(tmp_path / 'photos.lmdb', {'a': content})
    with pytest.raises(InputError, match=r'entry "a" of .*photos\.lmdb cannot be read'):
        dataset(folder, dataroot_gt=photos, dataroot_masks=None)[0]


def test_real_photos_make_samples(shared_data):
    root = shared_data / 'photos/coco128'
    data = SyntheticBlurDataset(
        {
            'dataroot_gt': str(root / 'images'), 'dataroot_masks': str(root / 'instances_train2017.json'),
            'mask_format': 'coco', 'patch_size': 96, 'phase': 'val', 'samples_per_epoch': 6,
        }
    )  # fmt: skip
    samples = [data[index] for index in range(6)]
    assert all(torch.isfinite(sample['lq']).all() for sample in samples)
    assert sum(int((sample['mixing'].amax((1, 2)) > 0.5).sum()) for sample in samples) > 6
