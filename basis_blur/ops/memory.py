"""Smaller tiles where the memory of a device runs out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from basis_blur.foundation.errors import InputError

Result = TypeVar('Result')

LEAST_TILE = 128  # smallest side of a tile, pixels; smaller ones would consist of little but overlap


def with_smaller_tiles(work: Callable[[int | None], Result], tile: int | None, first: int, purpose: str) -> Result:
    """Return `work(tile)`; where the memory of a device does not suffice, warn and do it in tiles half as large.

    Args:
        work: function that does the work in tiles of a side, or as a whole for None.
        tile: side of the tiles to begin with, pixels; None for the whole.
        first: side of the tiles that follow the whole, pixels.
        purpose: name of the work, for messages.

    Raises:
        InputError: tiles of `LEAST_TILE` pixels need too much memory.
    """
    while True:
        try:
            return work(tile)
        except torch.OutOfMemoryError as error:
            reason = str(error).splitlines()[0] if str(error) else 'out of memory'
        # After the except clause, since the exception holds on to all that the failed work had in memory.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        smaller = first if tile is None else tile // 2
        if smaller < LEAST_TILE:
            raise InputError(
                f'the device has too little memory for {purpose}, even in tiles of {tile} pixels ({reason}); '
                'give a smaller photo, or --device cpu.'
            )
        before = 'the whole photo' if tile is None else f'tiles of {tile} pixels'
        warnings.warn(
            f'{purpose}: the device has too little memory for {before}; going on in tiles of {smaller} pixels.',
            stacklevel=2,
        )
        tile = smaller
