"""Kill preparations and trainings at random moments, repeat the command until it ends, and compare with a quiet run.

    python scripts/faults/kill_and_resume.py [--kills 20] [--only train ...] [--json OUT.json]

Each job is done once without a disturbance. Then it is begun again in an empty folder, and again and again its whole
process group gets SIGKILL and the same command is given again, until the command ends by itself; that is a round, and
there are rounds until the kills are used up. Moments are drawn (--seed): most while the job is at its work, the others
while it starts. What is checked:

    lost        after a kill all is there that was told to be done: the entries that the progress bar counted, the
                checkpoints before the last logged iteration, every file that was there at an earlier kill
    partial     after a kill every file with a final name is whole: LMDBs equal those of the quiet run, checkpoints and
                states can be read, and a state has its network; in the end nothing partial is left
    different   in the end keys, values and texts of LMDBs equal those of the quiet run; of a training all losses (with
                all their digits), every checkpoint (weights and their average) and every state (optimiser, scheduler,
                AMP's gradient scaler, random generators, best scores) do, to the bit

Two trainings are made: `train` with our data set in two workers, float16 and a gradient scaler; `train-noise` with
BasicSR's PairedImageDataset, whose augmentations use Python's generator, in the training process, and a network that
draws noise. Inputs are made here; nothing is fetched.

With --signal INT, TERM or HUP the command is stopped at its work in this way, which Ctrl-C, `kill` and a terminal that
is closed do. Then it also counts as different if it does not end with 130, 143 or 129, its last line a sentence on what
is kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import torch

CHANCE_AT_START = 0.2
ENVIRONMENT = {'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1'}
LONGEST_TRY = 300  # seconds
KEPT = r'^basis-blur \S+: interrupted; .*(is kept|saved|nothing is lost)'

TRAINING = """
name: run
num_gpu: 0
manual_seed: 3
path: {{pretrain_network_g: ~, resume_state: ~}}
{own}
logger: {{print_freq: 1, save_checkpoint_freq: {save}, use_tb_logger: false, loss_log_freq: 1}}
"""
TRAIN = """
model_type: BasisBlurModel
datasets:
  train:
    {{name: photos, type: SyntheticBlurDataset, dataroot_gt: {photos}, patch_size: 32,
     noise_std: [0.0, 0.01], num_worker_per_gpu: 2, batch_size_per_gpu: 2}}
  val:
    {{name: held_out, type: SyntheticBlurDataset, dataroot_gt: {photos}, patch_size: 32,
     samples_per_epoch: 2}}
network_g: {{type: BasisKPN, num_feat: 4, num_kernels: 2}}
train:
  total_iter: {total}
  optim_g: {{type: AdamW, lr: 0.001}}
  scheduler: {{type: CosineAnnealingRestartLR, periods: [{total}], eta_min: 0.000001}}
  warmup_iter: 5
  ema_decay: 0.9
  amp: fp16
  reblur_opt: {{type: ReblurLoss}}
val: {{val_freq: {validate}, save_img: false, pbar: false}}
"""
TRAIN_NOISE = """
model_type: SelfSupervisedReblurModel
datasets:
  train:
    {{name: pairs, type: PairedImageDataset, dataroot_gt: {photos}, dataroot_lq: {photos}, scale: 1, gt_size: 32,
     io_backend: {{type: disk}}, use_hflip: true, use_rot: true, num_worker_per_gpu: 0, batch_size_per_gpu: 2}}
network_g: {{type: LatentKernelNet, kernel_size: 5, width: 4, flow_prior: false}}
train:
  total_iter: {total}
  optim_g: {{type: AdamW, lr: 0.001}}
  scheduler: {{type: MultiStepLR, milestones: [{validate}], gamma: 0.5}}
  ema_decay: 0.9
  reblur_opt: {{type: PixelReblurLoss}}
