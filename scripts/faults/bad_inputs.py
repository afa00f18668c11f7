"""Hand a corpus of malformed inputs to the real commands and check that each is refused as it should be.

    python scripts/faults/bad_inputs.py [--short] [--only TEXT] [--json OUT.json] [--keep DIR]

A case fails unless the command
    - ends with exit code 2 within seconds,
    - without a traceback, its last words one printable line that names what was found,
    - leaving no file behind but those the case allows, and no input changed,
    - and without running code from a file: hostile files try to make a file CANARY.
Controls, the same commands with sound inputs, must end with 0: they show that the cases fail for what is wrong in them.
Inputs that may be read all the same, such as a JPEG with a flipped bit, may also end with 0.

Everything is imported once; then each case is a forked process with a folder of its own, so that one case cannot
disturb another. Some cases are run as whole processes too.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from bad_input_cases import CANARY, Case, Good, all_cases

SECONDS_WHOLE = 60  # longest time of a whole process, which imports torch, seconds
LONGEST_LINE = 700  # largest number of characters of the line of an error
HELP_LINE = r'"basis-blur( [a-z-]+)? --help" tells more\.'  # printed after a mistake on the command line
FAULTS = ('exit', 'traceback', 'words', 'slow', 'left', 'code')
# Progress bars, warnings of ours, and what libtiff, which knows nothing of us, says of a damaged TIFF.
NO_MESSAGE = r'\d+/\d+ \[|: warning: |^left out: |it/s\]|^(TIFF|ZIP|LZW|JPEG|ZSTD|LZMA|Fax)\w+: '
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS


class Outcome(NamedTuple):
    """What became of a case: its exit code, the faults by name with a reason, the seconds, and the last words."""

    case: Case
    code: int | None
    faults: dict[str, str]
    seconds: float
    words: str
    whole: bool = False


def run_case(case: Case, folder: Path, good: Good, whole: bool = False) -> Outcome:
    """Make the input of a case in `folder`, run its command there and judge what happened."""
    place = folder / 'here'
    place.mkdir(parents=True)
    arguments = [str(each) for each in case.make(place, good)]
    before = contents(place)
    started = time.perf_counter()
    code = _run_whole(arguments, place, folder) if whole else _run_forked(arguments, place, folder, case.seconds)
    seconds = time.perf_counter() - started
    said = (folder / 'stderr').read_text(errors='replace')
    printed = (folder / 'stdout').read_text(errors='replace')
    faults = {}
    if code is None:
        faults['slow'] = f'stopped after {seconds:.0f} s'
    elif code not in case.codes:
        faults['exit'] = f'exit code {code}, expected {" or ".join(map(str, case.codes))}'
    if 'Traceback (most recent call last)' in said + printed:
        faults['traceback'] = _last_line(said)
    if code == 2 and (complaint := judge_words(said, case)):
        faults['words'] = complaint
    if code != 0 and (left := left_over(before, contents(place), case.may_leave)):
        faults['left'] = ', '.join(left[:5])
    if os.path.ismount(place / 'disk'):
        subprocess.run(['umount', place / 'disk'], check=True)
    if any(path.endswith(CANARY) for path in contents(folder)):
        faults['code'] = 'the canary was touched'
    return Outcome(case, code, faults, seconds, _last_line(said), whole)


def judge_words(said: str, case: Case) -> str:
    """Return what is wrong with the words of a refusal, '' if nothing is."""
    lines = message_lines(said)
    if not lines:
        return 'no message'
    if len(lines) > 1 and not case.talks:
        return f'{len(lines)} lines: {lines[0]!r} ...'
    last = lines[-1]
    if not re.match(r'(basis-blur( [\w-]+)?|basis_blur(\.[\w.]+)?|python -m basis_blur.*): ', last):
        return f'not a line of ours: {last!r}'
    if not last.isprintable():
        return f'not printable: {last!r}'
    if len(last) > LONGEST_LINE:
        return f'{len(last)} characters: {last[:80]!r} ...'
    if not re.search(case.says, '\n'.join(lines) if case.talks else last):
        return f'does not name {case.says!r}: {last!r}'
    return ''


def message_lines(said: str) -> list[str]:
    """Return the lines on the standard error that are messages of ours, without the usage of a command.

    The last line of a mistyped command, which names the help, is a part of the usage.
    """
    lines, in_usage = [], False
    for line in said.replace('\r', '\n').splitlines():
        in_usage = line.startswith('usage:') or (in_usage and line.startswith(' '))
        of_usage = in_usage or re.fullmatch(HELP_LINE, line) is not None
        if line.strip() and not of_usage and not re.search(NO_MESSAGE, line):
            lines.append(line)
    return lines


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the files and folders below a folder, with size and time of change for files."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.relpath(os.path.join(place, name), folder)] = (0, 0)
        for name in files:
            path = os.path.join(place, name)
            facts = os.lstat(path)
            found[os.path.relpath(path, folder)] = (facts.st_size, facts.st_mtime_ns)
    return found


def left_over(before: dict, after: dict, allowed: Iterable[str]) -> list[str]:
    """Return what is new, changed or gone, but for names that fit an allowed pattern."""
    different = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return sorted(name for name in different if not any(re.fullmatch(pattern, name) for pattern in allowed))


def _run_forked(arguments: list[str], place: Path, folder: Path, seconds: int) -> int | None:
    process = multiprocessing.get_context('fork').Process(target=_be_the_command, args=(arguments, place, folder))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def _be_the_command(arguments: list[str], place: Path, folder: Path) -> None:
    """Run the command in this process, which is a fork, with its output in files."""
    from basis_blur.cli.main import main

    for number, name in ((1, 'stdout'), (2, 'stderr')):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = (
        os.fdopen(number, 'w', closefd=False, errors=errors)  # as Python opens them
        for number, errors in ((1, 'strict'), (2, 'backslashreplace'))
    )
    os.chdir(place)
    sys.argv = ['basis-blur', *arguments]
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run_whole(arguments: list[str], place: Path, folder: Path) -> int | None:
    with open(folder / 'stdout', 'w') as out, open(folder / 'stderr', 'w') as err:
        try:
            call = [sys.executable, '-m', 'basis_blur', *arguments]
            return subprocess.run(call, cwd=place, stdout=out, stderr=err, timeout=SECONDS_WHOLE).returncode
        except subprocess.TimeoutExpired:
            return None


def _last_line(text: str) -> str:
    return (text.replace('\r', '\n').strip().splitlines() or [''])[-1]


def import_everything() -> None:
    """Import what the commands import when they are asked for, and keep this process free of threads."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    import cv2
    import torch

    import basis_blur.plugin
    from basis_blur.cli import deblur, evaluate, info, kernels, prep_dataset, prep_kernels, prep_lmdb, test, train

    del basis_blur, deblur, evaluate, info, kernels, prep_dataset, prep_kernels, prep_lmdb, test, train
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def own_mounts() -> bool:
    """Give this process mounts of its own, which end with it; return whether that is possible (it takes rights)."""
    if ctypes.CDLL(None).unshare(NEW_MOUNTS) != 0:
        return False
    return subprocess.run(['mount', '--make-rprivate', '/'], capture_output=True).returncode == 0


