"""Fit the judge of estimates to the lines of `judge_table.py`, and tell how right it is.

    python scripts/evaluate/fit_judge.py SIMULATED.jsonl --test levin=LEVIN.jsonl --json OUT.json --numbers NUMBERS.py

For each source of estimates the formula of `basis_blur.estimation.judge` is fitted by maximum likelihood, with a normal
prior on its weights. Figures of the simulated scenes are from a cross-validation in ten parts, none of which shares a
photo with another; the sets of --test are judged by the fit to all simulated scenes. Then every set is replayed: the
photos get what today's limits choose, and what a rule by expected gains would choose.

    worse, doubted     estimates that lose more than 0.05 dB, and how many of them are doubted
    good, doubted      estimates that gain at least 1 dB, and how many of them are doubted
    between, doubted   the other estimates
    area               probability that of one that loses and one that does not, the first is judged likelier to lose
    likelihood         mean log density of the true gains, and that of a model that knows the mean and spread alone
"""

from __future__ import annotations

import argparse
import json
import math
import pprint
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import check_output, finite, run_script, table, write_record

from basis_blur.estimation.choice import (
    HIGH_EXCESS,
    LEAST_EXTENT,
    LEAST_LIKENESS,
    LOW_EXCESS,
    MIDDLE_EXCESS,
    MOST_MISMATCH,
    MOST_MISMATCH_MIDDLE,
)
from basis_blur.estimation.judge import LEAST_SCALE, Model
from basis_blur.foundation.files import atomic_path

