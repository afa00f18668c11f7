"""Networks to and from files: safetensors with their hyper-parameters, and checkpoints that other programs write.

What `load_network` reads:

    .safetensors    written by `save_network`, with metadata: 'arch', 'hyper_parameters' as JSON, and perhaps 'removal',
                    the settings by which the network's blurs are best removed, as `Removal.to_json` writes them
    .pth, .pt       - a checkpoint of BasicSR: 'params_ema' (preferred) or 'params', and 'hyper_parameters' if it was
                      trained with a model of this package; otherwise they follow from the shapes
                    - the published weights of [C21], a plain state dict, by the table `layouts.TWO_HEADS`
                    - the published weights of [F23], under 'params', and of NAFNet; their keys are ours
                    - the published kernel flow of [L21], under 'model_state'; its names are ours
                    - the published weights of MPRNet, MIMO-UNet, DeblurGAN, DeblurGAN-v2 and DMPHN, which is a folder
                      of files, by the tables of `published_restorers`

The first bytes of a file tell its format, not its name. Loading is strict: every key of the file is used exactly once
and has the shape that the network expects; only keys that the authors of published weights do not use are left out.
Pickled Python objects are never run.

Convention: the weights of [C21] predict correlation kernels, see `basis_blur.weights.layouts`; once loaded, the network
    returns convolution kernels as every other.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from basis_blur.archs import ARCHS
from basis_blur.archs.network_facts import ESTIMATOR, DescribedNetwork, facts_of
from basis_blur.field.removal import Removal
from basis_blur.foundation.errors import InputError, did_you_mean
from basis_blur.foundation.files import atomic_path
from basis_blur.foundation.options import options_of, read_options
from basis_blur.weights.fitting import give, listing, misfits
from basis_blur.weights.layouts import layout_of
from basis_blur.weights.weight_files import first_line, read_weights

# Largest number of weights of a network (16 GB), and of equal blocks in a row (minutes of building). More of them are
# taken for a mistake or a trap.
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
OLD_NAMES = {'basis_kpn': 'correlation_kpn'}  # earlier name, which works with a warning -> name

Network = TypeVar('Network', bound=nn.Module)


def save_network(
    net: nn.Module,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    removal: Removal | None = None,
) -> None:
    """Write a network, weights and hyper-parameters, to a safetensors file, whole or not at all.

    Args:
        net: network of this package, whose class is in `ARCHS` and which has `hyper_parameters`.
        path: file name that ends with .safetensors; the folder is made if it is missing.
        metadata: further texts to keep beside the weights, such as {'trained_on': '...'}.
        dtype: type of the floating-point weights in the file, such as torch.float16 for half the size; by default
            theirs.
        removal: settings by which the blurs of an estimator are best removed; by default `net.facts.removal`.

    Raises:
        ValueError: `net` is not of this package (a wrapper such as DataParallel holds it in `.module`), `metadata`
            has a key that is used here or a value that is no text, or a weight is too large for `dtype`.
        InputError: `path` does not end with .safetensors.
        OSError: the file cannot be written, such as on a full disk; `path` is then as it was.

    Example:
        >>> import tempfile
        >>> net = bb.KernelFlow(kernel_size=5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bb.save_network(net, f'{folder}/flow.safetensors', {'trained_on': 'nothing'})
        ...     bb.load_network(f'{folder}/flow.safetensors').hyper_parameters
        {'kernel_size': 5, 'num_blocks': 5, 'hidden': 25}
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
    removal = removal or facts_of(net).removal
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
    path_or_name: str | os.PathLike[str], device: torch.device | str = 'cpu', expect: str | Iterable[str] | None = None
) -> DescribedNetwork:
    """Build the network that a file holds, with its weights, in evaluation mode.

    Half-precision weights are returned in float32.

    Args:
        path_or_name: name in `NAMES`, or a file or a folder of files of one network (see the head of this module). A
            file that is called like a name has to be given as a `Path` or with its folder: './ufpnet'.
        device: device to which the network goes.
        expect: name of the architecture that the caller can use, such as 'BasisKPN', or several; by default any.

    Raises:
        InputError: there are no weights of that name; the file is damaged, holds pickled code, another architecture
            than expected, or not exactly the weights of one network; weights are not finite.
        OSError: the file does not exist or cannot be read.

    Example:
        >>> net = bb.load_network('correlation_kpn')
        >>> type(net).__name__, net.facts.returns
        ('CorrelationKPN', 'field')
    """
    path = _find(path_or_name)
    content = read_weights(path)
    layout = layout_of(content, path, (expect,) if isinstance(expect, str) else tuple(expect or ()))
    state = content.state
    their_name: Mapping[str, str] = {}
    if layout.translate is not None:
        state, their_name = layout.translate(state)
    hyper_parameters = content.hyper_parameters
    if hyper_parameters is None:
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        hyper_parameters = {} if layout.infer is None else layout.infer(shapes)
    net = _build(layout.arch, hyper_parameters, path)
    _check_keys(net, state, their_name, path)
    net.load_state_dict(_in_one_dtype(state, path), assign=True)
    removal = content.removal or layout.removal
    if removal is not None and net.facts.kind == ESTIMATOR:
        net.removal = removal
    return net.to(device).eval()


