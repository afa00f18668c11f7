"""The common part of `deblur` and `kernels`: options of the estimate, their deblurrer, progress bar and warnings."""

from __future__ import annotations

import argparse
import math
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basis_blur.cli.loading import load_torch
from basis_blur.foundation.choices import DEFAULT_WEIGHTS, ESTIMATORS, LEAST_GAMMA, MOST_GAMMA, SIZES, WITH_LENS
from basis_blur.foundation.errors import InputError, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis_blur.deblurring.deblurrer import Deblurrer
    from basis_blur.deblurring.network_deblurrer import NetworkDeblurrer

SECONDS_OF_BAR = 0.5  # time from one drawing of a progress bar to the next
LEAST_FOCAL, MOST_FOCAL = 5, 2000  # smallest and largest focal length of a lens, mm
WEIGHTS_HELP = 'network: a .safetensors or .pth file, or a name (default: {})'
DEVICE_HELP = 'where to compute: cpu, cuda, cuda:1 (default: cuda if there is one, else cpu)'


def add_arguments(
    parser: argparse.ArgumentParser,
    weights: str | None = DEFAULT_WEIGHTS,
    default: str = f'{DEFAULT_WEIGHTS}, which is in the package',
) -> None:
    """Add the options by which a blur field is estimated.

    Args:
        parser: parser of the command.
        weights: default of --weights.
        default: words for that default in the help.
    """
    parser.add_argument(
        '--weights',
        metavar='W',
        default=weights,
        help=WEIGHTS_HELP.format(default),
    )
    parser.add_argument(
        '--estimate-at',
        choices=SIZES,
        help='size of the photo that the network sees; at half size, its kernels reach twice as far; auto: half where '
        'the blur is larger than the kernels (default: auto)',
    )
    parser.add_argument(
        '--estimator',
        choices=ESTIMATORS,
        help='how the blur is found. network: by a network; shake: by a search over the whole photo for one shake of '
        'the camera, which starts from the network; rotations: as a camera that turned about three axes, which '
        'starts from the search; auto: for each photo what explains it, one of these, a camera that rolled, or a '
        'search in windows where objects move on their own; none: not at all (default: auto with the shipped network, '
        'network with another or with --estimate-at)',
    )
    parser.add_argument(
        '--focal-length',
        metavar='MM',
        type=focal_length,
        help='focal length, converted to film of 36 x 24 mm, for --estimator auto and rotations (default: that of the '
        'EXIF of the photo; else 28 for rotations, and none for auto)',
    )
    parser.add_argument(
        '--gamma',
        metavar='G',
        type=gamma,
        help='light = photo ** G; 1 for photos in linear light (default: what the photo says, such as by the gAMA of a '
        'PNG; else 2.2)',
    )
    parser.add_argument('--device', metavar='D', help=DEVICE_HELP)


def gamma(text: str) -> float:
    """Read a gamma of the command line."""
    return _number(text, LEAST_GAMMA, MOST_GAMMA)


def focal_length(text: str) -> float:
    """Read a focal length of the command line, mm."""
    return _number(text, LEAST_FOCAL, MOST_FOCAL)


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f'{text[:40]!r} is no number from {least} to {most}')
    return number


def deblurrer(args: argparse.Namespace, kernels: Path | None = None, **settings: Any) -> Deblurrer:
    """Return the deblurrer that the options ask for, on the device of the arguments.

    Args:
        args: values of the options that `add_arguments` adds.
        kernels: file of a saved field, which is removed from every photo in place of an estimate.
        settings: further arguments of `Deblurrer.pretrained`.

    Raises:
        InputError: the weights or the field cannot be used, or there is no such device.
        OSError: a file does not exist or cannot be read.
    """
    if args.focal_length is not None and (kernels is not None or args.estimator not in (None, *WITH_LENS)):
        raise InputError(f'--focal-length means nothing without --estimator {" or ".join(WITH_LENS)}; leave it out.')
    device = _device(args.device)
    from basis_blur.deblurring.deblurrer import Deblurrer

    return Deblurrer.pretrained(
        None if kernels is not None else args.weights,
        kernels=kernels,
        estimate_at=args.estimate_at or SIZES[0],
        estimator=args.estimator,
        focal_length=args.focal_length,
        device=device,
        gamma=args.gamma,
        **settings,
    )


@contextmanager
def bar(name: str, expected: Mapping[str, float]) -> Iterator[Callable[[str, int, int], None]]:
    """Show the progress of the work on a photo and the time left; yield the function that reports progress.

    Nothing is shown where the standard error is no terminal.

    Args:
        name: name of the photo.
        expected: seconds of each stage; see `basis_blur.deblurring.pace`.
    """
    from tqdm import tqdm

    from basis_blur.deblurring.pace import Pace

    pace, over = Pace(expected), threading.Event()
    shown = tqdm(total=1.0, unit='', leave=False, disable=None, bar_format='{desc} {percentage:3.0f}% |{bar}| {unit}')

    def draw() -> None:
        shown.n = max(shown.n, pace.share)
        shown.set_description_str(f'{printable(name)}: {pace.stage}', refresh=False)
        shown.unit = f'about {in_words(pace.seconds_left)} left'
        shown.refresh()

    def draw_often() -> None:
        while not over.wait(SECONDS_OF_BAR):
            draw()

    thread = threading.Thread(target=draw_often, daemon=True)
    if not shown.disable:
        draw()
        thread.start()
    try:
        yield pace.tell
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
        shown.close()


def in_words(seconds: float) -> str:
    """Return a time as a person says it: 8 s, 2 min, 1 h 5 min."""
    whole = max(1, round(seconds))
    if whole < 100:
        return f'{whole} s'
    minutes = round(whole / 60)
    return f'{minutes} min' if minutes < 60 else f'{minutes // 60} h {minutes % 60} min'


def tell_doubts(path: Path, doubts: Iterable[object]) -> None:
    """Warn of every reason not to trust the result for a photo; see `plain_warnings`.

    Args:
        path: name of the photo.
        doubts: `doubts` of an `Estimate` or a `Deblurred`.
    """
    for doubt in doubts:
        warnings.warn(f'{path}: {doubt}', stacklevel=2)


def network_deblurrer(args: argparse.Namespace, **settings: Any) -> NetworkDeblurrer:
    """Return the restoring network that the options ask for, on the device of the arguments.

    Args:
        args: values of the options that `add_arguments` adds.
        settings: further arguments of `NetworkDeblurrer.pretrained`.

    Raises:
        InputError: the weights cannot be used, or there is no such device.
        OSError: the file does not exist or cannot be read.
    """
    device = _device(args.device)
    from basis_blur.deblurring.network_deblurrer import NetworkDeblurrer

    return NetworkDeblurrer.pretrained(args.weights, device=device, gamma=args.gamma, **settings)


def _device(name: str | None) -> str:
    load_torch()
    import torch

    if name is None:
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        torch.empty(1, device=name).item()  # 'meta' has no numbers
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f'--device {name} is not available ({first_line}); "cpu" always is.') from error
    return name


@contextmanager
def plain_warnings(command: str) -> Iterator[None]:
    """Print warnings as one line on the standard error, above a progress bar, without the line of code of each."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        from tqdm import tqdm

        tqdm.write(f'basis-blur {command}: warning: {printable(message)}', file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter('default', UserWarning)
        warnings.showwarning = show
        yield
