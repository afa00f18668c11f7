"""Train the full recipes one after the other, profile each, and write weights, cards and scores.

    python scripts/train_all.py -o TRAINED                                 on one GPU, or on the CPU
    python scripts/train_all.py -o TRAINED --gpus 8 --amp bf16 --channels-last --compile
    python scripts/train_all.py -o TRAINED --plan                          only tell what would be done

Stages, which are option files of basis_blur: train_basis [C21], and the three of UFPNet [F23], train_kernel_flow,
train_latent_kernel and train_ufpnet_gopro. A stage begins with the files of those that its option file names under
experiments/NAME/models; these come first. Data are prepared by the commands at the head of each option file; where
data are missing, these commands are printed and nothing is started.

A stage is `basis-blur train NAME --auto_resume`, so the same command goes on wherever it was stopped, and a stage that
is finished is not trained again. The first iterations are profiled (`logger: profile_iters`). Then come, in TRAINED:

    NAME.safetensors    the weights, half precision unless --full-precision
    NAME.md             their card: what they are, how they were trained, and their scores
    NAME_PAIRS.json     scores on the folders of --pairs, by scripts/evaluate/score_pairs.py
    report.json         profile and scores of all stages
    report.md           the same as tables, for docs/training_log.md

Nobody has run this script on a GPU yet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import basis_blur as bb
from basis_blur.bridges.basicsr.option_file import apply_overrides, convert_number_texts, read_option_file
from basis_blur.foundation import shipped
from basis_blur.foundation.errors import InputError, sentence_of
from basis_blur.foundation.files import atomic_path

STAGES = ('train_basis', 'train_kernel_flow', 'train_latent_kernel', 'train_ufpnet_gopro')
PROFILED = 500  # iterations at the beginning of a stage that are profiled
EXPERIMENTS = 'experiments'  # folder of BasicSR's runs
SCORED = ('BasisKPN', 'CorrelationKPN', 'UFPNet')  # networks that score_pairs.py takes
SCORE_PAIRS = Path(__file__).resolve().parent / 'evaluate' / 'score_pairs.py'


class Stage(NamedTuple):
    """One training.

    Args:
        name: name of the option file and of its run.
        options: its options, with the changes of the command line.
        changes: these changes, as `--force_yml` takes them.
        after: names of the runs whose weights it begins with.
        before: commands at the head of the option file that prepare its data.
    """

    name: str
    options: Mapping[str, Any]
    changes: tuple[str, ...]
    after: tuple[str, ...]
    before: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return Path(EXPERIMENTS, self.name)

    @property
    def weights(self) -> Path:
        """Weights that the finished training leaves."""
        return self.folder / 'models' / 'net_g_latest.pth'

    @property
    def missing(self) -> list[str]:
        """Data that the option file names and that are not there."""
        sections = self.options['datasets'].values()
        named = [value for each in sections for key, value in each.items() if key.startswith('dataroot') and value]
        return sorted({str(path) for path in named if not Path(path).expanduser().exists()})


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-o', '--output', type=Path, metavar='TRAINED', required=True, help='folder of the results')
    parser.add_argument('--stages', nargs='+', metavar='NAME', default=list(STAGES), help='option files to train by')
    parser.add_argument('--gpus', type=int, default=1, metavar='N', help='processes of torchrun (default: 1, without)')
    parser.add_argument('--amp', choices=('auto', 'bf16', 'fp16'), help='precision in place of that of the files')
    parser.add_argument('--channels-last', action='store_true', help='set train: channels_last')
    parser.add_argument('--compile', action='store_true', help='set train: compile to inductor')
    parser.add_argument(
        '--set',
        nargs='+',
        default=[],
        metavar='[NAME/]KEY=VALUE',
        help='change options of all stages or of one, such as train_basis/train:total_iter=1000',
    )
    parser.add_argument(
        '--profile', type=int, default=PROFILED, metavar='N', help=f'iterations to profile (default: {PROFILED})'
    )
    parser.add_argument('--pairs', type=Path, nargs='+', default=[], metavar='PAIRS', help='pairs to score by at last')
    parser.add_argument('--full-precision', action='store_true', help='write weights in single precision')
    parser.add_argument('--plan', action='store_true', help='tell what would be done, and end')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Do all stages; return 0, or the exit code of the stage that failed."""
    args = build_parser().parse_args(arguments)
    if args.gpus < 1:
        raise InputError(f'--gpus is {args.gpus}, expected at least 1.')
    stages = in_order([stage_of(name, changes_for(name, args)) for name in args.stages])
    if args.plan:
        print(plan_of(stages, args.gpus))
        return 0
    check_data(stages)
    for stage in stages:
        code = trained(stage, args.gpus)
        if code:
            print(f'{stage.name} ended with exit code {code}; the same command goes on with it.', file=sys.stderr)
            return code
        write_results(stage, args.output, args.full_precision, args.pairs)
        write_report(stages, args.output)
    print(f'{args.output}/report.md has the profile and the scores of {len(stages)} stages.')
    return 0


