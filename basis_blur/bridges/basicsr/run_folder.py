"""The folder of a run: it is locked by one process, and no folders with the names of weights are made in it."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from basis_blur.foundation.files import hold_lock, make_folder, release_lock


class _Lock:
    held: Any = None  # lock of the run's folder, held as long as the process lives


def lock_folder(opt: dict[str, Any], key: str) -> None:
    """Keep other processes from a run of the same name: they would move the folder away, or mix their files with it.

    The lock is beside the folder, which BasicSR moves away if it is there already.

    Raises:
        InputError: a run of that name is under way.
    """
    folder = opt.get('path', {}).get(key)
    if folder is None or opt.get('rank', 0) != 0:
        return
    folder = Path(folder)
    make_folder(folder.parent)
    release_folder()
    _Lock.held = hold_lock(
        folder.with_name(f'.{folder.name}.lock'),
        f'another process is at work in {folder}; wait until it ends, or give this run another "name".',
    )


@atexit.register
def release_folder() -> None:
    """Give up the lock of a run's folder, if this process holds one."""
    if _Lock.held is not None:
        release_lock(_Lock.held)
        _Lock.held = None


# Why make_exp_dirs: the original makes a folder for each path of weights whose key is not `pretrain_network...`.
def make_folders(original: Callable) -> Callable:
    """Replace `make_exp_dirs` of BasicSR."""

    def make_folders(opt):
        paths = opt.get('path', {})
        weights = [key for key in paths if key.startswith('pretrain_')]
        if weights:
            opt = {**opt, 'path': {key: path for key, path in paths.items() if key not in weights}}
        original(opt)

    return make_folders
