"""Blurs in the forms of other methods are read as fields."""

import numpy as np
import pytest
import torch

from basis_blur.field import other_forms
from basis_blur.field.blur_field import BlurField, CompactField
from basis_blur.field.motion_flow import field_of_flow
from basis_blur.field.other_forms import field_of_pixel_kernels, field_of_window_kernels
from basis_blur.foundation.errors import InputError
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.pixel_blur import PixelBlur


def test_a_kernel_for_every_pixel_blurs_as_it_does_pixel_by_pixel():
    kernels = torch.rand(1, 25, 6, 7).softmax(1)
    scene = torch.rand(1, 3, 10, 11)
    torch.testing.assert_close(BasisBlur(field_of_pixel_kernels(kernels))(scene), PixelBlur(kernels)(scene))


def test_the_middle_of_a_window_has_its_kernel_and_between_them_they_mix():
    kernels = torch.rand(1, 2, 3, 9).softmax(-1).view(1, 2, 3, 3, 3)
    field = field_of_window_kernels(kernels, (10, 27))  # windows of 5 x 9 pixels
    points = torch.tensor([[2, 4], [7, 22], [0, 26], [2, 8]])
    middle, other, corner, between = field.kernels_at(points)[0]
    torch.testing.assert_close(middle, kernels[0, 0, 0])
    torch.testing.assert_close(other, kernels[0, 1, 2])
    torch.testing.assert_close(corner, kernels[0, 0, 2])
    torch.testing.assert_close(between, 5 / 9 * kernels[0, 0, 0] + 4 / 9 * kernels[0, 0, 1])


def test_files_are_read_by_the_names_of_their_arrays(tmp_path):
    flow = 5 * torch.rand(1, 2, 8, 9)
    pixels, windows = torch.rand(1, 9, 8, 9).softmax(1), torch.rand(1, 2, 2, 9).softmax(-1).view(1, 2, 2, 3, 3)
    for arrays, expected in (
        ({'flow': flow}, field_of_flow(flow)),
        ({'pixel_kernels': pixels}, field_of_pixel_kernels(pixels)),
        ({'window_kernels': windows, 'image_size': [8, 9]}, field_of_window_kernels(windows, (8, 9))),
    ):
        np.savez(tmp_path / 'a.npz', **{name: np.asarray(array) for name, array in arrays.items()})
        found = BlurField.load(tmp_path / 'a.npz')
        torch.testing.assert_close(found.kernels, expected.kernels)
        torch.testing.assert_close(found.mixing, expected.mixing)
        assert found.removal is None


@pytest.mark.parametrize(
    ('arrays', 'words'),
    [
        ({'flow': np.zeros((8, 9, 2))}, r'\(8, 9, 2\).*expected \(N, 2, H, W\)'),
        ({'flow': np.zeros((1, 2, 8, 9), int)}, 'flow is int64, expected floating point'),
        ({'pixel_kernels': np.ones((1, 9, 8, 9))}, 'the sum of a kernel is off by 8'),
        ({'pixel_kernels': np.ones((1, 8, 8, 9)) / 8}, r'expected \(N, K\*K, H, W\)'),
        ({'window_kernels': np.ones((1, 2, 2, 3, 3)) / 9}, 'image_size'),
        ({'window_kernels': np.ones((1, 2, 2, 3, 3)) / 9, 'image_size': [1, 9]}, 'has no 2 x 2 windows'),
        ({'window_kernels': np.ones((2, 2, 3, 3)) / 9, 'image_size': [8, 9]}, r'expected \(N, R, C, K, K\)'),
        ({'window_kernels': np.ones((1, 2, 2, 3, 3)) / 9, 'image_size': [8.5, 9]}, 'the height and width'),
        ({'something': np.zeros(3)}, '"pixel_kernels" or "window_kernels"'),
    ],
)
def test_a_file_that_is_in_no_form_is_refused_with_a_reason(tmp_path, arrays, words):
    np.savez(tmp_path / 'a.npz', **arrays)
    with pytest.raises(InputError, match=words):
        BlurField.load(tmp_path / 'a.npz')


def test_the_field_of_a_large_photo_is_compact(monkeypatch):
    kernels = torch.rand(2, 2, 3, 9).softmax(-1).view(2, 2, 3, 3, 3)
    whole = field_of_window_kernels(kernels, (10, 27))
    monkeypatch.setattr(other_forms, 'WHOLE_PIXELS', 269)
    compact = field_of_window_kernels(kernels, (10, 27))
    assert isinstance(compact, CompactField)
    torch.testing.assert_close(compact.mixing, whole.mixing, rtol=0, atol=0.51 / 32767)
    assert torch.equal(compact.kernels, whole.kernels)