LOOK = (
    'extent', 'residual', 'change', 'noise', 'tv_1', 'tv_2', 'tv_4', 'sparse', 'overshoot', 'smooth', 'noise_gain',
)  # fmt: skip
NAMES = {
    'shake': ('agreement', 'share_of_wrong', 'extent_unlike', 'residual', 'noise'),
    'network': LOOK,
}
CANDIDATES = {'shake': ('search',), 'network': ('network', 'solver')}  # names of the gains that each model learns from
LEAST_GAIN, MOST_GAIN = -4.0, 8.0  # gains beyond these count as these, dB
WORSE, GOOD = -0.05, 1.0  # gains below which a photo is worse, and from which on it is good, dB
PARTS = 10  # number of parts of the cross-validation
RIDGES = (0.1, 0.3)  # precisions of the prior that are tried, per scene
RIDGE_OF_SCALE = 3.0  # ridge of the b_i
WANTED_DOUBTED, MOST_GOOD_DOUBTED = 0.9, 0.05  # share of the worse photos to doubt, and of the good ones at most


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('lines', type=Path, metavar='SIMULATED.jsonl', help='lines that are fitted')
    parser.add_argument('--test', action='append', default=[], metavar='NAME=FILE', help='lines that are judged only')
    parser.add_argument('--json', type=Path, metavar='OUT.json', help='also write the record')
    parser.add_argument('--numbers', type=Path, metavar='OUT.py', help='also write the numbers as a module')
    parser.add_argument('--overwrite', action='store_true', help='replace files that are already there')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit and judge, print the tables and write the files."""
    torch.set_default_dtype(torch.float64)
    args = build_parser().parse_args(arguments)
    check_output(args.json, ['.json'], args.overwrite)
    check_output(args.numbers, ['.py'], args.overwrite)
    tests = dict(each.split('=', 1) for each in args.test)
    sets = {'simulated': read(args.lines), **{name: read(Path(file)) for name, file in tests.items()}}
    numbers, found = {}, []
    expected: dict[str, dict[tuple[str, str], float]] = {name: {} for name in sets}  # (scene, estimate): gain, dB
    for source in NAMES:
        cases = cases_of(sets['simulated'], source)
        ridge, crossed = best_ridge(cases, source)
        model = fitted(cases, source, ridge)
        most_worse = threshold(crossed, cases)
        numbers[source] = {**model, 'most_worse': most_worse}
        judge = Model(**numbers[source])
        for name, rows in sets.items():
            if tested := cases_of(rows, source):
                said = crossed if name == 'simulated' else [judged(judge, case['evidence']) for case in tested]
                found.append(figures(name, source, tested, said, most_worse))
                expected[name] |= {(c['scene'], c['name']): e['gain'] for c, e in zip(tested, said, strict=True)}
    replays = [replayed(name, rows, expected[name]) for name, rows in sets.items()]
    header = list(found[0])
    print(table(header, [[str(row[key]) for key in header] for row in found]))
    header = list(replays[0])
    print('\n' + table(header, [[str(row[key]) for key in header] for row in replays]))
    if args.json is not None:
        record = {'kind': 'judge', 'config': {'numbers': numbers}, 'replays': replays, 'figures': found}
        write_record(args.json, record, 'figures')
    if args.numbers is not None:
        write_numbers(args.numbers, numbers)
    return 0


def read(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def cases_of(rows: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """Return the estimates of a source: their photo, evidence and gain."""
    return [
        {
            'photo': row['photo'],
            'scene': row['scene'],
            'name': name,
            'gain': row['gains'][name],
            'evidence': row['evidence'][name],
        }
        for row in rows
        for name in CANDIDATES[source]
        if name in row['gains']
    ]


def fitted(cases: list[dict[str, Any]], source: str, ridge: float) -> dict[str, Any]:
    """Return the numbers of a model that is fitted to cases."""
    x = np.array([[case['evidence'][name] for name in NAMES[source]] for case in cases])
    least, most = np.quantile(x, 0.01, 0), np.quantile(x, 0.99, 0)
    clipped = x.clip(least, most)
    middle, deviation = clipped.mean(0), clipped.std(0).clip(1e-3)
    z = torch.from_numpy(np.concatenate([np.ones((len(x), 1)), (clipped - middle) / deviation], 1))
    y = torch.tensor([min(max(case['gain'], LEAST_GAIN), MOST_GAIN) for case in cases])
    weights = torch.zeros(2, z.shape[1], requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=40, line_search_fn='strong_wolfe', tolerance_grad=1e-9)

    def loss() -> torch.Tensor:
        solver.zero_grad()
        a, b = weights
        value = -log_density(y, z @ a, (z @ b).clamp_min(math.log(LEAST_SCALE))).mean()
        value = value + ridge * a[1:].square().sum() + RIDGE_OF_SCALE * b[1:].square().sum()
        value.backward()
        return value

    solver.step(loss)
    a, b = weights.detach()
    return {
        'names': NAMES[source],
        **{
            name: [float(f'{value:.5g}') for value in values]
            for name, values in (
                ('least', least), ('most', most), ('middle', middle), ('deviation', deviation),
                ('mean', a.tolist()), ('scale', b.tolist()),
            )
        },
    }  # fmt: skip


def log_density(y: torch.Tensor, mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """Return the log density of a logistic distribution."""
    z = (y - mean) / log_scale.exp()
    return -z - log_scale - 2 * torch.nn.functional.softplus(-z)


def judged(model: Model, evidence: dict[str, float]) -> dict[str, float]:
    """Return what a model says of an estimate."""
    mean, scale = model.distribution(evidence)
    return {'gain': mean, 'scale': scale, 'worse': model.chances(evidence).worse}


def best_ridge(cases: list[dict[str, Any]], source: str) -> tuple[float, list[dict[str, float]]]:
    """Return the prior with the highest likelihood in the cross-validation, and what is said of each case there."""
    found = []
    for ridge in RIDGES:
        said = crossed(cases, source, ridge)
        found.append((likelihood(cases, said), ridge, said))
    best = max(found, key=lambda each: each[0])
    return best[1], best[2]


def crossed(cases: list[dict[str, Any]], source: str, ridge: float) -> list[dict[str, float]]:
    """Return what is said of each case by a fit to cases of other photos."""
    photos = sorted({case['photo'] for case in cases})
    part_of = {photo: number % PARTS for number, photo in enumerate(photos)}
    said: list[dict[str, float]] = [{}] * len(cases)
    for part in range(PARTS):
        others = [case for case in cases if part_of[case['photo']] != part]
        model = Model(**fitted(others, source, ridge), most_worse=0.5)
        for number, case in enumerate(cases):
            if part_of[case['photo']] == part:
                said[number] = judged(model, case['evidence'])
    return said


def likelihood(cases: list[dict[str, Any]], said: list[dict[str, float]]) -> float:
    """Return the mean log density of the gains."""
    y, mean, scale = (
        torch.tensor(values)
        for values in (
            [min(max(case['gain'], LEAST_GAIN), MOST_GAIN) for case in cases],
            [each['gain'] for each in said],
            [each['scale'] for each in said],
        )
    )
    return log_density(y, mean, scale.log()).mean().item()


def threshold(said: list[dict[str, float]], cases: list[dict[str, Any]]) -> float:
    """Return the probability of a loss at which nine of ten that lose are doubted, or more, to spare the good ones."""
    worse = sorted(each['worse'] for each, case in zip(said, cases, strict=True) if case['gain'] < WORSE)
    good = sorted(each['worse'] for each, case in zip(said, cases, strict=True) if case['gain'] >= GOOD)
    catches = worse[int(round((1 - WANTED_DOUBTED) * len(worse), 6))] - 1e-3 if worse else 0.5
    spares = good[max(0, int(np.ceil((1 - MOST_GOOD_DOUBTED) * len(good))) - 1)] + 1e-3 if good else 0.0
    return round(float(min(max(catches, spares, 0.05), 0.9)), 3)


def figures(
    name: str, source: str, cases: list[dict[str, Any]], said: list[dict[str, float]], most_worse: float
) -> dict[str, Any]:
    """Return how right the judge is on a set."""
    gains = np.array([case['gain'] for case in cases])
    worse = np.array([each['worse'] for each in said])
    doubted = worse > most_worse
    lose, good = gains < WORSE, gains >= GOOD
    pairs = (worse[lose][:, None] > worse[~lose]).mean() if lose.any() and not lose.all() else 1.0
    clipped = gains.clip(LEAST_GAIN, MOST_GAIN)
    plain = [{'gain': clipped.mean(), 'scale': max(clipped.std() * 3**0.5 / np.pi, 1e-2)}] * len(cases)
    return {
        'set': name,
        'source': source,
        'estimates': len(cases),
        'worse': int(lose.sum()),
        'worse doubted': int((lose & doubted).sum()),
        'good': int(good.sum()),
        'good doubted': int((good & doubted).sum()),
        'between': int((~lose & ~good).sum()),
        'between doubted': int((~lose & ~good & doubted).sum()),
        'expected worse': finite(float(worse.sum())),
        'area': finite(float(pairs)),
        'likelihood': finite(likelihood(cases, said)),
        'likelihood of the mean': finite(likelihood(cases, plain)),
    }


def replayed(name: str, rows: list[dict[str, Any]], expected: dict[tuple[str, str], float]) -> dict[str, Any]:
    """Return what a set gains by the limits of `choice`, by the largest expected gain, and by the largest true gain.

    Photos that the network sees as nearly sharp are left alone by each.

    Args:
        name: name of the set.
        rows: its lines.
        expected: expected gain of each scene and estimate.
    """
    found: dict[str, Any] = {'set': name, 'photos': len(rows)}
    rules: dict[str, Callable[[dict[str, Any], list[str]], str]] = {
        'limits': lambda row, _: by_limits(row),
        'judge': lambda row, names: max(names, key=lambda each: expected.get((row['scene'], each), 0.0)),
        'best': lambda row, names: max(names, key=lambda each: row['gains'].get(each, 0.0)),
    }
    for rule, chosen in rules.items():
        gains = []
        for row in rows:
            names = [each for each in ('none', 'network', 'search') if each == 'none' or each in row['gains']]
            gain = 0.0 if row['start'] < LEAST_EXTENT else row['gains'].get(chosen(row, names), 0.0)
            gains.append(gain)
        found |= {
            f'{rule}, mean': finite(float(np.mean(gains))),
            f'{rule}, worst': min(gains),
            f'{rule}, lose': sum(gain < WORSE for gain in gains),
        }
    return found


def by_limits(row: dict[str, Any]) -> str:
    """Return the estimate that the limits of `choice` take for a photo that is not nearly sharp."""
    found = row.get('search')
    if found is None or found['failed']:
        return 'network'
    if found['excess'] < LOW_EXCESS:
        return 'search'
    if found['excess'] >= HIGH_EXCESS or row['network']['likeness'] < LEAST_LIKENESS:
        return 'network'
    most = MOST_MISMATCH_MIDDLE if found['excess'] < MIDDLE_EXCESS else MOST_MISMATCH
    return 'search' if found['mismatch'] < most else 'network'


def write_numbers(file: Path, numbers: dict[str, Any]) -> None:
    """Write the numbers as a module of the package."""
    text = pprint.pformat(numbers, width=110, compact=True, sort_dicts=False)
    head = (
        '"""The numbers of the judge, which `scripts/evaluate/fit_judge.py` wrote; `judge` tells their meaning."""\n\n'
    )
    typed = 'from typing import Any\n\n'
    with atomic_path(file) as partial:
        partial.write_text(f'{head}{typed}NUMBERS: dict[str, dict[str, Any]] = {text}\n', encoding='utf-8')


if __name__ == '__main__':
    sys.exit(run_script(main))
