"""Measure how far exported networks are from the networks, for docs/export.md.

Untrained networks of light sizes and the shipped ones, random input; prints a table in Markdown: the largest absolute
difference over all outputs and sizes, for torch.export's own module and for onnxruntime.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from basis_blur import BasisKPN, KernelFlow, UFPNet, export_onnx, export_program, load_network
from basis_blur.archs.network_facts import CODE

FIXED = (48, 75)
WINDOWS = (240, 320)  # (H, W) of a photo, of which networks that see windows cut several
SIZES = ((2, 50, 70), (1, 64, 96), (1, 33, 31), (3, 7, 41), (1, 1, 40), (17, 2, 3))  # N, H, W


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.manual_seed(0)
    print('| network | size | torch.export | onnxruntime |')
    print('|---|---|---|---|')
    for light, net, sizes in networks():
        for size in sizes:
            of_program, of_onnx = differences(net.eval(), size)
            name = f'{type(net).__name__} ({light})'
            print(f'| {name} | {"open" if size is None else "fixed"} | {of_program:.1e} | {of_onnx:.1e} |', flush=True)


def networks() -> list[tuple[str, nn.Module, tuple[tuple[int, int] | None, ...]]]:
    """Return what is said of each network, the network, with attention and blocks not idle, and the sizes to try."""
    ufpnet = UFPNet(width=8, estimator_width=8, enc_blocks=(1, 1, 1, 2))
    for name, parameter in ufpnet.named_parameters():
        if name.endswith(('beta', 'gamma')) and 'flow' not in name:
            nn.init.normal_(parameter)
    any_size = (FIXED, None)
    return [
        ('num_feat 8', BasisKPN(num_feat=8), any_size),
        ('shipped, 320x240', load_network('correlation_kpn'), (WINDOWS,)),
        ('width 8, estimator_width 8, enc_blocks 1, 1, 1, 2, kernel_size 19', ufpnet, any_size),
        ('shipped, 320x240', load_network('ufpnet'), (WINDOWS,)),
        ('shipped', load_network('iterate_fusion'), any_size),
        ('kernel_size 19', KernelFlow(), any_size),
    ]


@torch.no_grad()
def differences(net: nn.Module, size: tuple[int, int] | None) -> tuple[float, float]:
    """Return the largest differences of the program and of the ONNX file to the network."""
    program = export_program(net, size).module()
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(net, Path(folder) / 'net.onnx', size)
        session = onnxruntime.InferenceSession(Path(folder) / 'net.onnx', providers=['CPUExecutionProvider'])
    worst, channels = [0.0, 0.0], net.facts.channels[0]
    for count, height, width in SIZES if size is None else ((1, *size),):
        x = torch.rand(count, channels, height, width)
        if net.facts.takes == CODE:
            x = torch.randn(count * height * width, channels)
        expected = net.plain(x)
        outputs = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        for index, found in enumerate((program(x), map(torch.from_numpy, outputs))):
            pairs = zip(as_tuple(expected), as_tuple(found), strict=True)
            worst[index] = max(worst[index], *((ours - theirs).abs().max().item() for ours, theirs in pairs))
    return worst[0], worst[1]


def as_tuple(values) -> tuple[torch.Tensor, ...]:
    """Return one tensor, or several, as a tuple."""
    return (values,) if isinstance(values, torch.Tensor) else tuple(values)


if __name__ == '__main__':
    main()
