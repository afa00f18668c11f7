"""basis-blur deblur: which file becomes which, what is kept, and what is refused before work begins."""

import dataclasses
import errno
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from basis_blur.archs import ARCHS
from basis_blur.cli.main import main
from basis_blur.deblurring.deblurrer import Deblurrer
from basis_blur.estimation import by_network
from basis_blur.field.blur_field import BlurField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.camera_response import to_linear, to_srgb
from basis_blur.photos.photo import Photo
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo
from basis_blur.restoration import settings
from basis_blur.weights.checkpoints import NAMES, load_network, save_network

KERNEL_SIZE = 33


@pytest.fixture
def negatives(monkeypatch):
    """Let the solver return the negative of the photo; the list tells what it was called with."""
    calls = []

    def deblur_iterates(photo, field, iterations, gamma, *, callback, **_):
        calls.append({'photo': photo, 'field': field, 'gamma': gamma, 'iterations': iterations[-1]})
        for iteration in range(1, 4):
            callback(iteration)
        return (1 - photo).repeat(1, len(iterations), 1, 1)

    pretrained = Deblurrer.pretrained

    def with_negatives(*args, **kwargs):
        return dataclasses.replace(pretrained(*args, **kwargs), restoration=deblur_iterates)

    monkeypatch.setattr(Deblurrer, 'pretrained', with_negatives)
    return calls


def save_photo(path, height=40, width=48, channels=3, **metadata):
    levels = torch.randint(0, 256, (1, channels, height, width)) / 255
    photo = Photo(levels, **metadata)
    write_photo(path, photo.pixels, photo)
    return photo.pixels.float()


