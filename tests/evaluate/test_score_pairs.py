"""scripts/evaluate/score_pairs.py on tiny pairs of each layout."""

import json

import pytest
import torch
from PIL import Image

import basis_blur as bb
from basis_blur.estimation import estimators
from basis_blur.foundation.errors import InputError
from basis_blur.metrics.aligned import plain_score, realblur_score
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo


def blurred(photo: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(photo, 3, 1, 1, count_include_pad=False)


@pytest.fixture
def true_estimate(monkeypatch):
    """The estimate is the blur of `blurred`: an untrained network leaves nothing that could be aligned."""

    def estimate(net, photo, gamma, progress=None):
        kernel = torch.zeros(1, 1, 5, 5)
        kernel[..., 1:4, 1:4] = 1 / 9
        return bb.BlurField(kernel.to(photo), torch.ones_like(photo[:, :1])), False

    monkeypatch.setattr(estimators, 'estimate_blur_at_best_size', estimate)


@pytest.mark.usefixtures('true_estimate')
def test_scores_are_those_of_the_library_for_the_photos_that_are_kept(
    script, picture, weights, true_estimate, tmp_path, capsys
):
    for seed in range(2):
        write_photo(tmp_path / 'set' / 'sharp' / f'{seed}.png', picture(seed))
        write_photo(tmp_path / 'set' / 'blur' / f'{seed}.png', blurred(picture(seed)))
    outputs = ['--json', tmp_path / 'out.json', '--sheet', tmp_path / 'sheet.png', '--restored', tmp_path / 'restored']
    assert script('score_pairs').main([str(each) for each in (weights, tmp_path / 'set', *outputs)]) == 0
    record = json.loads((tmp_path / 'out.json').read_text())
    for row in record['pairs']:
        sharp = read_photo(tmp_path / 'set' / 'sharp' / f'{row["name"]}.png').pixels
        for stage, folder in (('blurred', 'set/blur'), ('restored', 'restored')):
            photo = read_photo(tmp_path / folder / f'{row["name"]}.png').pixels
            for protocol, score_of in (('plain', plain_score), ('aligned', realblur_score)):
                expected = score_of(photo, sharp)
                assert row[protocol][stage] == pytest.approx({'psnr': expected.psnr, 'ssim': expected.ssim}, rel=1e-4)
    plain = record['means']['plain']
    assert plain['gain']['worst'] > 0
    gains = [row['plain']['restored']['psnr'] - row['plain']['blurred']['psnr'] for row in record['pairs']]
    assert plain['gain']['worst'] == pytest.approx(min(gains), abs=1e-3)
    assert plain['gain']['mean'] == pytest.approx(plain['restored']['psnr'] - plain['blurred']['psnr'], abs=2e-3)
    assert Image.open(tmp_path / 'sheet.png').size[0] > 6 * 420  # two columns of three photos each
    assert 'aligned: 2 of 2 pairs scored' in capsys.readouterr().out


def test_a_ufpnet_restores_by_itself(script, picture, ufpnet, fusion, tmp_path):
    write_photo(tmp_path / 'set' / 'sharp' / 'a.png', picture(0))
    write_photo(tmp_path / 'set' / 'blur' / 'a.png', blurred(picture(0)))
    call = list(map(str, [ufpnet, tmp_path / 'set', '--restored', tmp_path]))
    assert script('score_pairs').main(call) in (0, 2)  # what it makes of the photo may not align
    photo = read_photo(tmp_path / 'set' / 'blur' / 'a.png').pixels
    expected = bb.restore(bb.load_network(ufpnet), photo)
    torch.testing.assert_close(read_photo(tmp_path / 'a.png').pixels, expected, rtol=0, atol=0.51 / 255)
    with pytest.raises(InputError, match='holds a UFPNet, which restores photos itself; leave out --fusion'):
        script('score_pairs').main([*call, '--fusion', str(fusion)])


@pytest.mark.usefixtures('true_estimate')
def test_with_a_fusion_that_is_what_is_scored(script, picture, weights, fusion, tmp_path):
    write_photo(tmp_path / 'set' / 'sharp' / 'a.png', picture(0))
    write_photo(tmp_path / 'set' / 'blur' / 'a.png', blurred(picture(0)))
    call = [weights, tmp_path / 'set', '--fusion', fusion, '--json', tmp_path / 'out.json', '--restored', tmp_path]
    assert script('score_pairs').main(list(map(str, call))) == 0
    record = json.loads((tmp_path / 'out.json').read_text())
    assert [each['file'] for each in record['weights']] == ['tiny.safetensors', 'fusion.safetensors']
    photo = read_photo(tmp_path / 'set' / 'blur' / 'a.png').pixels
    field, _ = estimators.estimate_blur_at_best_size(None, photo, 2.2)
    expected = bb.deblur(photo, field, fusion=bb.load_network(fusion))
    torch.testing.assert_close(read_photo(tmp_path / 'a.png').pixels, expected, rtol=0, atol=0.51 / 255)


def test_another_estimator_may_be_scored(script, picture, weights, ufpnet, tmp_path):
    write_photo(tmp_path / 'set' / 'sharp' / 'a.png', picture(0))
    write_photo(tmp_path / 'set' / 'blur' / 'a.png', blurred(picture(0)))
    call = [tmp_path / 'set', '--estimator', 'none', '--json', tmp_path / 'out.json']
    assert script('score_pairs').main(list(map(str, [weights, *call]))) == 0
    record = json.loads((tmp_path / 'out.json').read_text())
    assert record['config']['estimator'] == 'none'
    assert record['pairs'][0]['plain']['restored'] == record['pairs'][0]['plain']['blurred']
    with pytest.raises(InputError, match='holds a UFPNet, which estimates no blur; leave out --estimator'):
        script('score_pairs').main(list(map(str, [ufpnet, *call, '--overwrite'])))


@pytest.mark.usefixtures('true_estimate')
def test_a_failed_alignment_is_named_and_in_no_mean(script, picture, weights, tmp_path, capsys):
    write_photo(tmp_path / 'a_blur_1.png', blurred(picture(0)))
    write_photo(tmp_path / 'a_gt.png', picture(0))
    write_photo(tmp_path / 'b_blur_1.png', torch.rand(1, 3, 60, 72))
    write_photo(tmp_path / 'b_gt.png', picture(1))
    write_photo(tmp_path / 'c_blur_1.png', picture(2))
    write_photo(tmp_path / 'd_gt.png', picture(3))
    (tmp_path / 'd_blur_1.png').write_bytes(b'no photo')
    outputs = ['--json', tmp_path / 'out.json', '--sheet', tmp_path / 'out' / 'sheet.png']
    assert script('score_pairs').main([str(each) for each in (weights, tmp_path, *outputs)]) == 2
    record = json.loads((tmp_path / 'out.json').read_text())
    good, bad, broken = record['pairs']
    assert 'd_blur_1.png is not a photo file' in broken['failed']['blurred']
    assert bad['failed'].keys() == {'blurred', 'restored'}
    assert bad['aligned'] == {}
    assert (record['means']['aligned']['pairs'], record['means']['failed']) == (1, 2)
    assert record['means']['aligned']['restored'] == good['aligned']['restored']
    assert record['means']['plain']['pairs'] == 2
    assert record['config']['without_sharp'] == ['c_blur_1']
    out, err = capsys.readouterr()
    assert 'b_blur_1: the restored photo has no aligned score: ' in err
    assert 'not scored: c_blur_1' in out


def test_photos_of_slightly_different_size_have_no_plain_score(script, picture):
    module = script('score_pairs')
    sharp = picture(0, 60, 74)
    row = module.score_pair('x', blurred(sharp)[..., 1:-1], blurred(sharp)[..., 1:-1], sharp)
    assert row['plain'] == {}
    assert (
        row['aligned']['blurred']
        == module.score_pair('x', *[blurred(sharp)[..., 1:-1]] * 2, sharp[..., 1:-1])['aligned']['blurred']
    )
    with pytest.raises(InputError, match='differ in size by 40 pixels'):
        module.score_pair('x', sharp[..., :-40], sharp[..., :-40], sharp)


def test_the_layout_of_lai_is_known_and_a_folder_without_pairs_refused(script, picture, tmp_path):
    find_pairs = script('score_pairs').find_pairs
    write_photo(tmp_path / 'man_01_gyro_02.png', picture(0))
    with pytest.raises(InputError, match='holds no pairs'):
        find_pairs(tmp_path)
    write_photo(tmp_path / 'man_01.png', picture(0))
    (pair,), alone = find_pairs(tmp_path)
    assert (pair.blurred.name, pair.sharp.name, alone) == ('man_01_gyro_02.png', 'man_01.png', [])
