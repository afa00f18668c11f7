"""Data sets are built and judged before a run leaves a trace, and a photo that cannot be used is named."""

import copy
import types

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import basis_blur.plugin  # noqa: F401
from basis_blur.bridges.basicsr import data_check, data_sets
from basis_blur.foundation.errors import InputError

from basicsr.data.paired_image_dataset import PairedImageDataset  # isort: skip


@pytest.fixture(autouse=True)
def _nothing_opened(monkeypatch):
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(data_check._Opened, 'sets', [])


@pytest.fixture
def folders(tmp_path):
    """Folders lq and gt; `folders(a=(48, 40), ...)` writes pairs, `.names` changes them."""
    generator = np.random.default_rng(0)
    for side in ('lq', 'gt'):
        (tmp_path / side).mkdir()
        for name in 'ab':
            photo = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / side / f'{name}.png'), photo)
    return tmp_path


@pytest.fixture
def opt(folders):
    """Options of a training on these pairs, as BasicSR's reader returns them."""
    section = {
        'name': 'pairs', 'type': 'PairedImageDataset', 'phase': 'train', 'scale': 1,
        'dataroot_lq': str(folders / 'lq'), 'dataroot_gt': str(folders / 'gt'), 'io_backend': {'type': 'disk'},
        'gt_size': 32, 'use_hflip': False, 'use_rot': False, 'batch_size_per_gpu': 1, 'num_worker_per_gpu': 0,
    }  # fmt: skip
    return {'datasets': {'train': section}, 'num_gpu': 0, 'world_size': 1, 'dist': False}


def refusal(opt, is_train=True):
    with pytest.raises(InputError) as error:
        data_check.open_data(opt, is_train)
    return str(error.value)


def test_sound_pairs_are_built_once_and_handed_to_basicsr(opt):
    before = copy.deepcopy(opt)
    data_check.open_data(opt, is_train=True)
    data_check.open_data(opt, is_train=True)
    assert opt == before
    build = data_check.mended_build_dataset(lambda section: 'the original')
    dataset = build(opt['datasets']['train'])
    assert isinstance(dataset, PairedImageDataset)
    assert build(opt['datasets']['train']) is dataset
    assert build(copy.deepcopy(opt['datasets']['train'])) == 'the original'
    assert dataset[1]['lq'].shape == (3, 32, 32)


def test_the_log_of_basicsr_begins_later(opt):
    import basicsr.utils.logger as logs

    begun = dict(logs.initialized_logger)
    logs.initialized_logger.clear()
    try:
        with data_check._before_the_log():
            logs.get_root_logger()
        assert not logs.initialized_logger
    finally:
        logs.initialized_logger.update(begun)


@pytest.mark.parametrize(('batch', 'processes', 'ratio', 'fits'), [
    (2, 1, 1, True), (3, 1, 1, False), (1, 2, 1, True), (2, 2, 1, False), (2, 2, 2, True), (2, 1, 0.5, False),
    (3, 1, 1.5, True),
])  # fmt: skip
def test_what_does_not_fill_a_batch_is_refused(opt, batch, processes, ratio, fits):
    opt['datasets']['train'].update(batch_size_per_gpu=batch, dataset_enlarge_ratio=ratio)
    opt.update(world_size=processes, dist=processes > 1)
    if fits:
        return data_check.open_data(opt, is_train=True)
    text = refusal(opt)
    assert f'fill one batch of {batch}' in text
    # What the sentence tells to do, is enough.
    opt['datasets']['train']['dataset_enlarge_ratio'] = int(text.split('"dataset_enlarge_ratio: ')[1].split('"')[0])
    data_check.open_data(opt, is_train=True)


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (lambda f: (f / 'lq' / 'b.png').rename(f / 'lq' / 'b_blur.png'), 'gt/b.png has no partner "b.png"'),
        (lambda f: (f / 'lq' / 'b.png').unlink(), 'lq (1 photo)'),
        (lambda f: (f / 'gt' / 'b.png').unlink(), 'lq/b.png has no partner in'),
        (lambda f: (f / 'lq' / 'b.png').rename(f / 'lq' / 'b.jpg'), 'only "b.jpg"; convert one'),
        (lambda f: (f / 'lq' / 'b.png').write_bytes(b'no photo'), 'lq/b.png cannot be read as a photo'),
        (lambda f: cv2.imwrite(str(f / 'lq' / 'b.png'), np.zeros((40, 50, 3), np.uint8)), '50x40 pixels and'),
        (lambda f: [(f / 'lq' / name).unlink() for name in ('a.png', 'b.png')], 'lq has no photo'),
    ],
)
def test_pairs_that_do_not_fit_together_are_named(opt, folders, change, found):
    change(folders)
    assert found in refusal(opt)


