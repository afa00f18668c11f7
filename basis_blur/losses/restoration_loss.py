"""The distance of the photo that Richardson-Lucy restores with the estimated blur from the sharp one.

    L = 10 log10(mean (x - u)^2),    x = v + strength (deblur(v, field) - v);    minus the PSNR in dB, mean of the batch
    with a fusion:                   x = v + strength (fusion(v, iterates of v with the field) - v)

v is the blurred photo and u the sharp one. An unsure estimate is a kernel that is too wide, with which the solver may
make a photo worse. This loss asks for the kernels that restore best: its gradient flows through the solver. Unlike in
`deblur`, all photos of a batch have one weight of total variation and one offset, the means of theirs, so that they are
restored together, in a tenth of the time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA, check_number
from basis_blur.losses.psnr_loss import PSNRLoss
from basis_blur.restoration.recording import keep_copies, recorded_deblur
from basis_blur.restoration.settings import ESTIMATED_BLUR, solver_settings, step_towards, steps_for

GREEN = slice(1, 2)  # channel of a colour photo that is restored


class RestorationLoss(nn.Module):
    """Minus the PSNR of the restored photo, times `loss_weight`.

    Of a colour photo only green is restored, which has the same blur and takes a third of the time.

    Args:
        loss_weight: factor of the result.
        gamma: exponent of the photos, light = photo ** gamma.
        iterations: number of iterations of Richardson-Lucy; by default `ESTIMATED_ITERATIONS`.
        strength: length of the step from the blurred to the restored photo, see `deblur`.
        fusion: network that fuses iterates, see `deblur`; it is frozen and put into evaluation mode.

    Raises:
        ValueError: `iterations` is smaller than 1 or given beside a fusion, or `strength` not in [0, 1].
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        gamma: float = GAMMA,
        iterations: int | None = None,
        strength: float = 1.0,
        fusion: IterateFusion | None = None,
    ):
        super().__init__()
        self.kept, self.strength, _ = steps_for(ESTIMATED_BLUR, iterations, strength, fusion)
        check_number('gamma', gamma, above=0, remedy='photos have 2.2, linear data 1.')
        self.gamma = gamma
        self.fusion = fusion if fusion is None else fusion.requires_grad_(False).eval()
        self.psnr = PSNRLoss(loss_weight)

    def train(self, mode: bool = True) -> RestorationLoss:
        """Set the mode of all parts but the fusion, which stays in evaluation mode."""
        super().train(mode)
        if self.fusion is not None:
            self.fusion.eval()
        return self

    def forward(self, field: BlurField, blurred: Tensor, scene: Tensor) -> Tensor:
        """Return the loss in dB, one number; its gradient flows to `field` only.

        Args:
            field: the prediction for N photos of size H, W.
            blurred: (N, 3 or 1, H, W); sRGB-like in [0, 1].
            scene: (N, the same, H+K-1, W+K-1); the sharp scene with its border, sRGB-like, >= 0; what exceeds 1 is
                white in a photo.

        Raises:
            ValueError: the sizes do not fit.
        """
        for name, image, size in (('blurred', blurred, field.image_size), ('scene', scene, field.scene_size)):
            if (len(image), *image.shape[-2:]) != (len(field), *size):
                raise ValueError(
                    f'{name} is {tuple(image.shape)}, expected N = {len(field)} and H, W = {tuple(size)}, as the field.'
                )
        sharp = field.inside(scene).clamp(0, 1)
        if blurred.shape[1] == 3:
            blurred, sharp = blurred[:, GREEN], sharp[:, GREEN]
        kind = blurred.device.type
        precision = {'dtype': torch.get_autocast_dtype(kind), 'enabled': torch.is_autocast_enabled(kind)}
        with torch.autocast(kind, enabled=False):
            return _Loss.apply(field.kernels, field.mixing, blurred, sharp, self, precision)

    def compute(self, field: BlurField, blurred: Tensor, sharp: Tensor, precision: dict[str, Any]) -> Tensor:
        """Return the loss, to be differentiated under `keep_copies`.

        Args:
            field, blurred, sharp: prediction, photos and truth, of one size.
            precision: arguments of `torch.autocast` for the fusion.
        """
        settings = [solver_settings(photo, self.gamma, self.kept[-1], None) for photo in blurred.split(1)]
        solver = replace(
            settings[0],
            tv_weight=sum(each.tv_weight for each in settings) / len(settings),
            offset=sum(each.offset for each in settings) / len(settings),
        )
        restored = recorded_deblur(blurred, field, self.gamma, solver, self.kept)
        if self.fusion is not None:
            with torch.autocast(blurred.device.type, **precision):
                restored = self.fusion.fused(blurred, restored)
        return self.psnr(step_towards(restored, blurred, self.strength), sharp)

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, iterations={self.kept[-1]}, strength={self.strength}'


class _Loss(Function):
    """The loss with its gradient, which is computed in `forward`, so that nothing else is kept for `backward`."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Tensor,
        mixing: Tensor,
        blurred: Tensor,
        sharp: Tensor,
        loss: RestorationLoss,
        precision: dict[str, Any],
    ) -> Tensor:
        needed = ctx.needs_input_grad[:2]
        inputs = [each.detach().requires_grad_(need) for each, need in zip((kernels, mixing), needed, strict=True)]
        with torch.set_grad_enabled(any(needed)), keep_copies(*inputs, blurred, sharp):
            value = loss.compute(BlurField.unchecked(inputs[0], inputs[1]), blurred, sharp, precision)
            ctx.gradients = torch.autograd.grad(value, [x for x in inputs if x.requires_grad]) if any(needed) else ()
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        gradients = iter(ctx.gradients)
        return (
            *(factor * next(gradients) if need else None for need in ctx.needs_input_grad[:2]),
            None,
            None,
            None,
            None,
        )
