"""Write files so that a final name never holds half a file."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(final: str | os.PathLike) -> Iterator[Path]:
    """Yield a path beside `final` to write to; rename it to `final` if the block succeeds, delete it if not.

    The bytes are flushed to the disk before the rename, so a crash leaves the old file or the new one.
    The yielded path keeps the suffix of `final`, by which image writers choose their format.

    Args:
        final: where the file shall be. Its folder is made if it is missing.

    Raises:
        OSError: from the writing block or the rename, such as a full disk; `final` is then as it was.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f'.{final.stem}.{uuid.uuid4().hex[:8]}.partial{final.suffix}')
    try:
        yield partial
        with open(partial, 'rb') as written:
            os.fsync(written.fileno())
        os.replace(partial, final)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: str | os.PathLike) -> None:
    """Delete what `atomic_path` left unfinished in a folder in processes that were killed.

    Args:
        folder: nothing else may be writing there.
    """
    for path in Path(folder).glob('.*.partial*'):
        if re.fullmatch(r'\..*\.[0-9a-f]{8}\.partial(\.[^.]*)?', path.name) and path.is_file():
            path.unlink(missing_ok=True)
