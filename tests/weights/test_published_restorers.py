"""Published weights of MPRNet, MIMO-UNet, DeblurGAN(-v2) and DMPHN load, strictly, and restore as their networks do."""

import re

import pytest
import torch
import torch.nn.functional as F

from basis_blur.archs import ARCHS
from basis_blur.bridges import torchvision_shim
from basis_blur.foundation.errors import InputError
from basis_blur.weights.checkpoints import load_network

# The published layouts, written down a second time: keys and the shapes of their weights.


def cab(name, n):
    return {
        f'{name}.CA.conv_du.0.weight': (n // 4, n, 1, 1), f'{name}.CA.conv_du.2.weight': (n, n // 4, 1, 1),
        f'{name}.body.0.weight': (n, n, 3, 3), f'{name}.body.1.weight': (1,), f'{name}.body.2.weight': (n, n, 3, 3),
    }  # fmt: skip


def mprnet_shapes(n=8, step=4, more=4, num_cab=2):
    widths, last = (n, n + step, n + 2 * step), n + more
    shapes = {
        'concat12.weight': (n, 2 * n, 3, 3), 'concat23.weight': (last, 2 * n, 3, 3), 'tail.weight': (3, last, 3, 3)
    }  # fmt: skip
    for stage in (1, 2, 3):
        shapes |= {f'shallow_feat{stage}.0.weight': (n, 3, 3, 3)} | cab(f'shallow_feat{stage}.1', n)
    for stage in (1, 2):
        encoder, decoder = f'stage{stage}_encoder', f'stage{stage}_decoder'
        for level, width in enumerate(widths, 1):
            for block in (0, 1):
                shapes |= cab(f'{encoder}.encoder_level{level}.{block}', width)
                shapes |= cab(f'{decoder}.decoder_level{level}.{block}', width)
            if stage == 2:
                shapes[f'{encoder}.csff_enc{level}.weight'] = (width, width, 1, 1)
                shapes[f'{encoder}.csff_dec{level}.weight'] = (width, width, 1, 1)
        for level in (1, 2):
            before, after = widths[level - 1 : level + 1]
            shapes |= cab(f'{decoder}.skip_attn{level}', before)
            shapes[f'{encoder}.down{level}{level + 1}.down.1.weight'] = (after, before, 1, 1)
            shapes[f'{decoder}.up{level + 1}{level}.up.1.weight'] = (before, after, 1, 1)
    for sam in ('sam12', 'sam23'):
        for conv, shape in (('conv1', (n, n)), ('conv2', (3, n)), ('conv3', (n, 3))):
            shapes[f'{sam}.{conv}.weight'] = (*shape, 1, 1)
    for block in (1, 2, 3):
        for index in range(num_cab):
            shapes |= cab(f'stage3_orsnet.orb{block}.body.{index}', last)
        shapes[f'stage3_orsnet.orb{block}.body.{num_cab}.weight'] = (last, last, 3, 3)
    for part in ('enc', 'dec'):
        shapes[f'stage3_orsnet.up_{part}1.up.1.weight'] = (n, n + step, 1, 1)
        shapes[f'stage3_orsnet.up_{part}2.0.up.1.weight'] = (n + step, n + 2 * step, 1, 1)
        shapes[f'stage3_orsnet.up_{part}2.1.up.1.weight'] = (n, n + step, 1, 1)
        shapes |= {f'stage3_orsnet.conv_{part}{level}.weight': (last, n, 1, 1) for level in (1, 2, 3)}
    return shapes


def mimo_unet_shapes(w=8, num_res=2):
    shapes = {}

    def conv(name, before, after, size, transposed=False):
        weight = (before, after) if transposed else (after, before)
        shapes.update({f'{name}.main.0.weight': (*weight, size, size), f'{name}.main.0.bias': (after,)})

    for index, (before, after, size) in enumerate(
        [(3, w, 3), (w, 2 * w, 3), (2 * w, 4 * w, 3), (4 * w, 2 * w, 4), (2 * w, w, 4), (w, 3, 3)]
    ):
        conv(f'feat_extract.{index}', before, after, size, transposed=size == 4)
    for level, width in enumerate((w, 2 * w, 4 * w)):
        for block in range(num_res):
            for half in (0, 1):
                conv(f'Encoder.{level}.layers.{block}.main.{half}', width, width, 3)
                conv(f'Decoder.{2 - level}.layers.{block}.main.{half}', width, width, 3)
    for index, width in enumerate((4 * w, 2 * w)):
        conv(f'Convs.{index}', width, width // 2, 1)
        conv(f'ConvsOut.{index}', width, 3, 3)
        conv(f'FAM{index + 1}.merge', width, width, 3)
        conv(f'SCM{index + 1}.main.0', 3, width // 4, 3)
        conv(f'SCM{index + 1}.main.1', width // 4, width // 2, 1)
        conv(f'SCM{index + 1}.main.2', width // 2, width // 2, 3)
        conv(f'SCM{index + 1}.main.3', width // 2, width - 3, 1)
        conv(f'SCM{index + 1}.conv', width, width, 1)
    for index, width in enumerate((w, 2 * w)):
        conv(f'AFFs.{index}.conv.0', 7 * w, width, 1)
        conv(f'AFFs.{index}.conv.1', width, width, 3)
    return shapes


def deblurgan_shapes(w=4, num_blocks=9):
    convs = {1: (w, 3, 7), 4: (2 * w, w, 3), 7: (4 * w, 2 * w, 3)}
    first = 10 + num_blocks
    convs |= {first: (4 * w, 2 * w, 3), first + 3: (2 * w, w, 3), first + 7: (3, w, 7)}
    shapes = {f'model.{index}.weight': (*shape[:2], shape[2], shape[2]) for index, shape in convs.items()}
    shapes |= {f'model.{index}.bias': (shape[index in (first, first + 3)],) for index, shape in convs.items()}
    for block in range(10, first):
        for conv in (1, 6):
            shapes[f'model.{block}.conv_block.{conv}.weight'] = (4 * w, 4 * w, 3, 3)
            shapes[f'model.{block}.conv_block.{conv}.bias'] = (4 * w,)
    return shapes


def deblurgan_v2_shapes(w=2, backbone='mobilenet'):
    fine, coarse = 2 * w, 4 * w
    shapes, channels = {'mobilenet': mobilenet_shapes, 'inception': inception_shapes}[backbone]()
    for level, before in enumerate(channels):
        shapes[f'fpn.lateral{level}.weight'] = (fine if level == 0 else coarse, before, 1, 1)
    for level in (1, 2, 3, 4):
        shapes[f'head{level}.block0.weight'] = (fine, coarse, 3, 3)
        shapes[f'head{level}.block1.weight'] = (fine, fine, 3, 3)
    convs = {f'fpn.td{level}.0': (coarse, coarse) for level in (1, 2, 3)}
    convs |= {'smooth.0': (fine, 4 * fine), 'smooth2.0': (w, fine), 'final': (3, w)}
    for name, shape in convs.items():
        shapes |= {f'{name}.weight': (*shape, 3, 3), f'{name}.bias': shape[:1]}
    return shapes


def mobilenet_shapes():
    shapes, layer, before = {}, 0, 32

    def normalised(name, number, *shape):
        shapes[f'{name}.{number}.weight'] = shape
        shapes.update({f'{name}.{number + 1}.{kind}': shape[:1] for kind in ('weight', 'bias')})

    normalised('fpn.features.0', 0, 32, 3, 3, 3)
    for growth, after, blocks in ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 2)):
        for _ in range(blocks):
            layer, inside = layer + 1, growth * before
            name = f'fpn.features.{layer}.conv'
            if growth > 1:
                normalised(name, 0, inside, before, 1, 1)
            normalised(name, 3 * (growth > 1), inside, 1, 3, 3)
            normalised(name, 3 * (growth > 1) + 3, after, inside, 1, 1)
            before = after
    return shapes, (16, 24, 32, 64, 160)


def inception_shapes():
    shapes = {}

    def conv(name, *shape):
        shape = (*shape, 1, 1)[:4]
        shapes[f'fpn.inception.{name}.conv.weight'] = shape
        shapes.update({f'fpn.inception.{name}.bn.{kind}': shape[:1] for kind in ('weight', 'bias')})

    def branches(name, before, *branches):
        for number, convs in enumerate(branches):
            channels = before
            for index, shape in enumerate(convs):
                conv(f'{name}.branch{number}' + (f'.{index}' if len(convs) > 1 else ''), shape[0], channels, *shape[1:])
                channels = shape[0]

    def joined(name, after, before):
        shapes.update({f'{name}.conv2d.weight': (after, before, 1, 1), f'{name}.conv2d.bias': (after,)})

    for name, *shape in (('1a', 32, 3, 3, 3), ('2a', 32, 32, 3, 3), ('2b', 64, 32, 3, 3), ('3b', 80, 64),
                         ('4a', 192, 80, 3, 3)):  # fmt: skip
        conv(f'conv2d_{name}', *shape)
    branches('mixed_5b', 192, [(96,)], [(48,), (64, 5, 5)], [(64,), (96, 3, 3), (96, 3, 3)])
    conv('mixed_5b.branch3.1', 64, 192)
    branches('repeat.0', 320, [(32,)], [(32,), (32, 3, 3)], [(32,), (48, 3, 3), (64, 3, 3)])
    joined('fpn.inception.repeat.0', 320, 128)
    branches('mixed_6a', 320, [(384, 3, 3)], [(256,), (256, 3, 3), (384, 3, 3)])
    branches('repeat_1.0', 1088, [(192,)], [(128,), (160, 1, 7), (192, 7, 1)])
    joined('fpn.inception.repeat_1.0', 1088, 384)
    branches('mixed_7a', 1088, [(256,), (384, 3, 3)], [(256,), (288, 3, 3)], [(256,), (288, 3, 3), (320, 3, 3)])
    return shapes, (32, 64, 192, 1088, 2080)


def dmphn_shapes(w=4, levels=3, stacks=2):
    shapes = {}

    def conv(name, *shape, bias):
        shapes.update({f'{name}.weight': shape, f'{name}.bias': (bias,)})

    names = [f'_s{s + 1}_lv{lv + 1}' if stacks > 1 else f'_lv{lv + 1}' for s in range(stacks) for lv in range(levels)]
    for name in names:
        for first, width, before in ((1, w, 3), (5, 2 * w, w), (9, 4 * w, 2 * w)):
            conv(f'encoder{name}.layer{first}', width, before, 3, 3, bias=width)
        conv(f'decoder{name}.layer16', 4 * w, 2 * w, 4, 4, bias=2 * w)
        conv(f'decoder{name}.layer20', 2 * w, w, 4, 4, bias=w)
        conv(f'decoder{name}.layer24', 3, w, 3, 3, bias=3)
        for coder, blocks in (('encoder', ((2, 3), (6, 7), (10, 11))), ('decoder', ((21, 22), (17, 18), (13, 14)))):
            for width, layers in zip((w, 2 * w, 4 * w), blocks, strict=True):
                for layer in layers:
                    for index in (0, 2):
                        conv(f'{coder}{name}.layer{layer}.{index}', width, width, 3, 3, bias=width)
    return shapes


SHAPES = {
    'MPRNet': mprnet_shapes, 'MIMOUNet': mimo_unet_shapes, 'DeblurGANGenerator': deblurgan_shapes,
    'DeblurGANv2Generator': deblurgan_v2_shapes, 'DMPHN': dmphn_shapes,
}  # fmt: skip
SIZES = {
    'MPRNet': {'width': 8, 'unet_step': 4, 'full_size_step': 4, 'num_cab': 2},
    'MIMOUNet': {'width': 8, 'num_res': 2},
    'DeblurGANGenerator': {'width': 4, 'num_blocks': 9},
    'DeblurGANv2Generator': {'width': 2, 'backbone': 'mobilenet'},
    'DMPHN': {'width': 4, 'levels': 3, 'stacks': 2},
}


def state_of(name):
    return {key: torch.randn(shape).mul(0.3).float() for key, shape in SHAPES[name]().items()}


def loaded(tmp_path, checkpoint):
    tmp_path.mkdir(exist_ok=True)
    if any(re.match(r'(en|de)coder_.*lv\d', key) for key in checkpoint):
        return load_network(folder_of(tmp_path / 'DMPHN', checkpoint))
    torch.save(checkpoint, tmp_path / 'theirs.pth')
    return load_network(tmp_path / 'theirs.pth')


def folder_of(folder, state):
    """Write the weights as the authors of DMPHN do, a file for each encoder and decoder, in torch's former format."""
    folder.mkdir()
    for name in {key.partition('.')[0] for key in state}:
        part = {key[len(name) + 1 :]: value for key, value in state.items() if key.startswith(f'{name}.')}
        torch.save(part, folder / f'{name}.pkl', _use_new_zipfile_serialization=False)
    return folder


@pytest.mark.parametrize('name', SHAPES)
def test_every_weight_is_used_once_and_sizes_are_read_off_the_shapes(tmp_path, name):
    state = state_of(name)
    net = loaded(tmp_path, state)
    assert type(net).__name__ == name
    assert {key: net.hyper_parameters[key] for key in SIZES[name]} == SIZES[name]
    ours = sorted(value.sum().item() for value in net.state_dict().values())
    assert ours == sorted(value.sum().item() for value in state.values())


@pytest.mark.parametrize(
    ('name', 'millions'), [('MPRNet', 20.127), ('MIMOUNet', 16.108), ('DeblurGANGenerator', 11.378)]
)
def test_the_defaults_have_the_published_number_of_weights(name, millions):
    with torch.device('meta'):
        net = ARCHS[name]()
    assert sum(each.numel() for each in net.parameters()) / 1e6 == pytest.approx(millions, abs=6e-4)


@pytest.mark.parametrize('name', [name for name in SHAPES if name != 'DMPHN'])
def test_the_wrappings_of_checkpoints_are_taken_off(tmp_path, name):
    state = state_of(name)
    for checkpoint in ({'model': state}, {'state_dict': {f'module.{key}': value for key, value in state.items()}}):
        assert type(loaded(tmp_path, checkpoint)).__name__ == name


@pytest.mark.parametrize('name', SHAPES)
def test_weights_are_loaded_strictly(tmp_path, name):
    state = state_of(name)
    lost = next(
        key for key in state if re.search(r'(body\.2|main\.0|\.6|head3\.block1|layer6\.2)\.(.*\.)?weight$', key)
    )
    with pytest.raises(InputError, match='it lacks'):
        loaded(tmp_path, {key: value for key, value in state.items() if key != lost})
    with pytest.raises(InputError, match=r'unexpected stranger\.weight'):
        loaded(tmp_path / 'again', {**state, 'stranger.weight': torch.zeros(1)})


def mimo_unet_forward(state, photo):
    """The restored photo by the published weights: nearest neighbours when sizes change [Cho21, Fig. 2 to 4]."""

    def conv(name, x, stride=1, act=True):
        weight, bias = state[f'{name}.main.0.weight'], state[f'{name}.main.0.bias']
        x = F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2)
        return x.relu() if act else x

    def blocks(name, x):
        for block in range(2):
            first = conv(f'{name}.layers.{block}.main.0', x)
            x = x + conv(f'{name}.layers.{block}.main.1', first, act=False)
        return x

    def small_photo(name, x):
        seen = x
        for index in range(4):
            seen = conv(f'{name}.main.{index}', seen)
        return conv(f'{name}.conv', torch.cat([x, seen], 1), act=False)

    def fuse(index, *features):
        return conv(f'AFFs.{index}.conv.1', conv(f'AFFs.{index}.conv.0', torch.cat(features, 1)), act=False)

    def merge(name, x, y):
        return x + conv(f'{name}.merge', x * y, act=False)

    def up(index, x):
        key = f'feat_extract.{index}.main.0'
        return F.conv_transpose2d(x, state[f'{key}.weight'], state[f'{key}.bias'], 2, 1).relu()

    def repeated(x, times):
        return x.repeat_interleave(times, 2).repeat_interleave(times, 3)

    one = blocks('Encoder.0', conv('feat_extract.0', photo))
    two = merge('FAM2', conv('feat_extract.1', one, 2), small_photo('SCM2', photo[..., ::2, ::2]))
    two = blocks('Encoder.1', two)
    three = merge('FAM1', conv('feat_extract.2', two, 2), small_photo('SCM1', photo[..., ::4, ::4]))
    three = blocks('Encoder.2', three)
    skip_two = fuse(1, one[..., ::2, ::2], two, repeated(three, 2))
    skip_one = fuse(0, one, repeated(two, 2), repeated(three, 4))
    x = up(3, blocks('Decoder.0', three))
    x = up(4, blocks('Decoder.1', conv('Convs.0', torch.cat([x, skip_two], 1))))
    x = blocks('Decoder.2', conv('Convs.1', torch.cat([x, skip_one], 1)))
    return photo + conv('feat_extract.5', x, act=False)


def test_mimo_unet_restores_as_the_published_network(tmp_path):
    state = state_of('MIMOUNet')
    photo = torch.rand(1, 3, 16, 24).float()
    expected = mimo_unet_forward(state, photo)
    torch.testing.assert_close(loaded(tmp_path, state)(photo), expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


def test_mprnet_restores_as_the_published_network(tmp_path):
    torchvision_shim.install()
    extra = pytest.importorskip('spandrel_extra_arches')
    spandrel = pytest.importorskip('spandrel')
    extra.install(ignore_duplicates=True)
    state = state_of('MPRNet')
    slope = state['shallow_feat1.1.body.1.weight']  # the published network has one for all
    state = {key: slope if key.endswith('body.1.weight') else value for key, value in state.items()}
    theirs = spandrel.ModelLoader().load_from_state_dict(dict(state)).model.float().eval()
    photo = torch.rand(1, 3, 32, 48).float()
    with torch.no_grad():
        expected = theirs(photo)[0]
    torch.testing.assert_close(loaded(tmp_path, state)(photo), expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


def deblurgan_forward(state, photo):
    """The restored photo by the published weights [Kupyn18, Fig. 3], which see and make photos in [-1, 1]."""

    def conv(name, x, stride=1, reflected=0):
        x = F.pad(x, (reflected,) * 4, mode='reflect')
        return F.conv2d(x, state[f'{name}.weight'], state[f'{name}.bias'], stride, padding=int(stride == 2))

    def normalised(x):
        return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()

    def enlarged(name, x):
        return F.conv_transpose2d(x, state[f'{name}.weight'], state[f'{name}.bias'], 2, 1, output_padding=1)

    x = normalised(conv('model.1', 2 * photo - 1, reflected=3)).relu()
    x = normalised(conv('model.7', normalised(conv('model.4', x, 2)).relu(), 2)).relu()
    for block in range(10, 19):
        seen = normalised(conv(f'model.{block}.conv_block.1', x, reflected=1)).relu()
        x = x + normalised(conv(f'model.{block}.conv_block.6', seen, reflected=1))
    x = normalised(enlarged('model.22', normalised(enlarged('model.19', x)).relu())).relu()
    return (2 * photo + conv('model.26', x, reflected=3).tanh()) / 2


def test_deblurgan_restores_as_the_published_network(tmp_path):
    state = {key: value.double() for key, value in state_of('DeblurGANGenerator').items()}
    photo = torch.rand(1, 3, 16, 24)
    torch.testing.assert_close(loaded(tmp_path, state)(photo), deblurgan_forward(state, photo))


def test_counted_means_of_deblurgan_are_left_out(tmp_path):
    state = state_of('DeblurGANGenerator')
    counted = {'model.2.running_mean': torch.ones(4), 'model.10.conv_block.2.num_batches_tracked': torch.tensor(3)}
    ours, with_counted = loaded(tmp_path, state), loaded(tmp_path, {**state, **counted})
    photo = torch.rand(1, 3, 16, 16).float()
    assert torch.equal(ours(photo), with_counted(photo))


def test_means_and_what_stands_twice_in_deblurgan_v2_is_left_out(tmp_path):
    state = state_of('DeblurGANv2Generator')
    more = {f'fpn.enc0.{key[len("fpn.features.") :]}': value for key, value in state.items() if '.features.0.' in key}
    more |= {'fpn.features.16.conv.0.weight': torch.ones(1), 'smooth.1.running_mean': torch.ones(4)}
    more |= {'fpn.features.1.conv.1.running_var': torch.ones(32), 'fpn.td1.1.num_batches_tracked': torch.tensor(3)}
    ours, with_more = loaded(tmp_path, state), loaded(tmp_path, {**state, **more})
    photo = torch.rand(1, 3, 40, 64).float()
    assert torch.equal(ours(photo), with_more(photo))


def deblurgan_v2_forward(state, photo, groups, paddings):
    """The restored photo by the published weights [Kupyn19, Fig. 1], over features that `groups` find."""

    def conv(name, x):
        return F.conv2d(x, state[f'{name}.weight'], state.get(f'{name}.bias'), padding=1)

    def normalised(name, x):
        x = conv(name, x)
        return ((x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()).relu()

    def repeated(x, times):
        return x.repeat_interleave(times, 2).repeat_interleave(times, 3)

    height, width = photo.shape[-2:]
    x = photo = F.pad(2 * photo - 1, (0, 32 - width % 32, 0, 32 - height % 32))
    maps = []
    for level, (group, padding) in enumerate(zip(groups, paddings, strict=True)):
        x = group(x)
        maps.append(F.pad(F.conv2d(x, state[f'fpn.lateral{level}.weight']), padding, mode='reflect'))
    for level, name in ((3, 'td1'), (2, 'td2'), (1, 'td3')):
        maps[level] = normalised(f'fpn.{name}.0', maps[level] + repeated(maps[level + 1], 2))
    heads = [
        repeated(conv(f'head{level}.block1', conv(f'head{level}.block0', maps[level]).relu()).relu(), 2 ** (level - 1))
        for level in (4, 3, 2, 1)
    ]
    x = normalised('smooth2.0', maps[0] + repeated(normalised('smooth.0', torch.cat(heads, 1)), 2))
    image = (photo + conv('final', repeated(x, 2)).tanh()) / 2 + 0.5
    return image[..., :height, :width]


def test_deblurgan_v2_with_mobilenet_restores_as_the_published_network(tmp_path):
    torchvision_shim.install()
    models = pytest.importorskip('torchvision.models')
    state = {key: value.double() for key, value in state_of('DeblurGANv2Generator').items()}
    features = models.mobilenet_v2().double().features[:16].train()  # its authors restore in the mode of training
    backbone = [value for key, value in state.items() if key.startswith('fpn.features.')]
    for own, value in zip(features.parameters(), backbone, strict=True):
        assert own.shape == value.shape
        own.data = value
    groups = [features[start:end] for start, end in ((0, 2), (2, 4), (4, 7), (7, 11), (11, 16))]
    photo = torch.rand(1, 3, 40, 64)
    with torch.no_grad():
        expected = deblurgan_v2_forward(state, photo, groups, [(0, 0, 0, 0)] * 5)
        torch.testing.assert_close(loaded(tmp_path, state)(photo), expected, rtol=1e-6, atol=1e-6)


def test_deblurgan_v2_with_inception_is_told_by_its_keys(tmp_path):
    state = {key: torch.randn(shape).float() for key, shape in deblurgan_v2_shapes(backbone='inception').items()}
    net = loaded(tmp_path, {'model': {f'module.{key}': value for key, value in state.items()}})
    assert net.hyper_parameters == {'backbone': 'inception', 'width': 2, 'blocks': (1, 1)}
    assert sorted(map(tuple, (value.shape for value in net.state_dict().values()))) == sorted(
        tuple(value.shape) for value in state.values()
    )


def test_deblurgan_v2_with_inception_restores_as_the_published_network(tmp_path):
    torchvision_shim.install()
    timm = pytest.importorskip('timm')
    net = timm.create_model('inception_resnet_v2').double().train()
    layers = (
        [net.conv2d_1a], [net.conv2d_2a, net.conv2d_2b, net.maxpool_3a], [net.conv2d_3b, net.conv2d_4a, net.maxpool_5a],
        [net.mixed_5b, net.repeat, net.mixed_6a], [net.repeat_1, net.mixed_7a],
    )  # fmt: skip
    shapes = deblurgan_v2_shapes(backbone='inception')
    state = {key: 0.3 * torch.randn(shape) for key, shape in shapes.items() if '.inception.' not in key}
    theirs = {f'fpn.inception.{key}': value for key, value in net.state_dict().items() if 'classif' not in key}
    photo = torch.rand(1, 3, 100, 128)
    paddings = [(0, 1, 0, 1), (1, 1, 1, 1), (1, 2, 1, 2), (1, 1, 1, 1), (1, 1, 1, 1)]
    with torch.no_grad():
        expected = deblurgan_v2_forward(state, photo, [torch.nn.Sequential(*each) for each in layers], paddings)
        restored = loaded(tmp_path, {**state, **theirs})(photo)
    torch.testing.assert_close(restored, expected, rtol=1e-6, atol=1e-6)


def dmphn_forward(state, photo):
    """The restored photo by the published weights [Zhang19, Fig. 2, 3]: two networks of a whole, halves, quarters."""

    def block(name, x):
        return x + conv(f'{name}.2', conv(f'{name}.0', x).relu())

    def conv(name, x, stride=1):
        return F.conv2d(x, state[f'{name}.weight'], state[f'{name}.bias'], stride, 1)

    def encode(name, x):
        for first, stride in ((1, 1), (5, 2), (9, 2)):
            x = conv(f'encoder_{name}.layer{first}', x, stride)
            x = block(f'encoder_{name}.layer{first + 2}', block(f'encoder_{name}.layer{first + 1}', x))
        return x

    def decode(name, x):
        for first, up in ((13, 16), (17, 20), (21, None)):
            x = block(f'decoder_{name}.layer{first + 1}', block(f'decoder_{name}.layer{first}', x))
            if up is not None:
                key = f'decoder_{name}.layer{up}'
                x = F.conv_transpose2d(x, state[f'{key}.weight'], state[f'{key}.bias'], 2, 1)
        return conv(f'decoder_{name}.layer24', x)

    def rows(x):
        return x[:, :, : x.shape[2] // 2], x[:, :, x.shape[2] // 2 :]

    def columns(x):
        return x[..., : x.shape[3] // 2], x[..., x.shape[3] // 2 :]

    image, first, before = photo - 0.5, 0, {3: (0, 0), 2: (0, 0), 1: 0}
    for stack in ('s1', 's2'):
        third = [
            torch.cat([encode(f'{stack}_lv3', part) for part in columns(half)], 3) + other
            for half, other in zip(rows(image), before[3], strict=True)
        ]
        second = [
            encode(f'{stack}_lv2', half + decode(f'{stack}_lv3', seen)) + seen + other
            for half, seen, other in zip(rows(image), third, before[2], strict=True)
        ]
        whole = torch.cat(second, 2)
        corrected = image + decode(f'{stack}_lv2', whole) + first
        whole = encode(f'{stack}_lv1', corrected) + whole + before[1]
        image = decode(f'{stack}_lv1', whole)
        first, before = image, {3: third, 2: second, 1: whole}
    return image + 0.5


def test_dmphn_restores_as_the_published_network(tmp_path):
    state = {key: value.double() for key, value in state_of('DMPHN').items()}
    photo = torch.rand(1, 3, 16, 24)
    torch.testing.assert_close(loaded(tmp_path, state)(photo), dmphn_forward(state, photo))


def test_a_folder_of_four_levels_is_one_dmphn(tmp_path):
    state = {key: torch.randn(shape).float() for key, shape in dmphn_shapes(2, levels=4, stacks=1).items()}
    net = loaded(tmp_path, state)
    assert net.hyper_parameters == {'in_channels': 3, 'width': 2, 'levels': 4, 'stacks': 1}


def test_a_folder_of_other_files_is_refused(tmp_path):
    torch.save({}, tmp_path / 'net_g_latest.pth')
    with pytest.raises(InputError, match=r'is a folder with 0 files that end with \.pkl'):
        load_network(tmp_path)
