"""Small fusion networks for tests."""

import torch

from basis_blur.archs.iterate_fusion_arch import IterateFusion

SIZES = {'iterations': (1, 3), 'width': 4, 'deep_width': 6, 'blocks': 2, 'deep_blocks': 1}


def arbitrary(std=0.1, **changed):
    """A network none of whose weights is 0."""
    torch.manual_seed(0)
    net = IterateFusion(**{**SIZES, **changed}).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return net
