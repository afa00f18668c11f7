"""What the scripts of this folder share: where figures come from, means, and the table and JSON that they leave.

A record is JSON: 'kind' (which script wrote it), 'library' and 'environment', 'weights' (file name, SHA-256,
architecture), 'config' (what was asked for), one line for each scene or pair, and 'means' over them. No paths and no
pixels: it says the same on every machine and is small enough to be kept beside the code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basis_blur import __version__, load_network
from basis_blur.archs import names_of
from basis_blur.archs.network_facts import ESTIMATOR, FIELD
from basis_blur.foundation.errors import InputError, sentence_of
from basis_blur.foundation.files import atomic_path

HIGHEST_PSNR = 100.0  # PSNR of photos that are the same: JSON and means know no infinity
DIGITS = 5  # number of significant digits of a score


def run_script(main: Callable[[Sequence[str] | None], int], arguments: Sequence[str] | None = None) -> int:
    """Run a script's `main`; a mistake that the user can mend ends in one line and exit code 2."""
    try:
        return main(arguments)
    except (InputError, OSError) as error:
        print(f'{Path(sys.argv[0]).name}: {sentence_of(error)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('\ninterrupted; nothing was written.', file=sys.stderr)
        return 130


def add_record_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every script that writes a record."""
    parser.add_argument('--json', type=Path, metavar='OUT.json', help='also write the record')
    parser.add_argument('--overwrite', action='store_true', help='replace files that are already there')


def check_output(path: Path | None, suffixes: Sequence[str], overwrite: bool) -> None:
    """Raise InputError for an output that has another suffix or is already there."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise InputError(f'{path} ends in "{path.suffix}", expected {" or ".join(suffixes)}; name it so.')
    if path.exists() and not overwrite:
        raise InputError(f'{path} already exists; add --overwrite to replace it.')


def load_scored(path: Path, device: str) -> nn.Module:
    """Return a network that estimates the blur field of photos, or a UFPNet.

    Raises:
        InputError: the file does not hold such a network.
        OSError: it cannot be read.
    """
    return load_network(path, device, expect=(*names_of(ESTIMATOR, returns=FIELD), 'UFPNet'))


def load_fusion(path: Path | None, device: str) -> Any:
    """Return the fusion of a file, None for none; errors are those of `load_scored`."""
    return None if path is None else load_network(path, device, expect='IterateFusion')


def facts_of(path: Path, net: nn.Module) -> dict[str, Any]:
    """Return what tells a weights file from another."""
    return {
        'file': path.name,
        'sha256': hashlib.sha256(path.read_bytes()).hexdigest(),
        'arch': type(net).__name__,
        'parameters': sum(parameter.numel() for parameter in net.parameters()),
    }


def finite(value: float) -> float:
    """Return a score as it is kept: a PSNR of at most HIGHEST_PSNR, in DIGITS significant digits and a sign.

    Raises:
        ValueError: the score is not a number, which no record may hide.
    """
    if math.isnan(value):
        raise ValueError('a score is not a number, expected a number; the photo or the field must be at fault.')
    return float(f'{min(value, HIGHEST_PSNR):.{DIGITS}g}')


def means_of(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each score over rows that all have it; empty where there are no rows."""
    rows = list(rows)
    return {key: finite(sum(row[key] for row in rows) / len(rows)) for key in (rows[0] if rows else ())}


def write_record(path: Path, record: Mapping[str, Any], listed: str) -> None:
    """Write a record, whole or not at all, with one line for each entry of its list `listed`."""
    head = {
        'kind': record['kind'],
        'library': f'basis_blur {__version__}',
        'environment': {'python': platform.python_version(), 'torch': torch.__version__},
    }
    record = {**head, **record}
    lines = [json.dumps(entry, allow_nan=False) for entry in record[listed]]
    text = json.dumps({**record, listed: []}, indent=1, allow_nan=False)
    if lines:
        text = text.replace(f'"{listed}": []', f'"{listed}": [\n  ' + ',\n  '.join(lines) + '\n ]')
    with atomic_path(path) as partial:
        partial.write_text(text + '\n', encoding='utf-8')


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text in aligned columns, the first one to the left."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = []
    for row in (header, ['-' * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)
