"""Activations of small networks."""

from torch import nn


def leaky(net):
    """Let every ReLU leak: in so small a network whole layers are dead otherwise."""
    for module in list(net.modules()):
        for key, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, key, nn.LeakyReLU(0.5))
    return net
