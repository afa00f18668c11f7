"""The command `basis-blur`: find the sub-command, run it, and turn a user's mistake into one sentence.

Exit codes: 0 done, 2 a mistake that the user can mend (one sentence on standard error), 130 interrupted by Ctrl-C,
1 a defect (with its traceback). Only the module of the command that is asked for is imported, and of it only the
options; so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from basis_blur import __version__
from basis_blur.errors import InputError, sentence_of

COMMANDS = {
    'deblur': 'estimate the blur of photos and remove it',
    'kernels': 'estimate the blur of photos and draw it over them',
    'evaluate': 'score restored photos against their ground truth',
    'train': 'train a network from an option file, by BasicSR',
    'test': 'test a network on data sets from an option file, by BasicSR',
    'prep-kernels': 'draw camera-shake kernels into an LMDB',
    'prep-lmdb': 'turn a folder of photos and masks into LMDBs',
    'prep-dataset': 'check the download of a benchmark and bring it into pairs',
    'info': 'tell the parameters and FLOPs of a network',
    'doctor': 'tell versions, what is registered in BasicSR, and what had to be mended',
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows `basis-blur` on the command line; that of the process by default.

    Returns:
        the exit code.
    """
    # Read when torch is loaded. Threads that wait by spinning take the cores from a loader's workers: with one worker
    # on two cores, a training step was ten times slower.
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    args = build_parser(arguments[0] if arguments else None).parse_args(arguments)
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
    except KeyboardInterrupt:
        print(f'\nbasis-blur {arguments[0]}: interrupted.', file=sys.stderr)
        return 130


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser with all commands by name and with the options of `command`, if it is one."""
    parser = argparse.ArgumentParser(
        prog='basis-blur',
        description='Estimate the spatially varying blur of a photo and remove it.',
        epilog='"basis-blur COMMAND --help" tells the options of a command.',
    )
    parser.add_argument('--version', action='version', version=f'basis_blur {__version__}')
    subparsers = parser.add_subparsers(metavar='COMMAND', required=True)
    for name, purpose in COMMANDS.items():
        if name == command:
            importlib.import_module(f'basis_blur.cli.{name.replace("-", "_")}').add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=purpose)
    return parser
