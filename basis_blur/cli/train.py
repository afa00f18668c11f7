"""basis-blur train: run BasicSR's training with the current folder as its root.

BasicSR's own pipeline does the work; before it starts, the option file is read without executing anything in it and
checked, and basis_blur is registered. So no start-up hook and no `plugin` line are needed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import CheckedOptions

DESCRIPTION = """Train a network from an option file, by BasicSR.

Checkpoints, the log and validation pictures go to experiments/NAME in the current folder, curves to tb_logger/NAME.
Ctrl-C ends it after the present step and saves its state; --auto_resume goes on with it, as if nothing had happened.
On several GPUs or CPU processes: torchrun --nproc_per_node=2 -m basis_blur train FILE --launcher pytorch"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run_arguments(parser)
    parser.add_argument('--auto_resume', action='store_true', help="go on from the newest state in the run's folder")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that BasicSR's train.py and test.py share, under the names that they have there."""
    parser.add_argument('file', metavar='FILE', nargs='?', help='option file (YAML), or a name of "basis-blur options"')
    parser.add_argument('-opt', '--opt', metavar='FILE', help="the same, written as for BasicSR's scripts")
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm'),
        default='none',
        help='program that started the processes; pytorch for torchrun (default: none, a single process)',
    )
    parser.add_argument('--debug', action='store_true', help='log every iteration; save and validate every 8')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        '--force_yml',
        metavar='KEY=VALUE',
        nargs='+',
        help='change options of the file, such as train:optim_g:lr=1e-4',
    )


def run(args: argparse.Namespace) -> int:
    """Train.

    Raises:
        InputError, OSError: the option file, or something that it names, cannot be used.
    """
    opt = check_option_file(args, is_train=True)
    from basicsr.train import train_pipeline

    from basis_blur.bridges.basicsr.mended import handed_over
    from basis_blur.bridges.basicsr.running import saving_on_interrupts
    from basis_blur.foundation import interrupts

    set_basicsr_arguments(args, ['--auto_resume'] if args.auto_resume else [])
    try:
        with handed_over(opt), saving_on_interrupts():
            train_pipeline(os.getcwd())
    except interrupts.SafeStop as stop:
        command = command_to_go_on(args) if args.launcher == 'none' else 'the same command and --auto_resume'
        stop.remark += f'; go on with: {command}'
        raise
    return 0


def command_to_go_on(args: argparse.Namespace) -> str:
    """Return the command line that goes on with an interrupted training, for one process."""
    words = ['basis-blur', 'train', args.opt, '--auto_resume', *(['--debug'] if args.debug else [])]
    return shlex.join([*words, *(['--force_yml', *args.force_yml] if args.force_yml else [])])


def check_option_file(args: argparse.Namespace, is_train: bool) -> CheckedOptions:
    """Register basis_blur in BasicSR and return the options after checking them.

    Raises:
        InputError, OSError: see `presence.check`, `read_option_file` and `check_options`.
    """
    from basis_blur.bridges.basicsr import presence
    from basis_blur.bridges.basicsr.option_file import apply_overrides, convert_number_texts, read_option_file
    from basis_blur.foundation import shipped

    presence.check()
    if (args.file is None) == (args.opt is None):
        raise InputError('give one option file, either by its name alone or after -opt.')
    args.opt = str(shipped.find(args.opt or args.file, 'options'))
    opt = read_option_file(args.opt)
    apply_overrides(opt, args.force_yml)
    opt['auto_resume'] = getattr(args, 'auto_resume', False)
    # Here, since a broken file is reported sooner without BasicSR's seconds.
    from basis_blur.bridges.basicsr import registration  # noqa: F401 (registers basis_blur)
    from basis_blur.bridges.basicsr.option_check import check_options

    convert_number_texts(opt)
    return check_options(opt, is_train)


def set_basicsr_arguments(args: argparse.Namespace, more: list[str]) -> None:
    """Set the command line of the process to what BasicSR's pipeline, which reads it itself, understands."""
    sys.argv = [sys.argv[0], '-opt', args.opt, '--launcher', args.launcher, '--local_rank', str(args.local_rank), *more]
    if args.debug:
        sys.argv.append('--debug')
    if args.force_yml:
        sys.argv += ['--force_yml', *args.force_yml]