def save_field(path, height=40, width=48, count=1, size=5):
    kernels = torch.zeros(count, 1, size, size)
    kernels[..., size // 2, size // 2] = 1
    BlurField(kernels, torch.ones(count, 1, height, width)).save(path)
    return str(path)


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def complaint(capsys):
    return capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------- estimator


def test_no_estimator_leaves_the_photo_as_it_is(tmp_path):
    levels = save_photo(tmp_path / 'a.png')
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--estimator', 'none']) == 0
    torch.testing.assert_close(read_photo(tmp_path / 'b.png').pixels.float(), levels)


def test_an_estimator_means_nothing_beside_a_known_blur(tmp_path, capsys):
    save_photo(tmp_path / 'a.png')
    field = save_field(tmp_path / 'field.npz')
    arguments = ['-o', str(tmp_path / 'b.png'), '--kernels', field, '--estimator', 'shake']
    assert main(['deblur', str(tmp_path / 'a.png'), *arguments]) == 2
    assert '--estimator means nothing with --kernels' in complaint(capsys)
    assert files_in(tmp_path) == ['a.png', 'field.npz']


# ----------------------------------------------------------------------------------------- the weights in the package


def test_the_help_tells_the_settings_for_an_estimated_blur(capsys):
    with pytest.raises(SystemExit):
        main(['deblur', '--help'])
    text = ' '.join(capsys.readouterr().out.split())
    assert f'default: {settings.ESTIMATED_ITERATIONS} with an estimated blur' in text
    assert f'default: 1; {settings.ESTIMATED_STRENGTH} with an estimated blur' in text


def test_the_weights_in_the_package_make_a_blurred_photo_sharper_offline(tmp_path, capsys, monkeypatch):
    def no_network(*_):
        raise AssertionError('something asked for the network')

    monkeypatch.setattr(socket.socket, 'connect', no_network)
    torch.manual_seed(4)
    sharp = torch.full((1, 3, 192, 208), 0.3)
    for _ in range(90):
        top, left = torch.randint(170, ()), torch.randint(190, ())
        height, width = torch.randint(5, 60, (2,))
        sharp[..., top : top + height, left : left + width] = 0.05 + 0.85 * torch.rand(3, 1, 1)
    kernel = torch.zeros(1, 1, 33, 33)
    kernel[..., 12:21, 16] = 1 / 9
    field = BlurField(kernel, torch.ones(1, 1, 160, 176))
    blurred = to_srgb(BasisBlur(field)(to_linear(sharp)).clamp(0, 1))
    blurred = (blurred + 0.002 * torch.randn_like(blurred)).clamp(0, 1)
    write_photo(tmp_path / 'a.png', blurred, Photo(blurred, bits=16))
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png')]) == 0
    assert complaint(capsys) == ''  # no doubts
    sharp, restored = sharp[..., 16:-16, 16:-16], read_photo(tmp_path / 'b.png').pixels
    assert (restored - sharp).square().mean() < 0.85 * (blurred - sharp).square().mean()  # 0.7 dB


# ---------------------------------------------------------------------------------------------------- what is written


def test_a_known_blur_is_removed(tmp_path):
    sharp = torch.zeros(1, 3, 60, 68)
    sharp[..., 20:40, 24:44] = 0.8
    kernels = torch.zeros(1, 1, 9, 9)
    kernels[..., 4, 1:8] = 1 / 7
    field = BlurField(kernels, torch.ones(1, 1, 52, 60))
    blurred = to_srgb(BasisBlur(field)(to_linear(sharp)).clamp(0, 1))
    sharp = sharp[..., 4:-4, 4:-4]
    write_photo(tmp_path / 'a.png', blurred, Photo(blurred, bits=16))
    field.save(tmp_path / 'field.npz')
    arguments = ['deblur', str(tmp_path / 'a.png'), '--kernels', str(tmp_path / 'field.npz'), '--iterations', '15']
    assert main([*arguments, '-o', str(tmp_path / 'b.png')]) == 0
    restored = read_photo(tmp_path / 'b.png').pixels
    assert (restored - sharp).square().mean() < (blurred - sharp).square().mean() / 10


def test_a_photo_becomes_a_photo(tmp_path, negatives, weights, capsys):
    pixels = save_photo(tmp_path / 'a.png')
    arguments = ['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--weights', weights]
    assert main([*arguments, '--strength', '1']) == 0
    torch.testing.assert_close(read_photo(tmp_path / 'b.png').pixels, 1 - pixels)
    assert 'b.png (48x40, ' in capsys.readouterr().out
    assert files_in(tmp_path) == ['a.png', 'b.png']


@pytest.mark.parametrize('output', ['new/', 'new', 'there'])
def test_a_folder_as_output_keeps_the_name(tmp_path, negatives, weights, output):
    save_photo(tmp_path / 'a.png')
    (tmp_path / 'there').mkdir()
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', f'{tmp_path}/{output}', '--weights', weights]) == 0
    assert (tmp_path / output / 'a.png').is_file()


def test_bits_alpha_profile_and_exif_pass_through(tmp_path, negatives, weights):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = 'A maker', 6
    alpha = torch.randint(0, 65536, (1, 1, 40, 48)) / 65535
    save_photo(tmp_path / 'a.png', alpha=alpha, bits=16, icc=b'a profile' * 20, exif=exif.tobytes())
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.tif'), '--weights', weights]) == 0
    before, after = read_photo(tmp_path / 'a.png'), read_photo(tmp_path / 'b.tif')
    assert (after.bits, after.icc, after.exif) == (16, before.icc, before.exif)
    assert torch.equal(after.alpha, before.alpha)
    assert after.pixels.shape == (1, 3, 48, 40)  # upright


def test_gray_stays_gray(tmp_path, negatives, weights):
    save_photo(tmp_path / 'a.png', channels=1)
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--weights', weights]) == 0
    assert read_photo(tmp_path / 'b.png').pixels.shape == (1, 1, 40, 48)


def test_gamma_and_iterations_reach_the_solver(tmp_path, negatives, weights):
    save_photo(tmp_path / 'a.png')
    arguments = ['deblur', str(tmp_path / 'a.png'), '--weights', weights]
    assert main([*arguments, '-o', str(tmp_path / 'b.png')]) == 0
    assert main([*arguments, '-o', str(tmp_path / 'c.png'), '--gamma', '1', '--iterations', '7']) == 0
    assert [call['gamma'] for call in negatives] == [2.2, 1]
    assert [call['iterations'] for call in negatives] == [settings.ESTIMATED_ITERATIONS, 7]
    mixing = [call['field'].mixing for call in negatives]
    assert not torch.equal(*mixing)  # the estimate depends on gamma


def test_a_known_blur_gets_more_iterations(tmp_path, negatives):
    save_photo(tmp_path / 'a.png')
    field = save_field(tmp_path / 'field.npz')
    assert main(['deblur', str(tmp_path / 'a.png'), '--kernels', field, '-o', str(tmp_path / 'b.png')]) == 0
    assert negatives[0]['iterations'] == settings.ITERATIONS > settings.ESTIMATED_ITERATIONS


def test_a_saved_estimate_is_removed_as_an_estimate_is(tmp_path, negatives, weights):
    photo, pixels = str(tmp_path / 'a.png'), save_photo(tmp_path / 'a.png')
    assert main(['deblur', photo, '-o', str(tmp_path / 'b.png'), '--weights', weights, '--save-kernels']) == 0
    kernels = str(tmp_path / 'b_kernels.npz')
    assert main(['deblur', photo, '-o', str(tmp_path / 'c.png'), '--kernels', kernels]) == 0
    assert [call['iterations'] for call in negatives] == [settings.ESTIMATED_ITERATIONS] * 2
    half_way = pixels + settings.ESTIMATED_STRENGTH * ((1 - pixels) - pixels)
    torch.testing.assert_close(read_photo(tmp_path / 'c.png').pixels, half_way, rtol=0, atol=0.51 / 255)


def test_a_comparison_is_written_beside_the_result_with_what_is_doubted(tmp_path, negatives, weights):
    save_photo(tmp_path / 'a.png', channels=1)
    arguments = ['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--weights', weights, '--compare']
    assert main(arguments) == 0
    assert files_in(tmp_path) == ['a.png', 'b.png', 'b_compare.html', 'b_compare.jpg']
    page = (tmp_path / 'b_compare.html').read_text()
    assert '<title>a.png</title>' in page
    assert 'the photo is flat or mostly noise' in page
    assert 'drawn over the photo' in page
    assert main(arguments) == 2  # they are there
    assert main([*arguments, '--skip-done']) == 0
    assert len(negatives) == 1


def test_a_preview_shows_the_part_with_most_detail_and_writes_no_result(tmp_path, negatives, weights, capsys):
    levels = torch.full((1, 1, 600, 700), 128 / 255)
    levels[..., 300:, 400:] = torch.randint(0, 256, (1, 1, 300, 300)) / 255
    write_photo(tmp_path / 'a.png', levels)
    arguments = ['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--weights', weights, '--preview']
    for strength in ('0.5', '1'):
        assert main([*arguments, '--strength', strength]) == 0
    assert files_in(tmp_path) == ['a.png', 'b_preview.html', 'b_preview.jpg']
    assert '448x448 pixels from column 25' in capsys.readouterr().out
    assert torch.equal(negatives[0]['photo'], levels[..., 152:600, 252:700].float())
    assert main([*arguments, '--save-kernels']) == 2
    assert '--preview estimates the blur of a part' in complaint(capsys)


@pytest.fixture
def fusion_weights(tmp_path):
    """A fresh IterateFusion: 0.6 of the way from the photo to the mean of its iterates."""
    sizes = {'iterations': (1, 5), 'width': 4, 'deep_width': 4, 'blocks': 0, 'deep_blocks': 0}
    save_network(ARCHS['IterateFusion'](**sizes).float(), tmp_path / 'fusion.safetensors')
    return str(tmp_path / 'fusion.safetensors')


@pytest.mark.parametrize(('options', 'strength'), [([], 0.6), (['--strength', '0.5'], 0.3)])
def test_a_second_network_fuses_the_iterates(tmp_path, negatives, weights, fusion_weights, options, strength):
    pixels = save_photo(tmp_path / 'a.png')
    arguments = ['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--weights', weights]
    assert main([*arguments, '--fusion', fusion_weights, *options]) == 0
    assert [call['iterations'] for call in negatives] == [5]
    expected = pixels + strength * ((1 - pixels) - pixels)
    torch.testing.assert_close(read_photo(tmp_path / 'b.png').pixels, expected, rtol=0, atol=0.51 / 255)


@pytest.mark.parametrize(
    ('options', 'iterations'),
    [
        ([], 4),
        (['--fusion', 'none'], settings.ESTIMATED_ITERATIONS),
        (['--iterations', '7'], 7),
        (['--weights', 'OWN'], settings.ESTIMATED_ITERATIONS),
        (['--weights', 'OWN', '--fusion', 'iterate_fusion'], 4),
    ],
)
def test_the_second_network_in_the_box_goes_with_the_first(tmp_path, negatives, weights, options, iterations):
    save_photo(tmp_path / 'a.png', 64, 64)
    options = [weights if option == 'OWN' else option for option in options]
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), *options]) == 0
    assert [call['iterations'] for call in negatives] == [iterations]


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--iterations', '5'], '--iterations means nothing with --fusion'),
        (['--method', 'ufpnet'], '--fusion means nothing to --method ufpnet'),
    ],
)
def test_a_fusion_that_makes_no_sense_is_refused(tmp_path, fusion_weights, capsys, options, words):
    save_photo(tmp_path / 'a.png')
    arguments = ['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--fusion', fusion_weights]
    assert main([*arguments, *options]) == 2
    assert words in complaint(capsys)
    assert not (tmp_path / 'b.png').exists()


