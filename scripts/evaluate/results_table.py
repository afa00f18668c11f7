"""Write the results table of docs/results.md from the records of docs/results, or check that it is up to date.

    python scripts/evaluate/results_table.py [--check] [--results docs/results] [--page docs/results.md]

The table stands between the lines  <!-- results -->  and  <!-- /results -->; the text around it is left as it is.
Records are what score_synthetic.py and score_pairs.py write with --json, in the order of their file names. The table
says that the synthetic scenes are of photos that were not trained on: store no other records there.
--check changes nothing and ends with exit code 1 where the table is not what the records make.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from records import run_script

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import atomic_path, parse_json

ROOT = Path(__file__).resolve().parents[2]
START, END = '<!-- results -->', '<!-- /results -->'
COMMAND = 'python scripts/evaluate/results_table.py'
TRAINED_ON_GOPRO, TRAINED_ON_IT = '[F23], trained on GoPro', '[F23], trained on its own part'
# PSNR in dB and SSIM, on the whole test sets and measured by the authors themselves.
PUBLISHED = (
    ('GoPro', TRAINED_ON_GOPRO, 34.06, 0.968),
    ('HIDE', TRAINED_ON_GOPRO, 31.74, 0.947),
    ('RealBlur-J', TRAINED_ON_GOPRO, 29.87, 0.884),
    ('RealBlur-R', TRAINED_ON_GOPRO, 36.25, 0.953),
    ('RealBlur-J', TRAINED_ON_IT, 33.35, 0.934),
    ('RealBlur-R', TRAINED_ON_IT, 40.61, 0.974),
    ('RealBlur-J', '[C21]', 28.95, 0.865),
    ('RealBlur-R', '[C21]', 36.17, 0.946),
    ('Köhler', '[C21]', 28.39, 0.82),
)
ROWS = {  # rows of a synthetic record, other than weights files
    'blurred': 'blurred photo, not restored',
    'delta': 'no blur (delta kernel)',
    'mean': 'mean camera-shake kernel',
    'true': 'true blur: the ceiling',
}
KINDS = ('synthetic', 'pairs')


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--results', type=Path, default=ROOT / 'docs' / 'results', help='folder of records')
    parser.add_argument('--page', type=Path, default=ROOT / 'docs' / 'results.md', help='text that holds the table')
    parser.add_argument('--check', action='store_true', help='change nothing; tell whether the table is up to date')
    args = parser.parse_args(arguments)
    before = args.page.read_text(encoding='utf-8')
    after = with_table(before, table_of(read_records(args.results)), args.page)
    if args.check and before != after:
        print(f'the results in {args.page} are not those of {args.results}; run {COMMAND}.', file=sys.stderr)
        return 1
    if before != after:
        with atomic_path(args.page) as partial:
            partial.write_text(after, encoding='utf-8')
    return 0


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a folder in the order of their names.

    Raises:
        InputError: there are none, or a file is no record.
    """
    paths = sorted(folder.glob('*.json'))
    if not paths:
        raise InputError(f'{folder} holds no record, expected .json files; write them by score_synthetic.py --json.')
    return [read_record(path) for path in paths]


