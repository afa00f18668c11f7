"""Pictures show the blur where it is and as it lies, in colours that mean its direction."""

import cv2
import numpy as np
import pytest
import torch

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError
from basis_blur.photos.pictures import (
    draw_basis_montage,
    draw_kernel_grid,
    draw_kernel_grids,
    draw_side_by_side,
    draw_sigma,
    put_side_by_side,
    write_picture,
)


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


def colour_of(kernel):
    """The strongest colour with which a kernel is drawn over black."""
    picture = draw_kernel_grid(torch.zeros(3, 60, 60), field_of([kernel], torch.ones(1, 60, 60)), cells=3)
    pixels = picture.reshape(-1, 3).astype(int)
    return pixels[pixels.sum(1).argmax()]


def test_the_colour_tells_the_direction_and_not_the_sense_or_the_length():
    rising = torch.eye(9).flip(0) / 9  # up to the right
    falling = torch.eye(9) / 9
    colours = [colour_of(kernel) for kernel in (bar(True), rising, bar(False), falling)]
    for i in range(4):
        for j in range(i):
            assert np.abs(colours[i] - colours[j]).max() > 60
    np.testing.assert_allclose(colour_of(rising.flip(0, 1)), colours[1], atol=2)
    np.testing.assert_allclose(colour_of(bar(True, size=15)), colours[0], atol=12)
    assert colours[1].argmax() == 1  # green means rising, as the legend says


@pytest.mark.parametrize('degrees', range(0, 180, 30))
def test_the_legend_shows_a_direction_in_the_colour_of_its_paths(degrees):
    along = np.deg2rad(degrees)
    reach = 14 * np.array([np.cos(along), -np.sin(along)])
    canvas = np.zeros((33, 33), np.float32)
    cv2.line(canvas, *(tuple(int(v) for v in np.rint(16 + sign * reach)) for sign in (-1, 1)), 1.0, 1, cv2.LINE_AA)
    kernel = torch.from_numpy(canvas / canvas.sum()).double()
    picture = draw_kernel_grid(torch.zeros(3, 60, 120), field_of([kernel], torch.ones(1, 60, 120)))
    assert len(picture) == 480 + 34
    away = np.abs(picture[480:].astype(int) - colour_of(kernel)).max(2)
    rows, columns = np.nonzero(away < 25)
    seen = np.linalg.eigh(np.cov(columns, -rows))[1][:, 1]
    assert abs(seen @ (np.cos(along), np.sin(along))) > np.cos(np.deg2rad(12))


def test_paths_fill_their_cells_whatever_the_size_of_the_kernels_around_them():
    wide = torch.nn.functional.pad(bar(True, 15), (8, 8, 8, 8))
    pictures = [
        draw_kernel_grid(torch.zeros(3, 60, 60), field_of([k], torch.ones(1, 60, 60))) for k in (bar(True, 15), wide)
    ]
    np.testing.assert_array_equal(*pictures)


def test_a_sharp_place_is_a_white_dot():
    dot = torch.zeros(9, 9)
    dot[4, 4] = 1
    colour = colour_of(dot)
    assert colour.min() > 220


def test_all_paths_are_magnified_alike():
    mixing = torch.zeros(2, 60, 60)
    mixing[0, :30], mixing[1, 30:] = 1, 1
    short = torch.zeros(9, 9)
    short[4, 3:6] = 1 / 3
    picture = draw_kernel_grid(torch.zeros(3, 60, 60), field_of([bar(True), short], mixing), cells=2)
    upper, lower = (half.max((0, 2)) > 150 for half in np.vsplit(picture, 2))
    assert 1.8 < upper.sum() / lower.sum() < 3.2  # 7 pixels and 3 pixels


@pytest.mark.parametrize('brightness', [0.0, 0.5, 1.0])
def test_paths_are_readable_on_any_photo(half_and_half, brightness):
    photo = torch.full((3, 60, 120), brightness)
    picture = draw_kernel_grid(photo, half_and_half)[:480].astype(float).mean(2)
    row, column = np.unravel_index(picture[:, :480].argmax(), (480, 480))  # on a horizontal path
    around = picture[row - 10 : row + 11, column]
    assert around.max() - around.min() > 80
    assert torch.equal(photo, torch.full((3, 60, 120), brightness))


def test_the_photo_shows_through_kernels_that_are_spread_out():
    field = field_of([torch.full((9, 9), 1 / 81)], torch.ones(1, 60, 120))
    photo = torch.zeros(3, 60, 120)
    photo[:, :, 60:] = 1
    left, right = np.hsplit(draw_kernel_grid(photo, field)[:480].astype(float), 2)
    assert right.mean() > left.mean() + 15
    assert left.max() < 128


