"""Networks in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

Network = TypeVar('Network', bound=nn.Module)


@contextmanager
def evaluation_mode(net: Network) -> Iterator[Network]:
    """Yield the network in evaluation mode; afterwards each of its modules is in the mode it was in before."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield net
    finally:
        for module, mode in modes:
            module.training = mode
