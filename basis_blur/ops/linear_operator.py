"""Linear operators: maps with a known input and output shape and an exact transpose.

`op(x)` applies it, `op.T(y)` applies the transpose, `a @ b` applies b, then a. The contract of every operator is

    <op(x), y> = <x, op.T(y)>     for all x and y,

and `dot_test` measures the error of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from basis_blur.field.tensors import check_tensor


class LinearOperator:
    """A linear map between batches of images (N, C, H, W), the same for every channel.

    A subclass implements `_apply` and `_apply_transpose`. Operators hold no input: applying one changes nothing.

    Args:
        input_shape: (N, C, H, W) of the images that it takes; C is nominal, any number of channels is accepted.
        output_shape: (N, C, H, W) of the images that it returns.

    Example:
        >>> class Twice(bb.LinearOperator):
        ...     def _apply(self, x):
        ...         return 2 * x
        ...     def _apply_transpose(self, y):
        ...         return 2 * y
        >>> twice = Twice((1, 3, 4, 4), (1, 3, 4, 4))
        >>> (twice @ twice)(torch.ones(1, 3, 4, 4)).max().item()
        4.0
    """

    def __init__(self, input_shape: Sequence[int], output_shape: Sequence[int]):
        self.input_shape = tuple(input_shape)
        self.output_shape = tuple(output_shape)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the operator.

        Raises:
            ValueError: `x` is not a batch of images of the operator's input size, is complex, or is no tensor.
        """
        name = self._name()
        check_tensor(f'the light for {name}', x, floating=False)
        _check_shape(x, self.input_shape, name)
        return self._apply(x)

    def into(self, memory: Tensor | None, x: Tensor) -> Tensor:
        """Return what a call returns, written to the given memory if the operator can do so and the shape fits.

        The memory is new otherwise, and always while gradients are recorded.
        """
        return self(x) if memory is None or torch.is_grad_enabled() else self._apply_into(memory, x)

    @property
    def T(self) -> LinearOperator:
        """The transpose (adjoint), an operator from `output_shape` to `input_shape`."""
        return _Transpose(self)

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """Compose: (self @ other)(x) = self(other(x)).

        Raises:
            ValueError: what `other` returns is not what `self` takes.
        """
        return _Composition(self, other)

    def _apply(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _apply_transpose(self, y: Tensor) -> Tensor:
        raise NotImplementedError

    def _apply_into(self, memory: Tensor, x: Tensor) -> Tensor:
        return self._apply(x)

    def _apply_transpose_into(self, memory: Tensor, y: Tensor) -> Tensor:
        return self._apply_transpose(y)

    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f'{self._name()}({_text(self.input_shape)} -> {_text(self.output_shape)})'


class _Transpose(LinearOperator):
    def __init__(self, operator: LinearOperator):
        super().__init__(operator.output_shape, operator.input_shape)
        self._operator = operator

    @property
    def T(self) -> LinearOperator:
        return self._operator

    def _name(self) -> str:
        return f'{self._operator._name()}.T'

    def _apply(self, x: Tensor) -> Tensor:
        return self._operator._apply_transpose(x)

    def _apply_transpose(self, y: Tensor) -> Tensor:
        return self._operator._apply(y)

    def _apply_into(self, memory: Tensor, x: Tensor) -> Tensor:
        return self._operator._apply_transpose_into(memory, x)

    def _apply_transpose_into(self, memory: Tensor, y: Tensor) -> Tensor:
        return self._operator._apply_into(memory, y)


class _Composition(LinearOperator):
    def __init__(self, outer: LinearOperator, inner: LinearOperator):
        if not _fits(inner.output_shape, outer.input_shape):
            raise ValueError(
                f'{outer!r} cannot follow {inner!r}: it takes {_text(outer.input_shape)} and is given '
                f'{_text(inner.output_shape)}; build both from the same field.'
            )
        super().__init__(inner.input_shape, outer.output_shape)
        self._outer, self._inner = outer, inner

    def _name(self) -> str:
        return f'({self._outer._name()} @ {self._inner._name()})'

    def _apply(self, x: Tensor) -> Tensor:
        return self._outer._apply(self._inner._apply(x))

    def _apply_transpose(self, y: Tensor) -> Tensor:
        return self._inner._apply_transpose(self._outer._apply_transpose(y))


def dot_test(
    operator: LinearOperator,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = 'cpu',
) -> float:
    """Return how far an operator is from having its transpose:  |<Ax, y> - <x, A'y>| / (|Ax| |y|).

    Args:
        operator: an operator that computes in the dtype and on the device given here.
        generator: generator that draws x and y; by default a new one, so that the result is the same each time.
        dtype: dtype of x and y. An exact transpose has about 1e-16 in float64, and about 1e-7 in float32.
        device: device on which the operator computes.

    Example:
        >>> field = bb.BlurField(torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 32, 48))
        >>> bb.dot_test(bb.BasisBlur(field) @ bb.ZeroPad(field)) < 1e-5
        True
    """
    generator = generator or torch.Generator().manual_seed(0)
    x = torch.randn(operator.input_shape, generator=generator, dtype=dtype).to(device)
    y = torch.randn(operator.output_shape, generator=generator, dtype=dtype).to(device)
    forward, backward = operator(x), operator.T(y)
    scale = forward.norm() * y.norm()
    difference = ((forward * y).sum() - (x * backward).sum()).abs()
    return float(difference / scale) if scale > 0 else float(difference)


def _fits(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(found) == 4 and found[0] == expected[0] and tuple(found[2:]) == tuple(expected[2:])


def _check_shape(x: Tensor, expected: tuple[int, ...], name: str) -> None:
    if not _fits(tuple(x.shape), expected):
        raise ValueError(
            f'{name} was given the shape {_text(x.shape)}, expected {_text(expected)} (any number of channels).'
        )


def _text(shape: tuple[int, ...]) -> str:
    return 'x'.join(str(size) for size in shape)
