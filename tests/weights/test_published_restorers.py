"""Published weights of MPRNet, MIMO-UNet and DeblurGAN load, strictly, and restore as their networks do."""

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


SHAPES = {'MPRNet': mprnet_shapes, 'MIMOUNet': mimo_unet_shapes, 'DeblurGANGenerator': deblurgan_shapes}
SIZES = {
    'MPRNet': {'width': 8, 'unet_step': 4, 'full_size_step': 4, 'num_cab': 2},
    'MIMOUNet': {'width': 8, 'num_res': 2},
    'DeblurGANGenerator': {'width': 4, 'num_blocks': 9},
}


def state_of(name):
    return {key: torch.randn(shape).mul(0.3).float() for key, shape in SHAPES[name]().items()}


def loaded(tmp_path, checkpoint):
    torch.save(checkpoint, tmp_path / 'theirs.pth')
    return load_network(tmp_path / 'theirs.pth')


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


@pytest.mark.parametrize('name', SHAPES)
def test_the_wrappings_of_checkpoints_are_taken_off(tmp_path, name):
    state = state_of(name)
    for checkpoint in ({'model': state}, {'state_dict': {f'module.{key}': value for key, value in state.items()}}):
        assert type(loaded(tmp_path, checkpoint)).__name__ == name


@pytest.mark.parametrize('name', SHAPES)
def test_weights_are_loaded_strictly(tmp_path, name):
    state = state_of(name)
    lost = next(
        key for key in state if key.endswith('.weight') and ('body.2' in key or 'main.0' in key or '.6.' in key)
    )
    with pytest.raises(InputError, match='it lacks'):
        loaded(tmp_path, {key: value for key, value in state.items() if key != lost})
    with pytest.raises(InputError, match=r'unexpected stranger\.weight'):
        loaded(tmp_path, {**state, 'stranger.weight': torch.zeros(1)})


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


def test_counted_means_of_deblurgan_are_left_out(tmp_path):
    state = state_of('DeblurGANGenerator')
    counted = {'model.2.running_mean': torch.ones(4), 'model.10.conv_block.2.num_batches_tracked': torch.tensor(3)}
    ours, with_counted = loaded(tmp_path, state), loaded(tmp_path, {**state, **counted})
    photo = torch.rand(1, 3, 16, 16).float()
    assert torch.equal(ours(photo), with_counted(photo))
