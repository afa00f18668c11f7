"""basis-blur deblur --method ufpnet, and --refine."""

import pytest
import torch

from basis_blur.archs import ARCHS
from basis_blur.archs.latent_kernel_arch import LatentKernelNet
from basis_blur.cli.main import main
from basis_blur.deblurring.restoring import restore
from basis_blur.photos.photo import Photo
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo
from basis_blur.weights.checkpoints import load_network, save_network

TINY = {
    'width': 2, 'kernel_size': 5, 'estimator_width': 2, 'enc_blocks': (1,), 'dec_blocks': (1,),
    'attention_levels': (0,), 'flow_hidden': 4,
}  # fmt: skip


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'ufpnet.safetensors'
    torch.manual_seed(0)
    save_network(ARCHS['UFPNet'](**TINY).float(), path)
    return str(path)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.png'
    pixels = torch.randint(0, 256, (1, 3, 40, 48)) / 255
    write_photo(path, pixels, Photo(pixels))
    return path


@pytest.mark.parametrize('tile', [(), ('--tile', '36')])
def test_the_photo_is_what_the_network_makes_of_it(tmp_path, photo, weights, tile):
    result = tmp_path / 'out.png'
    assert main(['deblur', str(photo), '-o', str(result), '--method', 'ufpnet', '--weights', weights, *tile]) == 0
    pixels = read_photo(photo).pixels
    expected = restore(load_network(weights), pixels, int(tile[1]) if tile else None)
    assert (read_photo(result).pixels - expected).abs().max() <= 0.5001 / 255


def test_kernels_and_their_uncertainty_are_drawn(tmp_path, photo, weights):
    result = tmp_path / 'out' / 'sharp.png'
    call = ['deblur', str(photo), '-o', str(result), '--method', 'ufpnet', '--weights', weights, '--save-kernels']
    assert main(call) == 0
    assert {path.name for path in result.parent.iterdir()} == {'sharp.png', 'sharp_kernels.png', 'sharp_sigma.png'}


@pytest.mark.parametrize('kernel_attention', [True, False])
def test_a_comparison_shows_kernels_where_there_are_any(tmp_path, photo, kernel_attention):
    path = str(tmp_path / 'net.safetensors')
    save_network(ARCHS['UFPNet'](**TINY, kernel_attention=kernel_attention).float(), path)
    result = tmp_path / 'out' / 'sharp.png'
    call = ['deblur', str(photo), '-o', str(result), '--method', 'ufpnet', '--weights', path, '--compare']
    assert main(call) == 0
    assert {each.name for each in result.parent.iterdir()} == {'sharp.png', 'sharp_compare.jpg', 'sharp_compare.html'}
    assert ('drawn over the photo' in (result.parent / 'sharp_compare.html').read_text()) == kernel_attention


@pytest.mark.parametrize('method', ['rl', 'ufpnet'])
def test_refining_says_whether_it_helped(tmp_path, photo, weights, method, capsys):
    if method == 'rl':
        weights = str(tmp_path / 'kpn.safetensors')
        save_network(ARCHS['BasisKPN'](num_feat=2, num_kernels=2).float(), weights)
    result = tmp_path / 'out.png'
    call = ['deblur', str(photo), '-o', str(result), '--method', method, '--weights', weights, '--refine', '2']
    assert main(call) == 0
    assert 'reblur loss' in capsys.readouterr().out
    assert result.exists()


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--method', 'ufpnet', '--weights', 'basis_kpm'], 'no weights named "basis_kpm"'),
        (['--method', 'ufpnet', '--weights', 'correlation_kpn'], 'expected UFPNet'),
        (['--method', 'ufpnet', '--iterations', '3'], '--iterations means nothing to --method ufpnet'),
        (['--tile', '64'], '--tile means nothing to --method rl'),
        (['--refine', '3', '--gamma', '0.5'], 'gamma of at least 1'),
    ],
)
def test_options_that_make_no_sense_together_are_refused(tmp_path, photo, more, words, capsys):
    assert main(['deblur', str(photo), '-o', str(tmp_path / 'out.png'), *more]) == 2
    assert words in capsys.readouterr().err


def test_without_weights_the_network_in_the_box_restores(tmp_path, photo):
    assert main(['deblur', str(photo), '-o', str(tmp_path / 'out.png'), '--method', 'ufpnet', '--save-kernels']) == 0
    expected = restore(load_network('ufpnet'), read_photo(photo).pixels)
    assert (read_photo(tmp_path / 'out.png').pixels - expected).abs().max() <= 0.51 / 255
    assert (tmp_path / 'out_kernels.png').exists()


def test_weights_of_another_network_are_refused(tmp_path, photo, capsys):
    weights = tmp_path / 'kpn.safetensors'
    save_network(ARCHS['BasisKPN'](num_feat=2, num_kernels=2).float(), weights)
    call = ['deblur', str(photo), '-o', str(tmp_path / 'out.png'), '--method', 'ufpnet', '--weights', str(weights)]
    assert main(call) == 2
    assert 'expected UFPNet' in capsys.readouterr().err


def test_saving_kernels_runs_the_estimator_once(tmp_path, photo, weights, monkeypatch):
    runs, forward = [], LatentKernelNet.forward
    monkeypatch.setattr(LatentKernelNet, 'forward', lambda *args, **more: runs.append(1) or forward(*args, **more))
    result = tmp_path / 'out.png'
    assert main(['deblur', str(photo), '-o', str(result), '--method', 'ufpnet', '--weights', weights,
                 '--save-kernels']) == 0  # fmt: skip
    assert (tmp_path / 'out_kernels.png').exists()
    assert len(runs) == 1