def test_a_fusion_that_is_none_is_refused(tmp_path, weights, capsys):
    save_photo(tmp_path / 'a.png')
    arguments = ['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--weights', weights]
    assert main([*arguments, '--fusion', weights]) == 2
    assert 'holds BasisKPN, expected IterateFusion' in complaint(capsys)


def test_strength_says_how_far_to_go(tmp_path, negatives, weights):
    pixels = save_photo(tmp_path / 'a.png')
    field = save_field(tmp_path / 'field.npz')
    cases = (
        (['--weights', weights], settings.ESTIMATED_STRENGTH),
        (['--kernels', field], 1.0),
        (['--weights', weights, '--strength', '0'], 0.0),
        (['--kernels', field, '--strength', '0.25'], 0.25),
    )
    for number, (options, strength) in enumerate(cases):
        output = tmp_path / f'{number}.png'
        assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(output), *options]) == 0
        expected = pixels + strength * ((1 - pixels) - pixels)
        torch.testing.assert_close(read_photo(output).pixels, expected, rtol=0, atol=0.51 / 255)


def test_the_blur_can_be_estimated_at_half_size(tmp_path, negatives, weights):
    pixels = save_photo(tmp_path / 'a.png', height=70, width=80)
    arguments = ['deblur', str(tmp_path / 'a.png'), '--weights', weights, '--estimate-at']
    assert main([*arguments, 'half', '-o', str(tmp_path / 'b.png')]) == 0
    assert main([*arguments, 'full', '-o', str(tmp_path / 'c.png')]) == 0
    assert [call['field'].kernel_size for call in negatives] == [2 * KERNEL_SIZE - 1, KERNEL_SIZE]
    expected = by_network.estimate_blur_at_half_size(load_network(weights), pixels)
    torch.testing.assert_close(negatives[0]['field'].kernels, expected.kernels)


