"""What lies under alpha 0 reaches nothing that is seen."""

import pytest
import torch

from basis_blur.photos.alpha import with_hidden_as_before, with_visible_continued


def disc(height=24, width=31):
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    return ((rows - 9) ** 2 + (columns - 14) ** 2 < 40).double()[None, None]


def test_the_result_does_not_depend_on_what_is_hidden():
    alpha, photo = disc(), torch.rand(1, 3, 24, 31)
    other = torch.where(alpha > 0, photo, torch.rand(1, 3, 24, 31))
    torch.testing.assert_close(with_visible_continued(photo, alpha), with_visible_continued(other, alpha))


def test_what_is_seen_stays_and_a_flat_figure_is_continued_flat():
    alpha, photo = disc() * 0.3, torch.rand(1, 3, 24, 31)
    assert torch.equal(with_visible_continued(photo, alpha)[:, :, alpha[0, 0] > 0], photo[:, :, alpha[0, 0] > 0])
    flat = torch.where(alpha > 0, torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1), torch.rand(1, 3, 24, 31))
    expected = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 24, 31)
    torch.testing.assert_close(with_visible_continued(flat, alpha), expected)


def test_next_to_the_figure_the_colours_are_those_of_its_edge():
    alpha = torch.zeros(1, 1, 16, 16)
    alpha[..., :8] = 1
    photo = torch.linspace(0, 1, 16).expand(1, 1, 16, 16) * alpha
    continued = with_visible_continued(photo, alpha)
    near, far = ((continued[..., column] - photo[..., 7]).abs().max() for column in (8, 15))
    assert near < 0.2
    assert near < far


@pytest.mark.parametrize('alpha', [None, torch.ones(1, 1, 5, 6), torch.zeros(1, 1, 5, 6)])
def test_without_something_to_continue_or_to_hide_nothing_changes(alpha):
    photo = torch.rand(2, 3, 5, 6)
    assert with_visible_continued(photo, alpha) is photo


def test_hidden_colours_come_back_as_they_were():
    alpha, before, after = disc(), torch.rand(1, 3, 24, 31), torch.rand(1, 3, 24, 31)
    result = with_hidden_as_before(after, before, alpha)
    assert torch.equal(result, torch.where(alpha > 0, after, before))
    assert with_hidden_as_before(after, before, None) is after
