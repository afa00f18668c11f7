"""Estimate and remove the blur of a photo as one module, through which gradients flow.

    photo --net--> BlurField --deblur--> sharp          d sharp / d photo,  d sharp / d parameters of net
                             --deblur_iterates--> iterates --fusion--> sharp        also / d parameters of fusion

The result equals that of `deblur` bit by bit. Nothing of the iterations is kept for the gradient: in `backward` they
are made and recorded again, photo by photo, so memory holds the iterations of one photo. Gradients are exact but for:

1. The number of iterations counts as a constant: where the stop rule ended them, they end.
2. The noise level, from which the weight of total variation follows if none is given, counts as a constant.
3. Below one step of an 8-bit photo, where light ** (1 / gamma) becomes vertical, the slope is that of a straight line
   to black (`photo_of`). Where the result is clipped at white, the gradient is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.estimation.by_network import checked_field, kernel_size_of, light_for, removal_of
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA, check_number
from basis_blur.ops.photo import in_full_precision
from basis_blur.ops.transforms import refuse_transforms
from basis_blur.restoration.deblur import check_is_field, deblur_iterates
from basis_blur.restoration.recording import keep_copies, recorded_deblur
from basis_blur.restoration.settings import solver_settings, step_towards, steps_for


class Deblur(nn.Module):
    """A module from blurred to sharp photos, `estimate_blur` and then `deblur`, to be trained as a whole.

    Args:
        net: network that takes linear light and returns a BlurField, such as BasisKPN. It runs in the mode it is in:
            call `eval()` for the result of `estimate_blur`.
        gamma: exponent of the photos, light = photo ** gamma, >= 1.
        iterations: largest number of iterations of the restoration; by default that of the network's `facts.removal`.
        tv_weight: weight of total variation, in linear light; by default it follows from the noise of each photo.
        strength: length of the step to the restored photo, see `deblur`; by default that of the network's
            `facts.removal`.
        fusion: network that fuses iterates, see `deblur`. It sees even a large photo as a whole, and runs in the mode
            it is in.

    Raises:
        ValueError: a number is out of its range, both `iterations` and `fusion` are given, or `net` estimates no blur
            fields.

    Example:
        >>> module = bb.Deblur(bb.BasisKPN(num_feat=2, num_kernels=2, kernel_size=33), iterations=1)
        >>> photo = torch.rand(1, 3, 40, 40, requires_grad=True)
        >>> module(photo).mean().backward()
        >>> photo.grad.shape
        torch.Size([1, 3, 40, 40])
    """

    def __init__(
        self,
        net: nn.Module,
        gamma: float = GAMMA,
        iterations: int | None = None,
        tv_weight: float | None = None,
        strength: float | None = None,
        fusion: IterateFusion | None = None,
    ):
        super().__init__()
        kernel_size_of(net)  # a network of another kind is refused here, not at the first photo
        check_number('gamma', gamma, least=1, remedy='photos have 2.2, linear data 1.')
        if tv_weight is not None:
            check_number('tv_weight', tv_weight, least=0)
        self.kept, self.strength, self.further = steps_for(removal_of(net), iterations, strength, fusion)
        self.net = net
        self.gamma = gamma
        self.tv_weight = tv_weight
        self.fusion = fusion

    def forward(self, photo: Tensor) -> Tensor:
        """Return the sharp photo, in the shape of `photo`.

        Args:
            photo: (N, 3 or 1, H, W); sRGB-like in [0, 1]; any size from the size of the network's kernels.

        Raises:
            ValueError: the photo is not as described.
            InputError: it is smaller than the kernels.
        """
        light = light_for(self.net, photo, self.gamma)
        given, photo = photo.dtype, in_full_precision(photo)
        field = checked_field(self.net, self.net(light)).to(photo)
        field = field.with_removal(removal_of(self.net))
        iterates = deblur_iterates_with_gradients(photo, field, self.kept, self.gamma, self.tv_weight, self.further)
        sharp = iterates if self.fusion is None else self.fusion.fused(photo, iterates)
        return step_towards(sharp, photo, self.strength).to(given)

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, iterations={self.kept[-1]}, tv_weight={self.tv_weight}, strength={self.strength}'


def deblur_with_gradients(
    photo: Tensor,
    field: BlurField,
    gamma: float = GAMMA,
    iterations: int | None = None,
    tv_weight: float | None = None,
    strength: float | None = None,
) -> Tensor:
    """Return what `deblur` does without fusion, with gradients to the photo, the kernels and the mixing.

    Arguments and errors are those of `deblur`. Gradients of gradients are refused.
    """
    check_is_field(field)
    kept, strength, further = steps_for(field.removal, iterations, strength)
    iterates = deblur_iterates_with_gradients(photo, field, kept, gamma, tv_weight, further)
    return step_towards(iterates, photo, strength)


def deblur_iterates_with_gradients(
    photo: Tensor,
    field: BlurField,
    iterations: Sequence[int],
    gamma: float = GAMMA,
    tv_weight: float | None = None,
    further: int = 0,
) -> Tensor:
    """Return what `deblur_iterates` does, with gradients as in `deblur_with_gradients`."""
    refuse_transforms('deblur', 'take its gradients by backward() or torch.autograd.grad.')
    given, photo, field = photo.dtype, in_full_precision(photo), field.in_full_precision()
    least_tv_weight = 0.0 if field.removal is None else field.removal.least_tv_weight
    settings = (tuple(iterations), gamma, tv_weight, least_tv_weight, further)
    return _Deblur.apply(photo, field.kernels, field.mixing, settings).to(given)


class _Deblur(Function):
    @staticmethod
    def forward(
        ctx: Any,
        photo: Tensor,
        kernels: Tensor,
        mixing: Tensor,
        settings: tuple[Sequence[int], float, float | None, float, int],
    ) -> Tensor:
        ctx.save_for_backward(photo, kernels, mixing)
        ctx.settings = settings
        kept, gamma, tv_weight, least_tv_weight, further = settings
        field = BlurField.unchecked(kernels, mixing)
        return deblur_iterates(photo, field, kept, gamma, tv_weight, least_tv_weight=least_tv_weight, further=further)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[:3]
        saved = list(zip(ctx.saved_tensors, needed, strict=True))
        kept, gamma, tv_weight, least_tv_weight, further = ctx.settings
        found = []
        for n, towards in enumerate(gradient.split(1)):
            # The record of each photo is dropped before that of the next begins.
            inputs = [each[n : n + 1].detach().requires_grad_(need) for each, need in saved]
            with torch.enable_grad(), keep_copies(*inputs):
                solver = solver_settings(inputs[0], gamma, kept[-1], tv_weight, least_tv_weight, further)
                field = BlurField.unchecked(*inputs[1:])
                sharp = recorded_deblur(inputs[0], field, gamma, solver, kept)
                found.append(torch.autograd.grad(sharp, [each for each in inputs if each.requires_grad], towards))
        gradients = iter([torch.cat(each) for each in zip(*found, strict=True)])
        return *(next(gradients) if need else None for need in needed), None
