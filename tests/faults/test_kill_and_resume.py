"""A short form of scripts/faults/kill_and_resume.py: a SIGKILL and a Ctrl-C for a preparation and for a training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

SCRIPT = Path(__file__).parents[2] / 'scripts/faults/kill_and_resume.py'


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='process groups and SIGKILL are those of POSIX')
def test_disturbed_jobs_end_as_undisturbed_ones(tmp_path):
    counts = tmp_path / 'counts.json'
    command = [
        sys.executable, SCRIPT, '--short', '--forked', '--kills', '2', '--signal', 'KILL', 'INT', '--json', counts,
        '--only', 'prep-kernels', 'train',
    ]  # fmt: skip
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [count['kills'] for count in json.loads(counts.read_text())] == [2, 2]