def run_all(cases: Sequence[Case], root: Path, whole: bool = True, told=lambda outcome: None) -> list[Outcome]:
    """Run cases one after the other, each in a folder below `root`; those marked so as whole processes too."""
    good = Good.make(root / 'good')
    before = contents(good.folder)
    outcomes = []
    for number, (case, as_whole) in enumerate(
        [(case, False) for case in cases] + [(case, True) for case in cases if case.whole and whole]
    ):
        outcome = run_case(case, root / f'{number:03d}', good, as_whole)
        told(outcome)
        outcomes.append(outcome)
    if changed := left_over(before, contents(good.folder), ()):
        raise RuntimeError(f'the cases changed the sound inputs: {changed}')
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the counts by category."""
    categories = list(dict.fromkeys(outcome.case.category for outcome in outcomes))
    lines = [f'{"":<34} {"cases":>5} {"exit 2":>6} {"exit 0":>6} ' + ' '.join(f'{fault:>9}' for fault in FAULTS)]
    for name in [*categories, 'all']:
        chosen = [outcome for outcome in outcomes if name in (outcome.case.category, 'all')]
        codes = Counter(outcome.code for outcome in chosen)
        faults = Counter(fault for outcome in chosen for fault in outcome.faults)
        counts = ' '.join(f'{faults[fault]:>9}' for fault in FAULTS)
        lines.append(f'{name:<34} {len(chosen):>5} {codes[2]:>6} {codes[0]:>6} {counts}')
    return '\n'.join(lines)


def main() -> int:
    """Run the corpus; return 1 if a case fails."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', default='', help='cases whose category or name has this text')
    parser.add_argument('--short', action='store_true', help='only the few cases that run in the tests')
    parser.add_argument('--json', type=Path, help='also write every case with its outcome')
    parser.add_argument('--keep', type=Path, help='make the corpus in this folder and keep it')
    parser.add_argument('--no-whole', action='store_true', help='leave out the whole processes')
    parser.add_argument('--verbose', action='store_true', help='print the last words of every case')
    args = parser.parse_args()
    mounts = own_mounts()
    import_everything()
    cases = [
        case
        for case in all_cases(mounts)
        if args.only in f'{case.category}: {case.name}' and (case.short or not args.short)
    ]

    def told(outcome: Outcome) -> None:
        title = f'{outcome.case.category}: {outcome.case.name}{" (whole process)" if outcome.whole else ""}'
        if args.verbose:
            print(f'{title} [{outcome.code}, {outcome.seconds:.1f} s] {outcome.words[:300]}')
        for fault, reason in outcome.faults.items():
            print(f'FAILED {title}: {fault}: {reason[:400]}', flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        outcomes = run_all(cases, args.keep or Path(temporary), not (args.no_whole or args.short), told)
    print(table([outcome for outcome in outcomes if not outcome.case.category.startswith('control')]))
    print()
    print(table([outcome for outcome in outcomes if outcome.case.category.startswith('control')]))
    whole = sum(outcome.whole for outcome in outcomes)
    slowest = max((outcome.seconds for outcome in outcomes if not outcome.whole), default=0)
    print(f'\n{whole} of these runs were whole processes; the slowest of the others took {slowest:.1f} s.')
    if not mounts:
        print('No mounts could be made: the cases of a full disk and of a read-only one were left out.')
    if args.json:
        args.json.write_text(json.dumps([_facts(outcome) for outcome in outcomes], indent=1) + '\n')
    failed = sum(bool(outcome.faults) for outcome in outcomes)
    print(f'{failed} of {len(outcomes)} runs failed.')
    return 1 if failed else 0


def _facts(outcome: Outcome) -> dict:
    facts = {**outcome._asdict(), 'category': outcome.case.category, 'name': outcome.case.name}
    del facts['case']
    return {**facts, 'seconds': round(outcome.seconds, 2)}


if __name__ == '__main__':
    sys.exit(main())
