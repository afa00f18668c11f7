import pytest
import torch

from basis_blur.metrics.psnr import psnr


def test_a_tenth_everywhere_is_20_db_for_each_photo_by_itself():
    photo = torch.rand(2, 3, 4, 5) * 0.5
    other = photo + torch.tensor([0.1, 0.01])[:, None, None, None]
    torch.testing.assert_close(psnr(photo, other), torch.tensor([20.0, 40.0]))
    assert psnr(photo, photo).isinf().all()


def test_photos_of_two_sizes_are_refused_rather_than_broadcast():
    with pytest.raises(ValueError, match=r'\(1, 3, 4, 4\).*\(1, 1, 4, 4\)'):
        psnr(torch.rand(1, 3, 4, 4), torch.rand(1, 1, 4, 4))
