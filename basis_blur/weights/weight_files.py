"""Reading files of weights: safetensors, and checkpoints of PyTorch, of which pickled code is never run.

The format is recognised by the first bytes of a file, not by its name. Facts about the network that stand in the file
are returned with the weights. A folder is read as one state dict, in which the name of each file stands before its
keys: 'encoder_lv1.layer1.weight'.
"""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basis_blur.field.removal import Removal
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import check_is_file, parse_json
from basis_blur.weights.fitting import listing

PART, MOST_PARTS = '.pkl', 64  # ending and largest number of the files of a network that lies in a folder
PARALLEL = 'module.'  # prefix that torch gives the keys of a network that was trained on several devices


@dataclass
class Content:
    """The contents of a file: the state dict, and the facts that stand beside it, if there are any."""

    state: dict[str, Tensor]
    arch: str | None = None
    hyper_parameters: dict[str, Any] | None = None
    removal: Removal | None = None


def read_weights(path: Path) -> Content:
    """Return what a file holds, or the .pkl files of a folder.

    Raises:
        InputError: it is damaged, is no file of weights, or holds pickled code; a folder has none or too many.
        OSError: it cannot be read.
    """
    check_is_file(path)
    if path.is_dir():
        return _read_folder(path)
    with open(path, 'rb') as file:
        head = file.read(9)
    # A safetensors file starts with the length of its JSON header, 8 bytes.
    if len(head) == 9 and head[8:] == b'{' and head[6:8] == b'\0\0':
        return _read_safetensors(path)
    if head[:4] == b'PK\x03\x04' or head[:1] == b'\x80':
        return _read_pickle(path)
    size = path.stat().st_size
    raise InputError(
        f'{path} ({size} bytes, beginning with {head!r}) is neither a safetensors file nor a PyTorch checkpoint; '
        'the download may be incomplete.'
    )


def _read_folder(path: Path) -> Content:
    files = sorted(path.glob(f'*{PART}'))
    if not 0 < len(files) <= MOST_PARTS:
        raise InputError(
            f'{path} is a folder with {len(files)} files that end with {PART}, expected a file of weights, or a folder '
            f'of at most {MOST_PARTS} such files that make one network, as DMPHN has.'
        )
    return Content({f'{file.stem}.{key}': value for file in files for key, value in read_weights(file).state.items()})


def _read_safetensors(path: Path) -> Content:
    import safetensors

    try:
        with safetensors.safe_open(path, framework='pt') as file:
            # Cloned, because the tensors are a view of the file, which may be overwritten while they are in use.
            state = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
            facts = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise InputError(f'{path} is damaged or incomplete ({error}); copy or download it again.') from error
    if 'arch' not in facts:
        return Content(state)
    try:
        hyper_parameters = parse_json(facts.get('hyper_parameters', ''))
    except ValueError as error:
        raise InputError(
            f'{path} has no readable hyper_parameters in its metadata ({error}); expected JSON, as save_network writes.'
        ) from error
    if not isinstance(hyper_parameters, dict):
        raise InputError(f'{path} has hyper_parameters {hyper_parameters!r} in its metadata, expected a dict.')
    return Content(state, facts['arch'], hyper_parameters, _removal_in(facts, path))


def _removal_in(facts: Mapping[str, Any], path: Path) -> Removal | None:
    text = facts.get('removal')
    if text is None:
        return None
    try:
        return Removal.from_json(text)
    except (ValueError, TypeError) as error:
        raise InputError(f'{path}: {error}') from error


# What torch.load is known to raise for bytes that are no checkpoint; found by damaging some at random. The OSError is
# a seek to a place that does not exist.
_DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError,
    AssertionError, OverflowError, OSError, struct.error,
)  # fmt: skip


def _read_pickle(path: Path) -> Content:
    try:
        with open(path, 'rb') as file:  # given a name, torch.load would believe the suffix
            checkpoint = torch.load(file, map_location='cpu', weights_only=True)
    except _DAMAGED as error:
        code = re.search(r'GLOBAL (\S+)', str(error))
        if code:
            raise InputError(
                f'{path} holds pickled code, not only numbers: reading it would run {code[1]}, and code can do '
                'anything to your computer. Only tensors are read; where you trust the file, load it with the program '
                'that wrote it and save its state_dict() with torch.save.'
            ) from error
        raise InputError(
            f'{path} is damaged or no checkpoint ({first_line(error)}); copy or download it again.'
        ) from error
    return _content_of_checkpoint(checkpoint, path)


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says, or the name of its kind."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _content_of_checkpoint(checkpoint: Any, path: Path) -> Content:
    if not isinstance(checkpoint, dict):
        raise InputError(f'{path} holds a {type(checkpoint).__name__}, expected a dict of tensors (a state dict).')
    if 'optimizers' in checkpoint:
        raise InputError(
            f'{path} is a training state of BasicSR (optimisers and schedulers), it has no weights; '
            'they are in the folder "models" beside "training_states".'
        )
    stated, removal = checkpoint.get('hyper_parameters'), _removal_in(checkpoint, path)
    for wrapper in ('params_ema', 'params', 'model_state', 'state_dict', 'model'):
        if isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
            break
    strangers = [key for key, value in checkpoint.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strangers or not checkpoint:
        raise InputError(
            f'{path} holds no state dict: {listing(strangers) if strangers else "it is empty"}; expected tensors by '
            'name, or such a dict under "params_ema" or "params".'
        )
    if all(key.startswith(PARALLEL) for key in checkpoint):
        checkpoint = {key.removeprefix(PARALLEL): value for key, value in checkpoint.items()}
    if stated is None:
        return Content(checkpoint)
    if not isinstance(stated, dict) or not isinstance(stated.get('type'), str):
        raise InputError(f'{path} has hyper_parameters {stated!r}, expected a dict with the key "type".')
    hyper_parameters = {key: value for key, value in stated.items() if key != 'type'}
    return Content(checkpoint, stated['type'], hyper_parameters, removal)
