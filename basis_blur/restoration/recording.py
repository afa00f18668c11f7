"""Record computations that overwrite their memory, so that gradients can flow back through them.

`torch.autograd.graph.allow_mutation_on_saved_tensors` is made for this but tells saved tensors apart by their address.
With torch 2.13 it takes a new tensor for an overwritten old one that had the same address, and the gradient is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from basis_blur.field.blur_field import BlurField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.ops.camera_response import photo_of, to_linear
from basis_blur.restoration.richardson_lucy import Iterates, RichardsonLucy, richardson_lucy_with_graph


def keep_copies(*constants: Tensor) -> AbstractContextManager[Any]:
    """Save copies of tensors for `backward`, in a `with` block, where autograd would save the tensors themselves.

    Args:
        constants: tensors that need no copy, since nobody writes to their memory before `backward`.
    """
    shared = {tensor.untyped_storage().data_ptr() for tensor in constants}

    def pack(tensor: Tensor) -> Tensor:
        return tensor if tensor.untyped_storage().data_ptr() in shared else tensor.clone()

    return saved_tensors_hooks(pack, lambda tensor: tensor)


def recorded_deblur(
    photo: Tensor, field: BlurField, gamma: float, solver: RichardsonLucy, kept: Sequence[int] | None = None
) -> Tensor:
    """Return the photos that the solver restores; for gradients, call it under `keep_copies`.

    Args:
        photo: (N, C, H, W); sRGB-like in [0, 1].
        field: blur of the same photos.
        gamma: exponent of the photos.
        solver: settings of the solver, for all photos.
        kept: numbers of the iterations that are kept, ascending to `solver.iterations`; by default the last alone.
            Where the stop rule ends the work before, the iterates after it equal the last one.

    Returns:
        (N, C len(kept), H, W).
    """
    light = to_linear(photo, gamma)
    iterates = Iterates(
        kept or (solver.iterations,),
        lambda scene: photo_of(field.inside(scene).clamp(0, 1), gamma).to(photo.dtype),
    )
    start = ReflectPad(field)(light)
    return iterates.joined(
        richardson_lucy_with_graph(light, BasisBlur(field), start, solver, watch=iterates.watch).scene
    )
