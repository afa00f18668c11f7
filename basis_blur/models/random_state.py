"""The states of the random generators that a training may draw from, to be saved and set again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the states of the generators, as tensors and numbers only.

    Args:
        device: device on which the training computes.
    """
    state = np.random.get_state(legacy=False)  # noqa: NPY002 (BasicSR's augmentations draw from it)
    keys, place = state['state']['key'], state['state']['pos']
    return {
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state(device) if device.type == 'cuda' else None,
        'python': random.getstate(),
        'numpy': (
            state['bit_generator'],
            torch.from_numpy(keys.astype(np.int64)),
            place,
            state['has_gauss'],
            state['gauss'],
        ),
    }


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Let the generators of this process go on from states that `random_state` returned."""
    torch.set_rng_state(state['torch'].cpu())
    if device.type == 'cuda' and state['cuda'] is not None:
        torch.cuda.set_rng_state(state['cuda'].cpu(), device)
    random.setstate(state['python'])
    name, keys, *rest = state['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002


def resume_random_state(states: Any, device: torch.device, rank: int, processes: int) -> None:
    """Let the generators of this process go on where a training was saved.

    Args:
        states: states of all processes that were saved. If the number of processes has changed, the first process goes
            on from its own, and the others seed their generators from it.
        device: device on which the training computes.
        rank: rank of this process.
        processes: number of processes.
    """
    states = states if isinstance(states, list) else [states]  # earlier versions saved that of the first process
    if len(states) == processes:
        set_random_state(states[rank], device)
        return
    set_random_state(states[0], device)
    if rank:
        seed = (int(torch.randint(1 << 31, ())) + rank) % (1 << 32)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
