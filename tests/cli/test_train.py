"""basis-blur train and test: the option file is judged before BasicSR is handed the command line it understands."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from option_text import FILE

import basis_blur.plugin  # noqa: F401
from basis_blur.bridges.basicsr import mended, option_check, option_file, presence
from basis_blur.bridges.basicsr.option_file import OUR_LINE
from basis_blur.cli.main import main
from basis_blur.foundation.options import CheckedOptions


@pytest.fixture
def pipelines(tmp_path, monkeypatch):
    """Replace the pipelines of BasicSR by ones that tell how they were called, in a folder with an option file."""
    import basicsr.test
    import basicsr.train

    calls = []
    monkeypatch.setattr(basicsr.train, 'train_pipeline', lambda root: calls.append(('train', root, sys.argv[1:])))
    monkeypatch.setattr(basicsr.test, 'test_pipeline', lambda root: calls.append(('test', root, sys.argv[1:])))
    monkeypatch.setattr(sys, 'argv', ['basis-blur'])
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'o.yml').write_text(f'{OUR_LINE}\n{FILE}')
    return calls


COMMON = ['-opt', 'o.yml', '--launcher', 'none', '--local_rank', '0']


@pytest.mark.parametrize(
    ('arguments', 'handed_over'),
    [
        (['train', 'o.yml'], COMMON),
        (['train', '-opt', 'o.yml'], COMMON),
        (['test', 'o.yml'], COMMON),
        (['train', 'o.yml', '--auto_resume', '--debug'], [*COMMON, '--auto_resume', '--debug']),
        (
            ['train', '--force_yml', 'train:x=1', 'name=y', '-opt', 'o.yml'],
            [*COMMON, '--force_yml', 'train:x=1', 'name=y'],
        ),
        (
            ['test', 'o.yml', '--launcher', 'pytorch', '--local-rank', '1'],
            ['-opt', 'o.yml', '--launcher', 'pytorch', '--local_rank', '1'],
        ),
    ],
)
def test_basicsr_runs_in_the_current_folder_with_the_same_arguments(pipelines, tmp_path, arguments, handed_over):
    assert main(arguments) == 0
    assert pipelines == [(arguments[0], str(tmp_path), handed_over)]


@pytest.mark.parametrize(
    ('arguments', 'found'),
    [
        (['train'], 'give one option file'),
        (['train', 'o.yml', '-opt', 'o.yml'], 'give one option file'),
        (['train', 'p.yml'], 'p.yml does not exist'),
        (['train', 'o.yml', '--force_yml', 'network_g:type=SRVGNetCompact'], 'Did you mean "SRVGGNetCompact"'),
        (['test', 'o.yml', '--force_yml', 'model_type=SRModle'], 'Did you mean "SRModel"'),
        (['train', 'o.yml', '--force_yml', 'trian:x=1'], 'Did you mean "train"'),
    ],
)
def test_a_mistake_is_told_before_basicsr_starts(pipelines, capsys, arguments, found):
    assert main(arguments) == 2
    assert found in capsys.readouterr().err
    assert pipelines == []


def test_a_file_with_foreign_python_never_reaches_basicsr(pipelines, tmp_path, capsys):
    (tmp_path / 'o.yml').write_text(FILE + 'x: !!python/object/apply:os.mkdir [executed]\n')
    assert main(['train', 'o.yml']) == 2
    assert 'is refused' in capsys.readouterr().err
    assert pipelines == []
    assert not (tmp_path / 'executed').exists()


def test_a_file_is_read_and_checked_once(pipelines, tmp_path, monkeypatch):
    """BasicSR parses the options, and asks where to resume: neither reads or judges the file again."""
    import basicsr.train

    counts = Counter()

    def counting(name, function):
        return lambda *given, **named: (counts.update([name]), function(*given, **named))[1]

    check, read = counting('checked', option_check.check_options), counting('read', option_file.read_option_file)
    monkeypatch.setattr(option_check, 'check_options', check)
    monkeypatch.setattr(mended, 'check_options', check)
    monkeypatch.setattr(option_file, 'read_option_file', read)
    monkeypatch.setattr(mended, 'read_option_file', read)

    def train(root):
        opt, _ = basicsr.train.parse_options(root, is_train=True)
        basicsr.train.load_resume_state(opt)
        pipelines.append(opt)

    monkeypatch.setattr(basicsr.train, 'train_pipeline', train)
    assert main(['train', 'o.yml', '--force_yml', 'train:total_iter=1e3']) == 0
    assert counts == {'read': 1, 'checked': 1}
    assert isinstance(pipelines[0], CheckedOptions)
    assert pipelines[0]['train']['total_iter'] == 1000
    assert pipelines[0]['path']['experiments_root'] == f'{tmp_path}/experiments/a_run'
    (tmp_path / 'o.yml').write_text(FILE.replace('a_run', 'another'))  # what was handed over is not kept
    assert basicsr.train.parse_options(str(tmp_path))[0]['name'] == 'another'


@pytest.mark.parametrize('command', ['train', 'test'])
def test_without_basicsr_one_sentence_says_what_to_install(pipelines, capsys, monkeypatch, command):
    monkeypatch.setattr(presence, 'find', lambda: None)
    assert main([command, 'o.yml']) == 2
    assert "pip install 'basis_blur[basicsr]'" in capsys.readouterr().err
    assert pipelines == []


def test_beside_a_fork_without_registries_one_sentence_says_so(tmp_path):
    """A process of its own, since an import happens once."""
    (tmp_path / 'basicsr').mkdir()
    (tmp_path / 'basicsr' / '__init__.py').touch()
    (tmp_path / 'o.yml').write_text(FILE)
    environment = {**os.environ, 'BASIS_BLUR_HOOK': 'off', 'PYTHONPATH': str(tmp_path)}
    command = [sys.executable, '-m', 'basis_blur', 'train', 'o.yml']
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f'the basicsr in {tmp_path}/basicsr has no registries' in done.stderr
    assert 'Traceback' not in done.stderr
