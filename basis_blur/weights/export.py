"""Networks for other programs: `torch.export` programs and ONNX files, of one size or of any.

    export_program(net, size)        a torch.export.ExportedProgram; its module() computes what the network does
    export_onnx(net, path, size)     an ONNX file for onnxruntime and others, with its own description

    network      input                          outputs
    BasisKPN     light (N, C, H, W), linear     kernels (N, B, K, K), mixing (N, B, H, W)
    CorrelationKPN    the same, with a size only: it cuts the photo into windows by its size
    UFPNet       photo (N, C, H, W), sRGB       image (N, C, H, W), pixel_kernels (N, K*K, H, W), sigma (N, 1, H, W)
    IterateFusion     stack (N, 3 (1 + n), H, W), sRGB: a photo and n iterates of its restoration
                                                image (N, 3, H, W)
    KernelFlow   code (M, K*K)                  kernels (M, K, K): `decode`, from codes to kernels

All tensors are float32. Without `size`, the number of photos, H and W, or the number of codes of a flow, are left open;
with `size` they are fixed, with one photo, for runtimes that need that. A program of one size raises an error for
another, and so does onnxruntime for a file of one size.

Limits. A UFPNet with the estimator "correlation" is exported with a size only, as a CorrelationKPN; so is one whose
restorer is MIMO-UNet or MPRNet: their resampling by factors makes torch.export ask whether 2 * ((H + 3) // 4) ==
trunc(0.5 * (4 * ((H + 3) // 4))), which it cannot prove ("Constraints violated (height, width)"). The program of a
UFPNet for any size refuses a photo of one single pixel; the ONNX file does not. A network with `gray_stem` is exported
for colour. An exported UFPNet decodes the kernels of all pixels at once, where the network itself does it in chunks, as
the number of chunks would be fixed by the export; so it needs more memory.

Convention: kernels are convolution kernels, as everywhere here.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from basis_blur.archs import ARCHS, names_of
from basis_blur.archs.modes import evaluation_mode
from basis_blur.archs.network_facts import CODE, LIGHT, NetworkFacts, facts_of, hyper_parameters_of
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import atomic_path
from basis_blur.foundation.numbers import GAMMA

if TYPE_CHECKING:
    from torch.export import ExportedProgram

OPSET = 18  # version of the operators of ONNX; every operation is in it, and runtimes since 2023 read it
LINEAR = 'linear light'  # colour space that is written into files for networks that take light
EXAMPLE = (2, 50, 70)  # N, H, W of the example that is traced where the size is left open


def export_program(net: nn.Module, size: tuple[int, int] | None = None) -> ExportedProgram:
    """Return the network, in evaluation mode, as a program of `torch.export`.

    The network itself is afterwards in the mode it was in before. The program shares its weights.

    Args:
        net: a BasisKPN, CorrelationKPN, UFPNet, IterateFusion or KernelFlow, in float32.
        size: (H, W) of the one photo that the program takes; for a flow it takes H W codes. None leaves the number of
            photos, H and W open.

    Raises:
        InputError: the network is another, or can be exported with a size only.
        ValueError: it is not in float32, or the size is not positive.

    Example:
        >>> program = bb.export_program(bb.KernelFlow(kernel_size=5).eval(), size=(2, 3))
        >>> program.module()(torch.zeros(6, 25)).shape
        torch.Size([6, 5, 5])
    """
    example, dynamic_shapes = _example(net, _facts_for_export(net), size)
    with evaluation_mode(net), torch.no_grad(), _layouts_left_open():
        return torch.export.export(_Plain(net), (example,), dynamic_shapes=dynamic_shapes, strict=False)


def export_onnx(
    net: nn.Module, path: str | os.PathLike[str], size: tuple[int, int] | None = None, gamma: float | None = None
) -> None:
    """Write the network, in evaluation mode, to an ONNX file, whole or not at all.

    The file's `metadata_props` are 'arch', 'hyper_parameters' (JSON), 'tensors' (JSON: the meaning of inputs and
    outputs by name) and, for a network that sees photos, 'colour_space' and 'gamma' of its input, which is photo **
    gamma of a photo that is sRGB-like in [0, 1].

    Args:
        net: network, see `export_program`.
        path: file to write; the folder is made if it is missing.
        size: size of the photo, see `export_program`.
        gamma: exponent of the photos that a network sees in linear light, light = photo ** gamma; 1 where it sees
            linear photos. By default it is 2.2. Other networks take none.

    Raises:
        InputError: the network cannot be exported, gamma is given for one that does not see light, or onnx and
            onnxscript are not installed.
        ValueError: see `export_program`; or gamma is not positive.
        OSError: the file cannot be written; `path` is then as it was.

    Example:
        >>> bb.export_onnx(bb.load_network('iterate_fusion'), 'fusion.onnx')  # doctest: +SKIP
    """
    description = _description(net, gamma)
    missing = [name for name in ('onnx', 'onnxscript') if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f'{" and ".join(missing)} is not installed; "pip install basis_blur[onnx]" brings what it takes.'
        )
    facts = _facts_for_export(net)
    source, *results = facts.tensors
    program = export_program(net, size)
    with warnings.catch_warnings():
        # Warnings of torch about itself, for deprecated names that its own exporter uses.
        warnings.simplefilter('ignore', FutureWarning)
        warnings.simplefilter('ignore', DeprecationWarning)
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[source],
            output_names=results,
            dynamic_shapes=None if size is not None else (_open_dims(facts),),
            opset_version=OPSET,
            verbose=False,
        )
    model = exported.model_proto  # type: ignore[union-attr]  # None would be without `dynamo`
    model.doc_string = f'{type(net).__name__} of basis_blur'
    for key, value in description.items():
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString()
    with atomic_path(path) as partial, open(partial, 'wb') as file:
        file.write(content)


def save_program(
    net: nn.Module, path: str | os.PathLike[str], size: tuple[int, int] | None = None, gamma: float | None = None
) -> None:
    """Write the program of `export_program` to a file for `torch.export.load`, whole or not at all.

    Args:
        net: network, see `export_program`.
        path: file to write, its name ends with .pt2; the folder is made if it is missing.
        size: size of the photo, see `export_program`.
        gamma: exponent of the photos, see `export_onnx`, whose metadata are in the file as 'description.json'.

    Raises:
        InputError: the network cannot be exported, or gamma is given for one that does not see light.
        ValueError: see `export_onnx`.
        OSError: the file cannot be written; `path` is then as it was.
    """
    description = _description(net, gamma)
    content = io.BytesIO()
    torch.export.save(export_program(net, size), content, extra_files={'description.json': json.dumps(description)})
    with atomic_path(path) as partial, open(partial, 'wb') as file:
        file.write(content.getbuffer())


class _Plain(nn.Module):
    """A network whose forward returns plain tensors."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net: Any = net

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.net.plain(x)


