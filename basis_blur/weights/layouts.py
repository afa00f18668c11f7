"""Layouts of weights: how the keys of an architecture are named in files, those of this package and published ones.

    layout_of(content, path, expect)     the layout of a file, which translates keys and infers hyper-parameters

Convention: the weights of [C21] predict correlation kernels, see `_turn_kernel_head`; translated, they predict
    convolution kernels as all networks here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from basis_blur.archs import ARCHS
from basis_blur.field.removal import Removal
from basis_blur.foundation.errors import InputError, did_you_mean
from basis_blur.weights import published_restorers as published
from basis_blur.weights.fitting import listing
from basis_blur.weights.weight_files import Content

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


class UnknownNetwork(InputError):
    """The keys of a file are in no layout that is known here."""


@dataclass(frozen=True)
class Layout:
    """One way of naming the weights of an architecture.

    Args:
        arch: name of the architecture.
        title: name of the layout in messages.
        mark: pattern that matches the beginning of one of its keys, and of no key of the layouts before it in
            `LAYOUTS`.
        translate: function from their state dict to ours, and to a mapping of our keys to theirs; None if the keys are
            the same.
        infer: function from the shapes of our keys to hyper-parameters.
        removal: settings by which the blurs of the published weights are best removed, if they are known.
    """

    arch: str
    title: str
    mark: str
    translate: Callable[[dict[str, Tensor]], tuple[dict[str, Tensor], dict[str, str]]] | None = None
    infer: Callable[[Mapping[str, tuple[int, ...]]], dict[str, Any]] | None = None
    removal: Removal | None = None


def layout_of(content: Content, path: Path, expect: tuple[str, ...]) -> Layout:
    """Return the layout of a file.

    Args:
        content: contents of the file.
        path: path of the file, for messages.
        expect: names of the architectures that it may have; any if there are none.

    Raises:
        UnknownNetwork: its keys are in no layout of `LAYOUTS`.
        InputError: it is another architecture, or one of another version.
    """
    layouts = [layout for layout in LAYOUTS if content.arch in (None, layout.arch)]
    found = next((each for each in layouts if any(re.match(each.mark, key) for key in content.state)), None)
    if found is None and content.arch is not None:
        found = Layout(content.arch, content.arch, mark='')
    if found is None:
        raise UnknownNetwork(
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
    """Turn the weights of a kernel head that predicts correlation kernels, so that it predicts convolution kernels.

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


LAYOUTS = (
    Layout('UFPNet', 'UFPNet [F23]', r'kernel_down\.', infer=_infer_ufpnet),
    Layout('LatentKernelNet', 'LatentKernelNet [F23]', r'kernel_extra\.', infer=_infer_latent_kernel_net),
    Layout('NAFNet', 'NAFNet', r'(middle_blks|intro|ending)\.', infer=_infer_nafnet),
    Layout('KernelFlow', 'a kernel flow (KernelFlow) [L21]', r'net\.\d+\.[st]_net\.', infer=_infer_kernel_flow),
    Layout('BasisKPN', 'BasisKPN', r'(mixing|kernel)_head\.', infer=_infer_basis_kpn),
    Layout(
        'BasisKPN', 'BasisKPN (two heads) [C21]', r'(kernel_up\d|kernels_end|masks_end|inc_rgb|inc_gray)\.',
        _translate_two_heads, _infer_basis_kpn, Removal(),
    ),
    Layout(
        'MPRNet', 'MPRNet [Zamir21]', r'(shallow_feat\d|stage\d_encoder|stage3_orsnet|sam12)\.',
        published.translate_mprnet, published.infer_mprnet,
    ),
    Layout(
        'MIMOUNet', 'MIMO-UNet [Cho21]', r'(feat_extract|SCM\d|FAM\d|AFFs)\.',
        published.translate_mimo_unet, published.infer_mimo_unet,
    ),
    Layout(
        'DeblurGANGenerator', 'DeblurGAN [Kupyn18]', r'model\.\d+\.conv_block\.',
        published.translate_deblurgan, published.infer_deblurgan,
    ),
    Layout(
        'DeblurGANv2Generator', 'DeblurGAN-v2 [Kupyn19]', r'fpn\.(inception|features|lateral\d)\.',
        published.translate_deblurgan_v2, published.infer_deblurgan_v2,
    ),
    Layout(
        'DMPHN', 'DMPHN [Zhang19]', r'(en|de)coder(_s\d)?_lv\d\.layer\d', published.translate_dmphn,
        published.infer_dmphn,
    ),
)  # fmt: skip
