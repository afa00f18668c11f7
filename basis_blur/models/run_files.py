"""The files of a run: checkpoints, which are written whole or not at all, and the log of all losses."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basis_blur.foundation.files import atomic_path, check_is_file
from basis_blur.weights.checkpoints import load_network

LOSSES_FILE = 'losses.jsonl'  # name of the file of a `LossLog`
SCORES_FILE = 'scores.json'  # name of the file with the scores of the last validations


def write_whole(content: Any, path: Path) -> None:
    """Write what torch can save, such as a checkpoint, whole or not at all.

    Raises:
        OSError: the file cannot be written; no half of it is left.
    """
    try:
        with atomic_path(path) as partial, open(partial, 'wb') as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        # On a full disk torch's writer raises a RuntimeError about positions, over the OSError that caused it.
        cause = error if isinstance(error, OSError) else error.__context__ or error
        raise OSError(
            f'{path} could not be saved ({str(cause).splitlines()[0]}); the training stops here. Make room or correct '
            '"path", and resume from the last training state.'
        ) from error


def read_weights_under(path: str, param_key: str) -> tuple[dict[str, Tensor], str]:
    """Return the weights of a file, and their key in a checkpoint of BasicSR; no key for other files.

    Args:
        path: a checkpoint of BasicSR, or any file that `load_network` reads.
        param_key: the key that is wanted; 'params' is taken where it is not there.

    Raises:
        InputError: the file is damaged, or holds no weights.
    """
    check_is_file(path)
    if zipfile.is_zipfile(path):
        try:
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError):
            checkpoint = None  # load_network below says what is wrong with it
        for key in (param_key, 'params'):
            if isinstance(checkpoint, dict) and isinstance(checkpoint.get(key), dict):
                weights = {name.removeprefix('module.'): value for name, value in checkpoint[key].items()}
                return weights, key
    return load_network(path).state_dict(), ''


def write_scores(folder: str | Path, data_set: str, iteration: int | str, scores: Mapping[str, float]) -> None:
    """Write the scores of a validation into scores.json of a run, in place of those of that data set before.

    Args:
        folder: folder of the run.
        data_set: name of the data set.
        iteration: number of the iteration.
        scores: means over its photos.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(folder, SCORES_FILE)
    kept = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
    kept[data_set] = {'iteration': iteration, **scores}
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(kept, indent=1) + '\n', encoding='utf-8')


class LossLog:
    """The losses of every n-th iteration with all their digits, one line of JSON each.

    Args:
        folder: folder of the run.
        every: n, number of iterations between two lines; None for no log.
    """

    def __init__(self, folder: str | Path, every: int | None):
        self.path = Path(folder, LOSSES_FILE)
        self.every = every

    def keep(self, iteration: int, losses: Mapping[str, float]) -> None:
        """Add a line, if the number of the iteration is a multiple of n."""
        if self.every is not None and iteration % self.every == 0:
            with open(self.path, 'a', encoding='utf-8') as file:
                file.write(json.dumps({'iter': iteration, **losses}) + '\n')

    def cut(self, iteration: int) -> None:
        """Remove the lines after an iteration, which will be written again, and half a line of a killed process."""
        if self.every is None or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding='utf-8').splitlines(keepends=True):
            found = re.match(r'{"iter": (\d+),.*}\n', line)
            if found and int(found[1]) <= iteration:
                kept.append(line)
        with atomic_path(self.path) as partial:
            partial.write_text(''.join(kept), encoding='utf-8')
