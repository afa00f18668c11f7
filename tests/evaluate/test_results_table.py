"""scripts/evaluate/results_table.py, and that docs/results.md has the results that are stored."""

import json
from pathlib import Path

import pytest

from basis_blur.foundation.errors import InputError

ROOT = Path(__file__).parents[2]
PSNR = {'psnr': 20.0, 'ssim': 0.5}
FULL = {'kernel_l1': 1.0, 'kernel_l2': 0.1, 'kernel_correlation': 0.7, 'reblur_psnr': 31.25, **PSNR}
CONFIG = {'scenes': 2, 'photos': 2, 'patch_size': 40, 'kernel_size': 33, 'max_objects': 3, 'seed': 0, 'noise': 0}
SYNTHETIC = {
    'kind': 'synthetic',
    'weights': [{'file': 'net.safetensors'}],
    'config': CONFIG,
    'means': {'blurred': PSNR, 'true': FULL, 'delta': FULL, 'mean': FULL, 'net.safetensors': FULL, 'net + more': PSNR},
}
SCORED = {'pairs': 1, 'blurred': PSNR, 'restored': {'psnr': 21.5, 'ssim': 0.6}, 'gain': {'mean': 1.5, 'worst': -0.25}}
PAIRS = {
    'kind': 'pairs',
    'set': 'real',
    'weights': [{'file': 'net.safetensors'}, {'file': 'more'}],
    'config': {},
    'means': {'pairs': 2, 'plain': {'pairs': 0, 'blurred': {}, 'restored': {}}, 'aligned': SCORED},
}


@pytest.fixture
def folder(tmp_path):
    for name, record in (('1_synthetic', SYNTHETIC), ('2_pairs', PAIRS)):
        (tmp_path / f'{name}.json').write_text(json.dumps(record))
    (tmp_path / 'page.md').write_text('before\n<!-- results -->\nold\n<!-- /results -->\nafter\n')
    return tmp_path


def call(script, folder, *more):
    return script('results_table').main(['--results', str(folder), '--page', str(folder / 'page.md'), *more])


def test_the_table_replaces_what_is_between_the_marks_and_the_check_tells(script, folder, capsys):
    assert call(script, folder, '--check') == 1
    assert 'run python scripts/evaluate/results_table.py' in capsys.readouterr().err
    assert 'old' in (folder / 'page.md').read_text()
    assert call(script, folder) == 0
    text = (folder / 'page.md').read_text()
    assert text.startswith('before\n<!-- results -->\n')
    assert text.endswith('\n<!-- /results -->\nafter\n')
    assert 'old' not in text
    assert '| `net.safetensors` | 1.000 | 0.100 | 0.700 | 31.2 | 20.00 | 0.500 |' in text
    assert '| `net` + `more` |  |  |  |  | 20.00 | 0.500 |' in text
    assert (
        '| real | `net.safetensors` + `more` | aligned | 1 of 2 | 20.00 / 0.500 | 21.50 / 0.600 | +1.50 | -0.25 |'
        in text
    )
    assert '| real | `net.safetensors` + `more` | plain | 0 of 2 |  |  |  |  |' in text
    assert '| Köhler | [C21] | 28.39 | 0.82 |' in text.partition('what others published')[2]
    assert call(script, folder, '--check') == 0


@pytest.mark.parametrize('text', ['no marks', '<!-- /results --> <!-- results -->', '<!-- results --> twice ' * 2])
def test_a_text_without_the_marks_is_left_alone(script, folder, text):
    (folder / 'page.md').write_text(text)
    with pytest.raises(InputError, match='add them'):
        call(script, folder)
    assert (folder / 'page.md').read_text() == text


@pytest.mark.parametrize('content', ['{', '[]', '{"kind": "other"}', '{"kind": "pairs", "config": {}, "means": {}}'])
def test_what_is_no_record_is_named(script, folder, content):
    (folder / '3.json').write_text(content)
    with pytest.raises(InputError, match=r'3\.json'):
        call(script, folder)


def test_the_page_shows_the_stored_results(script):
    if not list((ROOT / 'docs' / 'results').glob('*.json')):
        pytest.skip('no results are stored in docs/results yet')
    assert script('results_table').main(['--check']) == 0