def test_paths_are_not_drawn_smaller_than_they_are():
    line = torch.zeros(33, 33)
    line[16, 1:-1] = 1 / 31
    picture = draw_kernel_grid(torch.zeros(3, 90, 90), field_of([line], torch.ones(1, 90, 90)))
    inked = (picture.astype(int).max(2) > 120).any(0)
    lengths = np.diff(np.flatnonzero(np.diff(np.r_[0, inked.astype(int), 0])))[::2]
    assert len(lengths) == 2
    assert lengths.min() > 31 * 8 - 8  # a photo of 90 pixels is shown eight times as large


def test_a_large_photo_is_shrunk_and_a_small_one_magnified():
    field = field_of([bar(True)], torch.ones(1, 2100, 40))
    assert max(draw_kernel_grid(torch.zeros(3, 2100, 40), field).shape) == 2000
    field = field_of([bar(True)], torch.ones(1, 10, 12))
    assert draw_kernel_grid(torch.zeros(3, 10, 12), field).shape == (80, 96, 3)


def test_a_field_of_another_photo_is_refused(half_and_half):
    with pytest.raises(ValueError, match='the photo is 50x120 pixels and the field 60x120'):
        draw_kernel_grid(torch.zeros(3, 50, 120), half_and_half)


def test_the_montage_begins_with_the_element_used_most():
    mixing = torch.tensor([0.2, 0.0, 0.8])[:, None, None].expand(3, 20, 20)
    montage = draw_basis_montage(field_of([bar(True), bar(True), bar(False)], mixing), tile=90)
    kernel = montage[12 + 34 : 12 + 34 + 90, 12:102].astype(int).sum(2)
    assert kernel.mean(0).std() > kernel.mean(1).std()
    assert montage.shape[1] == 12 + 90 + 12 + 90 + 12  # one is not used


def test_a_map_of_the_montage_is_yellow_where_the_kernel_is_used(half_and_half):
    montage = draw_basis_montage(half_and_half, tile=120)
    maps = montage[12 + 34 + 120 + 4 :][:60].astype(int)
    dark, yellow = [68, 1, 84], [253, 231, 37]
    for left, first, second in ((12, yellow, dark), (12 + 120 + 12, dark, yellow)):
        np.testing.assert_allclose(maps[30, [left + 20, left + 100]], [first, second], atol=3)


def test_a_field_of_many_hardly_used_kernels_still_has_a_montage():
    field = field_of([bar(True)] * 4, torch.full((4, 20, 20), 0.25))
    assert draw_basis_montage(field, least=0.5).shape == draw_basis_montage(field).shape


def test_photos_stand_side_by_side():
    picture = draw_side_by_side({'dark': torch.zeros(3, 30, 40), 'light': torch.ones(3, 30, 40)})
    assert picture.shape == (12 + 34 + 30 + 12, 12 + 40 + 12 + 40 + 12, 3)
    assert picture[60, 32].max() == 0
    assert picture[60, 84].min() == 255
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


def test_sigma_is_brightest_where_it_is_largest_and_keeps_the_photos_shape():
    sigma = torch.zeros(1, 20, 40)
    sigma[0, :, 20:] = 0.5
    picture = draw_sigma(sigma, 400)
    assert picture.shape == (200 + 34, 400, 3)
    assert picture[100, 300].sum() > picture[100, 100].sum()
    with pytest.raises(ValueError, match=r'expected \(1, H, W\)'):
        draw_sigma(torch.rand(2, 4, 4))


def test_pictures_of_two_heights_stand_beside_each_other():
    both = put_side_by_side([np.full((4, 3, 3), 200, np.uint8), np.full((6, 2, 3), 100, np.uint8)])
    assert both.shape == (6, 5, 3)
    assert (both[:4, :3] == 200).all()
    assert (both[:, 3:] == 100).all()


def test_fields_to_compare_are_drawn_at_the_same_places_in_one_scale_under_their_names():
    photo = torch.zeros(3, 60, 120)
    short, long = bar(True, size=5), bar(True, size=31)
    fields = {'estimate': field_of([short], torch.ones(1, 60, 120)), 'truth': field_of([long], torch.ones(1, 60, 120))}
    grids = draw_kernel_grids(photo, fields)
    assert grids['estimate'].shape == grids['truth'].shape

    def lit(picture):
        return (picture[:600].max(2) > 100).sum()

    # Alone, the short path would fill its cells too; beside the long one it is as short as it is.
    assert lit(draw_kernel_grid(photo, fields['estimate'])) > 2 * lit(grids['estimate'])
    assert lit(grids['truth']) > 2 * lit(grids['estimate'])
    again = draw_kernel_grids(photo, {'estimate': fields['truth'], 'truth': fields['truth']})
    strip = len(again['truth']) - len(draw_kernel_grid(photo, fields['truth']))
    assert not np.array_equal(again['estimate'][:strip], again['truth'][:strip])  # the names
    np.testing.assert_array_equal(again['estimate'][strip:], again['truth'][strip:])
    np.testing.assert_array_equal(again['truth'][strip:], draw_kernel_grid(photo, fields['truth']))
    with pytest.raises(ValueError, match='there is no field'):
        draw_kernel_grids(photo, {})
