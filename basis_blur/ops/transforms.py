"""Rules of torch.func for autograd functions that are linear in each of their tensors, and a refusal for other work.

vmap     the new dimension becomes part of the batch, since photos of a batch do not mix
grad     `setup_context` of `LinearForm` and `backward` of its subclass
jvp      the sum over the inputs of the function with one input replaced by its change
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def fold_into_batch(
    apply: Callable[..., Any], info: Any, in_dims: Sequence[int | None], *inputs: Any
) -> tuple[Tensor, int]:
    """Return what the `vmap` of an autograd Function has to return, if all its tensors have the batch first.

    Args:
        apply: method `apply` of the Function.
        info: facts that torch hands to a `vmap`, with `batch_size`.
        in_dims: dimension of each input that is mapped over, or None.
        inputs: tensors, which without that dimension are (N, ...), and other values, which are handed on.
    """
    size = info.batch_size

    def folded(value: Any, dim: int | None) -> Any:
        if not isinstance(value, Tensor):
            return value
        moved = value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
        return moved.flatten(0, 1)

    result = apply(*(folded(value, dim) for value, dim in zip(inputs, in_dims, strict=True)))
    return result.unflatten(0, (size, len(result) // size)), 0


def derivative(apply: Callable[..., Any], inputs: Sequence[Any], tangents: Sequence[Tensor | None]) -> Tensor:
    """Return the change of a function that is linear in each of its tensors.

    Args:
        apply: method `apply` of its Function.
        inputs: tensors, and after them other values.
        tangents: change of each tensor; None where it does not change.
    """
    terms = [
        apply(*inputs[:place], tangent, *inputs[place + 1 :])
        for place, tangent in enumerate(tangents)
        if tangent is not None
    ]
    return sum(terms[1:], terms[0])


class LinearForm(Function):
    """A function that is linear in each of its tensors, which have the batch first; other inputs may follow them.

    A subclass writes `forward` and `backward`; `ctx.others` are the inputs that are no tensors.
    """

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        tensors = [each for each in inputs if isinstance(each, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.others = inputs[len(tensors) :]

    @classmethod
    def jvp(cls, ctx: Any, *tangents: Any) -> Any:
        tensors = ctx.saved_tensors
        return derivative(cls.apply, (*tensors, *ctx.others), tangents[: len(tensors)])

    @classmethod
    def vmap(cls, info: Any, in_dims: Any, *inputs: Any) -> Any:
        return fold_into_batch(cls.apply, info, in_dims, *inputs)


def common_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors in float64 if one of them is, else in float32."""
    dtype = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
    return tuple(t.to(dtype) for t in tensors)


def plain(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors without the tangents of forward-mode differentiation.

    Torch takes these away for `forward` of a Function in its own thread only, not in other threads that it uses.
    """
    return tuple(tensor.detach() for tensor in tensors)


def refuse_transforms(name: str, remedy: str) -> None:
    """Raise ValueError under torch.func's vmap, grad or jvp, for work that they cannot transform."""
    active = getattr(torch._C, '_are_functorch_transforms_active', lambda: False)
    if active():
        raise ValueError(f'{name} does not work under torch.func (vmap, grad, jvp); {remedy}')