"""


@dataclass
class Job:
    """A command to be killed.

    Args:
        name: as `--only` takes it.
        arguments: arguments of basis-blur, which runs in the folder that it writes to.
        at_work: text that it prints when it has started.
        check_kept: function of (folder, told) that yields what is missing after a kill of what was told.
        check_whole: function of (folder, contents of the quiet run) that yields the files with a final name that are
            not whole.
        contents_of: function of (folder) that returns what the finished work must agree in.
        options: the option file of a training.
    """

    name: str
    arguments: list[str]
    at_work: str
    check_kept: Callable[[Path, str], Iterator[str]]
    check_whole: Callable[[Path, dict], Iterator[str]]
    contents_of: Callable[[Path], dict[str, Any]]
    options: str = ''


@dataclass
class Count:
    """What happened to a job."""

    job: str
    kills: int = 0
    at_work: int = 0
    rounds: int = 0
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)

    @property
    def failures(self) -> int:
        return len(self.lost) + len(self.partial) + len(self.different)


class Try:
    """A command that runs in a process group of its own, from its start to its end or to a kill.

    Args:
        job: job to run.
        folder: folder to run it in.
        forked: as a fork of this process, which has imported all, and not as a process of its own.
    """

    def __init__(self, job: Job, folder: Path, forked: bool):
        folder.mkdir(parents=True, exist_ok=True)
        if job.options:
            (folder / 'train.yml').write_text(job.options)
        self.job = job
        self.output = folder.with_name(f'{folder.name}.txt')
        self.started = time.monotonic()
        with open(self.output, 'wb') as output:
            if forked:
                self.pid = _fork(job.arguments, folder, output.fileno())
            else:
                self.pid = subprocess.Popen(
                    [sys.executable, '-m', 'basis_blur', *job.arguments],
                    cwd=folder, env={**os.environ, **ENVIRONMENT}, stdout=output, stderr=output, start_new_session=True,
                ).pid  # fmt: skip
        self.code: int | None = None

    @property
    def told(self) -> str:
        return self.output.read_text(encoding='utf-8', errors='replace')

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def wait(self, seconds: float, words: str | None = None) -> bool:
        """Wait, not longer than until `words` are told; return whether it goes on."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not (words is not None and words in self.told):
            if self.ended():
                return False
            time.sleep(0.002)
        return not self.ended()

    def stop(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the whole group at once, and wait until all of it has gone."""
        os.killpg(self.pid, number)
        if self.wait(LONGEST_TRY):
            os.killpg(self.pid, signal.SIGKILL)
            self.wait(LONGEST_TRY)
        while _group_lives(self.pid):
            time.sleep(0.002)


def _fork(arguments: list[str], folder: Path, output: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from basis_blur.cli.main import main

        code = main(arguments)
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _group_lives(group: int) -> bool:
    """Whether a process of the group is left; one that nobody has waited for yet counts as gone."""
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, _, its_group = path.read_text().rpartition(')')[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state not in 'ZX':
            return True
    return False


def disturb(job: Job, place: Path, args: argparse.Namespace, generator: np.random.Generator) -> Count:
    """Do a job in peace, then with kills, and count what went wrong."""
    kills, forked = args.kills, args.forked
    started = time.monotonic()
    count = Count(job.name)
    quiet = Try(job, place / 'quiet', forked)
    quiet.wait(LONGEST_TRY, job.at_work)
    start = time.monotonic() - quiet.started
    if quiet.wait(LONGEST_TRY) or quiet.code != 0:
        raise SystemExit(f'{job.name} does not work undisturbed ({quiet.code}):\n{quiet.told[-2000:]}')
    work = time.monotonic() - quiet.started - start
    expected = job.contents_of(place / 'quiet')
    while count.kills < kills:
        folder = place / f'round_{count.rounds}'
        seen: set[str] = set()
        while True:
            attempt = Try(job, folder, forked)
            number = signal.Signals[f'SIG{args.signal[count.kills % len(args.signal)]}']
            at_start = number == signal.SIGKILL and generator.random() < CHANCE_AT_START
            delay = generator.uniform(0, start if at_start else work)
            if count.kills == kills:
                delay = LONGEST_TRY
            elif not at_start:
                attempt.wait(LONGEST_TRY, job.at_work)
            if not attempt.wait(delay):
                break
            if count.kills == kills:
                attempt.stop()
                count.different.append(f'{folder.name} did not end in {LONGEST_TRY} s')
                break
            attempt.stop(number)
            if attempt.code == 0:
                break
            told = attempt.told
            count.kills += 1
            count.at_work += job.at_work in told
            count.moments.append(round(time.monotonic() - attempt.started, 3))
            where = f'kill {count.kills}: '
            last = told.strip().rpartition('\n')[2]
            if number != signal.SIGKILL and (attempt.code != 128 + number or not re.search(KEPT, last)):
                count.different.append(f'{where}it ended with {attempt.code}: {told[-1500:]}')
            count.lost += [where + words for words in job.check_kept(folder, told)]
            count.partial += [where + words for words in job.check_whole(folder, expected)]
            now = _final_files(folder)
            count.lost += [f'{where}{name} has gone' for name in sorted(seen - now) if 'run_archived' not in name]
            seen |= now
        count.rounds += 1
        if attempt.code != 0:
            count.different.append(f'{folder.name} ended with {attempt.code}: {attempt.told[-600:]}')
            break
        found = job.contents_of(folder)
        count.different += [f'{folder.name}: {words}' for words in differences(found, expected)]
        count.partial += [f'{folder.name}: {path} is left' for path in _left_over(folder)]
    count.seconds = time.monotonic() - started
    return count


def _final_files(folder: Path) -> set[str]:
    """Names of finished LMDBs, checkpoints and states; those of a run that was begun again before its first do not
    count, as BasicSR moves its folder away."""
    paths = [*folder.glob('*.lmdb'), *folder.glob('*/*.lmdb'), *folder.glob('experiments/run/*/*')]
    return {str(path.relative_to(folder)) for path in paths if not path.name.startswith('.')}


def _left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob('.*') if 'partial' in path.name and 'run_archived' not in str(path)]


def differences(found: Any, expected: Any, where: str = '') -> Iterator[str]:
    """Yield the places at which two nested things differ, to the bit."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            if key not in found or key not in expected:
                yield f'{where}/{key} is only in one of them'
            else:
                yield from differences(found[key], expected[key], f'{where}/{key}')
    elif isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, other, f'{where}/{number}')
    elif isinstance(expected, torch.Tensor) and isinstance(found, torch.Tensor):
        if found.dtype != expected.dtype or not torch.equal(found, expected):
            yield f'{where} differs'
    elif type(found) is not type(expected) or found != expected:
        yield f'{where} differs'


