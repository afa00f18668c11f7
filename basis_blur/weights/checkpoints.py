"""Networks to and from files: safetensors with their hyper-parameters, and the layouts other programs write.

What `load_network` reads:

    .safetensors    written by `save_network`; metadata: 'arch', 'hyper_parameters' as JSON, and perhaps 'removal', how
                    the blurs that the network estimates are best removed, as `Removal.to_json` writes it
    .pth, .pt       - a checkpoint of BasicSR: 'params_ema' (preferred) or 'params', and 'hyper_parameters' if it was
                      trained with a model of this package; otherwise they are read off the shapes
                    - the published weights of [C21], a plain state dict, by the table `TWO_HEADS`
                    - the published weights of [F23], under 'params', and of NAFNet; their keys are ours
                    - the published kernel flow of [L21], under 'model_state'; its names are ours

A file is told by its first bytes, not by its name. Loading is strict: every key of the file is used exactly once and
has the shape the network expects. Pickled Python objects are never run.

Convention: the weights of [C21] predict correlation kernels, see `_turn_kernel_head`; once loaded, the network returns
    convolution kernels as every other.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import struct
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basis_blur.archs import ARCHS
from basis_blur.archs.network_facts import ESTIMATOR
from basis_blur.field.removal import TRUE_BLUR, Removal
from basis_blur.foundation.errors import InputError, did_you_mean
from basis_blur.foundation.files import atomic_path, check_is_file, parse_json
from basis_blur.foundation.options import options_of, read_options
from basis_blur.weights.fitting import give, listing, misfits

# A network that is larger than these is taken for a mistake or a trap: 16 GB of weights, minutes of building.
MOST_PARAMETERS = 4 * 10**9
MOST_BLOCKS = 1000

# Names that `load_network` takes instead of a file: name -> file in the package. Beside each is its model card.
TRAINED = Path(__file__).parent / 'trained'
NAMES: dict[str, Path] = {
    'correlation_kpn': TRAINED / 'correlation_kpn.safetensors',
    'iterate_fusion': TRAINED / 'iterate_fusion.safetensors',
    'kernel_flow': TRAINED / 'kernel_flow.safetensors',
    'latent_kernel_net': TRAINED / 'latent_kernel_net.safetensors',
    'ufpnet': TRAINED / 'ufpnet.safetensors',
}
OLD_NAMES = {'basis_kpn': 'correlation_kpn'}  # names of before, which are taken with a warning -> what they mean

# The published two-head weights [C21]: their key | ours, each followed by '.weight' and '.bias'. Their blocks count
# from 1, ours from 0.
TWO_HEADS = (
    ('inc_rgb.0',                      'stem.conv'),
    ('inc_gray.0',                     'gray_stem.conv'),
    ('down{block}.double_conv.0',      'encoder.{index}.0.conv'),
    ('down{block}.double_conv.2',      'encoder.{index}.1.conv'),
    ('feat.0',                         'bottleneck.conv'),
    ('up{block}.up',                   'mixing_head.ups.{index}.up'),
    ('up{block}.double_conv.0',        'mixing_head.ups.{index}.convs.0.conv'),
    ('up{block}.double_conv.2',        'mixing_head.ups.{index}.convs.1.conv'),
    ('up{block}.feat.0',               'mixing_head.ups.{index}.merge.conv'),
    ('masks_end.0',                    'mixing_head.tail.0.conv'),
    ('masks_end.2',                    'mixing_head.tail.1.conv'),
    ('masks_end.4',                    'mixing_head.tail.2'),
    ('kernel_up{block}.up',            'kernel_head.ups.{index}.up'),
    ('kernel_up{block}.double_conv.0', 'kernel_head.ups.{index}.convs.0.conv'),
    ('kernel_up{block}.double_conv.2', 'kernel_head.ups.{index}.convs.1.conv'),
    ('kernel_up{block}.feat.0',        'kernel_head.ups.{index}.merge.conv'),
    ('kernels_end.0',                  'kernel_head.tail.0.conv'),
    ('kernels_end.2',                  'kernel_head.tail.1.conv'),
    ('kernels_end.4',                  'kernel_head.tail.2'),
)  # fmt: skip


def save_network(
    net: nn.Module,
    path: str | os.PathLike,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    removal: Removal | None = None,
) -> None:
    """Write a network, weights and hyper-parameters, to a safetensors file, whole or not at all.

    Args:
        net: a network of this package; its class is in `ARCHS` and it tells its `hyper_parameters`.
        path: file name that ends with .safetensors; the folder is made if it is missing.
        metadata: further texts to keep beside the weights, such as {'trained_on': '...'}.
        dtype: of the floating-point weights in the file, such as torch.float16 for half the size; by default theirs.
        removal: how the blurs that an estimator finds are best removed; by default as the network says itself.

    Raises:
        ValueError: `net` is not of this package (a wrapper such as DataParallel holds it in `.module`), `metadata`
            has a key that is used here or a value that is no text, or a weight is too large for `dtype`.
        InputError: `path` does not end with .safetensors.
        OSError: the file cannot be written, such as on a full disk; `path` is then as it was.
    """
    arch = type(net).__name__
    if ARCHS.get(arch) is not type(net):
        raise ValueError(f'the network is a {arch}, expected one of {", ".join(ARCHS)}; unwrap it before saving.')
    path = Path(path)
    if path.suffix != '.safetensors':
        raise InputError(
            f'{path} ends with "{path.suffix}", expected ".safetensors"; weights are saved in no other form.'
        )
    facts = {'arch': arch, 'hyper_parameters': json.dumps(net.hyper_parameters), 'format': 'pt'}
    removal = removal or net.facts.removal
    if removal is not None:
        facts['removal'] = removal.to_json()
    for key, value in (metadata or {}).items():
        if key in facts or not isinstance(value, str):
            raise ValueError(
                f'metadata has {key!r}: {value!r}, expected texts under keys other than {", ".join(facts)}.'
            )
        facts[key] = value
    tensors = {key: _stored(key, value, dtype) for key, value in net.state_dict().items()}
    import safetensors.torch  # here, because `import basis_blur` loads torch and numpy only

    # Written by Python and not by safetensors' own writer, whose error for a full disk is no OSError.
    content = safetensors.torch.save(tensors, facts)
    with atomic_path(path) as partial, open(partial, 'wb') as file:
        file.write(content)


def _stored(key: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu().contiguous()
    if dtype is None or not value.is_floating_point():
        return value
    stored = value.to(dtype)
    if not torch.equal(stored.isfinite(), value.isfinite()):
        raise ValueError(f'{key} reaches {value.abs().max():.3g}, which {dtype} cannot hold; save it in another dtype.')
    return stored


def load_network(
    path_or_name: str | os.PathLike, device: torch.device | str = 'cpu', expect: str | Iterable[str] | None = None
) -> nn.Module:
    """Build the network that a file holds, with its weights, in evaluation mode.

    Half-precision weights are returned in float32.

    Args:
        path_or_name: a name in `NAMES`, or a file (see the table at the top of this module). A file that is called
            like a name is given as a `Path` or with its folder: './ufpnet'.
        device: where the network shall be.
        expect: the only architecture that is of use to the caller, such as 'BasisKPN', or several; by default any.

    Raises:
        InputError: there are no weights of that name; the file is damaged, holds pickled code, another architecture
            than expected, or not exactly the weights of one network; weights are not finite.
        OSError: the file does not exist or cannot be read.
    """
    path = _find(path_or_name)
    content = _read(path)
    layout = _layout_of(content, path, (expect,) if isinstance(expect, str) else tuple(expect or ()))
    state, their_name = content.state, {}
    if layout.translate is not None:
        state, their_name = layout.translate(state)
    hyper_parameters = content.hyper_parameters
    if hyper_parameters is None:
        hyper_parameters = layout.infer({key: tuple(value.shape) for key, value in state.items()})
    net = _build(layout.arch, hyper_parameters, path)
    _check_keys(net, state, their_name, path)
    net.load_state_dict(_in_one_dtype(state, path), assign=True)
    removal = content.removal or layout.removal
    if removal is not None and net.facts.kind == ESTIMATOR:
        net.removal = removal
    return net.to(device).eval()


@dataclass
class _Content:
    """What a file holds: the state dict, and what is said about it, if anything is."""

    state: dict[str, Tensor]
    arch: str | None = None
    hyper_parameters: dict[str, Any] | None = None
    removal: Removal | None = None


def load_fusion(path_or_name: str | os.PathLike | None, device: torch.device | str = 'cpu') -> Any:
    """Return the IterateFusion of a file or name, None for None; errors as of `load_network`."""
    return None if path_or_name is None else load_network(path_or_name, device, expect='IterateFusion')


def load_decoder(path_or_name: str | os.PathLike, estimators: Iterable[nn.Module]) -> None:
    """Give the decoders of CorrelationEstimators of one size the weights of that of a trained CorrelationKPN.

    Raises:
        InputError: the decoders differ in size; and as of `load_network`.
    """
    trained = load_network(path_or_name, expect='CorrelationKPN').decoder.state_dict()
    decoders = [estimator.decoder for estimator in estimators]
    give(
        decoders, trained, f'the decoder in {path_or_name}', remedy='give the LatentKernelNet the width of that decoder'
    )


def _find(path_or_name: str | os.PathLike) -> Path:
    if isinstance(path_or_name, str) and path_or_name in OLD_NAMES:
        name = OLD_NAMES[path_or_name]
        warnings.warn(
            f'the shipped weights "{path_or_name}" are called "{name}"; the old name goes with the next version.',
            FutureWarning,
            stacklevel=3,
        )
        return _in_the_package(name)
    # A name goes first, so that no file or folder that lies in the current folder can stand in for our weights.
    if isinstance(path_or_name, str) and path_or_name in NAMES:
        return _in_the_package(path_or_name)
    path = Path(path_or_name)
    if path.exists():
        return path
    if path.suffix or path.name != str(path_or_name):
        raise FileNotFoundError(f'there is no weights file {path} (looked from {Path.cwd()}).')
    raise InputError(
        f'there are no weights named "{path_or_name}", the names are {", ".join(NAMES)}.'
        f'{did_you_mean(str(path_or_name), NAMES)} Give the path of a .safetensors or .pth file.'
    )


def _in_the_package(name: str) -> Path:
    path = NAMES[name]
    if not path.is_file():
        raise InputError(
            f'the weights "{name}" are not in this installation, expected {path}; install basis_blur again, or give '
            'the path of a .safetensors or .pth file.'
        )
    return path


def _read(path: Path) -> _Content:
    check_is_file(path)
    with open(path, 'rb') as file:
        head = file.read(9)
    # A safetensors file starts with the length of its JSON header, 8 bytes.
    if len(head) == 9 and head[8:] == b'{' and head[6:8] == b'\0\0':
        return _read_safetensors(path)
    if head[:4] == b'PK\x03\x04' or head[:1] == b'\x80':
        return _read_pickle(path)
    size = path.stat().st_size
    raise InputError(
        f'{path} ({size} bytes, beginning with {head!r}) is neither a safetensors file nor a PyTorch checkpoint; '
        'the download may be incomplete.'
    )


def _read_safetensors(path: Path) -> _Content:
    import safetensors

    try:
        with safetensors.safe_open(path, framework='pt') as file:
            # Cloned, because the tensors are a view of the file, which may be overwritten while they are in use.
            state = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
            facts = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise InputError(f'{path} is damaged or incomplete ({error}); copy or download it again.') from error
    if 'arch' not in facts:
        return _Content(state)
    try:
        hyper_parameters = parse_json(facts.get('hyper_parameters', ''))
    except ValueError as error:
        raise InputError(
            f'{path} has no readable hyper_parameters in its metadata ({error}); expected JSON, as save_network writes.'
        ) from error
    if not isinstance(hyper_parameters, dict):
        raise InputError(f'{path} has hyper_parameters {hyper_parameters!r} in its metadata, expected a dict.')
    return _Content(state, facts['arch'], hyper_parameters, _removal_in(facts, path))


def _removal_in(facts: Mapping[str, Any], path: Path) -> Removal | None:
    text = facts.get('removal')
    if text is None:
        return None
    try:
        return Removal.from_json(text)
    except (ValueError, TypeError) as error:
        raise InputError(f'{path}: {error}') from error


# What torch.load is known to raise for bytes that are no checkpoint; found by damaging some at random. The OSError is
# a seek to a place that does not exist.
_DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError,
    AssertionError, OverflowError, OSError, struct.error,
)  # fmt: skip


def _read_pickle(path: Path) -> _Content:
    try:
        with open(path, 'rb') as file:  # of a name torch.load would believe the suffix
            checkpoint = torch.load(file, map_location='cpu', weights_only=True)
    except _DAMAGED as error:
        code = re.search(r'GLOBAL (\S+)', str(error))
        if code:
            raise InputError(
                f'{path} holds pickled code, not only numbers: reading it would run {code[1]}, and code can do '
                'anything to your computer. Only tensors are read; where you trust the file, load it with the program '
                'that wrote it and save its state_dict() with torch.save.'
            ) from error
        raise InputError(
            f'{path} is damaged or no checkpoint ({_first_line(error)}); copy or download it again.'
        ) from error
    return _content_of_checkpoint(checkpoint, path)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _content_of_checkpoint(checkpoint: Any, path: Path) -> _Content:
    if not isinstance(checkpoint, dict):
        raise InputError(f'{path} holds a {type(checkpoint).__name__}, expected a dict of tensors (a state dict).')
    if 'optimizers' in checkpoint:
        raise InputError(
            f'{path} is a training state of BasicSR (optimisers and schedulers), it has no weights; '
            'they are in the folder "models" beside "training_states".'
        )
    stated, removal = checkpoint.get('hyper_parameters'), _removal_in(checkpoint, path)
    for wrapper in ('params_ema', 'params', 'model_state', 'state_dict'):
        if isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
            break
    strangers = [key for key, value in checkpoint.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strangers or not checkpoint:
        raise InputError(
            f'{path} holds no state dict: {listing(strangers) if strangers else "it is empty"}; expected tensors by '
            'name, or such a dict under "params_ema" or "params".'
        )
    if stated is None:
        return _Content(checkpoint)
    if not isinstance(stated, dict) or not isinstance(stated.get('type'), str):
        raise InputError(f'{path} has hyper_parameters {stated!r}, expected a dict with the key "type".')
    hyper_parameters = {key: value for key, value in stated.items() if key != 'type'}
    return _Content(checkpoint, stated['type'], hyper_parameters, removal)


@dataclass(frozen=True)
class _Layout:
    """One way of naming the weights of an architecture.

    Args:
        arch: the architecture.
        title: what it is called in messages.
        mark: what the beginning of one of its keys looks like, and of no other layout's before it in `_LAYOUTS`.
        translate: from their state dict to ours, and the names of ours in theirs; None where they are the same.
        infer: hyper-parameters from our keys' shapes.
        removal: how the blurs of the published weights are best removed, if that is known.
    """

    arch: str
    title: str
    mark: str
    translate: Callable[[dict[str, Tensor]], tuple[dict[str, Tensor], dict[str, str]]] | None = None
    infer: Callable[[Mapping[str, tuple[int, ...]]], dict[str, Any]] | None = None
    removal: Removal | None = None


def _layout_of(content: _Content, path: Path, expect: tuple[str, ...]) -> _Layout:
    """Return the layout of a file's keys; of one of the architectures `expect`, if any are named."""
    layouts = [layout for layout in _LAYOUTS if content.arch in (None, layout.arch)]
    found = next((each for each in layouts if any(re.match(each.mark, key) for key in content.state)), None)
    if found is None and content.arch is not None:
        found = _Layout(content.arch, content.arch, mark='')
    if found is None:
        raise InputError(
            f'{path} holds the weights of a network that is not known here; its keys are {listing(content.state)}. '
            f'Expected {" or ".join(expect or ARCHS)}.'
        )
    if expect and found.arch not in expect:
        wanted = 'that network' if len(expect) == 1 else 'one of them'
        raise InputError(f'{path} holds {found.title}, expected {" or ".join(expect)}; give the weights of {wanted}.')
    if found.arch not in ARCHS:
        raise InputError(
            f'{path} holds {found.title}, which is no network of this version.{did_you_mean(found.arch, ARCHS)} '
            f'It knows {", ".join(ARCHS)}.'
        )
    return found


