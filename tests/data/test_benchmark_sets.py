"""Tiny fake downloads in the official layouts: what is there is paired, what is wrong is named."""

import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from basis_blur.cli.evaluate import pair_up
from basis_blur.data.benchmark_sets import BENCHMARKS, IncompleteError, Split, prepare_benchmark
from basis_blur.foundation.errors import InputError

LIST_LINE = 'RealBlur-J_ECC_IMCORR_x/{0}/gt/gt_{1}.png RealBlur-J_ECC_IMCORR_x/{0}/blur/blur_{1}.png \n'


def photo(path, shade, size=(4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, (shade, 0, 0)).save(path)


def shade(path):
    return int(np.asarray(Image.open(path))[0, 0, 0])


def tiny(name, **splits):
    return replace(BENCHMARKS[name], splits=splits)


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}


GOPRO = tiny('gopro', train=Split(1, (4, 3)), test=Split(2, (4, 3)))


@pytest.fixture
def gopro(tmp_path):
    """Two scenes that use the same numbers; shades tell the photos apart."""
    root = tmp_path / 'GOPRO_Large'
    for number, place in enumerate(['train/A', 'test/B', 'test/C']):
        for offset, kind in enumerate(['blur', 'blur_gamma', 'sharp']):
            photo(root / place / kind / '000047.png', 10 * number + offset)
    return root


def packed(folder, suffix):
    path = folder.with_name('download' + suffix)
    if suffix == '.zip':
        with zipfile.ZipFile(path, 'w') as archive:
            for name in sorted(tree(folder)):
                archive.write(folder / name, f'{folder.name}/{name}')
            archive.writestr(f'__MACOSX/{folder.name}/test/B/blur/._000047.png', b'')
    else:
        with tarfile.open(path, 'w:gz') as archive:
            archive.add(folder, f'./{folder.name}')
    return path


@pytest.mark.parametrize('suffix', ['', '.zip', '.tar.gz'])
def test_gopro_pairs_by_scene_and_number_from_folder_and_archive(gopro, tmp_path, suffix):
    download = packed(gopro, suffix) if suffix else gopro
    result = prepare_benchmark(GOPRO, [download], tmp_path / 'out')
    assert result.pairs == {'train': 1, 'test': 2}
    assert result.copied == len(tree(tmp_path / 'out')) == 6
    pairs = pair_up(tmp_path / 'out/test/blur', tmp_path / 'out/test/sharp', several_frames=False)
    assert [(pair.name, shade(pair.restored), shade(pair.frames[0])) for pair in pairs] == [
        ('B-000047', 10, 12),
        ('C-000047', 20, 22),
    ]


def test_a_tar_that_stores_equal_files_as_links_is_whole(gopro, tmp_path):
    (gopro / 'test/C/sharp/000047.png').unlink()
    (gopro / 'test/C/sharp/000047.png').hardlink_to(gopro / 'test/C/blur/000047.png')
    prepare_benchmark(GOPRO, [packed(gopro, '.tar.gz')], tmp_path / 'out')
    assert shade(tmp_path / 'out/test/sharp/C-000047.png') == 20


def test_gopro_gamma_takes_the_other_blur(gopro, tmp_path):
    prepare_benchmark(replace(GOPRO, find=BENCHMARKS['gopro-gamma'].find), [gopro], tmp_path / 'out')
    assert shade(tmp_path / 'out/test/blur/C-000047.png') == 21


def test_the_real_counts_are_expected_without_being_told(gopro, tmp_path):
    with pytest.raises(IncompleteError) as caught:
        prepare_benchmark(BENCHMARKS['gopro'], [gopro], tmp_path / 'out')
    assert 'missing: train has 1 blurred photos, expected 2103' in caught.value.complaints
    assert 'missing: test has 2 blurred photos, expected 1111' in caught.value.complaints
    counts = {name: [split.count for split in each.splits.values()] for name, each in BENCHMARKS.items()}
    assert counts['hide'] == [6397, 2025]
    assert counts['realblur-j'] == counts['realblur-r'] == [3758, 980]
    assert counts['koehler'] == [len(BENCHMARKS['koehler'].splits['test'].names)] == [48]
    assert counts['lai'] == [100, 100, 100]
    assert len(BENCHMARKS['lai'].splits['uniform'].names) == 100


