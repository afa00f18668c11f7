"""Photos of any kind become tensors, and tensors become the kind that came."""

import numpy as np
import pytest
import torch
from PIL import Image

from basis_blur.foundation.errors import InputError
from basis_blur.photos.kinds import take
from basis_blur.photos.photo import Photo
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo


def whole(dtype, *shape):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


ARRAYS = [
    whole(np.uint8, 5, 7),
    whole(np.uint8, 5, 7, 1),
    whole(np.uint8, 5, 7, 3),
    whole(np.uint8, 5, 7, 4),
    whole(np.uint16, 5, 7, 3),
    whole(np.uint8, 5, 7, 3)[::-1, :, ::-1],
    np.random.default_rng(0).random((5, 7, 3)),
    np.random.default_rng(0).random((5, 7, 3)).astype(np.float32),
]


@pytest.mark.parametrize('array', ARRAYS, ids=lambda array: f'{array.dtype}-{array.shape}')
@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_an_array_comes_back_as_it_was(array, order):
    given = take(array, order)
    assert given.pixels.shape == (1, 3 if array.ndim == 3 and array.shape[2] > 1 else 1, 5, 7)
    again = given.back(given.pixels)
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


def test_blue_comes_first_where_that_is_said():
    array = np.zeros((2, 2, 4), np.uint8)
    array[..., 0], array[..., 3] = 255, 51
    given = take(array, 'bgr')
    assert given.pixels[0, :, 0, 0].tolist() == [0, 0, 1]
    assert given.photo.alpha.flatten().tolist() == pytest.approx([0.2] * 4)
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert given.back(red)[0, 0].tolist() == [0, 0, 255, 51]


def test_levels_are_rounded_to_the_nearest():
    given = take(np.zeros((1, 2), np.uint8))
    assert given.back(torch.tensor([[[[100.4, 100.6]]]]) / 255).tolist() == [[100, 101]]


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGB', 'RGBA', 'I;16'])
def test_an_image_comes_back_as_it_was_with_what_is_beside_it(mode):
    if mode == 'I;16':
        image = Image.fromarray(whole(np.uint16, 5, 7))
    else:
        image = Image.fromarray(whole(np.uint8, 5, 7, 4)).convert(mode)
    exif = Image.Exif()
    exif[0x010F] = 'A maker'
    image.info.update(icc_profile=b'a profile', exif=exif.tobytes(), dpi=(72, 72))
    given = take(image)
    again = given.back(given.pixels)
    assert again.mode == mode
    np.testing.assert_array_equal(np.asarray(again), np.asarray(image))
    assert (again.info['icc_profile'], again.info['dpi']) == (b'a profile', (72, 72))
    assert again.getexif()[0x010F] == 'A maker'
    assert (given.photo.icc, given.photo.bits) == (b'a profile', 16 if mode == 'I;16' else 8)


def test_a_palette_becomes_colour_and_one_bit_gray():
    image = Image.fromarray(whole(np.uint8, 5, 7, 3))
    palette, one_bit = image.quantize(4), image.convert('1')
    for odd, plain in ((palette, palette.convert('RGB')), (one_bit, one_bit.convert('L'))):
        given = take(odd)
        np.testing.assert_array_equal(np.asarray(given.back(given.pixels)), np.asarray(plain))


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_a_tensor_comes_back_in_its_type(dtype):
    tensor = torch.rand(2, 3, 4, 5).to(dtype)
    again = take(tensor).back(take(tensor).pixels)
    assert again.dtype == dtype
    assert torch.equal(again, tensor)


def test_a_file_becomes_a_photo_with_all_that_it_has(tmp_path):
    photo = Photo(torch.rand(1, 3, 4, 5).float(), torch.rand(1, 1, 4, 5).float(), bits=16, icc=b'profile' * 20)
    write_photo(tmp_path / 'a.png', photo.pixels, photo)
    given, stored = take(str(tmp_path / 'a.png')), read_photo(tmp_path / 'a.png')
    again = given.back(1 - given.pixels)
    assert torch.equal(again.pixels, 1 - stored.pixels)
    assert torch.equal(again.alpha, stored.alpha)
    assert (again.bits, again.icc) == (16, photo.icc)


@pytest.mark.parametrize(
    ('photo', 'error', 'words'),
    [
        (np.zeros((2, 2, 2), np.uint8), InputError, r'shape \(2, 2, 2\), expected \(H, W\)'),
        (np.zeros((1, 3, 4, 4)), InputError, 'one by one, channels last'),
        (np.zeros((0, 4), np.uint8), InputError, r'shape \(0, 4\)'),
        (np.zeros((4, 4), np.int32), InputError, 'int32, expected uint8, uint16, or floating point'),
        (np.full((4, 4), 200.0), ValueError, 'divide 8-bit values by 255'),
        (np.full((4, 4), np.nan), ValueError, 'NaN'),
        (torch.zeros(3, 4, 4), ValueError, r'expected \(N, 3, H, W\)'),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), ValueError, 'expected floating point'),
        (Image.new('CMYK', (4, 4)), InputError, r'mode CMYK, expected gray or RGB.* convert\("RGB"\)'),
        ([[0.5]], TypeError, 'the photo is a list, expected a path'),
        ('none.png', InputError, 'no file none.png'),
    ],
)
def test_what_is_no_photo_is_refused(photo, error, words):
    with pytest.raises(error, match=words):
        take(photo)


def test_an_order_is_for_arrays():
    with pytest.raises(ValueError, match='expected it for arrays only'):
        take(torch.zeros(1, 3, 4, 4), 'bgr')
    with pytest.raises(ValueError, match="'brg', expected one of rgb, bgr"):
        take(np.zeros((4, 4, 3)), 'brg')


def test_exif_of_an_image_stays_as_its_file_has_it_unless_it_was_changed(tmp_path):
    block = b'Exif\0\0MM\0*\0\0\0\x08\0\x01' + b'\x01\x3b\0\x02\0\0\0\x06\0\0\0\x1a' + bytes(4) + 'Núñ'.encode() + b'\0'
    Image.new('RGB', (5, 7)).save(tmp_path / 'a.jpg', exif=block)
    with Image.open(tmp_path / 'a.jpg') as image:
        assert take(image).photo.exif == block
        image.getexif()[0x010F] = 'A maker'
        assert b'A maker' in take(image).photo.exif


@pytest.mark.parametrize('dtype', ['>u2', '<u2', '>f4', '>f8'])
def test_arrays_of_either_byte_order_come_back_as_they_were(dtype):
    photo = (np.arange(48).reshape(4, 4, 3) / 47 * (65535 if 'u' in dtype else 1)).astype(dtype)
    given = take(photo)
    back = given.back(given.pixels)
    assert back.dtype == photo.dtype
    np.testing.assert_allclose(back.astype(float), photo.astype(float), rtol=1e-6)
    np.testing.assert_allclose(given.pixels[0, 0, 0, 1].item(), 3 / 47, rtol=1e-3)