def test_a_blur_larger_than_the_kernels_is_estimated_at_half_size_by_itself(tmp_path, negatives, weights, capsys):
    save_photo(tmp_path / 'a.png', height=70, width=80)  # the untrained network's kernels are nearly flat
    assert main(['deblur', str(tmp_path / 'a.png'), '--weights', weights, '-o', str(tmp_path / 'b.png')]) == 0
    told = capsys.readouterr()
    assert re.search(r'a\.png: the blur is larger than 33x33 pixels; .* half size, with kernels of 65x65', told.out)
    assert re.search(r'warning: \S+a\.png: in 100% of the photo the blur reaches the rim', told.err)
    assert negatives[0]['field'].kernel_size == 2 * KERNEL_SIZE - 1


def test_saved_kernels_are_those_that_were_used_and_give_the_same_again(tmp_path, negatives, weights):
    save_photo(tmp_path / 'a.jpg')
    arguments = ['deblur', str(tmp_path / 'a.jpg')]
    assert main([*arguments, '-o', str(tmp_path / 'b.jpg'), '--weights', weights, '--save-kernels']) == 0
    assert files_in(tmp_path) == ['a.jpg', 'b.jpg', 'b_kernels.npz', 'b_kernels.png']
    assert Image.open(tmp_path / 'b_kernels.png').mode == 'RGB'
    saved = str(tmp_path / 'b_kernels.npz')
    assert main([*arguments, '-o', str(tmp_path / 'c.jpg'), '--kernels', saved]) == 0
    assert torch.equal(negatives[0]['field'].mixing, negatives[1]['field'].mixing)
    assert torch.equal(negatives[0]['field'].kernels, negatives[1]['field'].kernels)


