"""What torch.func needs of an operator that is written by hand: a rule for vmap, and a sentence where there is none.

vmap     the new dimension becomes part of the batch, since photos of a batch do not mix
grad     by `setup_context` and `backward`
jvp      a form that is linear in each input has as its derivative the sum of itself with one input replaced
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def fold_into_batch(apply: Callable, info: Any, in_dims: Sequence[int | None], *inputs: Any) -> tuple[Tensor, int]:
    """Return what the `vmap` of an autograd Function returns, for one whose inputs all have the batch first.

    Args:
        apply: method `apply` of the Function.
        info: facts that vmap hands over, with `batch_size`.
        in_dims: dimension of each input that is mapped over, or None.
        inputs: tensors (N, ...) beside that dimension, and others, which are handed on.
    """
    size = info.batch_size

    def folded(value: Any, dim: int | None) -> Any:
        if not isinstance(value, Tensor):
            return value
        moved = value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
        return moved.flatten(0, 1)

    result = apply(*(folded(value, dim) for value, dim in zip(inputs, in_dims, strict=True)))
    return result.unflatten(0, (size, len(result) // size)), 0


def derivative(apply: Callable, inputs: Sequence[Any], tangents: Sequence[Tensor | None]) -> Tensor:
    """Return the change of a form that is linear in each of its tensors.

    Args:
        apply: method `apply` of the form's Function.
        inputs: tensors, and others after them.
        tangents: change of each input; None where it does not change.
    """
    terms = [
        apply(*inputs[:place], tangent, *inputs[place + 1 :])
        for place, tangent in enumerate(tangents)
        if tangent is not None
    ]
    return sum(terms[1:], terms[0])


class LinearForm(Function):
    """A derivative of a form that is linear in each of its tensors, all with the batch first; others may follow them.

    A subclass writes `forward` and `backward`; `ctx.others` are the inputs that are no tensors.
    """

    @staticmethod
    def setup_context(ctx, inputs, output):
        tensors = [each for each in inputs if isinstance(each, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.others = inputs[len(tensors) :]

    @classmethod
    def jvp(cls, ctx, *tangents):
        tensors = ctx.saved_tensors
        return derivative(cls.apply, (*tensors, *ctx.others), tangents[: len(tensors)])

    @classmethod
    def vmap(cls, info, in_dims, *inputs):
        return fold_into_batch(cls.apply, info, in_dims, *inputs)


def common_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors in float64 if one of them is, else in float32."""
    dtype = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
    return tuple(t.to(dtype) for t in tensors)


def plain(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the same numbers without the changes that forward-mode differentiation carries along with them.

    `forward` of a Function is spared these in its own thread only, not in others that it lets work.
    """
    return tuple(tensor.detach() for tensor in tensors)


def refuse_transforms(name: str, remedy: str) -> None:
    """Raise ValueError under torch.func's vmap, grad or jvp, which cannot see through what follows."""
    active = getattr(torch._C, '_are_functorch_transforms_active', lambda: False)
    if active():
        raise ValueError(f'{name} does not work under torch.func (vmap, grad, jvp); {remedy}')
