"""UFPNet: estimate the kernel of every pixel of a photo, and restore the photo with their help [F23].

    photo -> LatentKernelNet -> raw kernels, pixel kernels, sigma
    photo, raw kernels -> restorer with kernel attention -> image

The published network's restorer is a NAFNet with attention in encoder levels 0 to 2. With the default sizes there are
80.34 M parameters, those of the flow included.

The names of weights in a state dict are the published ones: `kernel_extra` and `flow` as in a LatentKernelNet, and
beside them those of the restorer, as in the restorer alone. So published checkpoints load as they are, and a state dict
contains those of a LatentKernelNet and of a restorer.

Convention: `pixel_kernels` are convolution kernels, for `PixelBlur`; the attention sees the raw correlation kernels.
"""

from __future__ import annotations

import inspect
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from basis_blur.archs.latent_kernel_arch import CHUNK_PIXELS, LatentKernelNet
from basis_blur.archs.mimo_unet_arch import MIMOUNet
from basis_blur.archs.mprnet_arch import MPRNet
from basis_blur.archs.nafnet_arch import NAFNet
from basis_blur.archs.network_facts import PHOTO, RESTORER, DescribedNetwork, NetworkFacts

RESTORERS = {'nafnet': NAFNet, 'mimo_unet': MIMOUNet, 'mprnet': MPRNet}  # name of a restorer -> its class
PARTS = ('latent_kernels.', 'restorer.')  # beginnings of names that are left out in a state dict
ESTIMATOR_KEYS = ('kernel_extra.', 'flow.')  # beginnings of the names of the estimator's weights in a state dict


class Restored(NamedTuple):
    """The result of UFPNet.

    Args:
        image: (N, C, H, W); sRGB, clamped to [0, 1] in evaluation. In training it is what the restorer returns, not
            clamped, so that every pixel has a gradient: with MIMO-UNet and MPRNet a tuple whose first is the image.
        pixel_kernels: (N, K*K, H, W); convolution kernels, >= 0, each sums to 1; None without estimator.
        sigma: (N, 1, H, W); uncertainty of the kernels, in [0, 1]; None without estimator.
    """

    image: Tensor
    pixel_kernels: Tensor | None
    sigma: Tensor | None


