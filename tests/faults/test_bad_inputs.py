"""Malformed inputs end in one clear line and exit code 2: the short version of scripts/faults/bad_inputs.py."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'scripts' / 'faults' / 'bad_inputs.py'


@pytest.fixture(scope='module')
def harness():
    spec = importlib.util.spec_from_file_location('bad_inputs', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.processes
@pytest.mark.slow
def test_the_short_corpus_is_refused_as_it_should_be(tmp_path):
    # A process of its own, because cases are forked, which a process that has computed in threads must not be.
    call = [sys.executable, SCRIPT, '--short', '--json', tmp_path / 'outcomes.json']
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    outcomes = json.loads((tmp_path / 'outcomes.json').read_text())
    faults = [f'{each["category"]}: {each["name"]}: {each["faults"]}' for each in outcomes if each['faults']]
    assert not faults, done.stdout
    assert done.returncode == 0
    assert sum(each['code'] == 2 for each in outcomes) >= 30
    assert sum(each['code'] == 0 for each in outcomes) >= 3  # the controls


@pytest.mark.parametrize(
    ('said', 'complaint'),
    [
        ('', 'no message'),
        ('basis-blur deblur: x.png is empty.\n', ''),
        ('  5%|#  | 1/20 [00:00<00:01]\rbasis-blur deblur: x.png is empty.\n', ''),
        ('usage: basis-blur deblur [-h]\n    IMG\nbasis-blur deblur: error: x.png is missing\n', ''),
        ('basis-blur deblur: y.png is empty.\n', 'does not name'),
        ('basis-blur deblur: x.png\nis empty.\n', '2 lines'),
        ('basis-blur deblur: x.png\x1b[2J is empty.\n', 'not printable'),
        ('ValueError: x.png\n', 'not a line of ours'),
        (f'basis-blur deblur: x.png {"9" * 1000}\n', 'characters'),
    ],
)
def test_words_that_do_not_help_are_found(harness, said, complaint):
    found = harness.judge_words(said, harness.Case('c', 'n', None, says='x.png'))
    assert found.startswith(complaint) if not complaint else complaint in found
    assert bool(found) == bool(complaint)


def test_files_left_behind_are_found(harness, tmp_path):
    (tmp_path / 'kept').write_text('x')
    (tmp_path / 'changed').write_text('x')
    before = harness.contents(tmp_path)
    (tmp_path / 'changed').write_text('xy')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'half.png').write_text('x')
    found = harness.left_over(before, harness.contents(tmp_path), ('out',))
    assert found == ['changed', 'out/half.png']
