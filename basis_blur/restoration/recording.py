"""Record computations that use memory again in place, so that gradients can flow back through them.

`torch.autograd.graph.allow_mutation_on_saved_tensors` is made for this, but knows a saved tensor by its address: with
torch 2.13, a new one at the address of an old one that was overwritten is taken for it, and the gradient is wrong.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from basis_blur.field import BlurField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.camera_response import photo_of, to_linear
from basis_blur.restoration.richardson_lucy import RichardsonLucy, richardson_lucy_with_graph


def keep_copies(*constants: Tensor) -> AbstractContextManager:
    """Keep copies, for `backward`, of all that would be referred to in a `with` block, except of `constants`.

    Args:
        constants: are not written to before `backward`, nor is anything that shares memory with them.
    """
    shared = {tensor.untyped_storage().data_ptr() for tensor in constants}

    def pack(tensor: Tensor) -> Tensor:
        return tensor if tensor.untyped_storage().data_ptr() in shared else tensor.clone()

    return saved_tensors_hooks(pack, lambda tensor: tensor)


def recorded_deblur(photo: Tensor, field: BlurField, gamma: float, solver: RichardsonLucy) -> Tensor:
    """Return the photos (N, C, H, W) as the solver restores them; for gradients, call it under `keep_copies`."""
    light = to_linear(photo, gamma)
    scene = richardson_lucy_with_graph(light, BasisBlur(field), ReflectPad(field)(light), solver).scene
    return photo_of(field.inside(scene).clamp(0, 1), gamma).to(photo.dtype)