class UFPNet(DescribedNetwork):
    """Restore a blurred photo with the kernels that a part of the network estimates.

    Args:
        width: number of channels of the NAFNet at full size.
        kernel_size: K, the side of a kernel in pixels, odd.
        estimator_width: number of channels of the estimator at full size.
        enc_blocks: number of blocks of each encoder level, full size first, see NAFNet.
        middle_blocks: number of blocks at the smallest size.
        dec_blocks: number of blocks of each decoder level, smallest first.
        attention_levels: encoder levels whose blocks look at kernels; 0 is the full size.
        kernel_attention: whether the restorer looks at kernels; if not, there is no estimator.
        local_size: side of the window of the channel attention in evaluation, see NAFNet.
        restorer: name of the network that restores.
        restorer_options: hyper-parameters of another restorer than NAFNet, such as {'width': 32}; those of the NAFNet
            are given above.
        in_channels: number of channels of the photo, 3 or 1.
        flow_prior: whether kernels are codes of a flow, see LatentKernelNet.
        uncertainty: whether an uncertainty is estimated, see LatentKernelNet.
        flow_blocks: number of blocks of the flow.
        flow_hidden: hidden width of the flow.
        estimator_stride: `stride` of the LatentKernelNet.
        estimator: kind of the estimator, 'unet' or 'correlation', see LatentKernelNet.

    Raises:
        ValueError: a hyper-parameter is outside its range, or has no meaning for this restorer.

    Example:
        >>> net = bb.load_network('ufpnet')
        >>> found = net(torch.rand(1, 3, 48, 64))
        >>> found.image.shape, found.sigma.shape
        (torch.Size([1, 3, 48, 64]), torch.Size([1, 1, 48, 64]))
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(
        RESTORER,
        PHOTO,
        PHOTO,
        tensors={
            'photo': '(N, C, H, W), sRGB-like in [0, 1]',
            'image': '(N, C, H, W), the restored photo, sRGB-like in [0, 1]',
            'pixel_kernels': '(N, K*K, H, W), the convolution kernel of every pixel, row by row, >= 0, sums to 1',
            'sigma': '(N, 1, H, W), in [0, 1], how unsure the kernels are',
        },
    )

    def __init__(
        self,
        width: int = 64,
        kernel_size: int = 19,
        estimator_width: int = 64,
        enc_blocks: tuple[int, ...] = (1, 1, 1, 28),
        middle_blocks: int = 1,
        dec_blocks: tuple[int, ...] = (1, 1, 1, 1),
        attention_levels: tuple[int, ...] = (0, 1, 2),
        kernel_attention: bool = True,
        local_size: int | None = None,
        restorer: Literal['nafnet', 'mimo_unet', 'mprnet'] = 'nafnet',
        restorer_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        flow_prior: bool = True,
        uncertainty: bool = True,
        flow_blocks: int = 5,
        flow_hidden: int = 25,
        estimator_stride: int = 1,
        estimator: Literal['unet', 'correlation'] = 'unet',
    ):
        super().__init__()
        of_nafnet = {
            'width': width,
            'enc_blocks': tuple(enc_blocks),
            'middle_blocks': middle_blocks,
            'dec_blocks': tuple(dec_blocks),
            'attention_levels': tuple(attention_levels),
            'local_size': local_size,
        }
        of_estimator: dict[str, Any] = {
            'flow_prior': flow_prior,
            'uncertainty': uncertainty,
            'flow_blocks': flow_blocks,
            'flow_hidden': flow_hidden,
            'estimator': estimator,
        }
        self._hyper_parameters = {
            **of_nafnet,
            **of_estimator,
            'kernel_size': kernel_size,
            'estimator_width': estimator_width,
            'estimator_stride': estimator_stride,
            'kernel_attention': kernel_attention,
            'restorer': restorer,
            'restorer_options': None if restorer_options is None else dict(restorer_options),
            'in_channels': in_channels,
        }
        if restorer not in RESTORERS:
            raise ValueError(f'restorer is {restorer!r}, expected one of {", ".join(RESTORERS)}.')
        if restorer == 'nafnet' and restorer_options:
            raise ValueError('restorer_options are for other restorers than nafnet; give its sizes directly.')
        if restorer != 'nafnet':
            _check_defaults(of_nafnet, restorer)
        options = of_nafnet if restorer == 'nafnet' else _check_options(restorer_options, restorer)
        self.latent_kernels = None
        if kernel_attention:
            self.latent_kernels = LatentKernelNet(
                in_channels, kernel_size, estimator_width, **of_estimator, stride=estimator_stride
            )
        self.restorer = RESTORERS[restorer](
            in_channels=in_channels, kernel_size=kernel_size if kernel_attention else None, **options
        )
        # Under these names they are in every version of torch that is supported.
        self._register_state_dict_hook(_leave_out_parts)
        self._register_load_state_dict_pre_hook(_put_in_parts, with_module=True)

    @property
    def facts(self) -> NetworkFacts:
        """The facts of the network: what it takes and returns."""
        told, tensors, one_size = self._hyper_parameters, self.FACTS.tensors, ''
        if self.latent_kernels is None:
            tensors = {name: tensors[name] for name in ('photo', 'image')}
        if told['estimator'] == 'correlation':
            one_size = (
                'with the estimator "correlation", which can be exported for one size only, by which it cuts '
                'photos into windows; give a size'
            )
        if told['restorer'] != 'nafnet':
            one_size = (
                f'with the restorer {told["restorer"]}, which can be exported for one size only; give a size, '
                'or export a UFPNet with the restorer nafnet'
            )
        kernel_size = None if self.latent_kernels is None else told['kernel_size']
        return replace(super().facts, kernel_size=kernel_size, tensors=tensors, one_size=one_size)

    def forward(self, photo: Tensor, noise: Tensor | None = None, chunk_pixels: int | None = CHUNK_PIXELS) -> Restored:
        """Return the restored image and the kernels that helped.

        Args:
            photo: (N, in_channels, H, W); sRGB in [0, 1], any H, W >= 1.
            noise: (N, K*K, h, w), standard normal, of the codes; by default drawn in training and 0 in evaluation.
            chunk_pixels: kernels that are decoded at once, see `latent_kernels`; None for all.

        Raises:
            ValueError: a shape is another, or there is noise without an estimator.
        """
        if self.latent_kernels is None:
            if noise is not None:
                raise ValueError('noise is given, but without kernel_attention there is no code to add it to.')
            return Restored(self._finished(self.restorer(photo)), None, None)
        kernels = self.latent_kernels(photo, noise, chunk_pixels)
        return Restored(self._finished(self.restorer(photo, kernels.raw)), kernels.pixel_kernels, kernels.sigma)

    def plain(self, photo: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors of the result, for an export: kernels are decoded all at once."""
        return tuple(each for each in self(photo, chunk_pixels=None) if each is not None)

    def _finished(self, image: Tensor) -> Tensor:
        return image if self.training else image.clamp(0, 1)


def _leave_out_parts(net: nn.Module, state: MutableMapping[str, Tensor], prefix: str, metadata: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        for part in PARTS:
            if key.startswith(prefix + part):
                state[prefix + key[len(prefix + part) :]] = state.pop(key)


def _put_in_parts(net: nn.Module, state: MutableMapping[str, Tensor], prefix: str, *others: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        name = key[len(prefix) :]
        part = PARTS[0] if name.startswith(ESTIMATOR_KEYS) else PARTS[1]
        state[prefix + part + name] = state.pop(key)


def _check_defaults(of_nafnet: dict[str, Any], restorer: str) -> None:
    parameters = inspect.signature(UFPNet).parameters
    useless = [key for key, value in of_nafnet.items() if value != parameters[key].default]
    if useless:
        raise ValueError(
            f'{", ".join(useless)} are hyper-parameters of nafnet, and restorer is {restorer!r}; '
            'give its own in restorer_options.'
        )


def _check_options(options: dict[str, Any] | None, restorer: str) -> dict[str, Any]:
    options = dict(options or {})
    known = [
        key for key in inspect.signature(RESTORERS[restorer]).parameters if key not in ('in_channels', 'kernel_size')
    ]
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ValueError(
            f'restorer_options has the unknown {", ".join(unknown)}; {restorer} takes {", ".join(known)}, and the '
            'number of channels and the kernel size of this network.'
        )
    return options