def load_fusion(path_or_name: str | os.PathLike[str] | None, device: torch.device | str = 'cpu') -> Any:
    """Return the IterateFusion of a file or name, and None for None; errors are those of `load_network`."""
    return None if path_or_name is None else load_network(path_or_name, device, expect='IterateFusion')


def load_decoder(path_or_name: str | os.PathLike[str], estimators: Iterable[Any]) -> None:
    """Load the decoder of a trained CorrelationKPN into CorrelationEstimators of one size.

    Raises:
        InputError: the decoders differ in size; and see `load_network`.
    """
    network: Any = load_network(path_or_name, expect='CorrelationKPN')
    trained = network.decoder.state_dict()
    decoders = [estimator.decoder for estimator in estimators]
    give(
        decoders, trained, f'the decoder in {path_or_name}', remedy='give the LatentKernelNet the width of that decoder'
    )


def _find(path_or_name: str | os.PathLike[str]) -> Path:
    if isinstance(path_or_name, str) and path_or_name in OLD_NAMES:
        name = OLD_NAMES[path_or_name]
        warnings.warn(
            f'the shipped weights "{path_or_name}" are called "{name}"; the next version removes the old name.',
            FutureWarning,
            stacklevel=3,
        )
        return _in_the_package(name)
    # Names come first, so that no file or folder of the current folder can take the place of shipped weights.
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


def _build(arch: str, hyper_parameters: Mapping[str, Any], path: Path) -> DescribedNetwork:
    values = read_options(hyper_parameters, options_of(ARCHS[arch]), f'{path}, hyper-parameters of {arch}')
    return build_without_memory(ARCHS[arch], values, f'{path} describes a {arch} that cannot be built')


def untrained(
    name: str | os.PathLike[str], hyper_parameters: Mapping[str, Any] | None = None, where: str = 'hyper-parameters'
) -> DescribedNetwork:
    """Build an untrained network.

    Args:
        name: name of its class, such as 'UFPNet'; or a file or name of weights, as `load_network` takes them, whose
            hyper-parameters it has.
        hyper_parameters: hyper-parameters that are to be others than the class or the file has.
        where: place that they come from, for the message of an error.

    Raises:
        InputError: there is no such network, or a hyper-parameter is unknown, of a wrong type or outside its range.
        OSError: the file cannot be read.
    """
    settings = dict(hyper_parameters or {})
    kind: type[DescribedNetwork]
    if name in ARCHS:
        kind = ARCHS[str(name)]
    elif name in NAMES or name in OLD_NAMES or Path(name).exists():
        found: DescribedNetwork = load_network(name)
        kind, settings = type(found), {**found.hyper_parameters, **settings}
    else:
        advice = did_you_mean(str(name), ARCHS)
        raise InputError(f'there is no network or file "{name}".{advice} The networks are {", ".join(ARCHS)}.')
    settings = read_options(settings, options_of(kind), where)
    build_without_memory(kind, settings, where)
    return kind(**settings)


def build_without_memory(kind: type[Network], hyper_parameters: Mapping[str, Any], complaint: str) -> Network:
    """Build a network whose weights take neither memory nor time, on torch's device 'meta', to fill or to check it.

    Args:
        kind: class of the network.
        hyper_parameters: hyper-parameters of the right types.
        complaint: beginning of the message of an error.

    Raises:
        InputError: a hyper-parameter is outside its range, or the network is larger than the limits of this module.
    """
    blocks = _most_blocks(hyper_parameters)
    if blocks > MOST_BLOCKS:
        raise InputError(f'{complaint}: it has {blocks} blocks in a row, expected at most {MOST_BLOCKS}.')
    try:
        with torch.device('meta'):
            net = kind(**hyper_parameters)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise InputError(f'{complaint}: {first_line(error)}') from error
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


def _check_keys(net: Any, state: Mapping[str, Tensor], their_name: Mapping[str, str], path: Path) -> None:
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
