import cv2
import numpy as np
import pytest
import torch

from basis_blur.errors import InputError
from basis_blur.field import BlurField
from basis_blur.visualize import draw_basis_montage, draw_kernel_grid, draw_side_by_side, write_picture


def field_of(kernels, mixing):
    return BlurField(torch.stack(kernels)[None], mixing[None])


def bar(horizontal, size=9):
    kernel = torch.zeros(size, size)
    kernel[size // 2, 1:-1] = 1 / (size - 2)
    return kernel if horizontal else kernel.T.contiguous()


@pytest.fixture
def half_and_half():
    """Kernels are horizontal bars in the left half of the photo and vertical ones in the right half."""
    mixing = torch.zeros(2, 60, 120)
    mixing[0, :, :60], mixing[1, :, 60:] = 1, 1
    return field_of([bar(True), bar(False)], mixing)


def test_kernels_are_drawn_where_they_act_and_as_they_lie(half_and_half):
    before = half_and_half.mixing.clone()
    picture = draw_kernel_grid(torch.zeros(3, 60, 120), half_and_half).astype(float).sum(2)
    left, right = np.hsplit(picture, 2)

    def stretch(part):
        return part.mean(1).std() > part.mean(0).std()  # rows differ more than columns: horizontal bars

    assert stretch(left)
    assert not stretch(right)
    assert torch.equal(half_and_half.mixing, before)


def test_the_photo_shows_through_between_the_kernels(half_and_half):
    black = draw_kernel_grid(torch.zeros(3, 60, 120), half_and_half)
    white = draw_kernel_grid(torch.ones(1, 1, 60, 120), half_and_half)
    assert black.dtype == np.uint8
    assert black.shape == white.shape
    assert white.astype(int).mean() > black.astype(int).mean() + 60


def test_a_large_photo_is_shrunk_and_a_small_one_magnified():
    field = field_of([bar(True)], torch.ones(1, 2100, 40))
    assert max(draw_kernel_grid(torch.zeros(3, 2100, 40), field).shape) == 2000
    field = field_of([bar(True)], torch.ones(1, 10, 12))
    assert draw_kernel_grid(torch.zeros(3, 10, 12), field).shape == (80, 96, 3)


def test_a_field_of_another_photo_is_refused(half_and_half):
    with pytest.raises(ValueError, match='the photo is 50x120 pixels and the field 60x120'):
        draw_kernel_grid(torch.zeros(3, 50, 120), half_and_half)


def test_the_montage_begins_with_the_element_used_most(half_and_half):
    mixing = torch.zeros(2, 20, 20)
    mixing[1] = 1
    used, unused = bar(False), bar(True)
    montage = draw_basis_montage(field_of([unused, used], mixing), tile=90)
    kernel = montage[32:122, 10:100].astype(int).sum(2)
    assert kernel.mean(0).std() > kernel.mean(1).std()
    both = draw_basis_montage(half_and_half, tile=90)
    assert both.shape[1] >= 2 * 90


def test_photos_stand_side_by_side():
    picture = draw_side_by_side({'dark': torch.zeros(3, 30, 40), 'light': torch.ones(3, 30, 40)})
    assert picture[40, 20].max() == 0
    assert picture[40, 70].min() == 255
    with pytest.raises(ValueError, match='expected one size'):
        draw_side_by_side({'a': torch.zeros(3, 30, 40), 'b': torch.zeros(3, 31, 40)})


def test_a_written_picture_has_its_colours(tmp_path):
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[..., 0] = 200
    write_picture(tmp_path / 'red.png', picture)
    assert cv2.imread(str(tmp_path / 'red.png'))[0, 0].tolist() == [0, 0, 200]
    with pytest.raises(InputError, match='expected .png or .jpg'):
        write_picture(tmp_path / 'red.bmp', picture)
    assert [path.name for path in tmp_path.iterdir()] == ['red.png']
