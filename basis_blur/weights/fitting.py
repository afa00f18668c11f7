"""Checks whether a state dict fits a network, for every place that loads weights.

misfits(own, found)          its faults, as phrases: 'it lacks a, b', 'it has c of shape (3,) instead of (4,)'
give(nets, found, where)     load it into equal networks, or raise an error that names its faults
those_that_fit(own, found)   the part of it that a network can load
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from basis_blur.foundation.errors import InputError

MOST_NAMES = 5  # number of keys that a sentence lists


def misfits(
    own: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    whole: bool = True,
    name: Callable[[str], str] = str,
) -> list[str]:
    """Return the faults of a state dict for a network, as phrases about 'it'; none if it fits.

    Args:
        own: state dict of the network.
        found: state dict that is to be loaded.
        whole: whether every weight of the network must be there; if not, those that are there must fit.
        name: function from a key to its name in the file, if the keys have been translated.
    """
    complaints = []
    if whole and (missing := [name(key) for key in own if key not in found]):
        complaints.append(f'it lacks {listing(missing)}')
    if unexpected := [name(key) for key in found if key not in own]:
        complaints.append(f'it has the unexpected {listing(unexpected)}')
    both = [(key, value, found[key]) for key, value in own.items() if key in found]
    if misshapen := [
        f'{name(key)} of shape {tuple(value.shape)} instead of {tuple(wanted.shape)}'
        for key, wanted, value in both
        if value.shape != wanted.shape
    ]:
        complaints.append(f'it has {listing(misshapen)}')
    if mistyped := [
        f'{name(key)} in {value.dtype}'
        for key, wanted, value in both
        if value.is_floating_point() != wanted.is_floating_point()
    ]:
        complaints.append(f'it has {listing(mistyped)}')
    return complaints


def those_that_fit(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a state dict that the network has too, in the same shape and kind of number."""
    return {key: value for key, value in found.items() if key in own and not misfits({key: own[key]}, {key: value})}


def give(
    nets: Sequence[nn.Module],
    found: Mapping[str, Tensor],
    where: str,
    whole: bool = True,
    error: type[InputError] = InputError,
    remedy: str = 'give both the same kernel_size and widths',
) -> None:
    """Load a state dict into equal networks.

    Args:
        nets: equal networks, such as one and its moving average.
        found: weights for them.
        where: beginning of a message, which names the file and the purpose of the weights.
        whole: whether every weight of the networks must be there, see `misfits`.
        error: type of the error that is raised.
        remedy: end of a message, which says what to do.

    Raises:
        InputError: the weights do not fit; nothing is loaded.
    """
    complaints = misfits(nets[0].state_dict(), found, whole)
    if complaints:
        raise error(f'{where} does not fit: {"; ".join(complaints)}; {remedy}.')
    for net in nets:
        net.load_state_dict(found, strict=whole)


def listing(names: Iterable[Any], most: int = MOST_NAMES) -> str:
    """Return names for a sentence, the first of them if there are many."""
    names = [str(name) for name in names]
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
