"""The option files of BasicSR and configs of mmengine that come with the package, found by their names.

A name is that of a file without its ending, such as `train_basis`. In a wheel the files lie in `shipped/options` and
`shipped/configs` of the package, where setup.py copies them; a checkout has them in `options` and `configs` beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

from basis_blur.foundation.errors import InputError, did_you_mean

PACKAGE = Path(__file__).parents[1]  # folder of the package
ENDINGS = {'options': '.yml', 'configs': '.py'}  # kind of file -> its suffix


def files(kind: str) -> dict[str, Path]:
    """Return the shipped files of a kind, 'options' or 'configs', by their names; none if they are not installed."""
    for folder in (PACKAGE / 'shipped' / kind, PACKAGE.parent / kind):
        found = {path.stem: path for path in sorted(folder.glob(f'*{ENDINGS[kind]}'))}
        if found:
            return found
    return {}


def summary(path: Path) -> str:
    """Return the first comment of a shipped file, which says in one line what the file is for."""
    lines = path.read_text(encoding='utf-8').split('\n')
    return next(line.removeprefix('#').strip() for line in lines if line.startswith('#'))


def find(path_or_name: str | os.PathLike[str], kind: str) -> Path:
    """Return the file that a person means; a shipped file takes precedence over one of that name in the current folder.

    Raises:
        InputError: there is neither a shipped file of that name nor a file.
    """
    shipped = files(kind)
    if isinstance(path_or_name, str) and path_or_name in shipped:
        return shipped[path_or_name]
    path = Path(path_or_name)
    if path.exists():
        return path
    if path.stem in shipped:
        raise InputError(f'{path} does not exist; the file of that name that comes with basis_blur is "{path.stem}".')
    hint = did_you_mean(path.stem, shipped) if path.suffix in ('', ENDINGS[kind]) else ''
    raise InputError(f'{path} does not exist.{hint} "basis-blur options" lists the files that come with basis_blur.')
