"""Several methods beside each other, for `basis-blur evaluate`: one table, one file of scores, one sheet of photos.

Methods are compared on the photos that every one of them has scores of; how many are missing stands in its line.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from basis_blur.foundation.errors import InputError
from basis_blur.photos.folders import listed

if TYPE_CHECKING:
    import numpy as np

SHEET_ROWS = 8  # number of photos on a sheet, spread over all by name
SHEET_SIDE = 420  # longer side of a photo on the sheet, in pixels


class Judged(NamedTuple):
    """The outcome of a method for a photo.

    Args:
        photo: file of the photo.
        scores: scores by their names; None if there are none, for the reason that follows.
        reason: reason why there are no scores.
    """

    photo: Path
    scores: Mapping[str, float] | None
    reason: str = ''


Judgement = Mapping[str, Mapping[str, Judged]]  # by method, then by photo


def methods_of(texts: Sequence[str]) -> dict[str, Path]:
    """Return the folders or files of methods by the names of these, from PATH or NAME=PATH.

    Raises:
        InputError: two methods have one name.
    """
    methods: dict[str, Path] = {}
    for text in texts:
        name, is_named, folder = text.partition('=')
        if not is_named or Path(text).exists():
            name, folder = Path(text).name or text, text
        if name in methods:
            raise InputError(f'two methods are called "{name}"; give them names, as in NAME={folder}.')
        methods[name] = Path(folder)
    return methods


def same_names(folders: Mapping[str, Mapping[str, Path]]) -> list[str]:
    """Return the names of photos, which are those of every method.

    Raises:
        InputError: a photo is missing in a folder.
    """
    names = set().union(*folders.values())
    lacking = [
        f'{listed(sorted(names - own.keys()))} in the photos of {method}'
        for method, own in folders.items()
        if names - own.keys()
    ]
    if lacking:
        raise InputError(f'missing: {"; ".join(lacking)}; give folders with the same names.')
    return sorted(names)


def table(judged: Judgement) -> str:
    """Return a line for each method: the means of the photos that all methods have scores of."""
    shared, columns = _shared(judged), _columns(judged)
    total = len(next(iter(judged.values())))
    width = max(6, *(len(name) for name in judged))
    lines = [f'{len(shared)} of {total} photos have scores of every method; the means are of these']
    lines.append(f'{"":<{width}}' + ''.join(f' {name:>9}' for name in columns))
    for method, photos in judged.items():
        cells = ''
        scores = [found for name in shared if (found := photos[name].scores) is not None]
        for column in columns if shared else ():
            mean = sum(each[column] for each in scores) / len(scores)
            cells += f' {mean:{max(9, len(column))}.{2 if column.endswith("psnr") else 4}f}'
        failed = sum(one.scores is None for one in photos.values())
        lines.append(f'{method:<{width}}{cells}{f"  {failed} without scores" if failed else ""}')
    return '\n'.join(lines)


def _columns(judged: Judgement) -> list[str]:
    return list(next((one.scores for each in judged.values() for one in each.values() if one.scores), {}))


def _shared(judged: Judgement) -> list[str]:
    names = next(iter(judged.values()))
    return [name for name in names if all(photos[name].scores is not None for photos in judged.values())]


def write_csv(path: Path, judged: Judgement) -> None:
    """Write a line for each method and photo, whole or not at all; scores with all their digits."""
    from basis_blur.foundation.files import atomic_path

    columns = _columns(judged)
    with atomic_path(path) as partial, open(partial, 'w', newline='', encoding='utf-8') as stream:
        writer = csv.writer(stream)
        writer.writerow(['method', 'name', 'status', *columns, 'reason'])
        for method, photos in judged.items():
            for name, one in photos.items():
                cells = [''] * len(columns) if one.scores is None else [one.scores[column] for column in columns]
                writer.writerow([method, name, 'failed' if one.scores is None else 'scored', *cells, one.reason])


def sheet(judged: Judgement, truth: Mapping[str, Path]) -> np.ndarray:
    """Return a picture with a row for each of some photos: the results of all methods, and the ground truth.

    Args:
        judged: results, in the order in which they were found.
        truth: the ground truth of each photo; empty where there is none.
    """
    from basis_blur.photos.pictures import put_side_by_side

    names = list(next(iter(judged.values())))
    step = max(1, (len(names) - 1) / max(1, SHEET_ROWS - 1))
    chosen = names if len(names) <= SHEET_ROWS else [names[round(index * step)] for index in range(SHEET_ROWS)]
    rows = []
    for name in chosen:
        cells = [
            _cell(f'{method}: {_words(photos[name])}  {name}', photos[name].photo) for method, photos in judged.items()
        ]
        if name in truth:
            cells.append(_cell('ground truth', truth[name]))
        rows.append(put_side_by_side(cells).swapaxes(0, 1))
    return put_side_by_side(rows).swapaxes(0, 1)


def _words(one: Judged) -> str:
    if one.scores is None:
        return 'failed'
    return '  '.join(
        f'{value:.2f} dB' if name == 'psnr' else f'{name} {value:.4g}' for name, value in list(one.scores.items())[:2]
    )


def _cell(title: str, path: Path) -> np.ndarray:
    import torch
    from torch.nn.functional import interpolate

    from basis_blur.photos.pictures import draw_side_by_side
    from basis_blur.photos.reading import read_photo

    try:
        pixels = read_photo(path).pixels
    except (InputError, OSError):
        title, pixels = f'{title}: not readable', torch.zeros(1, 1, SHEET_SIDE, SHEET_SIDE)
    scale = SHEET_SIDE / max(pixels.shape[-2:])
    size = [max(1, round(length * scale)) for length in pixels.shape[-2:]]
    return draw_side_by_side({title: interpolate(pixels, size, mode='bilinear', antialias=True).clamp(0, 1)})
