"""What a restoring network is shown of a photo, and what comes back of it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from basis_blur.archs import NAFNet
from basis_blur.deblurring.network_deblurrer import NetworkDeblurrer
from basis_blur.foundation.errors import InputError
from basis_blur.photos.photo import Photo
from basis_blur.weights.checkpoints import save_network


class Means(nn.Module):
    """Returns means of 5 x 5 pixels, so that each pixel depends on its surroundings."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((3, 1, 5, 5), 1 / 25))

    def forward(self, photo):
        return F.conv2d(F.pad(photo, [2, 2, 2, 2], mode='replicate'), self.weight, groups=3)


def test_what_lies_under_alpha_0_reaches_nothing_that_is_seen_and_stays():
    alpha = torch.ones(1, 1, 40, 48)
    alpha[..., 24:] = 0
    pixels = torch.rand(1, 3, 40, 48)
    other = torch.where(alpha > 0, pixels, torch.rand(1, 3, 40, 48))
    deblurrer = NetworkDeblurrer(Means())
    one, two = (deblurrer(Photo(each, alpha)).pixels for each in (pixels, other))
    torch.testing.assert_close(one[..., :24], two[..., :24])
    torch.testing.assert_close(two[..., 24:], other[..., 24:])
    assert not torch.allclose(one[..., :24], pixels[..., :24])


def test_a_network_that_looks_at_kernels_and_estimates_none_is_refused(tmp_path):
    net = NAFNet(width=4, enc_blocks=(1,), middle_blocks=1, dec_blocks=(1,), kernel_size=5, attention_levels=(0,))
    save_network(net.float(), tmp_path / 'net.safetensors')
    with pytest.raises(InputError, match='a NAFNet that looks at kernels, which it does not estimate'):
        NetworkDeblurrer.pretrained(tmp_path / 'net.safetensors')
