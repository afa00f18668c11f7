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
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from kill_cases import Job, differences, make_jobs

CHANCE_AT_START = 0.2  # share of the kills while the job starts
ENVIRONMENT = {'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1'}  # added to that of the commands
LONGEST_TRY = 300  # longest time that a try may take, seconds
# Pattern of the last line of a command that was stopped by a signal other than SIGKILL.
KEPT = r'^basis-blur \S+: interrupted; .*(is kept|saved|nothing is lost)'


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
