"""What `deblur` and `kernels` share: the options of the estimate, and the network or the saved field it comes from."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from basis_blur.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from basis_blur.field import BlurField
    from basis_blur.image_io import Photo

DEFAULT_WEIGHTS = 'basis_kpn'
LEAST_GAMMA, MOST_GAMMA = 0.1, 10  # beyond, light is all black or all white
HOW_TO_TRAIN = (
    'this version ships no weights. "make demo" trains a small network in minutes, '
    '"basis-blur train options/train_basis.yml" a full one; give its file by --weights.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options by which a blur field is estimated."""
    parser.add_argument(
        '--weights',
        metavar='W',
        default=DEFAULT_WEIGHTS,
        help=f'network: a .safetensors or .pth file, or a name (default: {DEFAULT_WEIGHTS})',
    )
    parser.add_argument(
        '--gamma',
        metavar='G',
        type=gamma,
        default=2.2,
        help='light = photo ** G; 1 for photos in linear light (default: 2.2)',
    )
    parser.add_argument(
        '--device', metavar='D', help='where to compute: cpu, cuda, cuda:1 (default: cuda if there is one, else cpu)'
    )


def gamma(text: str) -> float:
    """Read a gamma of the command line: a number of a size that photos have."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not LEAST_GAMMA <= number <= MOST_GAMMA:
        raise argparse.ArgumentTypeError(f'{text[:40]!r} is no number from {LEAST_GAMMA} to {MOST_GAMMA}')
    return number


def estimator(args: argparse.Namespace, kernels: Path | None = None) -> Callable[[Path, Photo], BlurField]:
    """Return a function from a photo and its name to its blur field, on the device of the arguments.

    Args:
        args: the options that `add_arguments` adds.
        kernels: a saved field, to be returned for every photo in place of an estimate.

    Raises:
        InputError: the weights or the field cannot be used, or there is no such device.
        OSError: a file does not exist or cannot be read.
    """
    device = _device(args.device)
    if kernels is not None:
        return _saved_field(kernels, device)
    from basis_blur.pipeline import estimate_blur
    from basis_blur.weights import NAMES, load_network

    if args.weights == DEFAULT_WEIGHTS and DEFAULT_WEIGHTS not in NAMES and not Path(DEFAULT_WEIGHTS).exists():
        raise InputError(f'there are no weights named "{DEFAULT_WEIGHTS}": {HOW_TO_TRAIN}')
    net = load_network(args.weights, device=device, expect='BasisKPN')

    def estimate(path: Path, photo: Photo) -> BlurField:
        try:
            return estimate_blur(net, photo.pixels.to(device), args.gamma)
        except InputError as error:
            raise InputError(f'{path}: {error}') from error

    return estimate


def network(args: argparse.Namespace, arch: str) -> nn.Module:
    """Return the network of --weights, which must be of one architecture, on the device of the arguments.

    Raises:
        InputError: the weights cannot be used, or there is no such device.
        OSError: the file does not exist or cannot be read.
    """
    from basis_blur.weights import load_network

    return load_network(args.weights, device=_device(args.device), expect=arch)


def _saved_field(kernels: Path, device: str) -> Callable[[Path, Photo], BlurField]:
    from basis_blur.field import BlurField

    field = BlurField.load(kernels)
    if len(field) != 1:
        raise InputError(f'{kernels} holds the fields of {len(field)} photos, expected one; save them one by one.')
    field = field.to(device)

    def look_up(path: Path, photo: Photo) -> BlurField:
        height, width = photo.pixels.shape[-2:]
        if field.image_size != (height, width):
            raise InputError(
                f'{path} has {width}x{height} pixels and the field in {kernels} '
                f'{field.image_size[1]}x{field.image_size[0]} (width x height); give the field of this photo.'
            )
        return field.to(photo.pixels.dtype)

    return look_up


def _device(name: str | None) -> str:
    import torch

    if name is None:
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        torch.empty(1, device=name).item()  # 'meta' has no numbers
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f'--device {name} is not here ({first_line}); "cpu" always is.') from error
    return name


@contextmanager
def plain_warnings(command: str) -> Iterator[None]:
    """Print warnings as one line on the standard error, without the line of code that gave them."""

    def show(message, *_, **__):
        print(f'basis-blur {command}: warning: {message}', file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter('default', UserWarning)
        warnings.showwarning = show
        yield
