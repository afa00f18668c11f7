"""A shell completes commands, options and file names."""

import shutil
import subprocess
import sys

import pytest

from basis_blur.cli.main import COMMANDS, main


def script_of(shell, capsys):
    pytest.importorskip('shtab')
    assert main(['completion', shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'tcsh'])
def test_every_command_is_in_the_script(shell, capsys):
    script = script_of(shell, capsys)
    assert all(name in script for name in COMMANDS)
    assert '--save-kernels' in script or 'save-kernels' in script


@pytest.mark.skipif(shutil.which('bash') is None, reason='there is no bash')
@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        (['basis-blur', 'de'], ['deblur']),
        (['basis-blur', 'prep-'], ['prep-kernels', 'prep-lmdb', 'prep-guesses', 'prep-dataset']),
        (['basis-blur', 'deblur', '--str'], ['--strength']),
        (['basis-blur', 'deblur', '--method', ''], ['rl', 'ufpnet']),
        (['basis-blur', 'deblur', 'photo'], ['photo.jpg']),
        (['basis-blur', 'deblur', 'a', 'photo'], ['photo.jpg']),
    ],
)
def test_bash_completes(tmp_path, capsys, line, expected):
    (tmp_path / 'photo.jpg').touch()
    script = tmp_path / 'completion.bash'
    script.write_text(script_of('bash', capsys))
    words = ' '.join(f"'{word}'" for word in line)
    ask = f"""
        compopt() {{ :; }}
        source {script}
        COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; COMPREPLY=()
        $(complete -p basis-blur | sed 's/.*-F \\([^ ]*\\).*/\\1/') basis-blur '{line[-1]}' '{line[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(['bash', '-c', ask], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert set(expected) <= set(done.stdout.split()), done.stderr


def test_what_to_install_is_told(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'shtab', None)
    assert main(['completion', 'bash']) == 2
    assert "pip install 'basis_blur[completion]'" in capsys.readouterr().err
