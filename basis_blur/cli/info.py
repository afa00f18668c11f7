"""basis-blur info: print the hyper-parameters of a network, its parameters, and the multiply-adds for a photo."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import re
from typing import Any

from basis_blur.foundation.errors import InputError

DESCRIPTION = """Print the hyper-parameters, the parameters and the FLOPs of a network.

NETWORK is a name, such as UFPNet, or a file of weights. FLOPs are multiply-adds of convolutions, matrices and
normalisations for one photo, counted by mmengine (pip install basis_blur[mmengine]) while the network computes one,
which takes seconds to a minute; without mmengine only parameters are told. Activations and sums are not counted; they
take little time beside the others."""

MOST_PIXELS = 2**24  # largest size of a photo, pixels; a larger one would take all memory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('network', metavar='NETWORK', help='name of a network, or a file of weights')
    parser.add_argument(
        '--size',
        metavar='WxH',
        default='256x256',
        help='size of the photo, pixels (default: %(default)s, as in papers)',
    )
    parser.add_argument(
        '--set',
        metavar='KEY=VALUE',
        action='append',
        default=[],
        help='a hyper-parameter, such as width=32; may be given several times',
    )


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        InputError: there is no such network, or a hyper-parameter or the size is not usable.
        OSError: the file of weights cannot be read.
    """
    from basis_blur.weights.checkpoints import untrained

    size = size_of(args.size)
    net = untrained(args.network, _settings(args.set), '--set').eval()
    print(type(net).__name__)
    for key, value in net.hyper_parameters.items():
        print(f'  {key:<16} {value}')
    learning = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in net.parameters())
    frozen = f', {(total - learning) / 1e6:.3f} M of them frozen' if learning < total else ''
    print(f'parameters         {total / 1e6:.3f} M{frozen}')
    if importlib.util.find_spec('mmengine') is None:
        print('FLOPs              not counted: mmengine is not installed; "pip install basis_blur[mmengine]" brings it')
        return 0
    of = 'one kernel' if net.facts.takes == 'code' else f'a photo of {size[1]}x{size[0]}'
    count = flops(net, size)
    amount = f'{count / 1e9:.4g} G' if count >= 1e8 else f'{count / 1e6:.4g} M'
    print(f'FLOPs              {amount} multiply-adds for {of}')
    return 0


def flops(net: Any, size: tuple[int, int]) -> float:
    """Return the multiply-adds of a network, by mmengine.

    Args:
        net: network on the CPU; it computes a photo of noise.
        size: (H, W) of the photo; a KernelFlow takes one kernel instead.
    """
    import logging

    import torch

    from basis_blur.bridges.mmengine import get_model_complexity_info

    channels = net.facts.channels[0]
    shape = (1, channels) if net.facts.takes == 'code' else (1, channels, *size)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # mmengine warns of every operation that it does not count
    try:
        found = get_model_complexity_info(net, inputs=(torch.rand(shape),), show_table=False, show_arch=False)
    finally:
        logging.disable(level)
    return float(found['flops'])


def size_of(text: str) -> tuple[int, int]:
    """Read a --size, WxH; return (H, W).

    Raises:
        InputError: the text is no size.
    """
    match = re.fullmatch(r'(\d+)x(\d+)', text)
    if match is None or len(text) > 20 or not 1 <= math.prod(map(int, match.groups())) <= MOST_PIXELS:
        raise InputError(
            f'--size is "{text}", expected WIDTHxHEIGHT in pixels, such as 256x256, of '
            f'at most {MOST_PIXELS / 1e6:.0f} million.'
        )
    return int(match[2]), int(match[1])


def _settings(texts: list[str]) -> dict[str, Any]:
    settings = {}
    for text in texts:
        key, separator, value = text.partition('=')
        if not separator:
            raise InputError(f'--set is "{text}", expected KEY=VALUE, such as width=32.')
        try:
            settings[key] = json.loads(value)
        except (json.JSONDecodeError, RecursionError):
            settings[key] = value
    return settings
