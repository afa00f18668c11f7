"""scripts/evaluate/score_fusion.py finds grids and harm, on tiny scenes."""

import json

import pytest
import torch

import basis_blur as bb
from basis_blur.archs.iterate_fusion_arch import SLACK, IterateFusion


@pytest.fixture
def photo(picture):
    return picture(0, 96, 96).double()


def with_grid(photo, deviation):
    """A photo with a pattern of a period of 4 pixels in its upper left quarter."""
    pattern = torch.zeros(4, 4)
    pattern[0] = 1
    pattern = (pattern - pattern.mean()) / pattern.std(correction=0)
    found = photo.clone()
    found[..., :48, :48] += deviation * pattern.repeat(12, 12)
    return found


def test_a_grid_is_found_where_it_is(script, photo):
    module = script('score_fusion')
    softer = torch.nn.functional.avg_pool2d(photo, 3, 1, 1)
    assert module.grid_windows(softer, [photo]) == (0, 25)
    assert module.grid_windows(with_grid(photo, 2 / 255), [photo, softer])[0] >= 4
    assert module.grid_windows(with_grid(photo, 0.2 / 255), [photo])[0] == 0


def test_a_grid_that_the_photo_has_is_none(script, photo):
    module = script('score_fusion')
    woven = with_grid(photo, 4 / 255)
    assert module.grid_windows(1.2 * woven, [woven]) == (0, 25)


def test_the_power_is_that_of_the_pattern(script):
    pattern = with_grid(torch.zeros(1, 1, 96, 96), 0.01)[..., :32, :32]
    power, beside = script('score_fusion').grid_power(pattern)
    assert power.sqrt().item() == pytest.approx(0.01, rel=0.02)
    assert beside.item() < 0.05 * power.item()


@pytest.mark.parametrize('bias', [0.0, 4.0])
def test_harm_is_counted(script, tmp_path, picture, bias):
    (tmp_path / 'scenes').mkdir()
    for number in range(2):
        sharp = picture(number, 64, 64)[0]
        photo = 0.8 * sharp + 0.1
        worse = sharp.flip(-1)
        images = torch.stack([photo, worse, sharp, worse, sharp]).half()  # the third iterate is the sharp photo
        facts = {'kind': 'clean', 'gray': False, 'wrong': False, 'photo': 'a'}
        torch.save({'images': images, **facts}, tmp_path / 'scenes' / f'{number}.pt')
    net = IterateFusion((2, 4), width=4, deep_width=4, blocks=0, deep_blocks=0).float()
    torch.nn.init.constant_(net.tail.bias[-32:], -0.3 + bias)
    bb.save_network(net, tmp_path / 'fusion.safetensors')
    call = [str(tmp_path / 'fusion.safetensors'), '--scenes', str(tmp_path / 'scenes')]
    assert script('score_fusion').main([*call, '--json', str(tmp_path / 'record.json')]) == 0
    record = json.loads((tmp_path / 'record.json').read_text())
    found = record['means']['scenes']
    assert found['solver']['gain'] > 3
    assert found['1']['harmed'] == 2  # below the solver alone in both
    assert found['1']['outside'] <= SLACK + 1e-6
    assert (abs(found['1']['gain']) < 0.2) == (bias == 0)  # nearly the photo itself
    assert str(tmp_path) not in json.dumps(record)
