"""The losses of DeblurGAN: features of VGG19, and a critic."""

import pytest
import torch
from vgg_weights import vgg_state

from basis_blur.foundation.errors import InputError
from basis_blur.losses import VGGLoss, WassersteinLoss


@pytest.fixture
def weights(tmp_path):
    torch.save(vgg_state(), tmp_path / 'vgg.pth')
    return tmp_path / 'vgg.pth'


def test_features_are_those_of_conv3_3_before_its_relu(weights):
    loss = VGGLoss(str(weights))
    convs = [layer for layer in loss.features if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convs] == [64, 64, 128, 128, 256, 256, 256]
    assert loss.features[14] is convs[-1]  # as torchvision numbers them
    assert len(loss.features) == 15
    assert torch.equal(convs[-1].weight, vgg_state_of(weights)['features.14.weight'])


def vgg_state_of(weights):
    return torch.load(weights, weights_only=True)


def test_equal_photos_have_no_loss_and_gradients_go_to_the_photo_alone(weights):
    loss = VGGLoss(str(weights), loss_weight=2.0).double()
    sharp = torch.rand(1, 3, 16, 20)
    assert loss(sharp, sharp) == 0
    blurred = (sharp + 0.1).requires_grad_()
    once = VGGLoss(str(weights), loss_weight=1.0).double()(blurred, sharp)
    total = loss(blurred, sharp)
    torch.testing.assert_close(total, 2 * once)
    total.backward()
    assert blurred.grad.abs().sum() > 0
    assert all(each.grad is None for each in loss.parameters())


def test_a_missing_file_is_told_with_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r'no file .*nowhere\.pth.*download https://download\.pytorch\.org.*vgg19'):
        VGGLoss(str(tmp_path / 'nowhere.pth'))


@pytest.mark.parametrize('content', [b'no weights', None])
def test_another_file_is_told(tmp_path, content):
    if content is None:
        torch.save({'features.0.weight': torch.zeros(64, 3, 3, 3)}, tmp_path / 'a.pth')
    else:
        (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(InputError, match='is not the weights of VGG19'):
        VGGLoss(str(tmp_path / 'a.pth'))


def test_a_critic_of_slope_one_has_no_penalty():
    loss = WassersteinLoss(penalty=7.0)
    side = 6
    loss.critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * side**2, 1))
    weight = torch.randn(1, 3 * side**2)
    loss.critic[1].weight.data = weight / weight.norm() / 2  # photos are doubled before it
    restored, sharp = torch.rand(2, 3, side, side), torch.rand(2, 3, side, side)
    distance = loss.critic(2 * sharp - 1).mean() - loss.critic(2 * restored - 1).mean()
    torch.testing.assert_close(loss.of_critic(restored, sharp), -distance)
    loss.critic[1].weight.data *= 3  # a slope of 3
    torch.testing.assert_close(loss.of_critic(restored, sharp), 7 * 4 - 3 * distance)


def test_a_critic_learns_to_tell_photos_apart_and_the_loss_prefers_sharp_ones():
    loss = WassersteinLoss(width=4, levels=2)
    optimiser = torch.optim.Adam(loss.critic.parameters(), 0.002)
    sharp = torch.rand(4, 3, 24, 24)
    blurred = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
    for _ in range(40):
        optimiser.zero_grad()
        loss.of_critic(blurred, sharp).backward()
        optimiser.step()
    assert loss(sharp) < loss(blurred)


def test_the_critic_sees_patches_of_70_pixels_and_judges_many():
    loss = WassersteinLoss()
    photo = torch.rand(1, 3, 256, 256).requires_grad_()
    judged = loss.double().critic(photo)
    assert judged.shape == (1, 1, 30, 30)
    assert sum(each.numel() for each in loss.parameters()) == 2764737
    # Instance normalisation looks at all of the photo, so the patch is that of the convolutions alone.
    bare = torch.nn.Sequential(*(each for each in loss.critic if not isinstance(each, torch.nn.InstanceNorm2d)))
    (slope,) = torch.autograd.grad(bare(photo)[0, 0, 15, 15], photo)
    seen = slope[0].abs().sum(0).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]
