"""Where the sharp photo is a guess, a pixel counts by its trust: not at all at 0, as ever at 1."""

import pytest
import torch
from torch import nn

import basis_blur as bb
from basis_blur.losses import PixelReblurLoss, PSNRLoss, ReblurLoss
from basis_blur.losses.restoration_objective import restoration_losses
from basis_blur.losses.self_supervised_objective import self_supervised_loss


def field(size):
    return bb.BlurField(torch.full((2, 1, 3, 3), 1 / 9), torch.ones(2, 1, *size))


def kernels(size):
    return torch.full((2, 9, *size), 1 / 9)


def losses(trust, guess, photo):
    """The three losses that know of trust, of a guess (2, 3, 10, 10) of a photo (2, 3, 8, 8)."""
    size = photo.shape[-2:]
    return torch.stack([
        PSNRLoss()(guess[..., 1:-1, 1:-1], photo, trust),
        PixelReblurLoss()(kernels(size), guess, photo, trust),
        self_supervised_loss(field(size), photo, guess, ReblurLoss(), 2.2, trust),
    ])  # fmt: skip


def test_full_trust_changes_nothing():
    guess, photo = torch.rand(2, 3, 10, 10), torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(losses(torch.ones(2, 1, 8, 8), guess, photo), losses(None, guess, photo))


def test_what_is_not_trusted_does_not_count():
    guess, photo = torch.rand(2, 3, 10, 10), torch.rand(2, 3, 8, 8)
    trust = torch.rand(2, 1, 8, 8)
    trust[..., :4, :] = 0
    other = guess.clone()
    other[..., :4, :] = torch.rand(2, 3, 4, 10)  # whose blur reaches row 3 of the photo at most
    torch.testing.assert_close(losses(trust, other, photo), losses(trust, guess, photo))
    assert not torch.isclose(losses(trust, 1 - guess, photo), losses(trust, guess, photo)).any()


def test_half_the_trust_is_half_the_loss():
    guess, photo = torch.rand(2, 3, 10, 10), torch.rand(2, 3, 8, 8)
    trust = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(losses(trust / 2, guess, photo), losses(trust, guess, photo) / 2)


def test_a_batch_without_trust_has_no_loss_and_a_finite_gradient():
    guess = torch.rand(2, 3, 10, 10, requires_grad=True)
    found = losses(torch.zeros(2, 1, 8, 8), guess, torch.rand(2, 3, 8, 8))
    assert (found == 0).all()
    found.sum().backward()
    assert guess.grad.isfinite().all()


def test_a_trust_of_another_size_and_losses_that_know_none_are_refused():
    guess, photo = torch.rand(2, 3, 10, 10), torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r'trust has shape \(1, 1, 8, 8\), expected \(2, 1, 8, 8\)'):
        PSNRLoss()(photo, photo, torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match='of which L1Loss knows nothing; take PSNRLoss'):
        restoration_losses(photo, photo, photo, nn.L1Loss(), trust=torch.ones(2, 1, 8, 8))
    found = restoration_losses(photo, photo, guess[..., 1:-1, 1:-1], PSNRLoss(), trust=torch.zeros(2, 1, 8, 8))
    assert found['l_pixel'] == 0
