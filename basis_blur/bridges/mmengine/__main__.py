"""Train or test by a config: python -m basis_blur.bridges.mmengine CONFIG; mmengine itself has no command for it.

Several processes:  torchrun --nproc_per_node=4 -m basis_blur.bridges.mmengine CONFIG --launcher pytorch

A config with a `strategy`, such as FSDP or DeepSpeed, is run by mmengine's FlexibleRunner.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mmengine.config import Config, DictAction
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from basis_blur.bridges.mmengine.parallel import begin_processes, end_processes
from basis_blur.foundation import shipped
from basis_blur.foundation.errors import InputError, sentence_of
from basis_blur.foundation.files import hold_lock, make_folder

if TYPE_CHECKING:
    from mmengine.runner._flexible_runner import FlexibleRunner


def main(arguments: Sequence[str] | None = None) -> int:
    """Run mmengine's Runner, or its FlexibleRunner, on a config.

    Args:
        arguments: arguments of the command line; those of the process by default.

    Returns:
        the exit code: 0, or 2 for a mistake of the user.
    """
    parser = argparse.ArgumentParser(prog='basis_blur.bridges.mmengine', description='Train or test by a config.')
    parser.add_argument('config', metavar='CONFIG', help='Python config, or a name of "basis-blur options"')
    parser.add_argument('--work-dir', type=Path, help='for logs and checkpoints (default: work_dirs/CONFIG)')
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint there')
    parser.add_argument('--load-from', metavar='FILE', help='checkpoint of mmengine or BasicSR to begin with')
    parser.add_argument('--test', action='store_true', help='test instead of training')
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16)')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none')
    parser.add_argument(
        '--cfg-options', metavar='KEY=VALUE', nargs='+', action=DictAction, help='changes of the config'
    )
    args = parser.parse_args(arguments)
    try:
        args.config = shipped.find(args.config, 'configs')
        config = _config(args)
        if not args.test:
            check_schedule(config)
        begin_processes(args.launcher)
        lock = None if args.test else _locked(Path(config.work_dir))  # noqa: F841, as long as the training lasts
        runner = _runner_of(config)
        runner.test() if args.test else runner.train()
        end_processes()
    except (InputError, OSError) as error:
        print(f'basis_blur.bridges.mmengine: {sentence_of(error)}', file=sys.stderr)
        return 2
    return 0


def _config(args: argparse.Namespace) -> Config:
    try:
        config = Config.fromfile(args.config)
    except (KeyError, TypeError, SyntaxError) as error:
        raise InputError(f'{args.config} is no config of mmengine: {sentence_of(error)}') from error
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    if args.work_dir is not None or config.get('work_dir') is None:
        config.work_dir = str(args.work_dir or Path('work_dirs', args.config.stem))
    config.launcher = args.launcher
    config.resume = args.resume or config.get('resume', False)
    config.load_from = args.load_from or config.get('load_from')
    if args.amp:
        kinds = {'OptimWrapper': 'Bfloat16OptimWrapper', 'ShardedOptimWrapper': 'ShardedBfloat16OptimWrapper'}
        kind = config.optim_wrapper.get('type', 'OptimWrapper')
        if kind not in kinds:
            raise InputError(f'--amp: optim_wrapper has the type {kind}, expected {" or ".join(kinds)}.')
        config.optim_wrapper.type = kinds[kind]
    return config


def _locked(folder: Path) -> IO[bytes] | None:
    """Keep other trainings from a folder, whose checkpoints would be mixed with those of this one."""
    if not is_main_process():
        return None
    make_folder(folder)
    return hold_lock(folder / '.lock', f'another process trains in {folder}; wait until it ends, or give --work-dir.')


def check_schedule(config: Config) -> None:
    """Raise InputError if a part of the schedule of the learning rate begins when the training has ended.

    mmengine would stop with an error of its own about it, or, where that part has an end, pass over it in silence.
    """
    loop = config.get('train_cfg') or {}
    total = {False: loop.get('max_iters'), True: loop.get('max_epochs')}
    parts = config.get('param_scheduler') or []
    for part in [parts] if isinstance(parts, dict) else parts:
        by_epoch, begin = bool(part.get('by_epoch', True)), part.get('begin', 0)
        most = total[by_epoch]
        if most is not None and begin >= most:
            raise InputError(
                f'param_scheduler: {part.get("type")} begins at {begin}, but the training ends at {most}; give '
                f'train_cfg.max_{"epochs" if by_epoch else "iters"} more than {begin}, or shorten the part before it.'
            )


def _runner_of(config: Config) -> Runner | FlexibleRunner:
    if config.get('strategy') is None:
        return Runner.from_cfg(config)
    from mmengine.runner._flexible_runner import FlexibleRunner

    return FlexibleRunner.from_cfg(config)


if __name__ == '__main__':
    sys.exit(main())
