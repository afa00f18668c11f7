import pytest
import torch

from basis_blur.metrics.psnr import mean_score, psnr


def test_a_tenth_everywhere_is_20_db_for_each_photo_by_itself():
    photo = torch.rand(2, 3, 4, 5) * 0.5
    other = photo + torch.tensor([0.1, 0.01])[:, None, None, None]
    torch.testing.assert_close(psnr(photo, other), torch.tensor([20.0, 40.0]))
    assert psnr(photo, photo).isinf().all()


def test_photos_of_two_sizes_are_refused_rather_than_broadcast():
    with pytest.raises(ValueError, match=r'\(1, 3, 4, 4\).*\(1, 1, 4, 4\)'):
        psnr(torch.rand(1, 3, 4, 4), torch.rand(1, 1, 4, 4))


@pytest.mark.parametrize(
    ('scores', 'mean'), [([1.0, float('inf'), 3.0], 2.0), ([float('inf')] * 2, float('inf')), ([1.0, 2.0], 1.5)]
)
def test_a_photo_that_is_its_truth_does_not_make_the_mean_infinite(scores, mean):
    assert mean_score(scores) == mean
    assert mean_score([*scores, float('nan')]) != mean  # it says that a photo has no score