def test_a_folder_is_done_in_the_order_of_names_and_other_files_are_left_alone(tmp_path, negatives, capsys):
    source = tmp_path / 'in'
    source.mkdir()
    names = ['b.PNG', 'a.tif', 'e.png', 'c.jpg', 'd.jpeg', 'f.tiff']
    for name in names:
        save_photo(source / name)
    (source / 'notes.txt').write_text('not a photo')
    (source / 'deeper').mkdir()
    save_photo(source / 'deeper' / 'd.png')
    field = save_field(tmp_path / 'field.npz')
    assert main(['deblur', str(source), '-o', str(tmp_path / 'out'), '--kernels', field]) == 0
    assert files_in(tmp_path / 'out') == sorted(names)
    assert re.findall(r'-> \S+/(\S+) ', capsys.readouterr().out) == sorted(names)


def test_several_photos_go_to_one_folder_and_a_bad_one_does_not_stop_the_others(tmp_path, negatives, weights, capsys):
    photos = [tmp_path / name for name in ('a.png', 'b.png', 'c.png')]
    for photo in photos:
        save_photo(photo)
    photos[1].write_bytes(b'no photo')
    command = ['deblur', *photos, '-o', tmp_path / 'out', '--weights', weights, '--gamma', '2.2']
    assert main([str(each) for each in command]) == 2
    assert files_in(tmp_path / 'out') == ['a.png', 'c.png']
    assert '1 of 3 photos could not be deblurred' in complaint(capsys)


def test_a_photo_that_cannot_be_written_does_not_keep_the_others_from_being_done(
    tmp_path, negatives, weights, capsys, monkeypatch
):
    def write(path, pixels, like):
        if path.name == 'b.png':
            raise OSError(errno.EFBIG, 'File too large', str(path))
        write_photo(path, pixels, like)

    monkeypatch.setattr('basis_blur.photos.writing.write_photo', write)
    for name in 'abc':
        save_photo(tmp_path / 'in' / f'{name}.png')
    assert main(['deblur', str(tmp_path / 'in'), '-o', str(tmp_path / 'out'), '--weights', weights]) == 2
    assert files_in(tmp_path / 'out') == ['a.png', 'c.png']
    said = capsys.readouterr().err
    assert f'basis-blur deblur: {tmp_path}/out/b.png: File too large.' in said
    assert said.endswith('1 of 3 photos could not be deblurred.\n')
    assert main(['deblur', str(tmp_path / 'in/b.png'), '-o', str(tmp_path / 'out'), '--weights', weights]) == 2
    assert capsys.readouterr().err.endswith(f': {tmp_path}/out/b.png: File too large.\n')


