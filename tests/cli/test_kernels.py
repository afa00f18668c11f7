"""basis-blur kernels: the blur of a photo as numbers and pictures."""

import re

import pytest
import torch
from PIL import Image

from basis_blur.archs import ARCHS
from basis_blur.cli.main import main
from basis_blur.estimation.by_network import estimate_blur
from basis_blur.field.blur_field import BlurField
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo
from basis_blur.weights.checkpoints import load_network, save_network


@pytest.fixture
def photo(tmp_path):
    write_photo(tmp_path / 'a.png', torch.rand(1, 3, 40, 48))
    return str(tmp_path / 'a.png')


def test_the_file_holds_what_estimate_blur_returns(tmp_path, weights, photo, capsys):
    assert main(['kernels', photo, '-o', str(tmp_path / 'a.npz'), '--weights', weights, '--gamma', '1.8']) == 0
    expected = estimate_blur(load_network(weights), read_photo(photo).pixels, gamma=1.8)
    field = BlurField.load(tmp_path / 'a.npz')
    torch.testing.assert_close(field.kernels, expected.kernels)
    torch.testing.assert_close(field.mixing, expected.mixing)
    assert '(48x40, 3 kernels of 33x33)' in capsys.readouterr().out


def test_by_its_suffix_it_is_a_tiff_file_of_16_bits(tmp_path, weights, photo):
    assert main(['kernels', photo, '-o', str(tmp_path / 'a.tif'), '--weights', weights]) == 0
    with Image.open(tmp_path / 'a.tif') as file:
        assert (file.n_frames, file.mode, file.size) == (6, 'I;16', (33, 33))
        file.seek(5)
        assert file.size == (48, 40)


def test_pictures_are_drawn_where_they_are_asked_for(tmp_path, weights, photo):
    pictures = ['--picture', str(tmp_path / 'grid.png'), '--montage', str(tmp_path / 'new' / 'montage.jpg')]
    assert main(['kernels', photo, '-o', str(tmp_path / 'a.npz'), '--weights', weights, *pictures]) == 0
    assert Image.open(tmp_path / 'grid.png').format == 'PNG'
    assert Image.open(tmp_path / 'new' / 'montage.jpg').format == 'JPEG'


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['a.png', '-o', 'a.txt'], r'ends in "\.txt", expected one of \.npz, \.tif, \.tiff'),
        (['a.png', '-o', 'b.npz', '--picture', 'b.bmp'], r'expected \.png or \.jpg'),
        (['a.png', '-o', 'b.npz', '--picture', 'a.png'], 'is given twice'),
        (['a.png', '-o', 'b.npz', '--picture', 'b.png', '--montage', 'b.png'], 'is given twice'),
        (['a.png', '-o', 'there.npz'], 'already exists; add --overwrite'),
        (['none.png', '-o', 'b.npz'], r'no file none\.png'),
        (['small.png', '-o', 'b.npz'], r'small\.png: the photo is 20x40'),
        (['.', '-o', 'b.npz'], r'b\.npz is no folder'),
        (['.', '-o', 'b', '--montage', 'b.png'], 'are drawn of one photo'),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_written(
    tmp_path, weights, photo, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(tmp_path)
    write_photo('small.png', torch.rand(1, 3, 40, 20))
    (tmp_path / 'there.npz').touch()
    assert main(['kernels', *arguments, '--weights', weights]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'small.png', 'there.npz']


def test_overwrite_replaces(tmp_path, weights, photo):
    (tmp_path / 'a.npz').write_text('old')
    assert main(['kernels', photo, '-o', str(tmp_path / 'a.npz'), '--weights', weights, '--overwrite']) == 0
    assert BlurField.load(tmp_path / 'a.npz').image_size == (40, 48)


def test_a_folder_of_photos_becomes_a_folder_of_fields(tmp_path, weights, photo, capsys):
    write_photo(tmp_path / 'small.png', torch.rand(1, 3, 40, 20))
    arguments = ['kernels', str(tmp_path), '-o', str(tmp_path / 'fields'), '--weights', weights]
    assert main(arguments) == 2
    told = capsys.readouterr().err.splitlines()
    assert any(re.match(r'basis-blur kernels: .*small\.png: the photo is 20x40', line) for line in told)
    assert told[-1] == 'basis-blur kernels: the blur of 1 of 2 photos was not found.'
    assert [path.name for path in (tmp_path / 'fields').iterdir()] == ['a.npz']
    assert BlurField.load(tmp_path / 'fields' / 'a.npz').image_size == (40, 48)


def test_a_network_by_correlations_is_taken_too_and_doubts_are_told(tmp_path, photo, capsys):
    save_network(ARCHS['CorrelationKPN'](num_feat=2).float(), tmp_path / 'net.safetensors')
    arguments = ['-o', str(tmp_path / 'a.npz'), '--weights', str(tmp_path / 'net.safetensors')]
    assert main(['kernels', photo, *arguments]) == 0
    told = capsys.readouterr()
    assert '(48x40, 1 kernels of 33x33)' in told.out
    assert re.match(r'basis-blur kernels: warning: \S+a\.png: ', told.err)


def test_other_networks_are_not(tmp_path, photo, capsys):
    save_network(ARCHS['KernelFlow'](kernel_size=9).float(), tmp_path / 'net.safetensors')
    arguments = ['-o', str(tmp_path / 'a.npz'), '--weights', str(tmp_path / 'net.safetensors')]
    assert main(['kernels', photo, *arguments]) == 2
    assert 'expected BasisKPN or CorrelationKPN; give the weights of one of them' in capsys.readouterr().err