def _facts_for_export(net: nn.Module) -> NetworkFacts:
    facts = facts_of(net)
    if not facts.tensors:
        known = ', '.join(name for name, arch in ARCHS.items() if arch.FACTS.tensors)
        raise InputError(f'the network is a {type(net).__name__}, expected one that can be exported: {known}.')
    dtypes = {each.dtype for each in net.parameters()}
    if dtypes != {torch.float32}:
        raise ValueError(f'the network is in {", ".join(map(str, dtypes))}, expected torch.float32; call net.float().')
    return facts


def _example(
    net: nn.Module, facts: NetworkFacts, size: tuple[int, int] | None
) -> tuple[Tensor, tuple[Any, ...] | None]:
    if size is not None and not (len(size) == 2 and min(size) >= 1):
        raise ValueError(f'size is {size}, expected (H, W) of at least one pixel, or None for any.')
    if size is None and facts.one_size:
        comma = ',' if facts.one_size.startswith('which') else ''
        raise InputError(f'the network is a {type(net).__name__}{comma} {facts.one_size}.')
    count, height, width = EXAMPLE if size is None else (1, *size)
    channels = facts.channels[0]
    shape = (height * width, channels) if facts.takes == CODE else (count, channels, height, width)
    first = next(net.parameters())
    open_dims = None if size is not None else (_open_dims(facts),)
    return torch.zeros(shape, dtype=first.dtype, device=first.device), open_dims


def _open_dims(facts: NetworkFacts) -> dict[int, torch.export.Dim]:
    names = {0: 'codes'} if facts.takes == CODE else {0: 'batch', 2: 'height', 3: 'width'}
    return {dim: torch.export.Dim(name, min=1) for dim, name in names.items()}


def _description(net: nn.Module, gamma: float | None) -> dict[str, str]:
    facts = _facts_for_export(net)
    if gamma is not None and facts.takes != LIGHT:
        known = ' and '.join(names_of(takes=LIGHT))
        raise InputError(f'gamma is of use to {known}, and a {type(net).__name__} sees no light; leave it out.')
    gamma = GAMMA if gamma is None else gamma
    if not gamma > 0:
        raise ValueError(f'gamma is {gamma}, expected > 0; the default is {GAMMA}.')
    told = {
        'arch': type(net).__name__,
        'hyper_parameters': json.dumps(hyper_parameters_of(net)),
        'tensors': json.dumps(dict(facts.tensors)),
    }
    if facts.takes != CODE:
        told['colour_space'] = LINEAR if facts.takes == LIGHT else 'sRGB'
        told['gamma'] = f'{gamma if facts.takes == LIGHT else 1:g}'
    return told


@contextmanager
def _layouts_left_open() -> Iterator[None]:
    # Else torch.export notes where a side of a deep feature map is one pixel, for which the order in memory is no
    # fact, and would refuse photos smaller than 33 pixels. Its documentation names this switch for such cases.
    from torch.fx.experimental import _config

    with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        yield
