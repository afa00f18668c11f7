"""Reading a training state of BasicSR, `ITERATION.state`, with advice if it is damaged.

A state is plain tensors and numbers, so nothing in it is executed. Its zip archive has check sums, which torch does not
compare: a flipped bit in an optimiser's average would go on for the rest of the training. They are compared here.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import check_is_file

ITERATION = re.compile(r'[0-9]{1,18}')  # name of a training state without suffix
# Errors that Python, zipfile and torch raise for damaged files.
MALFORMED = (
    zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, struct.error, EOFError, OSError, RuntimeError, ValueError,
    TypeError, LookupError, AttributeError, AssertionError, ArithmeticError, MemoryError, ImportError,
)  # fmt: skip


def states_in(folder: str | Path) -> list[Path]:
    """Return the training states in a folder, those with the number of an iteration for a name."""
    return [path for path in Path(folder).glob('*.state') if ITERATION.fullmatch(path.stem) and path.is_file()]


def iteration_of(path: Path) -> int:
    """Return the iteration that a state was written at, by its name."""
    return int(path.stem)


def read_state(path: str | Path) -> dict[str, Any]:
    """Return a training state.

    Raises:
        InputError: it does not exist, is damaged, or is something else; the sentence tells what to do.
    """
    path = Path(path)
    check_is_file(path)
    if not path.exists():
        raise InputError(f'the training state {path} does not exist; correct "path: resume_state".')
    try:
        damaged = _damaged_part(path)
        state = None if damaged else torch.load(path, map_location='cpu', weights_only=True)
    except MALFORMED as error:
        damaged = (str(error).strip().splitlines() or ['it is empty'])[0]
        if 'weights_only' in damaged:  # advice for programmers, to run code out of it
            damaged = 'it is no file of torch, or holds code'
    if damaged:
        raise InputError(f'{path} cannot be read as a training state ({damaged}); {what_to_do(path)}')
    if not isinstance(state, dict) or not {'epoch', 'iter', 'optimizers', 'schedulers'} <= state.keys():
        raise InputError(f'{path} is not a training state; name an ITERATION.state from the folder training_states.')
    wrong = _wrong_entry(state)
    if wrong:
        raise InputError(f'{path} is a damaged training state ({wrong}); {what_to_do(path)}')
    return state


def what_to_do(path: str | Path) -> str:
    """Return how to go on without this state: from the newest older one beside it, or afresh."""
    path = Path(path)
    older = [each for each in states_in(path.parent) if each != path]
    if ITERATION.fullmatch(path.stem):
        older = [each for each in older if iteration_of(each) < iteration_of(path)]
    if not older:
        return 'there is no older one beside it: start afresh, without --auto_resume and "path: resume_state".'
    newest = max(older, key=iteration_of)
    return (
        f'remove it, and --auto_resume goes on from {newest.name}; or write "path: resume_state: {newest}" and leave '
        '--auto_resume out.'
    )


def _damaged_part(path: Path) -> str | None:
    """Return what the check sums say; a file of torch's old form has none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        name = archive.testzip()
    return f'the check sum of {name} is wrong' if name else None


def _wrong_entry(state: Mapping[str, Any]) -> str | None:
    for key in ('epoch', 'iter'):
        if type(state[key]) is not int or state[key] < 0:
            return f'"{key}" is {state[key]!r}'
    for key in ('optimizers', 'schedulers'):
        if not isinstance(state[key], list) or not all(isinstance(each, Mapping) for each in state[key]):
            return f'"{key}" is no list of groups'
    if not isinstance(state.get('scaler', {}), Mapping):
        return '"scaler" is no group'
    validated = state.get('validated', [])
    if validated is not None and not (isinstance(validated, list) and all(isinstance(name, str) for name in validated)):
        return '"validated" is no list of names'
    return _wrong_record(state.get('best_metric_results', {}))


def _wrong_record(results: Any) -> str | None:
    sets = list(results.values()) if isinstance(results, Mapping) else [None]
    records = [each for one in sets for each in (one.values() if isinstance(one, Mapping) else [None])]
    sound = all(
        isinstance(each, Mapping)
        and isinstance(each.get('val'), float)
        and isinstance(each.get('iter'), (int, str))
        and each.get('better') in ('higher', 'lower')
        for each in records
    )
    return None if sound else '"best_metric_results" has a record without "better", "val" and "iter"'
