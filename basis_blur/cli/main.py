"""The command `basis-blur`: find the sub-command, run it, and turn a user's mistake into one sentence.

Exit codes: 0 done, 2 a mistake that the user can mend (one sentence on standard error), 130 stopped by Ctrl-C and 143
by SIGTERM (one sentence on what is kept), 1 a defect (with its traceback). Only the module of the command that is asked
for is imported, and of it only the options; so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from basis_blur import __version__
from basis_blur.cli.parser import Parser
from basis_blur.foundation import interrupts
from basis_blur.foundation.errors import InputError, did_you_mean, printable, sentence_of
from basis_blur.photos.formats import READ_SUFFIXES

COMMANDS = {
    'deblur': 'estimate the blur of photos and remove it',
    'kernels': 'estimate the blur of a photo and save it, as numbers and pictures',
    'app': 'remove the blur of photos in the browser',
    'evaluate': 'score restored photos against their ground truth',
    'train': 'train a network from an option file, by BasicSR',
    'test': 'test a network on data sets from an option file, by BasicSR',
    'samples': 'draw samples of a data set, with masks, kernels and weights',
    'options': 'list the option files that come with basis_blur, or print one',
    'prep-kernels': 'draw camera-shake kernels into an LMDB for training',
    'prep-lmdb': 'turn a folder of photos and masks into LMDBs for training',
    'prep-guesses': 'restore blurred photos, for a training that has no sharp ones',
    'prep-dataset': 'check the download of a benchmark and bring it into pairs',
    'export': 'write a network for other programs: ONNX, torch.export',
    'info': 'tell the parameters and FLOPs of a network',
    'doctor': 'tell versions, what is registered in BasicSR, and what had to be mended',
    'completion': 'write what lets a shell complete commands and options',
}
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of mallopt, as malloc.h numbers them
# What is kept when Ctrl-C stops one of the long commands; a training says so itself.
KEPT = {
    'deblur': 'the photos that are done are kept',
    'prep-kernels': 'what is done is kept; the same command goes on with it',
    'prep-lmdb': 'what is done is kept; the same command goes on with it',
    'prep-guesses': 'what is done is kept; the same command goes on with it',
}
# Commands that have --log; BasicSR writes the log of train and test.
LOGGED = ('deblur', 'evaluate', 'prep-dataset', 'prep-guesses', 'prep-kernels', 'prep-lmdb')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: words after `basis-blur` on the command line; by default those of this process.

    Returns:
        The exit code.
    """
    # Read when torch is loaded. Threads that wait by spinning take the cores from a loader's workers: with one worker
    # on two cores, a training step was ten times slower.
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    # Arrays of a large photo are in pages of 2 MB, where Linux has them: new ones take half the time, and reading less.
    os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
    _keep_freed_memory()
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:  # it was closed, as by ">&-", so that messages are not wanted
            setattr(sys, name, open(os.devnull, 'w'))  # noqa: SIM115, for as long as the process lasts
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='backslashreplace')  # a file name need not be text
    if not arguments:
        build_parser(()).print_help(sys.stderr)
        return 2
    if not arguments[0].startswith('-') and arguments[0] not in COMMANDS:
        build_parser(()).error(f'there is no command {arguments[0][:40]!r}.{_meant(arguments[0])}')
    args = _parsed(arguments)
    log = getattr(args, 'log', None)
    try:
        _check_current_folder()
        with interrupts.handled(), _kept_in(log, args) if log is not None else nullcontext():
            return _run(args, arguments)
    except (InputError, OSError) as error:  # the log itself cannot be written
        print(f'basis-blur {arguments[0]}: {sentence_of(error)}', file=sys.stderr)
        return 2


def _keep_freed_memory() -> None:
    """Let glibc keep pieces of up to 32 MB that are freed, up to 256 MB in all, and not return them to the system.

    To get such memory from the system again takes a quarter of the time of a large photo.
    """
    mallopt = None
    with suppress(OSError, TypeError):  # a system where a program cannot be asked for its functions
        mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, 32 << 20)
        mallopt(TRIM_THRESHOLD, 256 << 20)


def _meant(word: str) -> str:
    """Return what was meant by a first word that is no command: often it is a photo."""
    if Path(word).suffix.lower() in READ_SUFFIXES:
        return f' Did you mean "basis-blur deblur {printable(word[:40])}"?'
    return did_you_mean(word, COMMANDS) or f' The commands are {", ".join(COMMANDS)}.'


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise InputError('the current folder was removed; change to one that exists.') from error


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = build_parser(arguments[:1])
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        command = _subparser(parser, arguments[0])
        known = [name for each in command._actions for name in each.option_strings]
        words = did_you_mean(unknown[0].split('=')[0], known) if unknown[0].startswith('-') else ''
        command.error(f'unrecognized arguments: {" ".join(unknown)}.{words}')
    return args


def _subparser(parser: argparse.ArgumentParser, command: str) -> argparse.ArgumentParser:
    choices = (each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return next(choices).get(command, parser)


def _kept_in(log: Path, args: argparse.Namespace) -> AbstractContextManager[None]:
    from basis_blur.cli.log_file import kept_in

    given = [value for name, value in vars(args).items() if name != 'log']
    paths = [each for value in given for each in (value if isinstance(value, list) else [value])]
    return kept_in(log, [path for path in paths if isinstance(path, Path)])


def _run(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has gone, such as `head`. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (InputError, OSError) as error:
        print(f'basis-blur {arguments[0]}: {sentence_of(error)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        remark = getattr(error, 'remark', '') or KEPT.get(arguments[0], '')
        if os.environ.get('RANK', '0') == '0':
            print(f'\nbasis-blur {arguments[0]}: interrupted{f"; {remark}" if remark else ""}.', file=sys.stderr)
        return getattr(error, 'exit_code', 130)


def build_parser(commands: Collection[str]) -> argparse.ArgumentParser:
    """Return the parser with all commands by name, and with the options of some, whose modules are imported."""
    parser = Parser(
        prog='basis-blur',
        description='Estimate the spatially varying blur of a photo and remove it.',
        epilog='"basis-blur COMMAND --help" tells the options of a command.',
    )
    parser.add_argument('--version', action='version', version=f'basis_blur {__version__}')
    subparsers = parser.add_subparsers(metavar='COMMAND', required=True)
    for name, purpose in COMMANDS.items():
        if name not in commands:
            subparsers.add_parser(name, help=purpose)
            continue
        command = importlib.import_module(f'basis_blur.cli.{name.replace("-", "_")}')
        below = subparsers.add_parser(
            name,
            help=purpose,
            description=command.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(below)
        below.set_defaults(run=command.run)
        if name in LOGGED:
            words = 'also write what is told here, with the time, to the end of a file'
            below.add_argument('--log', metavar='FILE', type=Path, help=words)
    return parser
