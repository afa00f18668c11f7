"""Loading torch, which is most of the start of a command.

Python looks through its objects for cycles that nobody needs any more whenever many new ones were made. Loading torch
makes a million objects, all of which stay, so that every such look is in vain, then and whenever the command goes on.
Without them, torch is there after four fifths of the time.
"""

from __future__ import annotations

import gc


def load_torch() -> None:
    """Import torch without looking for cycles, and leave out its objects from later looks."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401, for those who come after
    finally:
        if wanted:
            gc.enable()
    gc.freeze()
