"""basis-blur prep-dataset on a tiny download."""

from dataclasses import replace

import pytest
from PIL import Image

from basis_blur.cli.main import main
from basis_blur.data import benchmark_sets


@pytest.fixture
def download(tmp_path, monkeypatch):
    """A set like GoPro of one test pair, whose real counts are replaced."""
    for kind in ('blur', 'sharp'):
        (tmp_path / 'GOPRO_Large/test/A' / kind).mkdir(parents=True)
        Image.new('RGB', (4, 3)).save(tmp_path / 'GOPRO_Large/test/A' / kind / '1.png')
    gopro = benchmark_sets.BENCHMARKS['gopro']
    tiny = replace(gopro, splits={'test': benchmark_sets.Split(1)})
    monkeypatch.setitem(benchmark_sets.BENCHMARKS, 'gopro', tiny)
    return tmp_path / 'GOPRO_Large'


def command(*words):
    return main(['prep-dataset', *map(str, words)])


def test_it_says_what_it_wrote(download, tmp_path, capsys):
    assert command('gopro', download, '-o', tmp_path / 'out', '--link') == 0
    assert capsys.readouterr().out == f'{tmp_path}/out: 1 test; 2 files linked, 0 copied.\n'


def test_it_lists_what_is_missing_with_exit_code_2_unless_that_is_allowed(download, tmp_path, capsys):
    Image.new('RGB', (4, 3)).save(download / 'test/A/sharp/2.png')
    complaint = 'missing: test/A-2 has no blurred photo\n'
    assert command('gopro', download, '-o', tmp_path / 'out') == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert err.splitlines()[-1].startswith('basis-blur prep-dataset: the download of gopro has 1 difference')
    assert not (tmp_path / 'out').exists()
    assert command('gopro', download, '-o', tmp_path / 'out', '--allow-incomplete') == 0
    out, err = capsys.readouterr()
    assert complaint in err
    assert out.endswith('incomplete, as listed.\n')


def test_it_tells_where_downloads_come_from(capsys):
    assert command('--where') == 0
    out = capsys.readouterr().out
    assert [line.partition(':')[0] for line in ('\n' + out).split('\n\n')] == [
        '\nGoPro',
        'HIDE',
        'RealBlur',
        'Koehler',
        'Lai',
    ]
    assert command('hide', '--where') == 0
    assert capsys.readouterr().out.startswith('HIDE: ')


@pytest.mark.parametrize(
    ('words', 'found'),
    [(['gopo', 'x', '-o', 'y'], 'Did you mean "gopro"?'), (['gopro'], 'NAME, DOWNLOAD and -o OUT are needed')],
)
def test_mistakes_are_one_sentence(capsys, words, found):
    assert command(*words) == 2
    assert found in capsys.readouterr().err
