"""What `deblur` and `kernels` share: the options of the estimate, and the network or the saved field it comes from."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from basis_blur.foundation.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from basis_blur.estimation.trust import Doubt
    from basis_blur.field.blur_field import BlurField
    from basis_blur.photos.image_io import Photo

DEFAULT_WEIGHTS = 'basis_kpn'
LEAST_GAMMA, MOST_GAMMA = 0.1, 10  # beyond, light is all black or all white
SIZES = ('auto', 'full', 'half')


def add_arguments(
    parser: argparse.ArgumentParser,
    weights: str | None = DEFAULT_WEIGHTS,
    default: str = f'{DEFAULT_WEIGHTS}, which is in the package',
) -> None:
    """Add the options by which a blur field is estimated.

    Args:
        parser: of the command.
        weights: the default of --weights.
        default: what the help says of it.
    """
    parser.add_argument(
        '--weights',
        metavar='W',
        default=weights,
        help=f'network: a .safetensors or .pth file, or a name (default: {default})',
    )
    parser.add_argument(
        '--estimate-at',
        choices=SIZES,
        help='estimate the blur at full size, or at half size with kernels twice as large; auto: at half size where '
        'the blur is larger than the kernels (default: auto)',
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

    It says where it estimates at half size by itself, and why an estimate is not to be trusted.

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
    from basis_blur.estimation.trust import doubts_of_estimate
    from basis_blur.objectives.restoration_objective import FIELD_NETWORKS
    from basis_blur.weights.checkpoints import load_network

    net = load_network(args.weights, device=device, expect=FIELD_NETWORKS)

    def estimate(path: Path, photo: Photo) -> BlurField:
        pixels = photo.pixels.to(device)
        try:
            field = _estimate(net, path, pixels, args)
        except InputError as error:
            raise InputError(f'{path}: {error}') from error
        tell_doubts(path, doubts_of_estimate(pixels, field))
        return field

    return estimate


def _estimate(net: nn.Module, path: Path, pixels: Tensor, args: argparse.Namespace) -> BlurField:
    from tqdm import tqdm

    from basis_blur.estimation.by_network import estimate_blur, estimate_blur_at_half_size
    from basis_blur.estimation.trust import estimate_blur_at_best_size

    if args.estimate_at == 'full':
        return estimate_blur(net, pixels, args.gamma)
    if args.estimate_at == 'half':
        return estimate_blur_at_half_size(net, pixels, args.gamma)
    field, at_half_size = estimate_blur_at_best_size(net, pixels, args.gamma)
    if at_half_size:
        before, after = field.kernel_size // 2 + 1, field.kernel_size
        tqdm.write(
            f'{path}: the blur is larger than {before}x{before} pixels; it was estimated at half size, with kernels of '
            f'{after}x{after}.'
        )
    return field


def tell_doubts(path: Path, doubts: Iterable[Doubt]) -> None:
    """Warn of every reason not to trust what was made of a photo; see `plain_warnings`."""
    for doubt in doubts:
        warnings.warn(f'{path}: {doubt}', stacklevel=2)


def network(args: argparse.Namespace, arch: str, weights: str | None = None) -> nn.Module:
    """Return a network of one architecture on the device of the arguments.

    Args:
        args: the options that `add_arguments` adds.
        arch: name of the architecture.
        weights: file or name; by default that of --weights.

    Raises:
        InputError: the weights cannot be used, or there is no such device.
        OSError: the file does not exist or cannot be read.
    """
    from basis_blur.weights.checkpoints import load_network

    return load_network(args.weights if weights is None else weights, device=_device(args.device), expect=arch)


def _saved_field(kernels: Path, device: str) -> Callable[[Path, Photo], BlurField]:
    from basis_blur.field.blur_field import BlurField

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
    """Print warnings as one line on the standard error, above a progress bar, without the line of code of each."""

    def show(message, *_, **__):
        from tqdm import tqdm

        tqdm.write(f'basis-blur {command}: warning: {message}', file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter('default', UserWarning)
        warnings.showwarning = show
        yield
