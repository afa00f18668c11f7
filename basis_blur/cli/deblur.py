"""basis-blur deblur: estimate the blur of photos and remove it."""

from __future__ import annotations

import argparse
import functools
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basis_blur.cli import estimation
from basis_blur.cli.one_photo import by_network, by_richardson_lucy, deblur_photo, preview_photo
from basis_blur.cli.plan import Task, Wanted, check_outputs, plan
from basis_blur.foundation.choices import DEFAULT_RESTORER, DEFAULT_WEIGHTS, RESTORATIONS
from basis_blur.foundation.errors import InputError, printable, sentence_of
from basis_blur.photos.refusing import check_is_photo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DESCRIPTION = """Estimate the blur at every pixel of a photo and remove it: by iterations of Richardson-Lucy, from
which a second network makes one photo (--method rl), or by a network that restores the photo with the kernels that it
estimates (--method ufpnet).

Two methods are for comparison. --method rl-c21 is Richardson-Lucy as the paper of Carbajal et al. prints it, with 30
iterations and no second network; photos of the Koehler set are in linear light and need --gamma 1. --method network
restores by the network of --weights, such as the published ones of NAFNet, MIMO-UNet, MPRNet, DeblurGAN(-v2) and DMPHN
(a folder), and with the package spandrel those of Restormer and others.

IMG is a photo (PNG, JPEG, TIFF, WebP, AVIF, HEIC, camera raw; 8 or 16 bits; gray, colour, with alpha) or a folder of
photos, without those of its sub-folders. OUT is a file, or a folder in which photos keep their names; WebP and
AVIF become PNG there, HEIC becomes JPEG, and camera raw becomes TIFF in linear light. Without OUT, results lie beside
the photos and have "_deblurred" in their names. Bit depth, alpha, ICC profile, EXIF, XMP and IPTC are kept; a photo
that its EXIF says to turn is written upright.

A warning says if the result is not to be trusted: if the photo is flat, or if the blur is larger than the kernels or
does not explain the photo.

If a photo of a folder cannot be read or written, that is reported, the others are done, and the exit code is 2. After
an interrupt, the same command with --skip-done does the rest."""

