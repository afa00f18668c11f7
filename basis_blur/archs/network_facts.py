"""The facts of a network, what it takes and returns, so that nobody has to ask for its class.

    kind         takes      returns
    estimator    light      field               BasisKPN, CorrelationKPN
    estimator    photo      pixel kernels       LatentKernelNet
    restorer     photo      photo               UFPNet, NAFNet, ...
    fusion       stack      photo               IterateFusion: a photo and the iterates of its restoration
    flow         code       kernels             KernelFlow

To add a network, write its file with a `DescribedNetwork` that has `FACTS`, and enter it in `ARCHS`. Loading,
estimation, restoration, export and the commands need no more than that. An estimator's `facts.removal` are the settings
by which its blurs are best removed; they are stored with the weights (`save_network`), since they depend on how good
these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar

from torch import nn

from basis_blur.field.removal import Removal

ESTIMATOR, RESTORER, FUSION, FLOW = 'estimator', 'restorer', 'fusion', 'flow'  # kinds of networks
LIGHT, PHOTO, STACK, CODE = 'light', 'photo', 'stack', 'code'  # what they take
FIELD, PIXEL_KERNELS, KERNELS = 'field', 'pixel kernels', 'kernels'  # what they return, or PHOTO

# Names and meanings of the tensors of a network for blur fields, for an export.
FIELD_TENSORS = MappingProxyType(
    {
        'light': '(N, C, H, W), linear light in [0, 1]: photo ** gamma',
        'kernels': '(N, B, K, K), basis convolution kernels (point spread functions), >= 0, each sums to 1',
        'mixing': '(N, B, H, W), >= 0, sums to 1 over B: the kernel of pixel i is sum_b mixing[b, i] kernels[b]',
    }
)


@dataclass(frozen=True)
class NetworkFacts:
    """The facts of a network: what it takes and returns.

    Args:
        kind: purpose: 'estimator', 'restorer', 'fusion' or 'flow'.
        takes: its input: 'light' (linear), 'photo' (sRGB-like), 'stack' or 'code'.
        returns: its result: 'field', 'pixel kernels', 'photo' or 'kernels'.
        channels: numbers of channels that its input can have, the usual one first; for a code, its length.
        kernel_size: K, the side of its kernels in pixels; None where it has none.
        in_tiles: whether `basis_blur.estimation.tiles` can run it on a large photo tile by tile.
        by_cells: whether it can return the blur field of its windows, `net(photo, as_field=True)`, by which it is then
            trained.
        tensors: names and meanings of tensors, for an export: of the input, and of those that `net.plain(input)`
            returns; empty if it cannot be exported.
        one_size: reason why it can be exported for one size only, as the rest of a sentence; empty if it can be
            exported for any size.
        removal: settings by which the blurs that it estimates are best removed; None where they are not known.
    """

    kind: str
    takes: str
    returns: str
    channels: tuple[int, ...] = (3,)
    kernel_size: int | None = None
    in_tiles: bool = False
    by_cells: bool = False
    tensors: Mapping[str, str] = field(default_factory=dict)
    one_size: str = ''
    removal: Removal | None = None


class DescribedNetwork(nn.Module):
    """A network that tells its facts, and the hyper-parameters to build it again.

    A subclass has `FACTS`, and its constructor sets `_hyper_parameters` to its keyword arguments.
    """

    FACTS: ClassVar[NetworkFacts]
    removal: Removal | None = None  # settings by which its blurs are best removed, stored with its weights
    _hyper_parameters: dict[str, Any]

    @property
    def facts(self) -> NetworkFacts:
        """The facts of the network: what it takes and returns."""
        told = self._hyper_parameters
        channels = (told['in_channels'],) if 'in_channels' in told else self.FACTS.channels
        return replace(self.FACTS, channels=channels, kernel_size=told.get('kernel_size'), removal=self.removal)

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """The keyword arguments that build this network again."""
        return dict(self._hyper_parameters)


def hyper_parameters_of(net: nn.Module) -> dict[str, Any]:
    """Return the keyword arguments that build a network again; none for one of another project that does not tell."""
    return dict(getattr(net, 'hyper_parameters', {}))


def facts_of(net: nn.Module) -> NetworkFacts:
    """Return the facts of a network.

    A network of another project that has none counts as an estimator of blur fields from light, with the 'kernel_size'
    and 'in_channels' of its `hyper_parameters`.
    """
    facts = getattr(net, 'facts', None)
    if facts is not None:
        return facts
    told = hyper_parameters_of(net)
    channels = (told['in_channels'],) if 'in_channels' in told else (3, 1)
    return NetworkFacts(ESTIMATOR, LIGHT, FIELD, channels, told.get('kernel_size'))
