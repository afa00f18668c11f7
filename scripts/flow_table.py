"""Train the light networks of the flow prior, with and without their parts, and write docs/flow.md.

    python scripts/flow_table.py [--json docs/flow.json] [--markdown docs/flow.md] [--only NAME ...]

Runs the quick option files one after the other (about 2 minutes each on two CPU cores) and reads the scores of their
last validation, on photos and kernels that are not trained on; 'before' is the validation after a single step. The
data are those of `make demo-flow`, which is to be run first.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = 'experiments/{}/models/net_g_latest.pth'


class Run(NamedTuple):
    """A training: an option file under a name of its own, with changes."""

    name: str
    options: str
    what: str
    changes: tuple[str, ...] = ()


RUNS = (
    Run('flow', 'train_kernel_flow_quick', 'I: kernel flow'),
    Run('latent', 'train_latent_kernel_quick', 'II: latent kernels, flow prior and uncertainty'),
    Run(
        'latent_no_flow',
        'train_latent_kernel_quick',
        'II: without flow prior (softmax)',
        ('network_g:flow_prior=false', 'path:pretrain_flow=~'),
    ),
    Run(
        'latent_no_uncertainty',
        'train_latent_kernel_quick',
        'II: without uncertainty',
        ('network_g:uncertainty=false',),
    ),
    Run('ufpnet', 'train_ufpnet_quick', 'III: UFPNet, kernel attention'),
    Run(
        'ufpnet_plain',
        'train_ufpnet_quick',
        'III: the same without kernel attention',
        (
            'network_g:kernel_attention=false',
            'path:pretrain_estimator=~',
            'train:reblur_opt=~',
            'train:freeze_estimator=false',
        ),
    ),
    Run('nafnet', 'train_nafnet_quick', 'NAFNet, plain'),
    Run(
        'nafnet_longer',
        'train_nafnet_quick',
        'NAFNet, merely resumed',
        (f'path:pretrain_network_g={WEIGHTS.format("table_nafnet")}', 'train:optim_g:lr=0.0005'),
    ),
    Run(
        'blur_to_deblur',
        'train_blur_to_deblur_quick',
        'NAFNet, blurring to deblur',
        (
            f'path:pretrain_network_g={WEIGHTS.format("table_nafnet")}',
            f'path:pretrain_blur={WEIGHTS.format("table_latent")}',
        ),
    ),
)
FROM_EARLIER = {
    'train_latent_kernel_quick': (f'path:pretrain_flow={WEIGHTS.format("table_flow")}',),
    'train_ufpnet_quick': (f'path:pretrain_estimator={WEIGHTS.format("table_latent")}',),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', type=Path, default=ROOT / 'docs' / 'flow.json')
    parser.add_argument('--markdown', type=Path, default=ROOT / 'docs' / 'flow.md')
    parser.add_argument('--only', nargs='+', choices=[run.name for run in RUNS], help='repeat these runs alone')
    args = parser.parse_args()
    rows = json.loads(args.json.read_text()) if args.json.exists() else {}
    for run in tqdm([run for run in RUNS if not args.only or run.name in args.only], unit='run'):
        tqdm.write(f'{run.what} ({run.options}.yml)')
        before = train(run, f'table_{run.name}_before', ('train:total_iter=1', 'val:val_freq=1'))
        started = time.perf_counter()
        after = train(run, f'table_{run.name}')
        rows[run.name] = {
            'what': run.what,
            'options': f'{run.options}.yml',
            'changes': list(run.changes),
            'iterations': iterations_of(run.options),
            'seconds': round(time.perf_counter() - started),
            'before': before,
            'after': after,
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(rows, indent=2) + '\n')
        tqdm.write(f'    {before}\n    {after}')
    rewrite_table(args.markdown, rows)
    return 0


def train(run: Run, name: str, more: tuple[str, ...] = ()) -> dict[str, float]:
    """Train, and return the scores of the last validation."""
    earlier = [change for change in FROM_EARLIER.get(run.options, ()) if not _changed(change, run.changes)]
    changes = [f'name={name}', *earlier, *run.changes, *more]
    command = [sys.executable, '-m', 'basis_blur', 'train', f'options/{run.options}.yml', '--force_yml', *changes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f'{" ".join(command)} failed:\n{done.stderr[-2000:]}')
    found = re.findall(r'Validation of \w+, \d+ \w+: (.*)', done.stdout + done.stderr)
    if not found:
        raise SystemExit(f'{" ".join(command)} printed no validation.')
    return {key: float(value) for key, value in re.findall(r'(\w+) (-?[\d.]+(?:e[-+]?\d+)?)', _plain(found[-1]))}


def _changed(change: str, others: tuple[str, ...]) -> bool:
    return any(other.partition('=')[0] == change.partition('=')[0] for other in others)


def _plain(line: str) -> str:
    return re.sub(r'\(best [^)]*\)', '', line)


def iterations_of(options: str) -> int:
    """How many iterations an option file asks for."""
    return int(re.search(r'total_iter: (\d+)', (ROOT / 'options' / f'{options}.yml').read_text())[1])


START, END = '<!-- table: scripts/flow_table.py -->', '<!-- end of table -->'


def rewrite_table(path: Path, rows: dict[str, dict]) -> None:
    """Replace the table between its two marks; the text around it is left as it is."""
    lines = ['| stage | iterations | time | score | before | after |', '|---|---|---|---|---|---|']
    for run in RUNS:
        row = rows.get(run.name)
        if row is None:
            continue
        for number, (key, value) in enumerate(row['after'].items()):
            start = f'{row["what"]} | {row["iterations"]} | {row["seconds"]} s' if not number else ' | | '
            lines.append(f'| {start} | {key} | {row["before"].get(key, float("nan")):.4g} | {value:.4g} |')
    text = path.read_text() if path.exists() else f'{START}\n{END}\n'
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    path.write_text(f'{head}{START}\n' + '\n'.join(lines) + f'\n{END}{tail}')


if __name__ == '__main__':
    sys.exit(main())
