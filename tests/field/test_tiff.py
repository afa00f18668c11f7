import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from basis_blur.field.blur_field import BlurField
from basis_blur.field.tiff import LARGEST, write_field_tiff
from basis_blur.foundation.errors import InputError


def make_field():
    kernels = (4 * torch.randn(2, 3, 25)).softmax(-1).reshape(2, 3, 5, 5)
    kernels[0, 0] = 0
    kernels[0, 0, 1, 3] = 1
    return BlurField(kernels, torch.randn(2, 3, 9, 7).softmax(1))


def read_pages(path):
    with Image.open(path) as file:
        pages = [np.array(page) for page in ImageSequence.Iterator(file)]
        descriptions = {page.tag_v2[270] for page in ImageSequence.Iterator(file)}
    assert {page.dtype for page in pages} == {np.dtype('uint16')}
    assert len(descriptions) == 1
    about = json.loads(descriptions.pop())
    return [page / 65535 * maximum for page, maximum in zip(pages, about['maxima'], strict=True)], about


def test_every_value_is_recovered_to_half_a_step(tmp_path):
    field = make_field()
    write_field_tiff(tmp_path / 'field.tif', field)
    pages, about = read_pages(tmp_path / 'field.tif')
    planes = [*field.kernels.flatten(0, 1), *field.mixing.flatten(0, 1)]
    for page, plane, maximum in zip(pages, planes, about['maxima'], strict=True):
        assert np.abs(page - plane.numpy()).max() <= 0.5001 / 65535 * maximum
    assert about['maxima'][6:] == [1] * 6
    assert about['maxima'][:2] == [1, field.kernels[0, 1].max().item()]
    assert (about['kernels'], about['mixing']) == ([2, 3, 5, 5], [2, 3, 9, 7])
    assert [path.name for path in tmp_path.iterdir()] == ['field.tif']


def test_float32_and_gradients_are_no_obstacle(tmp_path):
    field = make_field().to(torch.float32)
    field.kernels.requires_grad_()
    write_field_tiff(tmp_path / 'field.TIFF', field)
    np.testing.assert_allclose(read_pages(tmp_path / 'field.TIFF')[0][0], field.kernels[0, 0].detach().numpy())


def test_another_suffix_and_what_does_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match=r'ends in "\.png", expected one of \.tif, \.tiff'):
        write_field_tiff(tmp_path / 'field.png', make_field())
    one = torch.ones(1, 1, 1, 1)
    large = BlurField.unchecked(one, one.expand(1, 1, LARGEST // 4, 2))
    with pytest.raises(InputError, match=r'takes 4\.0 GiB, a TIFF file holds 4; write an npz file'):
        write_field_tiff(tmp_path / 'field.tif', large)
    assert not list(tmp_path.iterdir())
