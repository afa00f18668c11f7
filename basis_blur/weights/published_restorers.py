"""Published weights of other restoring networks: their keys in ours, and hyper-parameters from their shapes.

    MPRNet          [Zamir21], `model_deblurring.pth`
    MIMO-UNet(+)    [Cho21], `MIMO-UNet.pkl`, `MIMO-UNetPlus.pkl`
    DeblurGAN       [Kupyn18], `latest_net_G.pth`
    DeblurGAN-v2    [Kupyn19], `fpn_inception.h5`, `fpn_mobilenet.h5`
    DMPHN           [Zhang19], the folders `DMPHN_1_2_4_8`, `SDNet4` and others of `encoder_lv1.pkl`, ...

A row of a table is a pattern of their key, and our key, both without the last part, such as `.weight`. In our key, {1},
{2}, ... stand for what the groups of the pattern matched, and {1-1}, ... for these numbers less 1. The heads of the
architectures name the papers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

Rules = Sequence[tuple[str, str]]
Translated = tuple[dict[str, Tensor], dict[str, str]]

# In every block: CA.conv_du is the channel attention, and body its convolutions with the PReLU between them.
_CAB = (
    (r'CA\.conv_du', 'weigh'),
    (r'body', 'convs'),
)
MPRNET: Rules = (
    (r'shallow_feat([123])\.0',                          'stems.{1-1}.0'),
    (r'stage([12])_encoder\.down12\.down\.1',            'encoders.{1-1}.downs.0.1'),
    (r'stage([12])_encoder\.down23\.down\.1',            'encoders.{1-1}.downs.1.1'),
    (r'stage2_encoder\.csff_enc([123])',                 'encoders.1.from_encoder.{1-1}'),
    (r'stage2_encoder\.csff_dec([123])',                 'encoders.1.from_decoder.{1-1}'),
    (r'stage([12])_decoder\.up21\.up\.1',                'decoders.{1-1}.ups.0.1'),
    (r'stage([12])_decoder\.up32\.up\.1',                'decoders.{1-1}.ups.1.1'),
    (r'sam12\.conv1',                                    'sams.0.offer'),
    (r'sam12\.conv2',                                    'sams.0.correct'),
    (r'sam12\.conv3',                                    'sams.0.weigh.0'),
    (r'sam23\.conv1',                                    'sams.1.offer'),
    (r'sam23\.conv2',                                    'sams.1.correct'),
    (r'sam23\.conv3',                                    'sams.1.weigh.0'),
    (r'concat12',                                        'joins.0'),
    (r'concat23',                                        'joins.1'),
    (r'stage3_orsnet\.orb([123])\.body\.(\d+)',          'full_size.blocks.{1-1}.layers.{2}'),
    (r'stage3_orsnet\.conv_enc1',                        'full_size.from_encoder.0.0'),
    (r'stage3_orsnet\.conv_enc([23])',                   'full_size.from_encoder.{1-1}.{1-1}'),
    (r'stage3_orsnet\.up_enc1\.up\.1',                   'full_size.from_encoder.1.0.1'),
    (r'stage3_orsnet\.up_enc2\.([01])\.up\.1',           'full_size.from_encoder.2.{1}.1'),
    (r'stage3_orsnet\.conv_dec1',                        'full_size.from_decoder.0.0'),
    (r'stage3_orsnet\.conv_dec([23])',                   'full_size.from_decoder.{1-1}.{1-1}'),
    (r'stage3_orsnet\.up_dec1\.up\.1',                   'full_size.from_decoder.1.0.1'),
    (r'stage3_orsnet\.up_dec2\.([01])\.up\.1',           'full_size.from_decoder.2.{1}.1'),
    (r'tail',                                            'ending'),
    *(
        (rf'{block}\.{theirs}\.(\d)', f'{ours}.{part}.{{{groups}}}')
        for theirs, part in _CAB
        for block, ours, groups in (
            (r'shallow_feat([123])\.1',                  'stems.{1-1}.1', 2),
            (r'stage([12])_encoder\.encoder_level([123])\.([01])', 'encoders.{1-1}.levels.{2-1}.{3}', 4),
            (r'stage([12])_decoder\.decoder_level([123])\.([01])', 'decoders.{1-1}.levels.{2-1}.{3}', 4),
            (r'stage([12])_decoder\.skip_attn([12])',    'decoders.{1-1}.skips.{2-1}', 3),
            (r'stage3_orsnet\.orb([123])\.body\.(\d+)',  'full_size.blocks.{1-1}.layers.{2}', 3),
        )
    ),
)  # fmt: skip
MIMO_UNET: Rules = (
    (r'feat_extract\.0\.main\.0',                        'stems.0.0'),
    (r'feat_extract\.([12])\.main\.0',                   'downs.{1-1}.0'),
    (r'feat_extract\.3\.main\.0',                        'ups.1.0'),
    (r'feat_extract\.4\.main\.0',                        'ups.0.0'),
    (r'feat_extract\.5\.main\.0',                        'ends.0'),
    (r'SCM2\.main\.([0-3])\.main\.0',                    'stems.1.look.{1}.0'),
    (r'SCM2\.conv\.main\.0',                             'stems.1.join'),
    (r'SCM1\.main\.([0-3])\.main\.0',                    'stems.2.look.{1}.0'),
    (r'SCM1\.conv\.main\.0',                             'stems.2.join'),
    (r'FAM2\.merge\.main\.0',                            'attends.0.conv'),
    (r'FAM1\.merge\.main\.0',                            'attends.1.conv'),
    (r'Encoder\.([012])\.layers\.(\d+)\.main\.0\.main\.0', 'encoders.{1}.{2}.convs.0.0'),
    (r'Encoder\.([012])\.layers\.(\d+)\.main\.1\.main\.0', 'encoders.{1}.{2}.convs.1'),
    *(
        (rf'Decoder\.{level}\.layers\.(\d+)\.main\.{number}\.main\.0', f'decoders.{2 - level}.{{1}}.convs.{conv}')
        for level in range(3) for number, conv in enumerate(('0.0', '1'))
    ),
    (r'AFFs\.([01])\.conv\.0\.main\.0',                  'fuses.{1}.convs.0.0'),
    (r'AFFs\.([01])\.conv\.1\.main\.0',                  'fuses.{1}.convs.1'),
    (r'Convs\.0\.main\.0',                               'merges.1.0'),
    (r'Convs\.1\.main\.0',                               'merges.0.0'),
    (r'ConvsOut\.0\.main\.0',                            'ends.2'),
    (r'ConvsOut\.1\.main\.0',                            'ends.1'),
)  # fmt: skip
DEBLURGAN: Rules = (
    (r'model\.(\d+)',                                    'layers.{1}'),
    (r'model\.(\d+)\.conv_block\.(\d)',                  'layers.{1}.layers.{2}'),
)  # fmt: skip
MOBILENET_GROUPS = ((0, 1), (2, 3), (4, 5, 6), (7, 8, 9, 10), (11, 12, 13, 14, 15))
DEBLURGAN_V2: Rules = (
    (r'fpn\.lateral(\d)',                                'laterals.{1}'),
    (r'fpn\.td1\.0',                                     'merges.2.0'),
    (r'fpn\.td2\.0',                                     'merges.1.0'),
    (r'fpn\.td3\.0',                                     'merges.0.0'),
    (r'head([1-4])\.block0',                             'heads.{1-1}.0'),
    (r'head([1-4])\.block1',                             'heads.{1-1}.2'),
    (r'smooth\.0',                                       'smooth.0'),
    (r'smooth2\.0',                                      'smooth_half.0'),
    (r'final',                                           'ending'),
    (r'fpn\.features\.0\.(\d)',                          'backbone.0.0.{1}'),
    *(
        (rf'fpn\.features\.{layer}\.conv\.(\d)',           f'backbone.{group}.{layer - layers[0]}.layers.{{1}}')
        for group, layers in enumerate(MOBILENET_GROUPS) for layer in layers
    ),
    (r'fpn\.inception\.repeat\.(\d+)\.conv2d',           'backbone.3.1.{1}.join'),
    (r'fpn\.inception\.repeat_1\.(\d+)\.conv2d',         'backbone.4.0.{1}.join'),
    *(
        (rf'fpn\.inception\.{theirs}\.{part}', f'backbone.{ours}.{number}')
        for number, part in enumerate(('conv', 'bn'))
        for theirs, ours in (
            ('conv2d_1a', '0.0'), ('conv2d_2a', '1.0'), ('conv2d_2b', '1.1'), ('conv2d_3b', '2.0'),
            ('conv2d_4a', '2.1'),
            *(
                (rf'{block}\.{branch}', f'{own}.branches.{own_branch}')
                for block, own, first in (
                    ('mixed_5b', '3.0', 1), (r'repeat\.(\d+)', '3.1.{1}.seen', 2), ('mixed_6a', '3.2', 1),
                    (r'repeat_1\.(\d+)', '4.0.{1}.seen', 2), ('mixed_7a', '4.1', 1),
                )
                for branch, own_branch in (
                    (r'branch(\d)', f'{{{first}}}.0'), (r'branch(\d)\.(\d)', f'{{{first}}}.{{{first + 1}}}'),
                )
            ),
        )
    ),
)  # fmt: skip
DMPHN: Rules = tuple(
    (rf'{coder}{stack}_lv(\d)\.layer{layer}{part}', f'{coder}s.{own_stack}.{{{level}-1}}.{number}{own_part}')
    for coder, layers in (('encoder', (1, 2, 3, 5, 6, 7, 9, 10, 11)), ('decoder', (13, 14, 16, 17, 18, 20, 21, 22, 24)))
    for stack, own_stack, level in (('', '0', 1), (r'_s(\d)', '{1-1}', 2))
    for number, layer in enumerate(layers)
    for part, own_part in (('', ''), (r'\.(\d)', f'.convs.{{{level + 1}}}'))
)
# Means that normalisation has counted are not used where photos are restored as the authors do.
COUNTED = r'(running_mean|running_var|num_batches_tracked)'
# In DeblurGAN-v2 also what stands in the file a second time, and what is behind the last features.
UNUSED = r'(fpn\.enc\d|fpn\.features\.(16|17|18)|fpn\.inception\.(repeat_2|block8|conv2d_7b|last_linear))'


def translate_mprnet(state: dict[str, Tensor]) -> Translated:
    """Return the weights of a published MPRNet by our names, and theirs by ours."""
    return _translated(state, MPRNET)


def translate_mimo_unet(state: dict[str, Tensor]) -> Translated:
    """Return the weights of a published MIMO-UNet by our names, and theirs by ours."""
    return _translated(state, MIMO_UNET)


def translate_deblurgan(state: dict[str, Tensor]) -> Translated:
    """Return the weights of a published generator of DeblurGAN by our names, and theirs by ours."""
    return _translated(_without(rf'model\..*\.{COUNTED}', state), DEBLURGAN)


def translate_deblurgan_v2(state: dict[str, Tensor]) -> Translated:
    """Return the weights of a published generator of DeblurGAN-v2 by our names, and theirs by ours."""
    return _translated(_without(rf'{UNUSED}\..*|(fpn|smooth2?)\..*\.{COUNTED}', state), DEBLURGAN_V2)


def translate_dmphn(state: dict[str, Tensor]) -> Translated:
    """Return the weights of a published DMPHN, a folder of files, by our names, and theirs by ours."""
    return _translated(state, DMPHN)


def _without(pattern: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not re.fullmatch(pattern, key)}


def _translated(state: Mapping[str, Tensor], rules: Rules) -> Translated:
    ours: dict[str, Tensor] = {}
    their_name: dict[str, str] = {}
    for key, value in state.items():
        stem, _, kind = key.rpartition('.')
        name = next((_filled(own, found) for pattern, own in rules if (found := re.fullmatch(pattern, stem))), None)
        # One that is not theirs must not pass for one of ours.
        own_name = f'{key} (not theirs)' if name is None else f'{name}.{kind}'
        ours[own_name], their_name[own_name] = value, key
    return ours, their_name


def _filled(template: str, found: re.Match[str]) -> str:
    return re.sub(r'\{(\d)(-1)?\}', lambda hole: _number(found[int(hole[1])], hole[2]), template)


def _number(text: str, less: str | None) -> str:
    return str(int(text) - 1) if less else text


def infer_mprnet(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the hyper-parameters of an MPRNet by the shapes of our keys."""
    width, channels = (*shapes.get('stems.0.0.weight', ()), 96, 3)[:2]
    second = (*shapes.get('encoders.0.downs.0.1.weight', ()), width + 48)[0]
    last = (*shapes.get('joins.1.weight', ()), width + 32)[0]
    return {
        'in_channels': channels,
        'width': width,
        'unet_step': second - width,
        'full_size_step': last - width,
        'num_cab': _count(shapes, r'full_size\.blocks\.0\.layers\.\d+\.convs\.0\.weight'),
        'kernel_size': None,
        'multi_stage': True,
    }


