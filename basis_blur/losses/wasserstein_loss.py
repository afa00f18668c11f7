"""The adversarial loss of DeblurGAN: a critic tells restored photos from sharp ones  [Kupyn18, Eq. 2; Gulrajani17].

    network     L = -mean D(x)
    critic      L = mean D(x) - mean D(y) + penalty mean (|grad D(z)|_2 - 1)^2,    z between x and y at random

[Kupyn18] Kupyn, Budzan, Mykhailych, Mishkin, Matas, "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial
Networks", CVPR 2018. [Gulrajani17] Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, "Improved Training of Wasserstein
GANs", NIPS 2017, with a penalty of 10. The critic D is that of [Kupyn18]: 4 x 4 convolutions that see patches of 70
pixels, with instance normalisation; a number for each patch.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from basis_blur.foundation.numbers import check_number

MOST_WIDTHS = 8  # channels of the deepest layer, over `width`


class WassersteinLoss(nn.Module):
    """The loss above of the network, times `loss_weight`, and the critic with its own.

    Args:
        loss_weight: factor of the loss of the network.
        penalty: factor of the gradient's distance from 1, >= 0.
        width: channels of the first layer of the critic.
        levels: number of its layers that halve the photo.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(self, loss_weight: float = 1.0, penalty: float = 10.0, width: int = 64, levels: int = 3):
        super().__init__()
        check_number('loss_weight', loss_weight)
        check_number('penalty', penalty, least=0, remedy='10 is usual.')
        check_number('width', width, least=1, whole=True, remedy='64 is usual.')
        check_number('levels', levels, least=1, whole=True, remedy='3 is usual.')
        self.loss_weight = loss_weight
        self.penalty = penalty
        channels = [3, *(width * min(2**level, MOST_WIDTHS) for level in range(levels + 1))]
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(channels)):
            layers.append(nn.Conv2d(before, after, 4, stride=2 if number < levels else 1, padding=1))
            if number:
                layers.append(nn.InstanceNorm2d(after))
            layers.append(nn.LeakyReLU(0.2))
        self.critic = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 4, padding=1))

    def forward(self, restored: Tensor) -> Tensor:
        """Return the loss of the network, one number.

        Args:
            restored: x, (N, 3, H, W); sRGB-like in [0, 1].
        """
        return -self.loss_weight * self._judged(restored).mean()

    def of_critic(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the loss of the critic, one number.

        Args:
            restored: x, (N, 3, H, W); no gradient goes to it.
            sharp: y, photos of the same shape.
        """
        restored, sharp = restored.detach(), sharp.detach()
        share = torch.rand(len(sharp), 1, 1, 1, device=sharp.device)
        between = (share * restored + (1 - share) * sharp).requires_grad_()
        (slope,) = torch.autograd.grad(self._judged(between).sum(), between, create_graph=True)
        steepness = slope.flatten(1).norm(dim=1)
        distance = self._judged(sharp).mean() - self._judged(restored).mean()
        return self.penalty * (steepness - 1).square().mean() - distance

    def _judged(self, photo: Tensor) -> Tensor:
        return self.critic(2 * photo.to(next(self.critic.parameters())) - 1)
