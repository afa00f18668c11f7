"""The reference page and the schema of option files say what the check says."""

import copy
import json
from pathlib import Path

import pytest

import basis_blur.plugin  # noqa: F401
from basis_blur.bridges.basicsr.option_file import convert_number_texts, read_option_file
from basis_blur.bridges.basicsr.option_reference import page, schema
from basis_blur.cli.main import main

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / 'options').glob('*.yml'))


def options_of(path):
    opt = read_option_file(path)
    convert_number_texts(opt)
    return opt


@pytest.fixture(scope='module')
def validator():
    jsonschema = pytest.importorskip('jsonschema')
    found = json.loads(json.dumps(schema()))
    jsonschema.Draft7Validator.check_schema(found)
    return jsonschema.Draft7Validator(found)


def test_the_page_is_up_to_date():
    written = (ROOT / 'docs' / 'options.md').read_text(encoding='utf-8')
    assert written == page(), 'run python scripts/options_page.py'


def test_every_option_of_ours_has_a_meaning():
    rows = [line for line in page().splitlines() if line.startswith('| `')]
    assert len(rows) > 200
    assert [row for row in rows if row.endswith('|  |')] == []


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_the_shipped_files_follow_the_schema(validator, path):
    assert [error.message for error in validator.iter_errors(options_of(path))] == []


@pytest.mark.parametrize(
    ('file', 'keys', 'value'),
    [
        ('train_basis', ('nane',), 'x'),
        ('train_basis', ('train', 'kernel_p1_itr'), 5),
        ('train_basis', ('train', 'ema_decay'), 1.5),
        ('train_basis', ('train', 'kernel_opt', 'p'), 3),
        ('train_basis', ('train', 'kernel_opt', 'los_weight'), 1),
        ('train_basis', ('train', 'optim_g', 'type'), 'AdamV'),
        ('train_basis', ('network_g', 'num_faet'), 8),
        ('train_basis', ('network_g', 'norm'), 'batch'),
        ('train_basis', ('datasets', 'trian'), {}),
        ('train_basis', ('datasets', 'train', 'kernel_size'), 34),
        ('train_basis', ('datasets', 'train', 'illumination'), [0, 1]),
        ('train_basis', ('datasets', 'train', 'patch_size'), '256'),
        ('train_basis', ('logger', 'prnt_freq'), 1),
        ('train_basis', ('path', 'pretrain_network_k'), 'x'),
        ('train_ufpnet_gopro', ('datasets', 'train', 'use_hflp'), True),
        ('test_basis', ('val', 'rl'), {'iteratoins': 3}),
        ('test_basis', ('val', 'estimator'), 'best'),
    ],
)
def test_what_the_check_refuses_is_against_the_schema(validator, file, keys, value):
    opt = copy.deepcopy(options_of(ROOT / 'options' / f'{file}.yml'))
    assert validator.is_valid(opt)
    section = opt
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    assert not validator.is_valid(opt)


def test_a_model_of_another_project_is_left_alone(validator):
    assert validator.is_valid({'model_type': 'SRModel', 'whatever': 1, 'train': {'strange': 2}})


def test_the_command_prints_the_schema(capsys):
    assert main(['options', '--schema']) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(schema()))
    assert main(['options', 'train_basis', '--schema']) == 2
    assert 'leave out train_basis' in capsys.readouterr().err


def test_the_command_prints_the_page(capsys):
    assert main(['options', '--page']) == 0
    assert capsys.readouterr().out == page()
    assert main(['options', '--page', '--schema']) == 2
    assert 'give one of them' in capsys.readouterr().err