def test_a_photo_smaller_than_the_window_is_named_and_a_turned_one_is_measured_upright(opt, folders):
    opt['datasets']['train']['gt_size'] = 44
    assert 'a.png has 48x40 pixels, but a sample takes 44x44' in refusal(opt)
    opt['datasets']['train']['gt_size'] = 40
    for side in ('lq', 'gt'):
        photo = Image.new('RGB', (40, 48))
        exif = photo.getexif()
        exif[0x0112] = 6
        photo.save(folders / side / 'c.jpg', exif=exif)
    (folders / 'lq' / 'c.jpg').unlink()
    Image.new('RGB', (48, 40)).save(folders / 'lq' / 'c.jpg')
    data_check.open_data(opt, is_train=True)


def test_what_is_no_photo_is_left_out_with_a_word(opt, folders):
    (folders / 'gt' / 'Thumbs.db').write_bytes(b'x')
    (folders / 'gt' / '.DS_Store').write_bytes(b'x')
    with pytest.warns(UserWarning, match=r'gt: Thumbs\.db left out'):
        data_check.open_data(opt, is_train=True)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_a_photo_that_is_cut_off_is_named_when_it_is_read(opt, folders, suffix):
    for side in ('lq', 'gt'):
        content = cv2.imencode(suffix, cv2.imread(str(folders / side / 'b.png')))[1].tobytes()
        (folders / side / 'b.png').unlink()
        (folders / side / f'b{suffix}').write_bytes(content[: len(content) // 2] if side == 'gt' else content)
    data_check.open_data(opt, is_train=True)
    dataset = data_check.opened(opt['datasets']['train'])
    with pytest.raises(InputError, match=rf'gt/b\{suffix} is cut off'):
        dataset[1]


def test_lmdbs_are_compared_by_their_lists(opt, tmp_path):
    import lmdb

    for side, lines in (('lq', ['a.png (40,48,3) 1']), ('gt', ['a.png (40,44,3) 1'])):
        folder = tmp_path / f'{side}.lmdb'
        with lmdb.open(str(folder)) as store, store.begin(write=True) as entries:
            entries.put(b'a', b'broken')
        (folder / 'meta_info.txt').write_text('\n'.join(lines) + '\n')
        opt['datasets']['train'][f'dataroot_{side}'] = str(folder)
    assert 'is an LMDB and not a folder' in refusal(opt)
    opt['datasets']['train']['io_backend'] = {'type': 'lmdb'}
    assert 'lq.lmdb: a has 48x40 pixels and ' in refusal(opt)
    (tmp_path / 'gt.lmdb' / 'meta_info.txt').write_text('b.png (40,48,3) 1\n')
    assert '"a" is in one of them only' in refusal(opt)
    (tmp_path / 'gt.lmdb' / 'meta_info.txt').write_text('a.png (40,48,3) 1\n')
    data_check.open_data(opt, is_train=True)
    with pytest.raises(InputError, match=r'the entry "a" of .*lq\.lmdb cannot be read'):
        data_check.opened(opt['datasets']['train'])[0]
    opt['datasets']['train']['dataroot_lq'] = str(tmp_path / 'lq')
    assert 'lq is not an LMDB of photos' in refusal({**opt, 'datasets': copy.deepcopy(opt['datasets'])})


@pytest.mark.parametrize('kind', ['SingleImageDataset', 'PairedImageDataset', 'SyntheticBlurDataset'])
def test_a_test_of_no_photos_is_refused(tmp_path, kind):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'notes.txt').write_text('nothing')
    roots = {
        'SingleImageDataset': {'dataroot_lq'}, 'PairedImageDataset': {'dataroot_lq', 'dataroot_gt'},
        'SyntheticBlurDataset': {'dataroot_gt'},
    }[kind]  # fmt: skip
    section = {'name': 'n', 'type': kind, 'phase': 'test', 'io_backend': {'type': 'disk'}, 'scale': 1}
    section.update(dict.fromkeys(roots, str(tmp_path / 'empty')))
    assert 'empty has no photo' in refusal({'datasets': {'test': section}}, is_train=False)


@pytest.mark.parametrize(
    ('options', 'found'),
    [
        ({'type': 'calculate_psnr', 'crop_border': 24}, 'of a photo of 48x40 pixels'),
        ({'type': 'calculate_ssim', 'crop_border': 16}, 'is nan; correct its options'),
        ({'type': 'calculate_psnr', 'crop_border': 'x'}, 'cannot be computed'),
        ({'type': 'calculate_niqe', 'crop_border': 0}, 'cannot be computed of photos of 48x40 pixels'),
        ({'type': 'calculate_psnr', 'crop_border': 0, 'input_order': 'HCW'}, 'HCW'),
        ({'type': 'calculate_psnr', 'crop_border': 4, 'better': 'higher', 'test_y_channel': True}, None),
        ({'type': 'calculate_psnr_realblur', 'crop_border': 4}, None),
    ],
)
def test_metrics_are_computed_once_beforehand(opt, options, found):
    opt['datasets']['val'] = {**opt['datasets']['train'], 'phase': 'val'}
    opt['val'] = {'metrics': {'score': options}}
    if found is None:
        data_check.open_data(opt, is_train=True)
    else:
        text = refusal(opt)
        assert 'val: metrics: score' in text
        assert found in text


def test_a_file_of_a_folder_that_pillow_refuses_is_named(tmp_path, monkeypatch):
    from basis_blur.data.synthetic_blur_dataset import SyntheticBlurDataset

    options = {'dataroot_gt': str(tmp_path), 'kernel_size': 5, 'patch_size': 32}
    Image.new('L', (64, 64)).save(tmp_path / 'huge.jpg')
    with monkeypatch.context() as patch:
        patch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
        with pytest.raises(InputError, match=r'huge\.jpg cannot be read as a photo'):
            SyntheticBlurDataset(options)


def test_a_mistake_in_a_data_set_of_basicsr_is_a_sentence(opt):
    section = opt['datasets']['train'] = {'name': 'x', 'type': 'REDSDataset', 'phase': 'train'}
    assert "datasets: train: REDSDataset cannot be built: it lacks the key 'dataroot_gt'" in refusal(opt)
    assert data_check.opened(section) is None


def test_other_listings_stay_as_they_are():
    from basicsr.data import data_util

    assert not hasattr(data_util.scandir, '_basis_blur_wraps')
    assert data_sets.paired.paired_paths_from_folder._basis_blur_wraps is data_util.paired_paths_from_folder
    assert types.FunctionType is type(data_util.paired_paths_from_folder)


def test_names_differ_by_a_template_or_by_the_form_of_their_accents(opt, folders):
    for side, name in (('gt', 'u\u0308.png'), ('lq', '\u00fc_blur.png')):
        (folders / side / 'b.png').rename(folders / side / name)
    (folders / 'lq' / 'a.png').rename(folders / 'lq' / 'a_blur.png')
    opt['datasets']['train']['filename_tmpl'] = '{}_blur'
    data_check.open_data(opt, is_train=True)
    dataset = data_check.opened(opt['datasets']['train'])
    assert len(dataset) == 2
    assert dataset[1]['lq'].shape == dataset[1]['gt'].shape
    for template in ('blur', '{x}', '{1}', '{:d}'):
        section = {**opt['datasets']['train'], 'filename_tmpl': template}
        assert '"filename_tmpl" is' in refusal({**opt, 'datasets': {'train': section}})