def test_without_an_output_the_result_lies_beside_the_photo(tmp_path, negatives, weights):
    save_photo(tmp_path / 'a.png')
    assert main(['deblur', str(tmp_path / 'a.png'), '--weights', weights]) == 0
    assert files_in(tmp_path) == ['a.png', 'a_deblurred.png']


def test_the_gamma_of_a_photo_is_taken_unless_one_is_given(tmp_path, negatives, weights):
    save_photo(tmp_path / 'a.png', colour_chunks=((b'gAMA', (100_000).to_bytes(4, 'big')),))
    for number, options in enumerate(([], ['--gamma', '1.8'])):
        command = ['deblur', tmp_path / 'a.png', '-o', tmp_path / f'{number}.png', '--weights', weights, *options]
        assert main([str(each) for each in command]) == 0
    assert [call['gamma'] for call in negatives] == [1, 1.8]


def test_a_photo_too_wide_for_jpeg_is_refused_before_the_work(tmp_path, negatives, weights, capsys):
    save_photo(tmp_path / 'a.png', 1, 65501)
    command = ['deblur', tmp_path / 'a.png', '-o', tmp_path / 'b.jpg', '--weights', weights]
    assert main([str(each) for each in command]) == 2
    assert 'the photo has 65501x1 pixels and JPEG at most 65500 a side' in complaint(capsys)
    assert negatives == []


def test_a_bad_photo_in_a_folder_does_not_keep_the_others_from_being_done(tmp_path, negatives, weights, capsys):
    source = tmp_path / 'in'
    source.mkdir()
    (source / 'a.png').write_bytes(b'\x89PNG\r\n')
    save_photo(source / 'b.png', height=20)
    save_photo(source / 'c.png')
    assert main(['deblur', str(source), '-o', str(tmp_path / 'out'), '--weights', weights]) == 2
    assert files_in(tmp_path / 'out') == ['c.png']
    said = complaint(capsys)
    assert re.search(r'a\.png is damaged', said)
    assert re.search(r'b\.png: the photo is 48x20 pixels .* expected at least 33', said)
    assert said.endswith('2 of 3 photos could not be deblurred.\n')


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ('photo', 'output', 'words'),
    [
        ('none.png', 'b.png', r'no photo or folder .*none\.png'),
        ('empty', 'out', r'holds no photo, expected PNG, JPEG'),
        ('a.png', 'b.webp', r'ends in "\.webp", expected one of'),
        ('a.png', 'a.png', 'would replace a photo'),
        ('a.png', '.', 'would replace a photo'),
        ('a.png', 'there.png', 'already exists; add --overwrite'),
        ('a.png', 'there.png/', 'already exists|Not a folder'),
        ('folder', 'b.png', 'is a folder and .* a file'),
        ('folder', 'there.png', 'is a folder and .* a file'),
        ('clear.png', 'b.jpg', 'JPEG has no alpha and the photo has; write PNG or TIFF'),
        ('small.png', 'b.png', r'small\.png: .* at least 33'),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_written(tmp_path, negatives, weights, capsys, photo, output, words):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'folder').mkdir()
    for name in ('a.png', 'there.png', 'folder/c.png'):
        save_photo(tmp_path / name)
    save_photo(tmp_path / 'clear.png', alpha=torch.rand(1, 1, 40, 48))
    save_photo(tmp_path / 'small.png', height=32)
    before = {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)}
    assert main(['deblur', str(tmp_path / photo), '-o', f'{tmp_path}/{output}', '--weights', weights]) == 2
    assert re.search(words, complaint(capsys))
    assert {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)} == before


