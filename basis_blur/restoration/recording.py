"""Record computations that use memory again in place, so that gradients can flow back through them.

`torch.autograd.graph.allow_mutation_on_saved_tensors` is made for this, but knows a saved tensor by its address: with
torch 2.13, a new one at the address of an old one that was overwritten is taken for it, and the gradient is wrong.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def keep_copies(*constants: Tensor) -> AbstractContextManager:
    """Keep copies, for `backward`, of all that would be referred to in a `with` block, except of `constants`.

    Args:
        constants: are not written to before `backward`, nor is anything that shares memory with them.
    """
    shared = {tensor.untyped_storage().data_ptr() for tensor in constants}

    def pack(tensor: Tensor) -> Tensor:
        return tensor if tensor.untyped_storage().data_ptr() in shared else tensor.clone()

    return saved_tensors_hooks(pack, lambda tensor: tensor)
