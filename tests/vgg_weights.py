"""Weights of VGG19 as torchvision names them, of the layers that VGGLoss reads; random."""

import torch

from basis_blur.losses.vgg_loss import LAYERS


def vgg_state() -> dict[str, torch.Tensor]:
    """Return the weights by their names, and one that the loss does not need."""
    state, before, index = {'classifier.0.weight': torch.zeros(1)}, 3, 0
    for channels in LAYERS:
        if channels:
            state[f'features.{index}.weight'] = torch.randn(channels, before, 3, 3).float() / (3 * before**0.5)
            state[f'features.{index}.bias'] = torch.randn(channels).float() / 10
            before, index = channels, index + 1
        index += 1
    return state
