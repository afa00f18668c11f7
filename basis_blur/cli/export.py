"""basis-blur export: write a network as a file for other programs."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from basis_blur.cli.info import size_of
from basis_blur.cli.plan import check_writable
from basis_blur.foundation.errors import InputError

DESCRIPTION = """Write a network as an ONNX file, or as a program of torch.export.

Exported are: BasisKPN and CorrelationKPN, linear light -> kernels and mixing; UFPNet, photo -> image, pixel_kernels
and sigma; IterateFusion, photo and iterates -> image; KernelFlow, code -> kernels. Without --size the file takes any
number of photos of any size; networks that see windows, such as the shipped ones ("correlation_kpn", "ufpnet"), need
it. What a tensor is, and the colour space and gamma of the input, is in the file's metadata. docs/export.md has an
example."""

SUFFIXES = {'onnx': '.onnx', 'pt2': '.pt2'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('weights', metavar='WEIGHTS', help='network: a .safetensors or .pth file, or a name')
    parser.add_argument('-o', '--output', metavar='OUT', type=Path, required=True, help='file to write')
    parser.add_argument(
        '--size', metavar='WxH', help='size of the one photo that it takes, pixels (default: any size and number)'
    )
    parser.add_argument('--format', choices=SUFFIXES, default='onnx', help='format of the file (default: %(default)s)')
    parser.add_argument(
        '--gamma',
        metavar='G',
        type=float,
        help='gamma that the file of a network for light = photo ** G states; 1 for photos in light (default: 2.2)',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace a file that is already there')


def run(args: argparse.Namespace) -> int:
    """Run the command and print what was written.

    Raises:
        InputError: the weights cannot be used or exported, or the output has a wrong suffix or exists.
        OSError: a file does not exist, cannot be read, or cannot be written.
    """
    suffix = SUFFIXES[args.format]
    if args.output.suffix != suffix:
        raise InputError(
            f'{args.output} ends in "{args.output.suffix}", expected "{suffix}" for --format {args.format}; '
            'name the output so.'
        )
    if args.output.exists() and not args.overwrite:
        raise InputError(f'{args.output} exists; give another name, or --overwrite to replace it.')
    if args.gamma is not None and not 0 < args.gamma < math.inf:
        raise InputError(f'--gamma is {args.gamma}, expected a number > 0, such as 2.2.')
    check_writable(args.output)
    size = None if args.size is None else size_of(args.size)

    from basis_blur.weights.checkpoints import load_network
    from basis_blur.weights.export import export_onnx, save_program

    net = load_network(args.weights)
    write = {'onnx': export_onnx, 'pt2': save_program}[args.format]
    write(net, args.output, size, args.gamma)
    takes = 'any size' if size is None else f'{size[1]}x{size[0]}'
    print(f'{args.output}: {type(net).__name__}, {takes}, {args.output.stat().st_size / 2**20:.1f} MB')
    return 0
