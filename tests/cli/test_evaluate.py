"""basis-blur evaluate on tiny photos."""

import csv
import sys
from types import SimpleNamespace
from urllib.error import URLError

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from basis_blur.cli.main import main
from basis_blur.metrics.aligned import align, koehler_score, plain_score, realblur_score
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo


def scene(seed: int) -> torch.Tensor:
    """Coloured blobs, large and small, so that only one place fits."""
    generator = np.random.default_rng(seed)
    noise = (generator.standard_normal((60, 80, 3), dtype=np.float32) for _ in range(2))
    fine, coarse = (cv2.GaussianBlur(each, (0, 0), sigma) for each, sigma in zip(noise, (2, 5), strict=True))
    blobs = (0.5 + 0.12 * (fine / fine.std() + coarse / coarse.std())).clip(0, 1)
    return torch.from_numpy(blobs).permute(2, 0, 1)[None]


def noisy(photo: torch.Tensor, sigma: float) -> torch.Tensor:
    return (photo + sigma * torch.randn(photo.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


@pytest.fixture
def folders(tmp_path):
    """Three scenes, restored ever worse; one ground truth is a JPEG."""
    for index, name in enumerate(['a', 'b', 'c']):
        write_photo(tmp_path / 'restored' / f'{name}.png', noisy(scene(index), 0.02 * (index + 1)))
        write_photo(tmp_path / 'gt' / (f'{name}.jpg' if name == 'b' else f'{name}.png'), scene(index))
    return tmp_path


def evaluate(folder, protocol, *more) -> int:
    arguments = ['--restored', folder / 'restored', '--gt', folder / 'gt', '--protocol', protocol, *more]
    return main(['evaluate', *map(str, arguments)])


def rows(path) -> list[dict[str, str]]:
    with open(path, newline='') as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(('protocol', 'score'), [('plain', plain_score), ('realblur', realblur_score)])
def test_the_table_and_the_file_hold_the_scores_of_the_library(folders, capsys, protocol, score):
    assert evaluate(folders, protocol, '--csv', folders / 'out' / 'scores.csv') == 0
    expected = [
        score(read_photo(folders / 'restored' / f'{name}.png').pixels, read_photo(folders / 'gt' / truth).pixels)
        for name, truth in (('a', 'a.png'), ('b', 'b.jpg'), ('c', 'c.png'))
    ]
    found = rows(folders / 'out' / 'scores.csv')
    assert [row['name'] for row in found] == ['a', 'b', 'c']
    assert {row['status'] for row in found} == {'scored'}
    assert [float(row['psnr']) for row in found] == pytest.approx([each.psnr for each in expected])
    assert [float(row['ssim']) for row in found] == pytest.approx([each.ssim for each in expected])
    out = capsys.readouterr().out
    assert f'{protocol} protocol: 3 of 3 photos scored\n' in out
    mean = sum(each.psnr for each in expected) / 3
    assert [f'mean {mean:.2f}', f'worst {expected[2].psnr:.2f}', f'best {expected[0].psnr:.2f}'] == [
        ' '.join(line.split()[:2]) for line in out.splitlines()[-3:]
    ]


def test_a_failed_alignment_is_named_counted_apart_and_no_success(folders, capsys):
    write_photo(folders / 'restored' / 'b.png', scene(9))
    outputs = ['--csv', folders / 'scores.csv', '--sheet', folders / 'sheet.png']
    assert evaluate(folders, 'realblur', *outputs) == 2
    out, err = capsys.readouterr()
    assert 'evaluate: b: ' in err
    assert err.endswith('1 of 3 photos have no score.\n')
    assert '2 of 3 photos scored, 1 failed and not in the mean' in out
    failed = rows(folders / 'scores.csv')[1]
    assert (failed['status'], failed['psnr'], failed['ssim']) == ('failed', '', '')
    assert failed['reason']
    good = [float(row['psnr']) for row in rows(folders / 'scores.csv') if row['psnr']]
    assert f'mean {sum(good) / 2:.2f}' in ' '.join(out.split())
    assert Image.open(folders / 'sheet.png').size[0] > 4 * 420  # two columns of two photos each


def test_a_photo_that_cannot_be_read_is_one_failure(folders, capsys):
    (folders / 'restored' / 'c.png').write_bytes(b'no photo')
    assert evaluate(folders, 'plain', '--sheet', folders / 'sheet.png') == 2
    assert 'c.png is not a photo file' in capsys.readouterr().err
    assert (folders / 'sheet.png').exists()


def test_koehler_takes_folders_of_frames_and_says_where_there_is_one_only(folders, capsys):
    (folders / 'gt' / 'a.png').unlink()
    for index, seed in enumerate([7, 0, 8]):
        write_photo(folders / 'gt' / 'a' / f'{index:03}.png', scene(seed))
    assert evaluate(folders, 'koehler', '--csv', folders / 'scores.csv') == 0
    found = rows(folders / 'scores.csv')
    assert [(row['frame'], row['frames']) for row in found] == [('001.png', '3'), ('b.jpg', '1'), ('c.png', '1')]
    frames = [read_photo(folders / 'gt' / 'a' / f'{index:03}.png').pixels for index in range(3)]
    expected = koehler_score(read_photo(folders / 'restored' / 'a.png').pixels, frames)
    assert float(found[0]['psnr']) == pytest.approx(expected.psnr)
    assert '2 of 3 photos have one ground-truth frame instead of a trajectory' in capsys.readouterr().out


def test_photos_without_a_counterpart_are_listed_for_both_sides(folders, capsys):
    (folders / 'gt' / 'a.png').rename(folders / 'gt' / 'd.png')
    (folders / 'gt' / 'b.jpg').unlink()
    assert evaluate(folders, 'plain') == 2
    err = capsys.readouterr().err
    assert f'a, b of {folders / "restored"} are missing in {folders / "gt"}' in err
    assert f'd of {folders / "gt"} is missing in {folders / "restored"}' in err


def test_different_sizes_are_listed_before_anything_is_scored(folders, capsys):
    write_photo(folders / 'restored' / 'b.png', scene(1)[..., :70])
    assert evaluate(folders, 'plain', '--csv', folders / 'scores.csv') == 2
    assert 'b (70x60, ground truth 80x60) differ in size' in capsys.readouterr().err
    assert not (folders / 'scores.csv').exists()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--csv', 'scores.txt'], r'ends in ".txt", expected ".csv"'),
        (['--sheet', 'sheet.bmp'], 'expected .png or .jpg'),
        (['--csv', 'there.csv'], 'already exists; add --overwrite'),
        (['--sheet', 'gt/sheet.png'], 'would lie among the photos'),
        (['--restored', 'nowhere'], 'there is no folder nowhere'),
        (['--gt', 'empty'], 'the folder empty holds no photo'),
    ],
)
def test_what_makes_no_sense_is_refused(folders, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(folders)
    (folders / 'there.csv').touch()
    (folders / 'empty').mkdir()
    assert evaluate(folders, 'plain', *arguments) == 2
    assert words in capsys.readouterr().err


def test_a_name_with_two_suffixes_is_refused(folders, capsys):
    write_photo(folders / 'gt' / 'a.jpg', scene(0))
    assert evaluate(folders, 'plain') == 2
    assert 'holds a more than once' in capsys.readouterr().err


def test_ctrl_c_keeps_the_scores_that_were_found(folders, monkeypatch, capsys):
    from basis_blur.cli import evaluate as command

    score_of = command.score_of

    def stop_at_the_last(pair, protocol, callback):
        if pair.name == 'c':
            raise KeyboardInterrupt
        return score_of(pair, protocol, callback)

    monkeypatch.setattr(command, 'score_of', stop_at_the_last)
    assert evaluate(folders, 'plain', '--csv', folders / 'scores.csv') == 130
    assert [row['name'] for row in rows(folders / 'scores.csv')] == ['a', 'b']
    told = capsys.readouterr()
    assert 'plain protocol: 2 of 2 photos scored' in told.out
    assert told.err.strip().endswith('interrupted; 2 of 3 photos were compared; what is written is of those.')


class FakeMetric:
    """As pyiqa's; the score tells what it was shown."""

    lower_better = True

    def __init__(self, mode: str):
        self.metric_mode = mode
        self.shown = []

    def __call__(self, *photos):
        assert [each.shape[:2] for each in photos] == [(1, 3)] * (2 if self.metric_mode == 'FR' else 1)
        self.shown.append(photos)
        return sum((each - photos[-1]).abs().mean() for each in photos) + photos[0].mean()


@pytest.fixture
def fake_pyiqa(monkeypatch):
    """A stand-in for pyiqa; returns the metrics that were created."""
    created = {}

    def create_metric(name, device=None):
        created[name] = FakeMetric('FR' if name == 'lpips' else 'NR')
        return created[name]

    module = SimpleNamespace(create_metric=create_metric, list_models=lambda: ['fid', 'lpips', 'niqe'])
    monkeypatch.setitem(sys.modules, 'pyiqa', module)
    return created


def test_perceptual_metrics_add_columns(folders, fake_pyiqa, capsys):
    write_photo(folders / 'restored' / 'b.png', scene(9))
    outputs = ['--csv', folders / 'scores.csv', '--perceptual', 'lpips,niqe']
    assert evaluate(folders, 'realblur', *outputs) == 2
    found = rows(folders / 'scores.csv')
    assert (found[1]['status'], found[1]['lpips'], found[1]['niqe']) == ('failed', '', '')
    restored, truth = (read_photo(folders / each / 'a.png').pixels for each in ('restored', 'gt'))
    assert float(found[0]['niqe']) == pytest.approx(restored.mean().item())  # as it is
    aligned = align(restored, truth)
    shown = fake_pyiqa['lpips'].shown[0]
    for photo, expected in zip(shown, (aligned.restored.clip(0, 1), aligned.reference), strict=True):
        np.testing.assert_allclose(photo[0].movedim(0, -1).numpy(), expected, rtol=1e-6)
    mean = sum(float(found[index]['lpips']) for index in (0, 2)) / 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ['PSNR', 'SSIM', 'lpips', 'niqe']
    assert lines[2].split()[3] == f'{mean:.4f}'


@pytest.mark.parametrize(
    ('names', 'words'),
    [
        ('lpisp', 'no metric "lpisp". Did you mean "lpips"?'),
        ('fid', 'of whole sets'),
        ('niqe,niqe', 'niqe is asked for twice'),
    ],
)
@pytest.mark.usefixtures('fake_pyiqa')
def test_perceptual_metrics_that_cannot_be_are_refused(folders, capsys, names, words):
    assert evaluate(folders, 'plain', '--perceptual', names) == 2
    assert words in capsys.readouterr().err


def test_weights_that_cannot_be_downloaded_are_told_in_one_line(folders, monkeypatch, fake_pyiqa, capsys):
    def offline(name, device=None):
        raise URLError('Name or service not known')

    monkeypatch.setattr(sys.modules['pyiqa'], 'create_metric', offline)
    assert evaluate(folders, 'plain', '--perceptual', 'lpips') == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1
    assert 'the weights of lpips cannot be read or downloaded' in err
    assert 'go online once' in err
    assert not fake_pyiqa


def test_pyiqa_itself_scores_a_photo_as_its_own_function_does(folders, capsys):
    pyiqa = pytest.importorskip('pyiqa')
    assert evaluate(folders, 'plain', '--csv', folders / 'scores.csv', '--perceptual', 'gmsd') == 0
    photos = [read_photo(folders / each / 'a.png').pixels for each in ('restored', 'gt')]
    expected = pyiqa.create_metric('gmsd')(*photos)
    found = {row['name']: float(row['gmsd']) for row in rows(folders / 'scores.csv')}
    assert found['a'] == pytest.approx(expected.item(), rel=1e-4)
    assert expected > 0
    capsys.readouterr()


def test_without_pyiqa_one_line_tells_what_to_install(folders, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'pyiqa', None)
    assert evaluate(folders, 'plain', '--perceptual', 'lpips', '--csv', folders / 'scores.csv') == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert err.count('\n') == 1
    assert 'pip install "basis_blur[perceptual]"' in err
    assert not (folders / 'scores.csv').exists()


def test_a_perceptual_score_that_is_no_number_fails_the_photo(folders, monkeypatch, fake_pyiqa, capsys):
    monkeypatch.setattr(FakeMetric, '__call__', lambda self, *photos: torch.tensor(float('nan')))
    assert evaluate(folders, 'plain', '--perceptual', 'niqe') == 2
    told = capsys.readouterr()
    assert 'a: niqe of the photo is nan' in told.err
    assert '0 of 3 photos scored' in told.out


# ------------------------------------------------------------------------------------------------- several methods


def test_several_methods_stand_side_by_side(folders, capsys):
    for index, name in enumerate('abc'):
        write_photo(folders / 'other' / f'{name}.png', noisy(scene(index), 0.01))
    outputs = ['--csv', folders / 'scores.csv', '--sheet', folders / 'sheet.png']
    command = ['--restored', folders / 'restored', f'less noise={folders}/other', '--gt', folders / 'gt']
    assert main([str(each) for each in ('evaluate', *command, '--protocol', 'plain', *outputs)]) == 0
    found = rows(folders / 'scores.csv')
    methods = ('restored', 'less noise')
    assert [(row['method'], row['name']) for row in found] == [(method, name) for method in methods for name in 'abc']
    out = capsys.readouterr().out
    assert 'plain protocol: 3 of 3 photos have scores of every method' in out
    for method in methods:
        mean = sum(float(row['psnr']) for row in found if row['method'] == method) / 3
        assert f'{method} {mean:.2f}' in ' '.join(out.split())
    width, height = Image.open(folders / 'sheet.png').size
    assert width > 3 * 420
    assert height > 3 * 60 * 420 // 80


def test_means_of_methods_are_of_the_photos_that_all_have(folders, capsys):
    for index, name in enumerate('abc'):
        write_photo(folders / 'other' / f'{name}.png', noisy(scene(index), 0.01))
    (folders / 'other' / 'b.png').write_bytes(b'no photo')
    command = ['--restored', folders / 'restored', folders / 'other', '--gt', folders / 'gt', '--protocol', 'plain']
    assert main([str(each) for each in ('evaluate', *command, '--csv', folders / 'scores.csv')]) == 2
    out, err = capsys.readouterr()
    assert 'evaluate: other: b: ' in err
    assert '2 of 3 photos have scores of every method' in out
    own = {row['name']: float(row['psnr']) for row in rows(folders / 'scores.csv') if row['method'] == 'restored'}
    assert f'restored {(own["a"] + own["c"]) / 2:.2f}' in ' '.join(out.split())
    assert out.splitlines()[-1].endswith('1 without scores')


def test_photos_without_ground_truth_are_scored_by_niqe(tmp_path, capsys):
    torch.set_default_dtype(torch.float32)  # as in the command; BasicSR's resizing relies on it
    sharp = torch.nn.functional.interpolate(scene(0), (200, 240), mode='bilinear')
    for name, photo in (('sharp', sharp), ('noisy', noisy(sharp, 0.2))):
        write_photo(tmp_path / name / 'a.png', photo)
    command = ['--restored', tmp_path / 'sharp', tmp_path / 'noisy', '--perceptual', 'niqe_basicsr']
    outputs = ['--csv', tmp_path / 'scores.csv', '--sheet', tmp_path / 'sheet.png']
    assert main([str(each) for each in ('evaluate', *command, *outputs)]) == 0
    found = {row['method']: float(row['niqe_basicsr']) for row in rows(tmp_path / 'scores.csv')}
    assert found['sharp'] != found['noisy']
    assert f'noisy {found["noisy"]:.4f}' in ' '.join(capsys.readouterr().out.split())
    assert (tmp_path / 'sheet.png').is_file()
    write_photo(tmp_path / 'sharp' / 'a.png', torch.rand(1, 3, 64, 64))
    assert main([str(each) for each in ('evaluate', *command)]) == 2
    assert 'niqe_basicsr of the photo is nan' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'found'),
    [
        (
            ['--restored', 'a', 'b/a', '--gt', 'gt', '--protocol', 'plain'],
            'two methods are called "a"; give them names',
        ),
        (['--restored', 'a', '--gt', 'gt'], '--gt needs a --protocol, one of realblur, koehler, plain'),
        (['--restored', 'a', '--protocol', 'plain'], 'compares with a ground truth; give its folder by --gt'),
        (['--restored', 'a'], 'without --gt there is nothing to compare with'),
        (['--restored', 'restored', 'x=short', '--perceptual', 'niqe_basicsr'], 'missing: b, c in the photos of x'),
    ],
)
def test_what_makes_no_sense_is_told_first(folders, capsys, monkeypatch, options, found):
    write_photo(folders / 'short' / 'a.png', scene(0))
    monkeypatch.chdir(folders)
    assert main(['evaluate', *options]) == 2
    assert found in capsys.readouterr().err
