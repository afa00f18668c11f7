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

All tensors are float32. Without `size` the number of photos, H and W (for a flow: the number of codes) are left open;
with it they are fixed, with one photo, for runtimes that want that. A program refuses another size than its own with
an error; so does onnxruntime for a file of one size.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from basis_blur.archs import BasisKPN, CorrelationKPN, IterateFusion, KernelFlow, UFPNet
from basis_blur.archs.modes import evaluation_mode
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import atomic_path

if TYPE_CHECKING:
    from torch.export import ExportedProgram

OPSET = 18  # of ONNX; every operation is in it, and runtimes since 2023 read it
GAMMA = 2.2
LINEAR = 'linear light'
EXAMPLE = (2, 50, 70)  # N, H, W that are traced where the size is left open


def export_program(net: nn.Module, size: tuple[int, int] | None = None) -> ExportedProgram:
    """Return the network, in evaluation mode, as a program of `torch.export`.

    The network itself is afterwards in its mode of before. The program shares its weights.

    Args:
        net: a BasisKPN, CorrelationKPN, UFPNet, IterateFusion or KernelFlow, in float32.
        size: (H, W) of the one photo that the program takes; for a flow it takes H W codes. None leaves the number of
            photos, H and W open.

    Raises:
        InputError: the network is another, or can be exported with a size only.
        ValueError: it is not in float32, or the size is not positive.
    """
    task = _task_of(net)
    example, dynamic_shapes = _example(net, task, size)
    with evaluation_mode(net), torch.no_grad(), _layouts_left_open():
        return torch.export.export(task.module(net), (example,), dynamic_shapes=dynamic_shapes, strict=False)


def export_onnx(
    net: nn.Module, path: str | os.PathLike, size: tuple[int, int] | None = None, gamma: float = GAMMA
) -> None:
    """Write the network, in evaluation mode, to an ONNX file, whole or not at all.

    The file's `metadata_props` tell 'arch', 'hyper_parameters' (JSON), 'tensors' (JSON: the meaning of inputs and
    outputs by name) and, for a network that sees photos, 'colour_space' of its input and 'gamma': the input is
    photo ** gamma, of a photo that is sRGB-like in [0, 1].

    Args:
        net: as in `export_program`.
        path: file to write; the folder is made if it is missing.
        size: as in `export_program`.
        gamma: of the photos that a network sees in linear light, light = photo ** gamma; 1 where it sees linear photos.

    Raises:
        InputError: the network cannot be exported, or onnx and onnxscript are not installed.
        ValueError: as in `export_program`; or gamma is not positive.
        OSError: the file cannot be written; `path` is then as it was.
    """
    if not gamma > 0:
        raise ValueError(f'gamma is {gamma}, expected > 0; the default is {GAMMA}.')
    missing = [name for name in ('onnx', 'onnxscript') if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f'{" and ".join(missing)} is not installed; "pip install basis_blur[onnx]" brings what it takes.'
        )
    task = _task_of(net)
    program = export_program(net, size)
    with warnings.catch_warnings():
        # Of torch about itself: deprecated names that its own exporter uses.
        warnings.simplefilter('ignore', FutureWarning)
        warnings.simplefilter('ignore', DeprecationWarning)
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[task.input],
            output_names=task.outputs(net),
            dynamic_shapes=None if size is not None else (_open_dims(task),),
            opset_version=OPSET,
            verbose=False,
        )
    model = exported.model_proto
    model.doc_string = f'{type(net).__name__} of basis_blur'
    for key, value in _description(net, task, gamma).items():
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString()
    with atomic_path(path) as partial, open(partial, 'wb') as file:
        file.write(content)


def save_program(
    net: nn.Module, path: str | os.PathLike, size: tuple[int, int] | None = None, gamma: float = GAMMA
) -> None:
    """Write the program of `export_program` to a file for `torch.export.load`, whole or not at all.

    Args:
        net: as in `export_program`.
        path: file to write, its name ends with .pt2; the folder is made if it is missing.
        size: as in `export_program`.
        gamma: as in `export_onnx`, whose metadata are in the file as 'description.json'.

    Raises:
        InputError: the network cannot be exported.
        ValueError: as in `export_onnx`.
        OSError: the file cannot be written; `path` is then as it was.
    """
    if not gamma > 0:
        raise ValueError(f'gamma is {gamma}, expected > 0; the default is {GAMMA}.')
    description = _description(net, _task_of(net), gamma)
    content = io.BytesIO()
    torch.export.save(export_program(net, size), content, extra_files={'description.json': json.dumps(description)})
    with atomic_path(path) as partial, open(partial, 'wb') as file:
        file.write(content.getbuffer())


class _Kernels(nn.Module):
    def __init__(self, net: BasisKPN):
        super().__init__()
        self.net = net

    def forward(self, light: Tensor) -> tuple[Tensor, Tensor]:
        return self.net.predict(light)


class _Field(nn.Module):
    def __init__(self, net: CorrelationKPN):
        super().__init__()
        self.net = net

    def forward(self, light: Tensor) -> tuple[Tensor, Tensor]:
        field = self.net(light)
        return field.kernels, field.mixing


class _Restoration(nn.Module):
    def __init__(self, net: UFPNet):
        super().__init__()
        self.net = net

    def forward(self, photo: Tensor) -> tuple[Tensor, ...]:
        return tuple(each for each in self.net(photo, chunk_pixels=None) if each is not None)


class _Fusion(nn.Module):
    def __init__(self, net: IterateFusion):
        super().__init__()
        self.net = net

    def forward(self, stack: Tensor) -> Tensor:
        return self.net(stack)