# --------------------------------------------------------------------------------------------------------------- plan


def changes_for(name: str, args: argparse.Namespace) -> list[str]:
    """Return the changes of the command line to the options of a stage."""
    changes = [f'logger:profile_iters={args.profile}']
    changes += [f'train:amp={args.amp}'] if args.amp else []
    changes += ['train:channels_last=true'] if args.channels_last else []
    changes += ['train:compile=inductor'] if args.compile else []
    for change in args.set:
        stage, slash, rest = change.partition('/')
        if not slash or '=' in stage:
            changes.append(change)
        elif stage == name:
            changes.append(rest)
        elif stage not in args.stages:
            raise InputError(f'--set {change} is for {stage}, expected one of {", ".join(args.stages)}.')
    return changes


def stage_of(name: str, changes: Sequence[str] = ()) -> Stage:
    """Return the stage of an option file.

    Raises:
        InputError: there is no such file, it cannot be read, or a change does not fit it.
    """
    file = shipped.find(name, 'options')
    options = read_option_file(str(file))
    apply_overrides(options, list(changes))
    convert_number_texts(options)
    begins = [str(value) for value in options['path'].values() if str(value).startswith(f'{EXPERIMENTS}/')]
    text = Path(file).read_text(encoding='utf-8')
    return Stage(name, options, tuple(changes), tuple(Path(each).parts[1] for each in begins), commands_before(text))


def commands_before(text: str) -> tuple[str, ...]:
    """Return the commands under "Before" at the head of an option file that prepare data."""
    commands: list[str] = []
    is_here = continues = False
    for line in text.splitlines():
        words = line.removeprefix('#').strip()
        if not line.startswith('#') or not words:
            is_here = is_here and line.startswith('plugin')
        elif words.startswith('Before'):
            is_here = True
        elif is_here and continues:
            commands[-1] += f' {words.removesuffix(chr(92)).strip()}'
        elif is_here and words.startswith('basis-blur prep'):
            commands.append(words.removesuffix('\\').strip())
        continues = words.endswith('\\')
    return tuple(commands)


def in_order(stages: Sequence[Stage]) -> list[Stage]:
    """Return the stages so that each comes after those whose weights it begins with.

    Raises:
        InputError: a stage begins with weights that are not there and that no stage makes, or two wait for each other.
    """
    names = {stage.name for stage in stages}
    for stage in stages:
        for run in stage.after:
            if run not in names and not Path(EXPERIMENTS, run, 'models').is_dir():
                raise InputError(f'{stage.name} begins with the weights of {run}; add it to --stages, or train it.')
    ordered: list[Stage] = []
    waiting = list(stages)
    while waiting:
        ready = [stage for stage in waiting if not {each.name for each in waiting} & set(stage.after)]
        if not ready:
            raise InputError(f'{" and ".join(stage.name for stage in waiting)} wait for each other; correct "path".')
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered


def command_of(stage: Stage, gpus: int) -> list[str]:
    """Return the command that trains a stage, or goes on with it."""
    words = ['-m', 'basis_blur', 'train', stage.name, '--auto_resume', '--force_yml', *stage.changes]
    if gpus == 1:
        return [sys.executable, *words]
    launcher = [sys.executable, '-m', 'torch.distributed.run', f'--nproc_per_node={gpus}']
    return [*launcher, *words[:5], '--launcher', 'pytorch', *words[5:]]


def plan_of(stages: Sequence[Stage], gpus: int) -> str:
    """Return what would be done, one stage after the other, as text."""
    lines = []
    for number, stage in enumerate(stages, 1):
        after = f', after {" and ".join(stage.after)}' if stage.after else ''
        state = 'is finished' if stage.weights.exists() else f'{stage.options["train"]["total_iter"]} iterations'
        lines.append(f'{number}. {stage.name}: {state}{after}')
        lines += [f'   lacks {path}' for path in stage.missing]
        lines.append(f'   {shlex.join(["python", *command_of(stage, gpus)[1:]])}')
    return '\n'.join(lines)


def check_data(stages: Sequence[Stage]) -> None:
    """Print the commands that make the data that are missing, if any are.

    Raises:
        InputError: data of a stage that is not finished are missing.
    """
    lacking = {stage.name: stage.missing for stage in stages if not stage.weights.exists() and stage.missing}
    if not lacking:
        return
    print('These commands make the data that are missing:')
    print(*commands_for(stages, lacking), sep='\n')
    paths = sorted({path for each in lacking.values() for path in each})
    raise InputError(
        f'{paths[0]} does not exist, and {len(paths) - 1} more; expected the data of '
        f'{", ".join(lacking)}. Nothing was started.'
    )


