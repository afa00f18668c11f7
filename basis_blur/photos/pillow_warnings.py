"""Keep Pillow's warnings off the standard error; this module loads no library, so that a refusal waits for none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep Pillow's warnings of large photos and of damaged tags off the standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