class _Decoding(nn.Module):
    def __init__(self, net: KernelFlow):
        super().__init__()
        self.net = net

    def forward(self, code: Tensor) -> Tensor:
        return self.net.decode(code)


@dataclass(frozen=True)
class _Task:
    """What is exported of an architecture.

    Args:
        module: its forward has the input and the outputs of the file.
        tensors: the input, then the outputs: what they are.
        colour_space: of the input; None where it is no photo.
    """

    module: type[nn.Module]
    tensors: dict[str, str]
    colour_space: str | None

    @property
    def input(self) -> str:
        return next(iter(self.tensors))

    def outputs(self, net: nn.Module) -> list[str]:
        names = list(self.tensors)[1:]
        return names[:1] if isinstance(net, UFPNet) and net.latent_kernels is None else names


_FIELD = {
    'light': '(N, C, H, W), linear light in [0, 1]: photo ** gamma',
    'kernels': '(N, B, K, K), basis convolution kernels (point spread functions), >= 0, each sums to 1',
    'mixing': '(N, B, H, W), >= 0, sums to 1 over B: the kernel of pixel i is sum_b mixing[b, i] kernels[b]',
}
_TASKS = {
    BasisKPN: _Task(_Kernels, _FIELD, LINEAR),
    CorrelationKPN: _Task(_Field, _FIELD, LINEAR),
    UFPNet: _Task(
        _Restoration,
        {
            'photo': '(N, C, H, W), sRGB-like in [0, 1]',
            'image': '(N, C, H, W), the restored photo, sRGB-like in [0, 1]',
            'pixel_kernels': '(N, K*K, H, W), the convolution kernel of every pixel, row by row, >= 0, sums to 1',
            'sigma': '(N, 1, H, W), in [0, 1], how unsure the kernels are',
        },
        'sRGB',
    ),
    IterateFusion: _Task(
        _Fusion,
        {
            'stack': '(N, 3 (1 + n), H, W), sRGB-like in [0, 1]: the photo, its iterates that hyper_parameters name',
            'image': '(N, 3, H, W), the restored photo, sRGB-like in [0, 1]',
        },
        'sRGB',
    ),
    KernelFlow: _Task(
        _Decoding,
        {
            'code': '(M, K*K), standard normal',
            'kernels': '(M, K, K), the kernels of the codes, >= 0, each sums to 1',
        },
        None,
    ),
}


def _task_of(net: nn.Module) -> _Task:
    task = next((task for kind, task in _TASKS.items() if isinstance(net, kind)), None)
    if task is None:
        known = ', '.join(kind.__name__ for kind in _TASKS)
        raise InputError(f'the network is a {type(net).__name__}, expected one that can be exported: {known}.')
    dtypes = {each.dtype for each in net.parameters()}
    if dtypes != {torch.float32}:
        raise ValueError(f'the network is in {", ".join(map(str, dtypes))}, expected torch.float32; call net.float().')
    return task


def _example(net: nn.Module, task: _Task, size: tuple[int, int] | None) -> tuple[Tensor, tuple | None]:
    if size is not None and not (len(size) == 2 and min(size) >= 1):
        raise ValueError(f'size is {size}, expected (H, W) of at least one pixel, or None for any.')
    if size is None and isinstance(net, CorrelationKPN):
        raise InputError(
            'the network is a CorrelationKPN, which can be exported for one size only, by which it cuts photos into '
            'windows; give a size.'
        )
    if size is None and net.hyper_parameters.get('estimator') == 'correlation':
        raise InputError(
            'the network is a UFPNet with the estimator "correlation", which can be exported for one size only, by '
            'which it cuts photos into windows; give a size.'
        )
    restorer = net.hyper_parameters.get('restorer', 'nafnet')
    if size is None and restorer != 'nafnet':
        raise InputError(
            f'the network is a UFPNet with the restorer {restorer}, which can be exported for one size only; give a '
            'size, or export a UFPNet with the restorer nafnet.'
        )
    count, height, width = EXAMPLE if size is None else (1, *size)
    if isinstance(net, KernelFlow):
        shape = (height * width, net.dims)
    else:
        channels = net.in_channels if isinstance(net, IterateFusion) else net.hyper_parameters.get('in_channels', 3)
        shape = (count, channels, height, width)
    first = next(net.parameters())
    return torch.zeros(shape, dtype=first.dtype, device=first.device), None if size is not None else (_open_dims(task),)


def _open_dims(task: _Task) -> dict[int, torch.export.Dim]:
    names = {0: 'codes'} if task.module is _Decoding else {0: 'batch', 2: 'height', 3: 'width'}
    return {dim: torch.export.Dim(name, min=1) for dim, name in names.items()}


def _description(net: nn.Module, task: _Task, gamma: float) -> dict[str, str]:
    kept = [task.input, *task.outputs(net)]
    facts = {
        'arch': type(net).__name__,
        'hyper_parameters': json.dumps(net.hyper_parameters),
        'tensors': json.dumps({name: task.tensors[name] for name in kept}),
    }
    if task.colour_space is not None:
        facts['colour_space'] = task.colour_space
        facts['gamma'] = f'{gamma if task.colour_space == LINEAR else 1:g}'
    return facts


@contextmanager
def _layouts_left_open() -> Iterator[None]:
    # Else torch.export notes where a side of a deep feature map is one pixel, for which the order in memory is no
    # fact, and would refuse photos smaller than 33 pixels. Its documentation names this switch for such cases.
    from torch.fx.experimental import _config

    with _config.patch(backed_size_oblivious=True):
        yield
