"""basis-blur options: what comes with the package has a name, one line, and a way out of it."""

import pytest
import yaml

from basis_blur.cli.main import main
from basis_blur.foundation import shipped

NAMES = [*shipped.files('options'), *shipped.files('configs')]


def test_every_file_is_listed_with_one_line(capsys):
    assert main(['options']) == 0
    listed = [line.split(maxsplit=1) for line in capsys.readouterr().out.split('\n') if line.startswith('  ')]
    assert [name for name, _ in listed] == NAMES
    for _, text in listed:
        assert text.endswith('.')
        assert len(text) < 100
    assert len({text for _, text in listed[: len(shipped.files('options'))]}) == len(shipped.files('options'))


def test_an_option_file_is_printed_as_it_is(capsys):
    assert main(['options', 'train_basis']) == 0
    assert capsys.readouterr().out == shipped.files('options')['train_basis'].read_text()


def test_a_config_is_printed_as_one_that_inherits_all_of_it(capsys, tmp_path):
    config = pytest.importorskip('mmengine.config').Config
    assert main(['options', 'kpn_b8k33_quick']) == 0
    (tmp_path / 'mine.py').write_text(capsys.readouterr().out + 'gamma_of_mine = 1\n')
    mine = config.fromfile(tmp_path / 'mine.py')
    assert mine.model == config.fromfile(shipped.files('configs')['kpn_b8k33_quick']).model
    assert mine.gamma_of_mine == 1


def test_an_unknown_name_is_told_with_the_nearest(capsys):
    assert main(['options', 'train_bsis']) == 2
    assert 'Did you mean "train_basis"?' in capsys.readouterr().err


def test_a_name_goes_before_a_file_that_is_called_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'train_basis').write_text('name: a trap')
    found = shipped.find('train_basis', 'options')
    assert yaml.safe_load(found.read_text().split('\n', 1)[1])['name'] == 'train_basis'
    assert shipped.find('./train_basis', 'options').read_text() == 'name: a trap'


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('options/train_basis.yml', 'comes with basis_blur is "train_basis"'),
        ('train_bsis', 'Did you mean "train_basis"'),
        ('my.yml', '"basis-blur options" lists'),
    ],
)
def test_a_missing_file_is_told_with_what_there_is(tmp_path, monkeypatch, capsys, name, said):
    monkeypatch.chdir(tmp_path)
    assert main(['train', name]) == 2
    assert said in capsys.readouterr().err