# --- preparations ---


def _entries(path: Path) -> dict[str, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as store, store.begin() as transaction:
        return {bytes(key).decode(): bytes(value) for key, value in transaction.cursor()}


def _number_of_entries(path: Path) -> int:
    if not (path / 'data.mdb').exists() or not (path / 'data.mdb').stat().st_size:
        return 0
    with lmdb.open(str(path), readonly=True, lock=False) as store:
        return store.stat()['entries']


def contents_of_lmdbs(folder: Path) -> dict[str, Any]:
    """Names, entries and texts of all finished LMDBs."""
    contents: dict[str, Any] = {}
    for path in sorted([*folder.glob('*.lmdb'), *folder.glob('*/*.lmdb')]):
        texts = {each.name: each.read_text() for each in path.iterdir() if each.suffix in ('.txt', '.json')}
        files = sorted(each.name for each in path.iterdir())
        contents[path.name] = {'entries': _entries(path), 'texts': texts, 'files': files}
    return contents


def check_lmdbs_kept(folder: Path, told: str) -> Iterator[str]:
    """Yield a sentence if fewer entries are there than the progress bar has counted."""
    counted = [int(number) for number in re.findall(r'(\d+)/\d+ \[', told)]
    for name in ('photos.lmdb', 'masks.lmdb') if 'prep-lmdb' in told else ('kernels.lmdb',):
        place = next(iter(folder.rglob(name)), None) or next(iter(folder.rglob(f'.{name}.partial')), folder)
        found = _number_of_entries(place)
        if counted and found < max(counted):
            yield f'{max(counted)} entries were counted and {name} has {found}'


def check_lmdbs_whole(folder: Path, expected: dict[str, Any]) -> Iterator[str]:
    """Yield the LMDBs that have their name and differ from those of the quiet run."""
    found = contents_of_lmdbs(folder)
    yield from differences(found, {name: expected[name] for name in found})


# --- trainings ---


def _load(path: Path) -> Any:
    return torch.load(path, map_location='cpu', weights_only=True)


def contents_of_training(folder: Path) -> dict[str, Any]:
    """All losses, and the checkpoints and states that the options ask for; Ctrl-C leaves others too."""
    run, every = folder / 'experiments/run', _checkpoint_frequency(folder)
    contents: dict[str, Any] = {'losses': (run / 'losses.jsonl').read_text()}
    for path in sorted([*run.glob('models/[!.]*'), *run.glob('training_states/[!.]*')]):
        iteration = path.stem.rpartition('_')[2]
        if iteration == 'latest' or int(iteration) % every == 0:
            contents[path.name] = _load(path)
    return contents


def _checkpoint_frequency(folder: Path) -> int:
    return int(re.search(r'save_checkpoint_freq: (\d+)', (folder / 'train.yml').read_text())[1])


def check_training_kept(folder: Path, told: str) -> Iterator[str]:
    """Yield a sentence if a state is missing that was saved before the last logged iteration."""
    every = _checkpoint_frequency(folder)
    iterations = [int(number.replace(',', '')) for number in re.findall(r'iter: *([\d,]+), lr', told)]
    states = {int(path.stem) for path in (folder / 'experiments/run/training_states').glob('[!.]*.state')}
    saved = range(every, max(iterations, default=0), every)
    for number in saved:
        if number not in states:
            yield f'iteration {max(iterations)} was logged, and {number}.state is missing'


def check_training_whole(folder: Path, expected: dict[str, Any]) -> Iterator[str]:
    """Yield the checkpoints and states that cannot be read, and states without their network."""
    run = folder / 'experiments/run'
    for path in [*run.glob('models/[!.]*'), *run.glob('training_states/[!.]*')]:
        try:
            _load(path)
        except Exception as error:
            yield f'{path.name} cannot be read ({type(error).__name__})'
        if path.suffix == '.state' and not (run / 'models' / f'net_g_{path.stem}.pth').exists():
            yield f'{path.name} has no network'


# --- what is killed ---


def make_photos(folder: Path, number: int, side: int, masks: Path | None = None) -> Path:
    """Write synthetic photos, smooth coloured noise with a disc, and perhaps masks of the discs."""
    generator = np.random.default_rng(0)
    for path in (folder, *([masks] if masks else [])):
        path.mkdir(parents=True)
    for index in range(number):
        rough = generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        photo = cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC)
        photo = cv2.add(photo, generator.integers(0, 20, photo.shape, dtype=np.uint8))
        mask = np.zeros((side, side), np.uint8)
        cv2.circle(mask, (side // 2, side // 3), side // 5, 1, -1)
        photo[mask == 1] = 255 - photo[mask == 1]
        cv2.imwrite(str(folder / f'{index:04d}.png'), photo)
        if masks:
            cv2.imwrite(str(masks / f'{index:04d}.png'), mask)
    return folder


def make_jobs(place: Path, short: bool) -> list[Job]:
    """Make the inputs, and return the jobs; short ones for the tests."""
    photos = make_photos(place / 'photos', 60 if short else 800, 128 if short else 256, place / 'masks')
    workers = '0' if short else '1'
    few = make_photos(place / 'few', 11, 72)
    prep = (check_lmdbs_kept, check_lmdbs_whole, contents_of_lmdbs)
    train = (check_training_kept, check_training_whole, contents_of_training)
    # An epoch of 11 photos has 5 batches, so states lie within epochs, at their ends, and beside validations.
    numbers = {'total': 16 if short else 60, 'save': 4 if short else 6, 'validate': 8 if short else 12}
    options = [TRAINING.format(own=own.format(photos=few, **numbers), **numbers) for own in (TRAIN, TRAIN_NOISE)]
    go_on = ['train', 'train.yml', '--auto_resume']
    return [
        Job(
            'prep-lmdb',
            ['prep-lmdb', str(photos), '-o', 'out', '--masks', str(place / 'masks'), '--mask-format', 'labels',
             '--workers', workers],
            'prep-lmdb: ', *prep,
        ),
        Job(
            'prep-kernels',
            ['prep-kernels', '-o', 'kernels.lmdb', '-n', '600' if short else '8000', '--kernel-size', '19',
             '--workers', workers],
            'prep-kernels: ', *prep,
        ),
        Job('train', go_on, 'Start training from', *train, options[0]),
        Job('train-noise', go_on, 'Start training from', *train, options[1]),
    ]  # fmt: skip


def main() -> int:
    """Kill, count and print; return 1 if anything was lost, partial or different."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', metavar='N', type=int, default=20, help='number of kills of each job (default: 20)')
    parser.add_argument('--only', metavar='JOB', nargs='+', help='prep-lmdb, prep-kernels, train, train-noise')
    parser.add_argument('--seed', metavar='S', type=int, default=0, help='seed of the moments (default: 0)')
    parser.add_argument('--json', metavar='OUT.json', type=Path, help='also write the counts')
    parser.add_argument(
        '--signal',
        nargs='+',
        choices=('KILL', 'INT', 'TERM', 'HUP'),
        default=['KILL'],
        help='signals, sent by turns (default: KILL)',
    )
    parser.add_argument('--short', action='store_true', help='less work in each job, as for the tests')
    parser.add_argument('--forked', action='store_true', help='fork this process for each try: saves the start')
    args = parser.parse_args()
    for name in args.signal:  # what this process ignores, as under nohup, the commands would ignore too
        if name != 'KILL':
            signal.signal(signal.Signals[f'SIG{name}'], signal.default_int_handler if name == 'INT' else signal.SIG_DFL)
    torch.set_num_threads(1)
    os.environ.update(ENVIRONMENT)
    counts = []
    with tempfile.TemporaryDirectory(prefix='kill_and_resume_') as name:
        jobs = make_jobs(Path(name), args.short)
        known = [job.name for job in jobs]
        if args.only and (strange := set(args.only) - set(known)):
            parser.error(f'there is no job {", ".join(strange)}; there are {", ".join(known)}.')
        if args.forked:
            import basicsr.train  # noqa: F401

            import basis_blur.plugin  # noqa: F401
        for number, job in enumerate(jobs):
            if args.only and job.name not in args.only:
                continue
            generator = np.random.default_rng((args.seed, number))
            counts.append(disturb(job, Path(name) / job.name, args, generator))
            print(f'{job.name}: {counts[-1].kills} kills in {counts[-1].seconds:.0f} s', file=sys.stderr, flush=True)
    print(table(counts))
    for count in counts:
        for words in [*count.lost, *count.partial, *count.different][:20]:
            print(f'{count.job}: {words}')
    if args.json is not None:
        args.json.write_text(json.dumps([vars(count) for count in counts], indent=1) + '\n')
    return 1 if any(count.failures for count in counts) else 0


def table(counts: list[Count]) -> str:
    """Return the counts as a table in Markdown."""
    lines = ['| job | kills | of them at work | runs brought to their end | lost | partial | different |']
    lines.append('|---|--:|--:|--:|--:|--:|--:|')
    for each in counts:
        numbers = (each.kills, each.at_work, each.rounds, len(each.lost), len(each.partial), len(each.different))
        lines.append(f'| {each.job} | {" | ".join(map(str, numbers))} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
