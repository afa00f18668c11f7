"""Restoring with an IterateFusion, and what it learns from."""

import pytest
import torch

import basis_blur as bb
from basis_blur.archs import BasisKPN
from basis_blur.archs.iterate_fusion_arch import FIRST_STEP, IterateFusion
from basis_blur.field.removal import ESTIMATED_BLUR, Removal
from basis_blur.losses.iterate_fusion import fused_and_alone, iterate_stack, random_views
from basis_blur.restoration.deblur import deblur_iterates
from basis_blur.restoration.fusion import fuse

SIZES = {'iterations': (1, 3), 'width': 4, 'deep_width': 6, 'blocks': 2, 'deep_blocks': 1}


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = IterateFusion(**SIZES).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


@pytest.fixture
def field():
    kernels = torch.zeros(2, 1, 5, 5)
    kernels[0, :, 2, 1:4] = 1 / 3
    kernels[1, :, 1:4, 2] = 1 / 3
    return bb.BlurField(kernels, torch.ones(2, 1, 20, 24), removal=ESTIMATED_BLUR)


@pytest.fixture
def photo():
    return torch.rand(2, 3, 20, 24)


def test_iterates_are_what_so_many_iterations_return(photo, field):
    found = deblur_iterates(photo, field, (1, 3))
    for number, iterate in zip((1, 3), found.split(3, 1), strict=True):
        torch.testing.assert_close(iterate, bb.deblur(photo, field, iterations=number, strength=1.0))
    assert (found[:, :3] - found[:, 3:]).abs().max() > 1e-3


def test_a_fresh_fusion_steps_towards_the_mean_of_the_iterates(photo, field):
    found = bb.deblur(photo, field, fusion=IterateFusion(**SIZES).double())
    first, last = deblur_iterates(photo, field, (1, 3)).split(3, 1)
    torch.testing.assert_close(found, photo + FIRST_STEP * ((first + last) / 2 - photo))


def test_strength_goes_a_part_of_the_way(photo, field, net):
    whole, half = bb.deblur(photo, field, fusion=net), bb.deblur(photo, field, fusion=net, strength=0.5)
    torch.testing.assert_close(half, (photo + whole) / 2)


def test_tiles_are_the_whole(net):
    photo, iterates = torch.rand(1, 3, 90, 140), torch.rand(1, 6, 90, 140)
    assert net.reach < 70
    torch.testing.assert_close(fuse(net, photo, iterates, tile=40), fuse(net, photo, iterates), rtol=1e-12, atol=1e-14)


def test_a_gray_photo_stays_gray(net):
    gray = bb.deblur(torch.rand(1, 1, 20, 24), bb.BlurField(*_point(20, 24)), fusion=net)
    assert gray.shape == (1, 1, 20, 24)


def _point(height, width):
    kernels = torch.zeros(1, 1, 3, 3)
    kernels[..., 1, 1] = 1
    return kernels, torch.ones(1, 1, height, width)


def test_the_network_keeps_its_mode(photo, field, net):
    bb.deblur(photo, field, fusion=net.train())
    assert net.training


def test_iterations_beside_a_fusion_are_refused(photo, field, net):
    with pytest.raises(ValueError, match=r'iterations is 5, but the fusion is made for \(1, 3\)'):
        bb.deblur(photo, field, iterations=5, fusion=net)


def test_the_stack_begins_with_the_photo_and_goes_on_with_its_iterates(photo):
    torch.manual_seed(0)
    estimator = BasisKPN(num_feat=2, num_kernels=2).double().eval()
    large = torch.rand(1, 3, 40, 48) * 1.2  # synthetic photos may exceed white before rounding
    stack = iterate_stack(estimator, large, (2,), 2.2)
    torch.testing.assert_close(stack[:, :3], large.clamp(0, 1))
    field = bb.estimate_blur(estimator, large.clamp(0, 1))
    torch.testing.assert_close(stack[:, 3:], bb.deblur(large.clamp(0, 1), field, iterations=2, strength=1.0))


def test_the_least_weight_of_a_network_holds_in_training_and_validation(net):
    torch.manual_seed(0)
    estimator = BasisKPN(num_feat=2, num_kernels=2).double().eval()
    photo = torch.rand(1, 3, 40, 48)
    before = iterate_stack(estimator, photo, (1, 3), 2.2)
    estimator.removal = Removal(iterations=2, strength=0.5, least_tv_weight=0.5)
    stack, field = iterate_stack(estimator, photo, (1, 3), 2.2), bb.estimate_blur(estimator, photo)
    assert (stack - before).abs().max() > 1e-3
    fused, alone = fused_and_alone(net, estimator, photo, 2.2)
    torch.testing.assert_close(fused, fuse(net, photo, stack[:, 3:]))
    torch.testing.assert_close(alone, bb.deblur(photo, field, iterations=2, strength=0.5))


def test_views_show_the_same_place_in_the_same_way():
    torch.manual_seed(0)
    gt = torch.rand(3, 3, 12, 15)
    stack = torch.cat([gt + 1, gt + 2], 1)
    shown, sharp = random_views(stack, gt, 8, 5)
    assert shown.shape == (15, 6, 8, 8)
    torch.testing.assert_close(shown[:, :3] - 1, sharp)
    torch.testing.assert_close(shown[:, 3:] - 2, sharp)
    assert len({tuple(view.flatten().tolist()) for view in sharp}) == 15


def test_views_are_mirrored_turned_and_have_their_colours_exchanged():
    torch.manual_seed(0)
    gt = torch.rand(1, 3, 4, 4)
    _, views = random_views(gt, gt, 4, 200)
    turned = {
        tuple(image[list(colours)].rot90(turns, (-2, -1)).flatten().tolist())
        for image in (gt[0], gt[0].flip(-1))
        for turns in range(4)
        for colours in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    }
    seen = {tuple(view.flatten().tolist()) for view in views}
    assert seen <= turned
    assert len(seen) > 40  # of 48


def test_views_larger_than_the_photos_are_refused():
    with pytest.raises(ValueError, match=r'15x12 pixels \(width x height\), expected at least 13'):
        random_views(torch.rand(1, 3, 12, 15), torch.rand(1, 3, 12, 15), 13, 1)
