"""Networks come back from files exactly as they were, or not at all and with a sentence that says why."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F

from basis_blur.archs import BasisKPN
from basis_blur.foundation.errors import InputError
from basis_blur.simulation.camera_shake import shake_kernels
from basis_blur.weights.checkpoints import NAMES, load_network, save_network


def small(**hyper_parameters):
    torch.manual_seed(1)
    return BasisKPN(**{'num_feat': 2, 'num_kernels': 3, **hyper_parameters}).eval()


def same_weights(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


# The published layout [C21], written down a second time: key of every convolution and the shape of its weight.


def two_heads_shapes(n, num_kernels, kernel_size):
    encoder = (n, n, 2 * n, 4 * n, 8 * n, 16 * n)
    mixing = (16 * n, 8 * n, 4 * n, 2 * n, n, n)
    kernels = (16 * n, 8 * n, 4 * n, 4 * n, 2 * n, n)
    shapes = {'inc_rgb.0': (n, 3, 3, 3), 'inc_gray.0': (n, 1, 3, 3), 'feat.0': (16 * n, 16 * n, 3, 3)}
    for block in range(1, 6):
        before, after = encoder[block - 1 : block + 1]
        shapes[f'down{block}.double_conv.0'] = (after, before, 3, 3)
        shapes[f'down{block}.double_conv.2'] = (after, after, 3, 3)
        shapes |= up_shapes(f'up{block}', *mixing[block - 1 : block + 1], skip=encoder[6 - block])
        shapes |= up_shapes(f'kernel_up{block}', *kernels[block - 1 : block + 1], skip=encoder[6 - block])
    if kernel_size == 65:
        shapes |= up_shapes('kernel_up6', n, n, skip=0)
    for tail, size in (('masks_end', 3), ('kernels_end', 2)):
        shapes[f'{tail}.0'] = (n, n, size, size)
        shapes[f'{tail}.2'] = (n, n, 3, 3)
        shapes[f'{tail}.4'] = (num_kernels, n, 3, 3)
    weights = {f'{key}.weight': shape for key, shape in shapes.items()}
    return weights | {f'{key}.bias': shape[:1] for key, shape in shapes.items()}


def up_shapes(name, before, after, skip):
    return {
        f'{name}.up': (before, before, 2, 2),
        f'{name}.double_conv.0': (after, before, 3, 3),
        f'{name}.double_conv.2': (after, after, 3, 3),
        f'{name}.feat.0': (after, skip + after, 3, 3),
    }


def two_heads_state(n=2, num_kernels=3, kernel_size=33):
    shapes = two_heads_shapes(n, num_kernels, kernel_size)
    return {
        key: torch.randn(shape) * (2 / math.prod(shape[1:]) if shape[1:] else 0.01) ** 0.5
        for key, shape in shapes.items()
    }


def two_heads_forward(state, light):
    """The published network as its description has it: correlation kernels and mixing."""

    def conv(key, x, padding=1, act=True):
        y = F.conv2d(x, state[f'{key}.weight'], state[f'{key}.bias'], padding=padding)
        return F.leaky_relu(y, 0.01) if act else y

    def up(key, x, skip):
        x = F.conv_transpose2d(x, state[f'{key}.up.weight'], state[f'{key}.up.bias'], stride=2)
        x = conv(f'{key}.double_conv.2', conv(f'{key}.double_conv.0', x))
        return conv(f'{key}.feat.0', x if skip is None else torch.cat([skip, x], 1))

    def tail(key, x):
        return conv(f'{key}.4', conv(f'{key}.2', conv(f'{key}.0', x)), act=False)

    x, skips = conv('inc_rgb.0' if light.shape[1] == 3 else 'inc_gray.0', light - 0.5), []
    for block in range(1, 6):
        x = conv(f'down{block}.double_conv.2', conv(f'down{block}.double_conv.0', x))
        skips.insert(0, x)
        x = F.max_pool2d(x, 2)
    features = conv('feat.0', x)

    x = features
    for block, skip in enumerate(skips, 1):
        x = up(f'up{block}', x, skip)
    mixing = tail('masks_end', x).softmax(1)

    x = features.mean((2, 3), keepdim=True)
    for block, skip in enumerate(skips, 1):
        x = up(f'kernel_up{block}', x, skip.mean((2, 3), keepdim=True).repeat(1, 1, 2**block, 2**block))
    if 'kernel_up6.up.weight' in state:
        x = up('kernel_up6', x, None)
    kernels = tail('kernels_end', x)
    return kernels.flatten(2).softmax(2).view(kernels.shape), mixing


@pytest.mark.parametrize('hyper_parameters', [{}, {'kernel_size': 65, 'norm': 'group', 'in_channels': 1}], ids=str)
def test_a_saved_network_comes_back_the_same(tmp_path, hyper_parameters):
    net = small(**hyper_parameters)
    save_network(net.train(), tmp_path / 'new' / 'net.safetensors')
    again = load_network(tmp_path / 'new' / 'net.safetensors')
    assert same_weights(again, net)
    assert again.hyper_parameters == net.hyper_parameters
    assert not again.training
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_what_is_beside_the_weights_is_readable_by_others(tmp_path):
    save_network(small(), tmp_path / 'net.safetensors', {'trained_on': 'ADE20K'})
    with safetensors.safe_open(tmp_path / 'net.safetensors', framework='pt') as file:
        facts = file.metadata()
    assert (facts['arch'], facts['trained_on']) == ('BasisKPN', 'ADE20K')
    assert json.loads(facts['hyper_parameters'])['num_kernels'] == 3


def test_half_precision_weights_are_computed_in_float32(tmp_path):
    save_network(small().half(), tmp_path / 'net.safetensors')
    assert next(load_network(tmp_path / 'net.safetensors').parameters()).dtype == torch.float32


def test_weights_are_halved_for_the_file_alone(tmp_path):
    net = small()
    save_network(net, tmp_path / 'net.safetensors', dtype=torch.float16)
    again = load_network(tmp_path / 'net.safetensors')
    assert {value.dtype for value in safetensors.torch.load_file(tmp_path / 'net.safetensors').values()} == {
        torch.float16
    }
    for ours, theirs in zip(net.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours.half().float(), rtol=0, atol=0, check_dtype=False)


def test_a_weight_that_half_precision_cannot_hold_is_not_saved(tmp_path):
    net = small()
    next(net.parameters()).data[0] = 1e6
    with pytest.raises(ValueError, match=r'stem\.conv\.weight reaches 1e\+06, which torch\.float16 cannot hold'):
        save_network(net, tmp_path / 'net.safetensors', dtype=torch.float16)


def test_a_loaded_network_outlives_its_file(tmp_path):
    save_network(small(), tmp_path / 'net.safetensors')
    net = load_network(tmp_path / 'net.safetensors')
    (tmp_path / 'net.safetensors').write_bytes(b'')
    assert same_weights(net, small())


@pytest.mark.parametrize('kernel_size', [33, 65])
def test_published_weights_predict_the_same_mixing_and_the_kernels_turned(tmp_path, kernel_size):
    state, light = two_heads_state(n=6, kernel_size=kernel_size), torch.rand(2, 3, 32, 64)
    torch.save(state, tmp_path / 'two_heads.pth')
    field = load_network(tmp_path / 'two_heads.pth')(light)
    kernels, mixing = two_heads_forward(state, light)
    assert (kernels - kernels.flip(-2, -1)).abs().max() > 0.1 * kernels.max(), 'the kernels must not be symmetric'
    torch.testing.assert_close(field.kernels, kernels.flip(-2, -1))
    torch.testing.assert_close(field.mixing, mixing)


def test_published_weights_have_an_entrance_for_gray(tmp_path):
    state, light = two_heads_state(), torch.rand(1, 1, 32, 32)
    torch.save(state, tmp_path / 'two_heads.pth')
    torch.testing.assert_close(
        load_network(tmp_path / 'two_heads.pth')(light).mixing, two_heads_forward(state, light)[1]
    )


def test_the_size_of_a_published_network_is_read_off_the_shapes(tmp_path):
    torch.save(two_heads_state(n=3, num_kernels=5, kernel_size=65), tmp_path / 'two_heads.pth')
    found = load_network(tmp_path / 'two_heads.pth').hyper_parameters
    assert (found['num_feat'], found['num_kernels'], found['kernel_size'], found['gray_stem']) == (3, 5, 65, True)


@pytest.mark.parametrize('kernel_size', [33, 65])
def test_the_layout_is_the_published_list(shared_data, kernel_size):
    lines = (shared_data.parent / 'spec' / f'two_heads_b25_k{kernel_size}_state_dict.tsv').read_text().splitlines()
    published = {key: tuple(map(int, shape.split('x'))) for key, shape in (line.split('\t') for line in lines[1:])}
    assert two_heads_shapes(64, 25, kernel_size) == published


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (lambda state: state.pop('up3.feat.0.bias'), r'lacks up3\.feat\.0\.bias\.'),
        (lambda state: state.pop('inc_rgb.0.weight'), r'lacks inc_rgb\.0\.weight'),
        (lambda state: state.update({'up9.up.bias': torch.zeros(2)}), r'unexpected up9\.up\.bias'),
        (lambda state: state.update({'down6.double_conv.0.bias': torch.zeros(2)}), r'unexpected down6'),
        (lambda state: state.update({'stem.conv.bias': torch.zeros(2)}), r'unexpected stem\.conv\.bias'),
        (
            lambda state: state.update({'feat.0.bias': torch.zeros(31)}),
            r'has feat\.0\.bias of shape \(31,\) instead of \(32,\)',
        ),
        (lambda state: state.update({'feat.0.bias': torch.zeros(32).long()}), r'feat\.0\.bias in torch\.int64'),
        (lambda state: state['feat.0.bias'].fill_(float('nan')), r'not finite, in bottleneck'),
    ],
    ids=['missing', 'no entrance', 'unexpected', 'one block more', 'our name', 'shape', 'whole numbers', 'NaN'],
)
def test_published_weights_are_loaded_strictly(tmp_path, damage, words):
    state = two_heads_state()
    damage(state)
    torch.save(state, tmp_path / 'two_heads.pth')
    with pytest.raises(InputError, match=words):
        load_network(tmp_path / 'two_heads.pth')


def test_every_single_missing_key_is_named(tmp_path):
    state = two_heads_state()
    for key in state:
        torch.save({name: value for name, value in state.items() if name != key}, tmp_path / 'two_heads.pth')
        if key == 'inc_gray.0.weight':
            continue  # together with its bias it is optional, and its bias alone is unexpected
        with pytest.raises(InputError, match=re.escape(key)):
            load_network(tmp_path / 'two_heads.pth')


def test_a_basicsr_checkpoint_gives_its_averaged_weights(tmp_path):
    net, averaged = small(), BasisKPN(num_feat=2, num_kernels=3)
    checkpoint = {
        'params': net.state_dict(),
        'params_ema': averaged.state_dict(),
        'hyper_parameters': {'type': 'BasisKPN', **net.hyper_parameters},
    }
    torch.save(checkpoint, tmp_path / 'net_g_100.pth')
    assert same_weights(load_network(tmp_path / 'net_g_100.pth'), averaged)


@pytest.mark.parametrize('hyper_parameters', [{'kernel_size': 65, 'norm': 'group'}, {'in_channels': 1}], ids=str)
def test_a_checkpoint_without_hyper_parameters_shows_them_by_its_shapes(tmp_path, hyper_parameters):
    net = small(**hyper_parameters)
    torch.save({'params': net.state_dict()}, tmp_path / 'net_g.pth')
    found = load_network(tmp_path / 'net_g.pth')
    assert found.hyper_parameters == net.hyper_parameters
    assert same_weights(found, net)


def test_the_kind_of_file_is_told_by_its_content(tmp_path):
    save_network(small(), tmp_path / 'net.safetensors')
    (tmp_path / 'net.safetensors').rename(tmp_path / 'net.pth')
    assert same_weights(load_network(tmp_path / 'net.pth'), small())
    torch.save(small().state_dict(), tmp_path / 'old.pt', _use_new_zipfile_serialization=False)
    assert same_weights(load_network(tmp_path / 'old.pt'), small())


class Trap:
    def __reduce__(self):
        return os.mkdir, ('trapped',)


@pytest.mark.parametrize('content', [Trap(), {'params': small().state_dict(), 'extra': Trap()}], ids=['bare', 'beside'])
def test_pickled_code_is_refused_and_not_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, 'net.pth')
    with pytest.raises(InputError, match='holds pickled code.* mkdir|holds pickled code.*posix.mkdir'):
        load_network('net.pth')
    assert os.listdir() == ['net.pth']


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(small(), tmp_path / 'net.pth')
    with pytest.raises(InputError, match=r'BasisKPN.*save its state_dict\(\)'):
        load_network(tmp_path / 'net.pth')


def saved(folder, kind):
    path = folder / f'net.{kind}'
    if kind == 'safetensors':
        save_network(small(), path)
    else:
        torch.save({'params': small().state_dict()}, path, _use_new_zipfile_serialization=kind == 'pth')
    return path


@pytest.mark.parametrize('kind', ['safetensors', 'pth', 'pt'])
@pytest.mark.parametrize('part', [0, 5, 30, 300, 0.5, 0.95, -1])
def test_a_truncated_file_is_named(tmp_path, kind, part):
    path = saved(tmp_path, kind)
    content = path.read_bytes()
    path.write_bytes(content[: part if isinstance(part, int) else int(part * len(content))])
    with pytest.raises(InputError, match=re.escape(str(path))):
        load_network(path)


@pytest.mark.parametrize('kind', ['safetensors', 'pth', 'pt'])
def test_damage_is_named_or_does_not_matter(tmp_path, kind):
    path = saved(tmp_path, kind)
    content = path.read_bytes()
    draw = torch.Generator().manual_seed(0)
    for _ in range(60):
        damaged = bytearray(content)
        for place in torch.randint(min(3000, len(content)), (3,), generator=draw):
            damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            load_network(path)
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017, either outcome is right, other exceptions are not


@pytest.mark.parametrize(
    ('checkpoint', 'words'),
    [
        ({'net.0.s_net.0.weight': torch.zeros(2)}, r'holds a kernel flow \(KernelFlow\).*expected BasisKPN'),
        ({'params': {'kernel_down.0.weight': torch.zeros(2)}}, r'holds UFPNet.*expected BasisKPN'),
        ({'layer1.weight': torch.zeros(2)}, r'not known here; its keys are layer1\.weight\. Expected BasisKPN'),
        ({'params': {'a': torch.zeros(2)}, 'hyper_parameters': {'type': 'NAFNet'}}, 'holds NAFNet, expected BasisKPN'),
        ({'epoch': 3, 'iter': 7, 'optimizers': [], 'schedulers': []}, 'training state of BasicSR'),
        ({'params': {}}, 'it is empty'),
        ({'params': small().state_dict(), 'hyper_parameters': [1]}, 'expected a dict with the key "type"'),
        ([torch.zeros(2)], 'holds a list, expected a dict of tensors'),
        ({'stem.conv.weight': 'text'}, r'no state dict: stem\.conv\.weight'),
    ],
)
def test_another_architecture_or_no_weights_at_all_is_told_apart(tmp_path, checkpoint, words):
    torch.save(checkpoint, tmp_path / 'net.pth')
    with pytest.raises(InputError, match=words):
        load_network(tmp_path / 'net.pth', expect='BasisKPN')
    with pytest.raises(InputError):
        load_network(tmp_path / 'net.pth')


@pytest.mark.parametrize(
    ('facts', 'words'),
    [
        ({'arch': 'BasisKPM', 'hyper_parameters': '{}'}, 'BasisKPM, which is no network.*Did you mean "BasisKPN"'),
        ({'arch': 'BasisKPN'}, 'no readable hyper_parameters'),
        ({'arch': 'BasisKPN', 'hyper_parameters': 'null'}, 'hyper_parameters None .*expected a dict'),
        ({'arch': 'BasisKPN', 'hyper_parameters': '{"num_feet": 2}'}, 'num_feet.*Did you mean "num_feat"'),
        ({'arch': 'BasisKPN', 'hyper_parameters': '{"num_feat": 0}'}, 'cannot be built: num_feat is 0'),
        ({'arch': 'BasisKPN', 'hyper_parameters': '{"num_feat": 16}'}, r'\(2, 3, 3, 3\) instead of \(16, 3, 3, 3\)'),
    ],
)
def test_metadata_that_does_not_describe_the_weights_is_refused(tmp_path, facts, words):
    safetensors.torch.save_file(small().state_dict(), tmp_path / 'net.safetensors', facts)
    with pytest.raises(InputError, match=words):
        load_network(tmp_path / 'net.safetensors')


def test_safetensors_of_others_are_recognised_by_their_keys(tmp_path):
    state = two_heads_state()
    safetensors.torch.save_file(state, tmp_path / 'two_heads.safetensors')
    torch.save(state, tmp_path / 'two_heads.pth')
    assert same_weights(load_network(tmp_path / 'two_heads.safetensors'), load_network(tmp_path / 'two_heads.pth'))


def test_a_missing_file_and_an_unknown_name_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no weights file'):
        load_network(tmp_path / 'net.safetensors')
    with pytest.raises(
        InputError, match=r'no weights named "corelation_kpm".*Did you mean "correlation_kpn".*Give the path'
    ):
        load_network('corelation_kpm')
    (tmp_path / 'photo.pth').write_bytes(b'<html>not found</html>')
    with pytest.raises(InputError, match='neither a safetensors file nor'):
        load_network(tmp_path / 'photo.pth')


def test_only_networks_of_the_package_are_saved_and_only_as_safetensors(tmp_path):
    with pytest.raises(InputError, match=r'expected "\.safetensors"'):
        save_network(small(), tmp_path / 'net.pth')
    with pytest.raises(ValueError, match='is a Sequential, expected one of BasisKPN'):
        save_network(torch.nn.Sequential(small()), tmp_path / 'net.safetensors')
    for metadata in ({'arch': 'mine'}, {'psnr': 28.1}):
        with pytest.raises(ValueError, match='expected texts under keys other than'):
            save_network(small(), tmp_path / 'net.safetensors', metadata)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == 'win32', reason='needs a limit of the file size')
def test_a_full_disk_is_an_oserror_and_leaves_the_old_file(tmp_path):
    path = tmp_path / 'net.safetensors'
    save_network(small(), path)
    before = path.read_bytes()
    code = (
        'import resource, sys\n'
        'from basis_blur.archs import BasisKPN\n'
        'from basis_blur.weights.checkpoints import save_network\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n'
        'try:\n'
        '    save_network(BasisKPN(num_feat=2), sys.argv[1])\n'
        'except OSError as error:\n'
        '    print(type(error).__name__, error.errno)\n'
    )
    done = subprocess.run([sys.executable, '-c', code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith('OSError')
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['net.safetensors']


def test_a_name_goes_before_what_lies_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'kernel_flow').mkdir()
    save_network(small(), tmp_path / 'net.safetensors')
    (tmp_path / 'net.safetensors').rename('correlation_kpn')
    assert type(load_network('kernel_flow')).__name__ == 'KernelFlow'
    assert type(load_network('correlation_kpn')).__name__ == 'CorrelationKPN'
    for meant in (Path('correlation_kpn'), './correlation_kpn'):
        assert type(load_network(meant)).__name__ == 'BasisKPN'


def test_the_old_name_of_the_shipped_network_still_works_and_warns():
    with pytest.warns(FutureWarning, match='"basis_kpn" are called "correlation_kpn"'):
        net = load_network('basis_kpn')
    assert type(net).__name__ == 'CorrelationKPN'


@pytest.mark.parametrize('name', sorted(NAMES))
def test_a_network_in_the_box_has_a_card_that_tells_how_it_was_made(name):
    net = load_network(name)
    assert not net.training
    card = NAMES[name].with_suffix('.md').read_text()
    for fact in (type(net).__name__, f'{sum(p.numel() for p in net.parameters()) / 1e6:.2f} M parameters', 'seed',
                 'minutes', 'options/', 'Licence'):  # fmt: skip
        assert fact in card, fact


def test_the_flow_in_the_box_knows_camera_shakes():
    flow = load_network('kernel_flow')
    shakes = torch.from_numpy(shake_kernels(200, 19, seed=123)).to(torch.float32)
    others = shakes.flatten(1)[:, torch.randperm(361)].view_as(shakes)
    bits = []
    for kernels in (shakes, others):
        x = flow.preprocess(kernels, torch.rand(kernels.shape, dtype=torch.float32))
        code, log_det = flow(x)
        nats = (code.square() + math.log(2 * math.pi)).sum(1) / 2 - log_det - flow.preprocess_log_det(x)
        bits.append(nats.mean().item() / 361 / math.log(2))
    assert bits[0] < 1.25  # independent pixels of the same means and variances: 1.41
    assert bits[1] > 2 * bits[0]