def _translate_two_heads(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    our_name = {}
    for theirs, ours in TWO_HEADS:
        for block in range(1, 7):
            for kind in ('weight', 'bias'):
                our_name[f'{theirs.format(block=block)}.{kind}'] = f'{ours.format(index=block - 1)}.{kind}'
    for key in state:
        our_name.setdefault(key, f'{key} (not theirs)')  # so that it cannot pass for one of ours
    translated = {our_name[key]: value for key, value in state.items()}
    return _turn_kernel_head(translated), {ours: theirs for theirs, ours in our_name.items()}


def _turn_kernel_head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make a kernel head that predicts correlation kernels predict convolution kernels, exactly.

    A kernel is turned by 180 degrees if every convolution of the head is: the head starts from one pixel, its skips are
    spatial means and so the same at every pixel, and every padding is the same on opposite sides. So each layer's map
    is turned, and the last one is the kernels.
    """
    return {
        key: value.flip(-2, -1) if key.startswith('kernel_head.') and value.ndim == 4 else value
        for key, value in state.items()
    }


def _infer_basis_kpn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    width, channels = (*shapes.get('stem.conv.weight', ()), 64, 3)[:2]
    return {
        'in_channels': channels,
        'num_feat': width,
        'num_kernels': (*shapes.get('mixing_head.tail.2.bias', ()), 25)[0],
        'kernel_size': 65 if 'kernel_head.ups.5.up.weight' in shapes else 33,
        'norm': 'group' if 'stem.norm.weight' in shapes else 'none',
        'gray_stem': 'gray_stem.conv.weight' in shapes,
    }


def _infer_kernel_flow(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    hidden, dims = (*shapes.get('net.0.s_net.0.weight', ()), 25, 361)[:2]
    return {
        'kernel_size': math.isqrt(dims),
        'num_blocks': sum(re.fullmatch(r'net\.\d+\.mask', key) is not None for key in shapes) or 5,
        'hidden': hidden,
    }


def _infer_latent_kernel_net(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    decoder = shapes.get('kernel_extra.decoder.stem.0.0.weight')
    if decoder is None:
        estimator, mean, var = 'unet', 'Conv_tail.mean.2.bias', 'Conv_tail.var.0.bias'
        width, channels = (*shapes.get('kernel_extra.Encoding_Block1.Conv_head.weight', ()), 64, 3)[:2]
    else:
        estimator, mean, var = 'correlation', 'mean.bias', 'var.bias'
        width, channels = (*decoder, 64)[0], 3  # nothing tells whether the photo was gray
    flow = _infer_kernel_flow({key[len('flow.') :]: shape for key, shape in shapes.items() if key.startswith('flow.')})
    return {
        'in_channels': channels,
        'kernel_size': math.isqrt((*shapes.get(f'kernel_extra.{mean}', ()), 361)[0]),
        'width': width,
        'flow_prior': 'flow.alpha' in shapes,
        'uncertainty': f'kernel_extra.{var}' in shapes,
        'estimator': estimator,
        'flow_blocks': flow['num_blocks'],
        'flow_hidden': flow['hidden'],
    }


def _infer_nafnet(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    levels = range(len({key for key in shapes if re.fullmatch(r'downs\.\d+\.weight', key)}))

    def count(group: str) -> int:
        return sum(re.fullmatch(rf'{group}\.\d+\.beta', key) is not None for key in shapes)

    width, channels = (*shapes.get('intro.weight', ()), 64, 3)[:2]
    attention = tuple(level for level in levels if f'encoders.{level}.0.kernel_atttion.conv_1.0.bias' in shapes)
    taps = (*shapes.get('kernel_down.0.bias', ()), 0)[0]
    return {
        'in_channels': channels,
        'width': width,
        'enc_blocks': tuple(count(rf'encoders\.{level}') for level in levels),
        'middle_blocks': count('middle_blks'),
        'dec_blocks': tuple(count(rf'decoders\.{level}') for level in levels),
        'kernel_size': math.isqrt(taps) if taps else None,
        'attention_levels': attention or tuple(levels[:3]),
    }


def _infer_ufpnet(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    estimator = _infer_latent_kernel_net(shapes)
    return {**estimator, **_infer_nafnet(shapes), 'estimator_width': estimator['width']}


_LAYOUTS = (
    _Layout('UFPNet', 'UFPNet [F23]', r'kernel_down\.', infer=_infer_ufpnet),
    _Layout('LatentKernelNet', 'LatentKernelNet [F23]', r'kernel_extra\.', infer=_infer_latent_kernel_net),
    _Layout('NAFNet', 'NAFNet', r'(middle_blks|intro|ending)\.', infer=_infer_nafnet),
    _Layout('KernelFlow', 'a kernel flow (KernelFlow) [L21]', r'net\.\d+\.[st]_net\.', infer=_infer_kernel_flow),
    _Layout('BasisKPN', 'BasisKPN', r'(mixing|kernel)_head\.', infer=_infer_basis_kpn),
    _Layout(
        'BasisKPN', 'BasisKPN (two heads) [C21]', r'(kernel_up\d|kernels_end|masks_end|inc_rgb|inc_gray)\.',
        _translate_two_heads, _infer_basis_kpn, TRUE_BLUR,
    ),
)  # fmt: skip


def _build(arch: str, hyper_parameters: Mapping[str, Any], path: Path) -> nn.Module:
    values = read_options(hyper_parameters, options_of(ARCHS[arch]), f'{path}, hyper-parameters of {arch}')
    return build_without_memory(ARCHS[arch], values, f'{path} describes a {arch} that cannot be built')


def build_without_memory(kind: type[nn.Module], hyper_parameters: Mapping[str, Any], complaint: str) -> nn.Module:
    """Build a network whose weights take neither memory nor time (torch's device 'meta'), to fill it or to judge it.

    Args:
        kind: its class.
        hyper_parameters: of the right types.
        complaint: how the message begins if it cannot be built.

    Raises:
        InputError: a hyper-parameter is outside its range, or the network is larger than any machine is for.
    """
    blocks = _most_blocks(hyper_parameters)
    if blocks > MOST_BLOCKS:
        raise InputError(f'{complaint}: it has {blocks} blocks in a row, expected at most {MOST_BLOCKS}.')
    try:
        with torch.device('meta'):
            net = kind(**hyper_parameters)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise InputError(f'{complaint}: {_first_line(error)}') from error
    parameters = sum(parameter.numel() for parameter in net.parameters())
    if parameters > MOST_PARAMETERS:
        raise InputError(
            f'{complaint}: it has {parameters / 1e6:.4g} M parameters, expected at most {MOST_PARAMETERS / 1e6:.0f} M.'
        )
    return net


def _most_blocks(value: Any) -> int:
    """Return the largest number of equal blocks that hyper-parameters ask for."""
    most = 0
    for key, each in value.items():
        if isinstance(each, Mapping):
            most = max(most, _most_blocks(each))
        elif key.endswith('blocks') or key in ('num_res', 'num_cab'):
            numbers = each if isinstance(each, (list, tuple)) else [each]
            most = max([most, *(number for number in numbers if isinstance(number, int))])
    return most


def _check_keys(net: nn.Module, state: Mapping[str, Tensor], their_name: Mapping[str, str], path: Path) -> None:
    complaints = misfits(net.state_dict(), state, name=lambda key: their_name.get(key, key))
    if complaints:
        settings = ', '.join(f'{key} {value}' for key, value in net.hyper_parameters.items())
        raise InputError(
            f'{path} does not hold exactly the weights of one {type(net).__name__} ({settings}): '
            f'{"; ".join(complaints)}.'
        )


def _in_one_dtype(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    floating = [key for key, value in state.items() if value.is_floating_point()]
    broken = [key for key in floating if not state[key].isfinite().all()]
    if broken:
        raise InputError(f'{path} holds weights that are not finite, in {listing(broken)}; its training failed.')
    dtype = torch.float64 if any(state[key].dtype == torch.float64 for key in floating) else torch.float32
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