def infer_mimo_unet(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the hyper-parameters of a MIMO-UNet by the shapes of our keys."""
    width, channels = (*shapes.get('stems.0.0.weight', ()), 32, 3)[:2]
    return {
        'in_channels': channels,
        'width': width,
        'num_res': _count(shapes, r'encoders\.0\.\d+\.convs\.0\.0\.weight') or 20,
        'kernel_size': None,
        'multi_scale': 'ends.2.weight' in shapes,
    }


def infer_deblurgan(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the hyper-parameters of a generator of DeblurGAN by the shapes of our keys."""
    width, channels = (*shapes.get('layers.1.weight', ()), 64, 3)[:2]
    return {
        'in_channels': channels,
        'width': width,
        'num_blocks': _count(shapes, r'layers\.\d+\.layers\.1\.weight'),
        'dropout': 0.5,
    }


def infer_deblurgan_v2(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the hyper-parameters of a generator of DeblurGAN-v2 by the shapes of our keys."""
    inception = any(key.startswith('backbone.3.0.branches') for key in shapes)
    blocks = (
        _count(shapes, r'backbone\.3\.1\.\d+\.join\.weight'),
        _count(shapes, r'backbone\.4\.0\.\d+\.join\.weight'),
    )
    return {
        'backbone': 'inception' if inception else 'mobilenet',
        'width': (*shapes.get('smooth_half.0.weight', ()), 64)[0],
        **({'blocks': blocks} if inception else {}),
    }


def infer_dmphn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the hyper-parameters of a DMPHN by the shapes of our keys."""
    width, channels = (*shapes.get('encoders.0.0.0.weight', ()), 32, 3)[:2]
    return {
        'in_channels': channels,
        'width': width,
        'levels': _count(shapes, r'encoders\.0\.\d+\.0\.weight'),
        'stacks': _count(shapes, r'encoders\.\d+\.0\.0\.weight'),
    }


def _count(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    return sum(re.fullmatch(pattern, key) is not None for key in shapes)