def test_overwrite_replaces_results_but_never_the_photo(tmp_path, negatives, weights, capsys):
    save_photo(tmp_path / 'a.png')
    (tmp_path / 'b.png').write_text('old')
    arguments = ['deblur', str(tmp_path / 'a.png'), '--weights', weights, '--overwrite', '-o']
    assert main([*arguments, str(tmp_path / 'b.png')]) == 0
    assert read_photo(tmp_path / 'b.png').pixels.shape == (1, 3, 40, 48)
    assert main([*arguments, str(tmp_path / 'a.png')]) == 2
    assert 'would replace a photo' in complaint(capsys)


def test_skip_done_makes_what_an_interrupt_left_undone(tmp_path, negatives, weights, capsys):
    (tmp_path / 'in').mkdir()
    for name in 'abc':
        save_photo(tmp_path / 'in' / f'{name}.png')
    arguments = ['deblur', str(tmp_path / 'in'), '--weights', weights, '--save-kernels', '-o', str(tmp_path / 'out')]
    assert main(arguments) == 0
    whole = {name: (tmp_path / 'out' / name).read_bytes() for name in files_in(tmp_path / 'out')}
    (tmp_path / 'out' / 'b.png').unlink()  # its kernels are there, as they are written first
    (tmp_path / 'out' / 'a.png').write_text('done before')
    capsys.readouterr()
    assert main([*arguments, '--skip-done']) == 0
    assert capsys.readouterr().out.startswith('2 of 3 results are there and are left as they are.\n')
    found = {name: (tmp_path / 'out' / name).read_bytes() for name in files_in(tmp_path / 'out')}
    assert found == {**whole, 'a.png': b'done before'}
    assert main([*arguments, '--skip-done']) == 0
    assert capsys.readouterr().out == '3 of 3 results are there and are left as they are.\n'


def test_photos_whose_kernels_would_have_one_name_are_refused(tmp_path, negatives, weights, capsys):
    (tmp_path / 'in').mkdir()
    save_photo(tmp_path / 'in' / 'a.png')
    save_photo(tmp_path / 'in' / 'a.jpg')
    arguments = ['deblur', str(tmp_path / 'in'), '-o', str(tmp_path / 'out'), '--weights', weights]
    assert main([*arguments, '--save-kernels']) == 2
    assert re.search(r'would both write .*a_kernels\.npz', complaint(capsys))
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'height': 39}, r'a\.png: the photo has 48x40 pixels and the field 48x39'),
        ({'count': 2}, 'the fields of 2 photos, expected one'),
        ({'size': 41}, '48x40 pixels .* at least 41'),
    ],
)
def test_a_field_that_is_not_of_this_photo_is_refused(tmp_path, negatives, capsys, options, words):
    save_photo(tmp_path / 'a.png')
    field = save_field(tmp_path / 'field.npz', **options)
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--kernels', field]) == 2
    assert re.search(words, complaint(capsys))


def test_an_installation_that_lacks_the_weights_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(NAMES, 'correlation_kpn', tmp_path / 'none.safetensors')
    save_photo(tmp_path / 'a.png')
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png')]) == 2
    assert re.search(r'"correlation_kpn" are not in this installation, expected .*none\.safetensors', complaint(capsys))


@pytest.mark.parametrize('option', ['--gamma=0', '--gamma=nan', '--gamma=x', '--iterations=0', '--iterations=2.5'])
def test_numbers_out_of_range_are_refused(tmp_path, capsys, option):
    with pytest.raises(SystemExit, match='2'):
        main(['deblur', 'a.png', '-o', 'b.png', option])
    assert option.split('=')[0] in complaint(capsys)


def test_a_device_that_is_not_here_is_named(tmp_path, weights, capsys):
    save_photo(tmp_path / 'a.png')
    arguments = ['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--weights', weights]
    assert main([*arguments, '--device', 'warp']) == 2
    assert '--device warp is not available' in complaint(capsys)