def read_record(path: Path) -> dict[str, Any]:
    """Return one record; InputError unless it is one."""
    try:
        record = parse_json(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise InputError(f'{path} is no JSON ({error}); write it again.') from error
    if not isinstance(record, dict) or record.get('kind') not in KINDS:
        raise InputError(f'{path} is no record of {" or ".join(KINDS)}; write it again, or keep it elsewhere.')
    missing = {'weights', 'config', 'means'} - record.keys()
    if missing:
        raise InputError(f'{path} has no {", ".join(sorted(missing))}; write it again.')
    return record


def with_table(text: str, table: str, where: Path) -> str:
    """Return a text with another table between its two marks.

    Raises:
        InputError: the marks are not there once each, in this order.
    """
    head, found, rest = text.partition(START)
    _, ended, tail = rest.partition(END)
    if not found or not ended or START in rest or END in tail:
        raise InputError(f'{where} does not have one line "{START}" and one "{END}" below it; add them.')
    return f'{head}{START}\n{table}\n{END}{tail}'


def table_of(records: Sequence[dict[str, Any]]) -> str:
    """Return the results in Markdown."""
    parts = [synthetic_part(record) for record in records if record['kind'] == 'synthetic']
    pairs = [record for record in records if record['kind'] == 'pairs']
    if pairs:
        parts.append(pairs_part(pairs))
    return '\n\n'.join([*parts, published_part()])


def synthetic_part(record: dict[str, Any]) -> str:
    """Return the table of synthetic scenes: trivial estimates, networks, the ceiling."""
    config, means = record['config'], record['means']
    noise = f', noise {config["noise"]:g}' if config['noise'] else ''
    order = ['blurred', 'delta', 'mean', *(name for name in means if name not in ROWS), 'true']
    lines = [
        f'{config["scenes"]} synthetic scenes of {config["photos"]} photos that were not trained on '
        f'({config["patch_size"]} px, K = {config["kernel_size"]}, up to {config["max_objects"]} objects, seed '
        f'{config["seed"]}{noise}; means):',
        '',
        '| blur taken from | kernel L1 | kernel L2 | correlation | reblur PSNR | restored PSNR | restored SSIM |',
        '|---|---|---|---|---|---|---|',
    ]
    forms = (
        ('kernel_l1', '.3f'),
        ('kernel_l2', '.3f'),
        ('kernel_correlation', '.3f'),
        ('reblur_psnr', '.1f'),
        ('psnr', '.2f'),
        ('ssim', '.3f'),
    )
    for name in order:
        row = means[name]
        cells = [f'{row[key]:{form}}' if key in row else '' for key, form in forms]
        files = ' + '.join(f'`{file}`' for file in name.split(' + '))
        lines.append(f'| {ROWS.get(name, files)} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def pairs_part(records: Sequence[dict[str, Any]]) -> str:
    """Return the table of real pairs, a row for each set and protocol."""
    lines = [
        'Real blurred photos with sharp ones, PSNR in dB / SSIM (means; worst: the smallest gain of a pair). Plain: '
        'without alignment. Aligned: by the protocol of RealBlur; pairs that cannot be aligned are not in the means:',
        '',
        '| set | weights | protocol | pairs | blurred | restored | gain | worst |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for record in records:
        means = record['means']
        for protocol in ('plain', 'aligned'):
            part = means[protocol]
            if not part['pairs']:
                cells = ['', '', '', '']
            else:
                cells = [f'{part[stage]["psnr"]:.2f} / {part[stage]["ssim"]:.3f}' for stage in ('blurred', 'restored')]
                cells += [f'{part["gain"][which]:+.2f}' for which in ('mean', 'worst')]
            first = [
                record['set'],
                ' + '.join(f'`{weights["file"]}`' for weights in record['weights']),
                protocol,
                f'{part["pairs"]} of {means["pairs"]}',
            ]
            lines.append(f'| {" | ".join(first + cells)} |')
    return '\n'.join(lines)


def published_part() -> str:
    """Return what others published, labelled so."""
    lines = [
        'For orientation only: what others published of their own networks, on the whole test sets, which are not the '
        'pairs above:',
        '',
        '| set, published by others | source | PSNR | SSIM |',
        '|---|---|---|---|',
    ]
    lines += [f'| {name} | {source} | {psnr:.2f} | {ssim or ""} |' for name, source, psnr, ssim in PUBLISHED]
    sources = (
        '[C21] Carbajal et al., "Non-uniform Blur Kernel Estimation via Adaptive Basis Decomposition", 2021. '
        '[F23] Fang et al., "Self-supervised Non-uniform Kernel Estimation with Flow-based Motion Prior for Blind '
        'Image Deblurring", CVPR 2023.'
    )
    return '\n'.join([*lines, '', sources])


if __name__ == '__main__':
    sys.exit(run_script(main))