def cut_off(root):
    path = root / 'test/C/sharp/000047.png'
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ('spoil', 'complaint'),
    [
        (lambda root: (root / 'test/C/sharp/000047.png').unlink(), 'missing: test/C-000047 has 0 ground-truth photos'),
        (lambda root: (root / 'test/C/blur/000047.png').unlink(), 'missing: test/C-000047 has no blurred photo'),
        (lambda root: photo(root / 'test/C/sharp/000047.png', 0, (3, 4)), 'C/sharp/000047.png has 3x4, expected 4x3'),
        (cut_off, 'test/C/sharp/000047.png cannot be read as a photo or is cut off'),
    ],
)  # fmt: skip
def test_a_bad_pair_is_named_and_only_left_out_when_asked(gopro, tmp_path, spoil, complaint):
    spoil(gopro)
    with pytest.raises(IncompleteError, match='allow-incomplete') as caught:
        prepare_benchmark(GOPRO, [gopro], tmp_path / 'out')
    assert any(complaint in line for line in caught.value.complaints)
    assert [path.name for path in tmp_path.iterdir()] == ['GOPRO_Large']
    result = prepare_benchmark(GOPRO, [gopro], tmp_path / 'out', allow_incomplete=True)
    assert result.complaints == caught.value.complaints
    assert result.pairs == {'train': 1, 'test': 1}
    assert {name for name in tree(tmp_path / 'out') if name.startswith('test')} == {
        'test/blur/B-000047.png', 'test/sharp/B-000047.png',
    }  # fmt: skip


def test_additional_photos_are_named(gopro, tmp_path):
    photo(gopro / 'test/C/blurred/000048.png', 0)
    photo(gopro / 'copy/test/C/blur/000047.png', 0)
    with pytest.raises(IncompleteError) as caught:
        prepare_benchmark(GOPRO, [gopro], tmp_path / 'out')
    strange, twice = sorted(caught.value.complaints, key=lambda line: 'same photo' in line)
    assert strange == f'additional: {gopro}/test/C/blurred/000048.png'
    assert 'is the same photo as' in twice


def test_an_archive_beside_its_unpacked_files_is_no_matter(gopro, tmp_path):
    archive = packed(gopro, '.zip')
    assert prepare_benchmark(GOPRO, [archive, gopro], tmp_path / 'out', link=True).linked == 6


