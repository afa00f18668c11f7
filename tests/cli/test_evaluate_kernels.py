"""basis-blur evaluate --kernels: blurs against true ones, and by what they make of the sharp photo."""

import csv

import numpy as np
import pytest
import torch

from basis_blur.cli.main import main
from basis_blur.field.blur_field import BlurField
from basis_blur.field.motion_flow import field_of_flow
from basis_blur.metrics.kernel import field_errors
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.reblurring import reblur
from basis_blur.photos.writing import write_photo

SIZE = (36, 44)


def flow(right: float, down: float) -> torch.Tensor:
    return torch.tensor([right, down]).float().view(1, 2, 1, 1).expand(1, 2, *SIZE).contiguous()


@pytest.fixture
def folders(tmp_path):
    """Two photos with the motion flows that blurred them, fields of another method, and a flow that is turned."""
    for name, way in (('a', (6, 2)), ('b', (0, 5))):
        field = field_of_flow(flow(*way))
        sharp = torch.rand(1, 3, 9, 11).repeat_interleave(4, 2).repeat_interleave(4, 3).float()
        write_photo(tmp_path / 'sharp' / f'{name}.png', sharp)
        write_photo(tmp_path / 'blur' / f'{name}.png', reblur(field, ReflectPad(field)(sharp)))
        for folder, arrays in (
            ('flows', {'flow': flow(*way).numpy()}),
            ('turned', {'flow': flow(way[1], -way[0]).numpy()}),
            ('true', {'kernels': field.kernels.numpy(), 'mixing': field.mixing.numpy()}),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            np.savez(tmp_path / folder / f'{name}.npz', **arrays)
    return tmp_path


def evaluate(folder, *arguments: str) -> int:
    return main(['evaluate', *(each.replace('@', f'{folder}/') for each in arguments)])


def rows(path) -> dict[tuple[str, str], dict[str, str]]:
    with open(path, newline='') as stream:
        return {(row['method'], row['name']): row for row in csv.DictReader(stream)}


def test_methods_are_scored_by_kernels_and_by_reblurring(folders, capsys):
    pairs = ('--true-kernels', '@true', '--blurred', '@blur', '--gt', '@sharp')
    assert evaluate(folders, '--kernels', 'flows=@flows', '@turned', *pairs, '--csv', '@scores.csv') == 0
    found = rows(folders / 'scores.csv')
    assert set(found) == {(method, name) for method in ('flows', 'turned') for name in 'ab'}
    right, wrong = found['flows', 'a'], found['turned', 'a']
    assert float(right['kernel_correlation']) == pytest.approx(1, abs=1e-5)
    assert float(right['kernel_l1']) < 1e-5
    assert float(right['reblur_psnr']) > 45  # up to the rounding of the photo to 8 bits
    assert float(right['reblur_ssim']) > 0.99
    turned, true = (BlurField.load(folders / folder / 'a.npz') for folder in ('turned', 'true'))
    expected = field_errors(turned, true)
    assert float(wrong['kernel_l2']) == pytest.approx(expected['kernel_l2'].item(), rel=1e-5)
    assert float(wrong['reblur_psnr']) < 30
    out = capsys.readouterr().out
    assert 'blurs: 2 of 2' in out
    mean = (float(right['reblur_psnr']) + float(found['flows', 'b']['reblur_psnr'])) / 2
    assert f' {mean:.2f}' in next(line for line in out.splitlines() if line.startswith('flows'))


def test_one_photo_needs_no_names_that_agree(folders, capsys):
    assert evaluate(folders, '--kernels', '@flows/a.npz', '--blurred', '@blur/b.png', '--gt', '@sharp/b.png') == 0
    out = capsys.readouterr().out
    assert 'reblur_psnr' in out
    assert 'kernel_l1' not in out


def test_a_blur_that_cannot_be_read_is_one_failure(folders, capsys):
    (folders / 'flows' / 'b.npz').write_bytes(b'no field')
    assert evaluate(folders, '--kernels', '@flows', '--true-kernels', '@true') == 2
    out, err = capsys.readouterr()
    assert '1 of 2' in out
    assert 'b: ' in err
    assert 'is not a saved blur field' in err


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--kernels', '@flows'], 'nothing to be compared with'),
        (['--kernels', '@flows', '--blurred', '@blur'], 'belong together'),
        (['--kernels', '@flows', '--true-kernels', '@true/a.npz'], 'is a file and others are folders'),
        (['--kernels', '@flows', '--true-kernels', '@nowhere'], 'no file or folder'),
        (['--kernels', '@flows', '--true-kernels', '@sharp'], r'holds no blur field'),
        (['--kernels', '@flows', '--true-kernels', '@true', '--sheet', '@s.png'], '--sheet goes with --restored'),
        (['--restored', '@sharp', '--perceptual', 'x', '--true-kernels', '@true'], '--true-kernels goes with'),
        (['--kernels', '@flows', '--blurred', '@blur', '--gt', '@sharp', '--gamma', '0.5'], 'expected at least 1'),
    ],
)
def test_what_makes_no_sense_is_refused(folders, capsys, arguments, words):
    assert evaluate(folders, *arguments) == 2
    assert words.replace('\\', '') in capsys.readouterr().err


def test_a_field_of_another_size_is_refused_by_name(folders, capsys):
    np.savez(folders / 'flows' / 'a.npz', flow=np.zeros((1, 2, 8, 9)))
    assert evaluate(folders, '--kernels', '@flows', '--blurred', '@blur', '--gt', '@sharp') == 2
    assert '(8, 9) pixels' in capsys.readouterr().err


def test_fields_that_deblur_saved_pair_with_their_photos(folders):
    for name in 'ab':
        (folders / 'true' / f'{name}.npz').rename(folders / 'true' / f'{name}_kernels.npz')
    pairs = ('--blurred', '@blur', '--gt', '@sharp')
    assert evaluate(folders, '--kernels', 'saved=@true', '@flows', *pairs, '--csv', '@scores.csv') == 0
    found = rows(folders / 'scores.csv')
    assert set(found) == {(method, name) for method in ('saved', 'flows') for name in 'ab'}
    assert float(found['saved', 'b']['reblur_psnr']) > 45
