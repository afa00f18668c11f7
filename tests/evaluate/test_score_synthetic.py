"""scripts/evaluate/score_synthetic.py on two tiny scenes."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from basis_blur.estimation.by_network import estimate_blur
from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.foundation.errors import InputError
from basis_blur.metrics.kernel import field_errors
from basis_blur.metrics.psnr import psnr
from basis_blur.ops.reblurring import pixel_reblur
from basis_blur.photos.writing import write_photo
from basis_blur.restoration.deblur import deblur
from basis_blur.weights.checkpoints import load_network

TINY = ['--scenes', '2', '--patch-size', '40', '--mean-kernels', '4']


@pytest.fixture
def photos(tmp_path, picture):
    for seed in range(2):
        write_photo(tmp_path / 'photos' / f'{seed}.png', picture(seed, 80, 80))
    return ['--photos', str(tmp_path / 'photos')]


def test_the_true_field_is_the_ceiling_and_a_delta_explains_nothing(script, photos, weights, tmp_path, capsys):
    out = tmp_path / 'record.json'
    call = [str(weights), *photos, *TINY, '--json', str(out)]
    assert script('score_synthetic').main(call) == 0
    record = json.loads(out.read_text())
    means = record['means']
    assert means.keys() == {'blurred', 'true', 'delta', 'mean', 'tiny.safetensors'}
    assert means['true']['kernel_l1'] == 0
    assert means['true']['kernel_correlation'] == 1
    assert max(means[name]['reblur_psnr'] for name in ('delta', 'mean', 'tiny.safetensors')) < 50
    assert means['true']['reblur_psnr'] > 60
    assert means['true']['psnr'] > means['blurred']['psnr'] + 1
    # The scene blurred by a delta is the sharp scene, so far as it can be shown.
    assert means['delta']['reblur_psnr'] == pytest.approx(means['blurred']['psnr'], abs=0.1)
    assert means['mean']['kernel_l1'] == pytest.approx(
        sum(scene['mean']['kernel_l1'] for scene in record['scenes']) / 2, rel=1e-3
    )
    assert record['weights'][0]['sha256'] == hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    assert str(tmp_path) not in out.read_text()
    assert 'tiny.safetensors' in capsys.readouterr().out


def test_a_fusion_is_scored_beside_the_solver_alone(script, photos, weights, fusion, tmp_path):
    out = tmp_path / 'record.json'
    call = [str(weights), *photos, *TINY, '--fusion', str(fusion), '--json', str(out)]
    module = script('score_synthetic')
    assert module.main(call) == 0
    record = json.loads(out.read_text())
    assert [each['file'] for each in record['weights']] == ['tiny.safetensors', 'fusion.safetensors']
    net, fused = load_network(weights), load_network(fusion)
    args = module.build_parser().parse_args(call)
    sample = module.SyntheticBlurDataset(module.options_of_scenes(args))[1]
    photo, sharp = sample['lq'][None], sample['gt'][None][..., 16:-16, 16:-16].clamp(0, 1)
    expected = psnr(deblur(photo, estimate_blur(net, photo), fusion=fused), sharp).item()
    row = record['scenes'][1]['tiny.safetensors + fusion.safetensors']
    assert row == {'psnr': pytest.approx(expected, abs=1e-3), 'ssim': row['ssim']}
    assert row['psnr'] != record['scenes'][1]['tiny.safetensors']['psnr']


def test_a_ufpnet_is_scored_by_its_own_photo_and_kernels(script, photos, weights, ufpnet, fusion, tmp_path):
    out = tmp_path / 'record.json'
    call = [str(ufpnet), str(weights), *photos, *TINY, '--fusion', str(fusion), '--json', str(out)]
    module = script('score_synthetic')
    assert module.main(call) == 0
    record = json.loads(out.read_text())
    assert 'ufpnet.safetensors + fusion.safetensors' not in record['means']
    sample = module.SyntheticBlurDataset(module.options_of_scenes(module.build_parser().parse_args(call)))[0]
    photo, sharp = sample['lq'][None], sample['gt'][None][..., 16:-16, 16:-16].clamp(0, 1)
    with torch.no_grad():
        found = load_network(ufpnet).eval()(photo)
    true = BlurField(sample['kernels'][None], sample['mixing'][None])
    row = record['scenes'][0]['ufpnet.safetensors']
    assert row['psnr'] == pytest.approx(psnr(found.image, sharp).item(), abs=1e-3)
    for name, value in field_errors(PixelField(found.pixel_kernels), true).items():
        assert row[name] == pytest.approx(value.item(), abs=1e-4)
    again = pixel_reblur(found.pixel_kernels, sample['gt'][None], 2.2)
    assert row['reblur_psnr'] == pytest.approx(psnr(again, photo).item(), abs=1e-3)


def test_scenes_depend_on_the_seed_alone(script, photos, tmp_path):
    records = []
    for number, seed in enumerate((3, 3, 4)):
        out = tmp_path / f'{number}.json'
        call = [*photos, '--scenes', '1', *TINY[2:], '--seed', str(seed), '--json', str(out)]
        assert script('score_synthetic').main(call) == 0
        records.append(json.loads(out.read_text())['scenes'])
    assert records[0] == records[1]
    assert records[0] != records[2]


def test_smaller_kernels_are_compared_amid_zeros_and_larger_ones_refused(script, photos, weights, tmp_path):
    module = script('score_synthetic')
    assert module.main([str(weights), *photos, '--scenes', '1', *TINY[2:], '--kernel-size', '35']) == 0
    with pytest.raises(InputError, match='give --kernel-size 33'):
        module.main([str(weights), *photos, '--kernel-size', '31'])


def test_records_are_not_replaced_and_hide_no_nan(script, photos, tmp_path):
    (tmp_path / 'there.json').touch()
    with pytest.raises(InputError, match='add --overwrite'):
        script('score_synthetic').main([*photos, '--json', str(tmp_path / 'there.json')])
    records = script('records')
    assert records.finite(float('inf')) == records.HIGHEST_PSNR
    with pytest.raises(ValueError, match='not a number'):
        records.finite(float('nan'))