def test_a_folder_that_may_not_be_written_to_is_found_out_first(tmp_path, negatives, weights, capsys, monkeypatch):
    save_photo(tmp_path / 'a.png')
    (tmp_path / 'locked').mkdir()
    monkeypatch.setattr(os, 'access', lambda path, mode: path != tmp_path / 'locked')  # root may write everywhere
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'locked'), '--weights', weights]) == 2
    assert 'may not be written to' in complaint(capsys)
    assert negatives == []


def test_warnings_are_one_line(tmp_path, negatives, weights, capsys):
    save_photo(tmp_path / 'a.jpg')
    image = Image.fromarray(np.zeros((40, 48, 3), np.uint8))
    image.save(tmp_path / 'a.jpg', exif=b'Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\xff\xff\0\0\0\0\0\0')
    assert main(['deblur', str(tmp_path / 'a.jpg'), '-o', str(tmp_path / 'b.jpg'), '--weights', weights]) == 0
    said = complaint(capsys).splitlines()
    assert all(re.match(r'basis-blur deblur: warning: \S+a\.jpg: ', line) for line in said)
    # The photo is black, the network untrained, and the solver returns the negative.
    reasons = ['EXIF data are damaged', 'the photo is flat', 'reaches the rim', 'does not explain the photo']
    assert [reason in line for reason, line in zip(reasons, said, strict=True)] == [True] * 4


def test_names_cannot_change_the_terminal(tmp_path, negatives, weights, capsys):
    (tmp_path / 'in').mkdir()
    for name in ('red\x1b[31m.png', 'two\nlines.png'):
        save_photo(tmp_path / 'in' / name)
    (tmp_path / 'in/bell\a.txt').touch()
    assert main(['deblur', str(tmp_path / 'in'), '-o', str(tmp_path / 'out'), '--weights', weights]) == 0
    said = capsys.readouterr()
    assert 'red\\x1b[31m.png' in said.out
    assert 'bell\\x07.txt' in said.err
    assert (said.out + said.err).replace('\n', '').isprintable()
    assert len(said.out.splitlines()) == 2


def test_help_waits_for_no_library():
    code = (
        'import sys; from basis_blur.cli import main, deblur, kernels; '
        'print([name for name in ("torch", "cv2", "PIL", "tqdm", "safetensors") if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;', 'is a GIF file, expected PNG'),
        (b'\0\0\0\x18ftypmp42', 'is a video, expected PNG'),
        (b'hello', 'is not a photo file, expected PNG'),
        (b'', 'is empty (0 bytes)'),
    ],
)
def test_what_is_no_photo_is_refused_before_pytorch_is_loaded(tmp_path, content, words):
    (tmp_path / 'holiday.jpg').write_bytes(content)
    code = (
        'import sys; from basis_blur.cli.main import main; code = main(["deblur", "holiday.jpg"]); '
        'print(code, [name for name in ("torch", "cv2") if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == '2 []'
    assert f'holiday.jpg {words}' in done.stderr


def test_ctrl_c_keeps_the_photos_that_are_done(tmp_path, negatives, monkeypatch, capsys):
    import basis_blur.cli.deblur as command

    source = tmp_path / 'in'
    source.mkdir()
    for name in ('a.png', 'b.png', 'c.png'):
        save_photo(source / name)
    deblur_photo = command.deblur_photo

    def stop_at_the_second(task, method):
        if task.photo.name == 'b.png':
            raise KeyboardInterrupt
        return deblur_photo(task, method)

    monkeypatch.setattr(command, 'deblur_photo', stop_at_the_second)
    field = save_field(tmp_path / 'field.npz')
    assert main(['deblur', str(source), '-o', str(tmp_path / 'out'), '--kernels', field]) == 130
    assert files_in(tmp_path / 'out') == ['a.png']
    assert capsys.readouterr().err.endswith('interrupted; the photos that are done are kept.\n')
