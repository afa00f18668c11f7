import pytest
import torch
from tolerances import rounding

from basis_blur.archs.ufpnet_arch import UFPNet
from basis_blur.estimation.refinement import refine_codes, refine_field
from basis_blur.field.blur_field import BlurField
from basis_blur.losses.consistency_loss import ConsistencyLoss
from basis_blur.metrics.kernel import field_errors
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.camera_response import to_linear, to_srgb


def line_kernel(size, horizontal):
    kernel = torch.zeros(size, size)
    if horizontal:
        kernel[size // 2] = 1 / size
    else:
        kernel[:, size // 2] = 1 / size
    return kernel


@pytest.fixture
def photo():
    """A photo of squares, blurred by a horizontal line of 5 pixels."""
    coarse = 0.1 + 0.8 * torch.rand(1, 3, 6, 6)
    scene = torch.nn.functional.interpolate(coarse, size=(44, 44), mode='nearest')
    field = BlurField(line_kernel(5, True)[None, None], torch.ones(1, 1, 40, 40))
    return to_srgb(BasisBlur(field)(to_linear(scene))).clamp(0, 1)


def halves(share):
    """Two kernels, of which the horizontal one has this share everywhere."""
    kernels = torch.stack([line_kernel(5, True), line_kernel(5, False)])[None]
    mixing = torch.tensor([share, 1 - share]).view(1, 2, 1, 1).expand(-1, -1, 40, 40)
    return BlurField(kernels, mixing.clone())


def test_a_wrong_blur_is_refined_towards_the_one_that_explains_the_photo(photo):
    found = refine_field(photo, halves(0.4), steps=20)
    assert found.improved
    assert found.after < 0.9 * found.before
    given, refined = (field_errors(field, halves(1.0))['kernel_l1'] for field in (halves(0.4), found.field))
    assert refined < 0.95 * given


def test_where_the_loss_does_not_fall_the_given_blur_comes_back(photo, monkeypatch):
    given = halves(1.0)
    # A step far too long spoils any blur.
    monkeypatch.setattr('basis_blur.estimation.refinement.LEARNING_RATE', 100.0)
    found = refine_field(photo, given, steps=3)
    assert not found.improved
    assert found.after >= found.before
    assert found.field is given


def test_each_step_is_told_and_batches_are_refused(photo):
    told = []
    refine_field(photo, halves(0.5), steps=2, callback=lambda step, loss: told.append(step))
    assert told == [1, 2]
    with pytest.raises(ValueError, match='2 photos are given'):
        refine_field(photo.expand(2, -1, -1, -1), halves(0.5))


@pytest.fixture(
    params=[
        {'kernel_size': 5},
        {'kernel_size': 5, 'estimator_stride': 2},
        {'kernel_size': 9, 'estimator': 'correlation'},
    ],
    ids=['a code a pixel', 'a code for 4', 'a code a window'],
)
def net(request):
    return UFPNet(
        width=2,
        estimator_width=2,
        **request.param,
        enc_blocks=(1,),
        dec_blocks=(1,),
        attention_levels=(0,),
    ).eval()


def test_codes_descend_the_reblur_loss_and_the_better_photo_is_returned(net, photo):
    losses = []
    found = refine_codes(net, photo, steps=9, callback=lambda step, loss: losses.append(loss))
    assert losses[-1] < losses[0]  # of one restored photo; that of the refined kernels may be another
    returned = ConsistencyLoss()(found.pixel_kernels, found.image, photo).item()
    assert returned == pytest.approx(min(found.before, found.after), rel=rounding())
    assert found.improved == (found.after < found.before)
    torch.testing.assert_close(found.pixel_kernels.sum(1), torch.ones(1, 40, 40))
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_network_without_codes_is_refused(photo):
    with pytest.raises(ValueError, match='no latent codes'):
        refine_codes(torch.nn.Conv2d(3, 3, 1), photo)