COMMAND = 'deblur'
BY_NETWORK = ('ufpnet', 'network')  # methods by which a network restores the photo
METHODS = (*RESTORATIONS, *BY_NETWORK)
# Options that mean something only where Richardson-Lucy removes the blur.
OF_RICHARDSON_LUCY = ('kernels', 'iterations', 'strength', 'fusion', 'estimate_at', 'estimator', 'focal_length')
# Shipped weights that each method takes by default.
WEIGHTS = {**dict.fromkeys(RESTORATIONS, DEFAULT_WEIGHTS), 'ufpnet': DEFAULT_RESTORER}
NO_FUSION = 'none'  # value of --fusion for no second network
LARGEST_COUNT = 100_000  # largest number of steps, or of pixels of a tile, that is accepted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('inputs', metavar='IMG', type=Path, nargs='+', help='a photo, or a folder of photos')
    parser.add_argument(
        '-o',
        '--output',
        metavar='OUT',
        type=Path,
        help='file or folder to write (default: IMG_deblurred, beside IMG)',
    )
    of_methods = f'{WEIGHTS["rl"]}, or {WEIGHTS["ufpnet"]} for that method; both are in the package'
    estimation.add_arguments(parser, weights=None, default=of_methods)
    parser.add_argument(
        '--method', choices=METHODS, default='rl', help='how the blur is removed (default: rl, which removes more)'
    )
    parser.add_argument(
        '--tile',
        metavar='PIXELS',
        type=_count,
        help='side of the tiles in which ufpnet and network restore a photo (default: as memory allows)',
    )
    parser.add_argument(
        '--refine',
        metavar='STEPS',
        type=_count,
        help='number of steps, such as 30, by which the estimated blur is fitted to the photo first',
    )
    parser.add_argument(
        '--kernels', metavar='FIELD.npz', type=Path, help='a known blur field, which is removed in place of an estimate'
    )
    parser.add_argument(
        '--iterations',
        metavar='N',
        type=_count,
        help='largest number of iterations of Richardson-Lucy, without the second network (default: 3 with an '
        'estimated blur, whose errors later iterations fit; 11 with a known one)',
    )
    parser.add_argument(
        '--strength',
        metavar='S',
        type=_strength,
        help='how far to go from the blurred photo to the restored one, 0 to 1 (default: 1; 0.6 with an estimated blur '
        'and without the second network)',
    )
    parser.add_argument(
        '--fusion',
        metavar='FILE',
        help='weights of the second network, an IterateFusion, or "none" (default: the shipped one, where the blur '
        'is estimated by the shipped network)',
    )
    parser.add_argument(
        '--save-kernels',
        action='store_true',
        help='also write NAME_kernels.npz, the blur field, and NAME_kernels.png, the kernels drawn over the photo '
        '(with ufpnet: NAME_kernels.png, and NAME_sigma.png, the uncertainty of each pixel)',
    )
    parser.add_argument(
        '--compare',
        action='store_true',
        help='also write NAME_compare.jpg, the photo before and after beside each other, and NAME_compare.html, a page '
        'with a slider between them, the kernels over the photo and the warnings',
    )
    parser.add_argument(
        '--preview',
        action='store_true',
        help='choose settings in seconds: restore only the part of each photo with most detail, whose blur is '
        'estimated from it alone, and write that part before and after to NAME_preview.jpg and NAME_preview.html'
        ' in place of the result; an earlier preview is replaced',
    )
    parser.add_argument(
        '--workers',
        metavar='N',
        type=_count,
        default=1,
        help='number of photos at a time, each in a process of its own with its share of the cores (default: 1)',
    )
    parser.add_argument(
        '--shard',
        metavar='I/N',
        type=_shard,
        help='part of the photos that is done, the Ith of N, such as 3/16: for N computers, or the jobs of an array',
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument('--overwrite', action='store_true', help='replace results that are already there')
    existing.add_argument(
        '--skip-done',
        action='store_true',
        help='leave out photos whose results are all there, as after an interrupt',
    )


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= LARGEST_COUNT:
        raise argparse.ArgumentTypeError(f'{text[:40]!r} is no whole number from 1 to {LARGEST_COUNT}')
    return number


def _shard(text: str) -> tuple[int, int]:
    part, found, number = text.partition('/')
    if not (found and part.isdecimal() and number.isdecimal() and 1 <= int(part) <= int(number) <= LARGEST_COUNT):
        raise argparse.ArgumentTypeError(f'{text[:40]!r} is no part of a whole, expected such as 3/16, from 1/16 on')
    return int(part), int(number)


def _strength(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'{text[:40]!r} is no number from 0 to 1')
    return number


def run(args: argparse.Namespace) -> int:
    """Run the command; return 0, or 2 if some photos of a folder could not be read or written.

    Raises:
        InputError: options contradict each other or cannot be used, or the only photo cannot be used.
        OSError: a file does not exist or cannot be read, or the only photo cannot be written.
    """
    check_method(args)
    if args.weights is None:
        args.weights = WEIGHTS[args.method]
    tasks = plan(args.inputs, args.output)
    # The result itself is written last, so where an interrupt left only files beside it, the photo is done again.
    wanted = Wanted(args.save_kernels, args.compare or args.preview, args.method, args.preview)
    if args.shard is not None:
        check_outputs(tasks, wanted, True, files_of(args))
        tasks = tasks[args.shard[0] - 1 :: args.shard[1]]
    check_outputs(tasks, wanted, args.overwrite or args.skip_done or args.preview, files_of(args))
    if args.skip_done:
        found = len(tasks)
        tasks = [task for task in tasks if not all(path.exists() for path in task.outputs(wanted))]
        print(f'{found - len(tasks)} of {found} results are there and are left as they are.')

    failures, is_only = 0, len(args.inputs) == 1 and not args.inputs[0].is_dir()
    if is_only and tasks:
        check_is_photo(tasks[0].photo)

    from tqdm import tqdm

    with estimation.plain_warnings(COMMAND):
        done = _outcomes(args, wanted, tasks, is_only)
        for line, sentence in tqdm(
            done, total=len(tasks), unit='photo', desc=COMMAND, disable=None if len(tasks) > 1 else True
        ):
            if sentence:
                failures += 1
                tqdm.write(f'basis-blur {COMMAND}: {sentence}', file=sys.stderr)
            else:
                tqdm.write(printable(line))
    if failures:
        print(f'basis-blur {COMMAND}: {failures} of {len(tasks)} photos could not be deblurred.', file=sys.stderr)
    return 2 if failures else 0


def _outcomes(
    args: argparse.Namespace, wanted: Wanted, tasks: Sequence[Task], is_only: bool
) -> Iterator[tuple[str, str]]:
    """Do the tasks; yield for each a line that says so, or a sentence on why it could not be done."""
    workers = min(args.workers, len(tasks))
    if not tasks:
        return
    if workers <= 1:
        work = work_of(args, wanted, is_only)
        yield from map(work, tasks)
        return

    from tqdm import tqdm

    from basis_blur.cli.workers import in_workers

    check_parts(args)
    for outcome in in_workers(work_of, (args, wanted, is_only, True), tasks, workers):
        for text, stream in ((outcome.told, sys.stdout), (outcome.warned, sys.stderr)):
            if text:
                tqdm.write(text.rstrip(), file=stream)
        yield outcome.result


def work_of(
    args: argparse.Namespace, wanted: Wanted, is_only: bool, in_worker: bool = False
) -> Callable[[Task], tuple[str, str]]:
    """Return the function that does one task; see `_outcomes` for what it returns.

    Args:
        args: options of the command.
        wanted: files that are written.
        is_only: whether there is only one photo, whose error is raised.
        in_worker: whether this is another process than that of the command, so that warnings have to be set up here.
    """
    if args.method not in BY_NETWORK:
        deblurrer = estimation.deblurrer(args, args.kernels, method=args.method, **removal_of(args))
        method = functools.partial(by_richardson_lucy, deblurrer=deblurrer, wanted=wanted)
    else:
        restorer = estimation.network_deblurrer(args, refine=args.refine or 0, tile=args.tile)
        method = functools.partial(by_network, deblurrer=restorer, wanted=wanted)

    def work(task: Task) -> tuple[str, str]:
        with estimation.plain_warnings(COMMAND) if in_worker else nullcontext():
            try:
                return (preview_photo if wanted.preview else deblur_photo)(task, method), ''
            except BrokenPipeError:  # nobody reads what is printed any more
                raise
            except (InputError, OSError) as error:  # OSError: it cannot be written, such as a name that is too long
                if is_only:
                    raise
                return '', sentence_of(error)

    return work


def check_parts(args: argparse.Namespace) -> None:
    """Raise the error of unusable weights or of a missing device, before processes are started."""
    work_of(args, Wanted(), False)


def files_of(args: argparse.Namespace) -> list[Path]:
    """Return the files that options name, beside the photos; no result may replace them."""
    given = (args.kernels, args.weights, args.fusion, getattr(args, 'log', None))
    return [Path(each) for each in given if each is not None]


def check_method(args: argparse.Namespace) -> None:
    """Raise InputError if an option is given that means nothing for the method."""
    useless = {
        'rl': ('tile',),
        'rl-c21': ('tile', 'fusion'),
        'ufpnet': OF_RICHARDSON_LUCY,
        'network': (*OF_RICHARDSON_LUCY, 'refine'),
    }[args.method]
    for name in useless:
        if getattr(args, name) is not None:
            other = 'rl' if name == 'fusion' or args.method in BY_NETWORK else 'ufpnet'
            option = name.replace('_', '-')
            raise InputError(f'--{option} means nothing to --method {args.method}; leave it out, or take {other}.')
    if args.method == 'network' and args.weights is None:
        raise InputError('--method network restores by a network of yours; give its file by --weights.')
    if args.method == 'network' and args.save_kernels:
        raise InputError('--save-kernels means nothing to --method network; leave it out, or take ufpnet.')
    if args.kernels is not None and args.estimate_at is not None:
        raise InputError('--estimate-at means nothing with --kernels, where nothing is estimated; leave one out.')
    if args.kernels is not None and args.estimator is not None:
        raise InputError('--estimator means nothing with --kernels, where nothing is estimated; leave one out.')
    if args.iterations is not None and args.fusion not in (None, NO_FUSION):
        raise InputError('--iterations means nothing with --fusion, which says how many it needs; leave one out.')
    if args.preview and (args.kernels is not None or args.save_kernels):
        raise InputError('--preview estimates the blur of a part of the photo; leave out --kernels and --save-kernels.')
    if args.tile is not None:
        from basis_blur.deblurring.restoring import OVERLAP

        if args.tile <= OVERLAP:
            raise InputError(f'--tile is {args.tile}, expected more than the {OVERLAP} pixels by which tiles overlap.')
    if args.refine and args.tile:
        raise InputError('--refine works on the photo as a whole; leave out --tile.')
    if args.refine and args.gamma is not None and args.gamma < 1:
        raise InputError(f'--refine needs a gamma of at least 1, found {args.gamma:g}; leave it out.')


def removal_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `Deblurrer.pretrained` that say how the blur is removed."""
    return {
        'fusion': False if args.fusion == NO_FUSION else args.fusion,
        'iterations': args.iterations,
        'strength': args.strength,
        'refine': args.refine or 0,
    }
