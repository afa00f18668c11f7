"""The command line: quick help, one sentence for a mistake, exit codes."""

import os
import signal
import subprocess
import sys
import types

import pytest

import basis_blur
from basis_blur.cli import main as command_line
from basis_blur.foundation.errors import InputError


@pytest.fixture
def command(monkeypatch):
    """Install a command `doctor` that does what it is told; return a function that runs it."""

    def run_command(action):
        module = types.ModuleType('basis_blur.cli.doctor')
        module.DESCRIPTION, module.add_arguments, module.run = '', lambda parser: None, action
        monkeypatch.setitem(sys.modules, 'basis_blur.cli.doctor', module)
        return command_line.main(['doctor'])

    return run_command


def raising(error):
    def action(args):
        raise error

    return action


@pytest.mark.parametrize(
    ('error', 'sentence'),
    [
        (InputError('the photo is too small.'), 'the photo is too small.'),
        (FileNotFoundError(2, 'No such file or directory', 'x.png'), 'x.png: No such file or directory.'),
        (OSError(28, 'No space left on device'), 'No space left on device.'),
        (InputError('there is no \x1b[2Ja\nb.png.'), 'there is no \\x1b[2Ja b.png.'),
        (InputError('a' * 700), f'{"a" * 300} ... {"a" * 300}'),
        (
            InputError('Caught InputError in worker.\nTraceback:\n  line\nbasis_blur.errors.InputError: x is cut off.'),
            'x is cut off.',
        ),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(command, capsys, error, sentence):
    assert command(raising(error)) == 2
    assert capsys.readouterr().err == f'basis-blur doctor: {sentence}\n'


def test_a_defect_keeps_its_traceback(command):
    with pytest.raises(ZeroDivisionError):
        command(raising(ZeroDivisionError()))


def test_ctrl_c_ends_without_a_traceback(command, capsys):
    assert command(raising(KeyboardInterrupt())) == 130
    assert 'interrupted' in capsys.readouterr().err


def test_sigterm_ends_with_143_and_a_word_on_what_is_kept(command, capsys):
    def action(args):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            error.remark = 'two photos are kept'
            raise

    assert command(action) == 143
    assert capsys.readouterr().err == '\nbasis-blur doctor: interrupted; two photos are kept.\n'


def test_the_commands_own_exit_code_is_passed_on(command):
    assert command(lambda args: 0) == 0
    assert command(lambda args: 2) == 2


@pytest.mark.parametrize('arguments', [['deblurr'], ['doctor', '--no-such-option'], ['--no-such-option']])
def test_a_wrong_command_line_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(arguments)
    assert stop.value.code == 2
    assert 'usage: basis-blur' in capsys.readouterr().err


def test_no_word_at_all_asks_for_help(capsys):
    assert command_line.main([]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in command_line.COMMANDS)


def test_an_error_is_short_and_names_the_command(capsys):
    for words in (['deblur'], ['deblur', 'a.jpg', '--no-such-option'], ['deblur', 'a.jpg', '--strength', '2']):
        with pytest.raises(SystemExit):
            command_line.main(words)
        usage, sentence, advice = capsys.readouterr().err.splitlines()
        assert usage == 'usage: basis-blur deblur [options] IMG [IMG ...]'
        assert sentence.startswith('basis-blur deblur: error: ')
        assert advice == '"basis-blur deblur --help" tells more.'


def test_a_choice_that_does_not_exist_ends_with_the_one_that_was_meant(capsys):
    with pytest.raises(SystemExit):
        command_line.main(['deblur', 'a.jpg', '--estimator', 'shaek'])
    assert 'Did you mean "shake"?' in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(['--version'])
    assert stop.value.code == 0
    assert basis_blur.__version__ in capsys.readouterr().out


@pytest.mark.parametrize('command', [[], *([name] for name in command_line.COMMANDS)], ids=str)
def test_help_of_every_command_comes_without_torch(command):
    """Loading torch alone would take seconds."""
    code = (
        'import sys\nfrom basis_blur.cli.main import main\n'
        f'try: main({[*command, "--help"]})\n'
        'finally: print("torch" in sys.modules, file=sys.stderr)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(' '.join(['usage: basis-blur', *command]))
    assert done.stderr == 'False\n'


def test_a_reader_that_leaves_is_no_error():
    code = 'import sys\nfrom basis_blur.cli.doctor import _line\nfrom basis_blur.cli import main, doctor\n'
    code += (
        'doctor.run = lambda args: [_line("x", "y" * 9999) for _ in range(99)] and 0\nsys.exit(main.main(["doctor"]))'
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, '-c', code], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, '')


@pytest.mark.parametrize(
    ('word', 'said'),
    [
        ('deblurr', 'there is no command \'deblurr\'. Did you mean "deblur"?'),
        ('preplmdb', 'Did you mean "prep-lmdb"?'),
        ('xyzzy', 'The commands are deblur, kernels'),
        ('photo.JPG', 'Did you mean "basis-blur deblur photo.JPG"?'),
        ('\x1b[2J', r"there is no command '\x1b[2J'"),
    ],
)
def test_a_command_that_does_not_exist_ends_with_the_one_that_was_meant(capsys, word, said):
    with pytest.raises(SystemExit) as raised:
        command_line.main([word])
    assert raised.value.code == 2
    assert said in capsys.readouterr().err


def test_an_option_that_does_not_exist_ends_with_the_one_that_was_meant(capsys):
    with pytest.raises(SystemExit) as raised:
        command_line.main(['deblur', 'a.jpg', '--strenght=1', '-o', 'b.jpg'])
    assert raised.value.code == 2
    assert 'unrecognized arguments: --strenght=1. Did you mean "--strength"?' in capsys.readouterr().err


@pytest.mark.parametrize('stream', ['stdout', 'stderr'])
def test_a_stream_that_was_closed_is_not_missed(command, monkeypatch, stream):
    monkeypatch.setattr(sys, stream, None)
    assert command(lambda args: print('told', file=getattr(sys, stream)) or 0) == 0
    monkeypatch.setattr(sys, stream, None)
    assert command(raising(InputError('it is too small.'))) == 2


def test_a_current_folder_that_was_removed_is_told(command, tmp_path, monkeypatch, capsys):
    (tmp_path / 'gone').mkdir()
    monkeypatch.chdir(tmp_path / 'gone')
    (tmp_path / 'gone').rmdir()
    assert command(lambda args: 0) == 2
    assert 'the current folder was removed; change to one that exists' in capsys.readouterr().err