def test_links_share_the_file_and_an_interrupt_leaves_nothing(gopro, tmp_path):
    def interrupted(steps, total):
        yield next(iter(steps))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_benchmark(GOPRO, [gopro], tmp_path / 'out', watch=interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ['GOPRO_Large']
    assert prepare_benchmark(GOPRO, [gopro], tmp_path / 'out', link=True).linked == 6
    assert (tmp_path / 'out/train/blur/A-000047.png').samefile(gopro / 'train/A/blur/000047.png')
    with pytest.raises(InputError, match='already exists'):
        prepare_benchmark(GOPRO, [gopro], tmp_path / 'out')


def test_hide_finds_the_truth_of_every_folder_in_gt(tmp_path):
    root = tmp_path / 'HIDE_dataset'
    for number, place in enumerate(['train/a', 'test/test-close-ups/b', 'test/test-long-shot/c']):
        photo(root / f'{place}.png', number)
        photo(root / 'GT' / f'{place[-1]}.png', 10 + number)
    photo(root / 'GT/d.png', 0)
    hide = tiny('hide', train=Split(1), test=Split(2))
    with pytest.raises(IncompleteError) as caught:
        prepare_benchmark(hide, [root], tmp_path / 'out')
    assert caught.value.complaints == (f'missing: the blurred photo of {root}/GT/d.png',)
    prepare_benchmark(hide, [root], tmp_path / 'out', allow_incomplete=True)
    assert shade(tmp_path / 'out/train/sharp/a.png') == 10
    assert [shade(path) for path in sorted((tmp_path / 'out/test/sharp').iterdir())] == [11, 12]


@pytest.fixture
def realblur(tmp_path):
    root = tmp_path / 'RealBlur'
    for variant, folder in (('J', 'RealBlur-J_ECC_IMCORR_x'), ('R', 'RealBlur-R_BM3D_ECC_IMCORR_x')):
        for number, scene in enumerate(['scene001', 'scene002']):
            for shot in (1, 2):
                for offset, kind in enumerate(['blur', 'gt']):
                    value = 100 * (variant == 'R') + 20 * number + 2 * shot + offset
                    photo(root / folder / scene / kind / f'{kind}_{shot}.png', value, (3 + number, 4))
        for split, scene in (('train', 'scene002'), ('test', 'scene001')):
            lines = ''.join(LIST_LINE.format(scene, shot).replace('-J', f'-{variant}') for shot in (1, 2))
            (root / f'RealBlur_{variant}_{split}_list.txt').write_text(lines)
    return root


@pytest.mark.parametrize(('name', 'base'), [('realblur-j', 0), ('realblur-r', 100)])
def test_realblur_is_split_by_its_lists(realblur, tmp_path, name, base):
    result = prepare_benchmark(tiny(name, train=Split(2), test=Split(2)), [realblur], tmp_path / 'out')
    assert result.pairs == {'train': 2, 'test': 2}
    assert shade(tmp_path / 'out/test/blur/scene001-2.png') == base + 4
    assert shade(tmp_path / 'out/train/sharp/scene002-1.png') == base + 23


def test_realblur_without_lists_is_not_split(realblur, tmp_path):
    for path in realblur.glob('*.txt'):
        path.unlink()
    benchmark = tiny('realblur-j', train=Split(2), test=Split(2))
    with pytest.raises(IncompleteError) as caught:
        prepare_benchmark(benchmark, [realblur], tmp_path / 'out')
    assert 'missing: RealBlur_J_test_list.txt, the official list' in caught.value.complaints
    assert prepare_benchmark(benchmark, [realblur], tmp_path / 'out', allow_incomplete=True).pairs == {'all': 4}


def test_realblur_photos_in_one_list_only_or_in_none_are_named(realblur, tmp_path):
    (realblur / 'RealBlur_J_test_list.txt').write_text(
        LIST_LINE.format('scene001', 1) + LIST_LINE.format('scene009', 7)
    )
    with pytest.raises(IncompleteError) as caught:
        prepare_benchmark(tiny('realblur-j', train=Split(2), test=Split(1)), [realblur], tmp_path / 'out')
    missing, additional = caught.value.complaints
    assert missing.startswith('missing: scene009/blur/blur_7.png')
    assert additional.endswith('scene001/blur/blur_2.png, in no list')


def test_where_no_size_is_known_the_two_of_a_pair_must_agree(realblur, tmp_path):
    photo(realblur / 'RealBlur-J_ECC_IMCORR_x/scene001/gt/gt_1.png', 0, (9, 4))
    with pytest.raises(IncompleteError) as caught:
        prepare_benchmark(tiny('realblur-j', train=Split(2), test=Split(2)), [realblur], tmp_path / 'out')
    assert [line.partition(' has ')[2] for line in caught.value.complaints] == ['9x4, expected 3x4']


def koehler(folder, frames):
    """Two archives, as they come, of one scene with two trajectories."""
    for trajectory in (1, 2):
        photo(folder / f'BlurryImages/Blurry1_{trajectory}.png', trajectory)
        for frame in range(1, frames + 1):
            photo(folder / f'Image1/Kernel{trajectory}/GroundTruth1_{trajectory}_{frame}.png', 20 * trajectory + frame)
    return tiny('koehler', test=Split(2, truths=range(10, 12), names=frozenset(['Blurry1_1', 'Blurry1_2'])))


def test_koehler_has_a_folder_of_frames_in_order(tmp_path):
    benchmark = koehler(tmp_path / 'unpacked', 11)
    (tmp_path / 'zips').mkdir()
    for name in ('BlurryImages', 'Image1'):
        packed(tmp_path / 'unpacked' / name, '.zip').rename(tmp_path / 'zips' / f'{name}.zip')
    assert prepare_benchmark(benchmark, [tmp_path / 'zips'], tmp_path / 'out').pairs == {'test': 2}
    pairs = pair_up(tmp_path / 'out/test/blur', tmp_path / 'out/test/sharp', several_frames=True)
    assert [pair.name for pair in pairs] == ['Blurry1_1', 'Blurry1_2']
    assert [shade(frame) for frame in pairs[1].frames] == list(range(41, 52))
    archives = sorted((tmp_path / 'zips').iterdir())
    assert prepare_benchmark(benchmark, archives, tmp_path / 'again').pairs == {'test': 2}


def test_koehler_names_lost_photos_lost_frames_and_what_to_do_with_matrices(tmp_path):
    benchmark = koehler(tmp_path / 'a', 9)
    (tmp_path / 'a/BlurryImages/Blurry1_2.png').unlink()
    with pytest.raises(IncompleteError) as caught:
        prepare_benchmark(benchmark, [tmp_path / 'a'], tmp_path / 'out')
    assert caught.value.complaints == (
        'missing: test, blurred photo Blurry1_2',
        'missing: test has 1 blurred photos, expected 2',
        'missing: test/Blurry1_1 has 9 ground-truth photos, expected 10 to 11',
    )
    benchmark = koehler(tmp_path / 'b', 0)
    (tmp_path / 'b/GroundTruth1_1.mat').write_bytes(b'')
    with pytest.raises(IncompleteError, match='no photo of koehler is left') as caught:
        prepare_benchmark(benchmark, [tmp_path / 'b'], tmp_path / 'out', allow_incomplete=True)
    assert any('1 .mat files only; add GroundTruth_pngs_Image1.zip' in line for line in caught.value.complaints)


def test_lai_shares_a_truth_among_blurs_and_needs_none_for_real_photos(tmp_path):
    root = tmp_path / 'Lai'
    photo(root / 'real_dataset/bird.jpg', 0, (9, 5))
    photo(root / 'synthetic_dataset/ground_truth/text_01.png', 50)
    photo(root / 'synthetic_dataset/kernel/kernel_01.png', 7)
    for number, name in enumerate(
        ['uniform/text_01_kernel_01', 'uniform/text_01_kernel_02', 'nonuniform/text_01_gyro_01']
    ):
        photo(root / f'synthetic_dataset/{name}.png', number)
    real = Split(1, truths=BENCHMARKS['lai'].splits['real'].truths)
    result = prepare_benchmark(tiny('lai', real=real, uniform=Split(2), nonuniform=Split(1)), [root], tmp_path / 'out')
    assert result.pairs == {'real': 1, 'uniform': 2, 'nonuniform': 1}
    assert tree(tmp_path / 'out') == {
        'real/blur/bird.jpg',
        *(f'uniform/{kind}/text_01_kernel_{i:02d}.png' for kind in ('blur', 'sharp') for i in (1, 2)),
        *(f'nonuniform/{kind}/text_01_gyro_01.png' for kind in ('blur', 'sharp')),
    }
    assert shade(tmp_path / 'out/uniform/sharp/text_01_kernel_02.png') == 50
    assert shade(tmp_path / 'out/uniform/blur/text_01_kernel_02.png') == 1


def test_what_is_no_download_is_told_with_the_layout_expected(tmp_path):
    photo(tmp_path / 'x/holiday.png', 0)
    (tmp_path / 'broken.zip').write_bytes(b'PK half a download')
    (tmp_path / 'broken.tar.gz').write_bytes(b'\x1f\x8bhalf a download')
    for paths, found in (
        (['x'], r'holds no blurred photo of gopro, expected \{train,test\}/SCENE'),
        (['y'], 'there is no .*y'),
        (['broken.zip'], 'broken.zip cannot be read as an archive'),
        (['broken.tar.gz'], 'broken.tar.gz cannot be read as an archive'),
    ):
        with pytest.raises(InputError, match=found):
            prepare_benchmark(GOPRO, [tmp_path / path for path in paths], tmp_path / 'out')