def commands_for(stages: Sequence[Stage], lacking: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the commands that make the data that stages lack, each once, in their order."""
    return list(dict.fromkeys(command for stage in stages if stage.name in lacking for command in stage.before))


# -------------------------------------------------------------------------------------------------- training, results


def trained(stage: Stage, gpus: int) -> int:
    """Train a stage, unless that is done; return the exit code."""
    if stage.weights.exists():
        print(f'{stage.name} is finished already.')
        return 0
    print(f'{stage.name}: {stage.options["train"]["total_iter"]} iterations', flush=True)
    return subprocess.run(command_of(stage, gpus), check=False).returncode


def write_results(stage: Stage, out: Path, full_precision: bool, pairs: Sequence[Path]) -> None:
    """Write the weights of a finished stage, their scores on pairs, and their card."""
    net = bb.load_network(str(stage.weights))
    weights = out / f'{stage.name}.safetensors'
    out.mkdir(parents=True, exist_ok=True)
    bb.save_network(net, weights, dtype=None if full_precision else torch.float16)
    for folder in pairs if type(net).__name__ in SCORED else ():
        record = out / f'{stage.name}_{folder.name}.json'
        if not record.exists():
            words = [str(SCORE_PAIRS), str(weights), str(folder), '--json', str(record)]
            subprocess.run([sys.executable, *words], check=False)
    with atomic_path(out / f'{stage.name}.md') as partial:
        partial.write_text(card_of(stage, net, weights, scores_on_pairs(stage, out)), encoding='utf-8')


def scores_on_pairs(stage: Stage, out: Path) -> dict[str, Any]:
    """Return the means of the records of a stage in the folder of results, by the name of the pairs."""
    found = sorted(out.glob(f'{stage.name}_*.json'))
    return {path.stem.removeprefix(f'{stage.name}_'): read(path).get('means', {}) for path in found}


def card_of(stage: Stage, net: Any, weights: Path, pairs: Mapping[str, Any]) -> str:
    """Return the card of weights, as Markdown."""
    told = ', '.join(f'{key} {value}' for key, value in net.hyper_parameters.items())
    millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    train, data = stage.options['train'], stage.options['datasets']['train']
    size = data.get('patch_size', data.get('gt_size'))
    windows = f', windows of {size} pixels' if size else ''
    facts = {
        'architecture': f'{type(net).__name__} ({told}); {millions:.2f} M parameters',
        'SHA-256': hashlib.sha256(weights.read_bytes()).hexdigest(),
        'training': f'`options/{stage.name}.yml`, {train["total_iter"]} iterations of {data["batch_size_per_gpu"]} '
        f'samples a process{windows}, seed {stage.options["manual_seed"]}',
        'changes': ', '.join(f'`{change}`' for change in stage.changes),
        'begins with': ', '.join(stage.after) or 'random weights',
        'data': ', '.join(str(value) for key, value in data.items() if key.startswith('dataroot') and value),
    }
    lines = [f'# {weights.name}', '', '| | |', '|---|---|', *(f'| {key} | {value} |' for key, value in facts.items())]
    lines += ['', '## Scores', '', '| data | score | value |', '|---|---|---|']
    for name, scores in read(stage.folder / 'scores.json').items():
        lines += [
            f'| {name}, at iteration {scores["iteration"]} | {key} | {value:.4g} |'
            for key, value in scores.items()
            if key != 'iteration'
        ]
    for name, means in pairs.items():
        lines += [f'| {name} | {key} | {value} |' for key, value in flat(means).items()]
    return '\n'.join(lines) + '\n'


def write_report(stages: Sequence[Stage], out: Path) -> None:
    """Write report.json and report.md of the stages that have begun."""
    found = {
        stage.name: {
            'profile': read(stage.folder / 'profile.json'),
            'scores': read(stage.folder / 'scores.json'),
            'pairs': scores_on_pairs(stage, out),
        }
        for stage in stages
        if stage.folder.is_dir()
    }
    with atomic_path(out / 'report.json') as partial:
        partial.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    with atomic_path(out / 'report.md') as partial:
        partial.write_text(report_of(found), encoding='utf-8')


def report_of(found: Mapping[str, Any]) -> str:
    """Return the profiles and scores of stages, as Markdown tables."""
    return '\n'.join([*profile_table(found), '', *score_table(found)]) + '\n'


def profile_table(found: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table of profiles."""
    header = ('stage', 'device', 'precision', 'batch', 'samples a second', 'ms waiting', 'ms computing', 'first, s',
              'memory, MB', 'limited by')  # fmt: skip
    lines = [row_of(header), '|---' * len(header) + '|']
    for name, each in found.items():
        profile = each['profile']
        if not profile:
            lines.append(row_of((name, 'not profiled', *[''] * (len(header) - 2))))
            continue
        layout = ', channels last' if profile['channels_last'] else ''
        compiled = f', {profile["compile"]}' if profile['compile'] else ''
        seconds = profile['seconds']
        lines.append(row_of((
            name, profile['device'], f'{profile["precision"]}{layout}{compiled}', profile['batch'],
            profile['samples_per_second'], f'{1000 * seconds["waiting"]:.1f}', f'{1000 * seconds["computing"]:.1f}',
            seconds['first'], profile['peak_memory_mb'], profile['limited_by'],
        )))  # fmt: skip
    return lines


def score_table(found: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table of scores."""
    lines = ['| stage | data | score | value |', '|---|---|---|---|']
    for name, each in found.items():
        for data, scores in {**each['scores'], **each['pairs']}.items():
            told = {key: value for key, value in flat(scores).items() if key != 'iteration'}
            lines += [row_of((name, data, key, value)) for key, value in told.items()]
    return lines


def row_of(cells: Sequence[Any]) -> str:
    """Return a row of a Markdown table."""
    return f'| {" | ".join(map(str, cells))} |'


def flat(scores: Mapping[str, Any], before: str = '') -> dict[str, Any]:
    """Return nested scores by one name each."""
    found: dict[str, Any] = {}
    for key, value in scores.items():
        if isinstance(value, Mapping):
            found |= flat(value, f'{before}{key} ')
        else:
            found[f'{before}{key}'] = f'{value:.4g}' if isinstance(value, float) else value
    return found


def read(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; nothing where there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (InputError, OSError) as error:
        print(f'{Path(sys.argv[0]).name}: {sentence_of(error)}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('\ninterrupted; the same command goes on.', file=sys.stderr)
        sys.exit(130)
