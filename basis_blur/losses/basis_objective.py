"""The objective of networks that predict blur fields [C21, Eq. 5, 6], independent of any training framework.

    L = L_reblur(field, scene, lq) + L_kernel(field, true field) + L_divergence(field, true field)
        + L_restoration(field, lq, scene)

L_kernel has p = 2 at first and p = 1 from some iteration on, in [C21] after 300 of 1200 epochs. In L_reblur and
L_kernel a pixel i has the weight 1 / number of pixels of i's object. The other two are not in [C21]: L_divergence is an
alternative to L_kernel for short trainings, and L_restoration asks for the kernels that restore best. Each loss has its
own `loss_weight`.
"""

from __future__ import annotations

from torch import Tensor, nn

from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.estimation.by_network import removal_of
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.losses.kernel_divergence_loss import KernelDivergenceLoss
from basis_blur.losses.kernel_loss import KernelLoss
from basis_blur.losses.reblur_loss import ReblurLoss
from basis_blur.losses.restoration_loss import RestorationLoss
from basis_blur.losses.sample import Sample, needed
from basis_blur.ops.camera_response import to_linear
from basis_blur.restoration.deblur import deblur


class BasisObjective(nn.Module):
    """The losses L_reblur, L_kernel, L_divergence and L_restoration, as far as they are given.

    Args:
        reblur: reblur loss; None for none.
        kernel: kernel loss; None for none.
        divergence: divergence loss; None for none.
        restoration: restoration loss; None for none.
        kernel_p1_iter: number of the first iteration, from 1, with p = 1 whatever the p of `kernel`; None for none.
        gamma: exponent of the photos; 1 for linear light.

    Raises:
        ValueError: no loss is given, the gamma of `reblur` or `restoration` is another, or `kernel_p1_iter` is given
            without `kernel`.
    """

    def __init__(
        self,
        reblur: ReblurLoss | None = None,
        kernel: KernelLoss | None = None,
        kernel_p1_iter: int | None = None,
        gamma: float = GAMMA,
        divergence: KernelDivergenceLoss | None = None,
        restoration: RestorationLoss | None = None,
    ):
        super().__init__()
        if reblur is None and kernel is None and divergence is None and restoration is None:
            raise ValueError(
                'neither a reblur, a kernel, a divergence nor a restoration loss is given; give at least one of them.'
            )
        for name, loss in (('reblur', reblur), ('restoration', restoration)):
            if loss is not None and loss.gamma != gamma:
                raise ValueError(f'the {name} loss has gamma {loss.gamma:g}, but the photos have {gamma:g}; give one.')
        self.reblur = reblur
        self.kernel = kernel
        self.divergence = divergence
        self.restoration = restoration
        self.kernel_p1_iter = kernel_p1_iter
        self.kernel_p1: KernelLoss | None = None
        if kernel_p1_iter is not None:
            if kernel is None:
                raise ValueError(f'kernel_p1_iter is {kernel_p1_iter}, but there is no kernel loss to switch to p = 1.')
            self.kernel_p1 = KernelLoss(p=1, loss_weight=kernel.loss_weight, chunk_pixels=kernel.chunk_pixels)
        self.gamma = gamma

    def forward(self, field: BlurField, sample: Sample, iteration: int = 1) -> dict[str, Tensor]:
        """Return the losses, each one number; their sum is to be minimised.

        Args:
            field: the prediction for the N photos of the sample.
            sample: sample of `blur_scene`, all of it; gt is (N, C, H+K-1, W+K-1).
            iteration: number of the iteration, counted from 1.

        Returns:
            'l_reblur', 'l_kernel', 'l_divergence' and 'l_restoration', as far as they are wanted.
        """
        losses = {}
        if self.reblur is not None:
            scene = to_linear(needed(sample.gt), self.gamma)
            losses['l_reblur'] = self.reblur(field, scene, sample.lq, sample.weight)
        kernel = self._kernel_loss_at(iteration)
        if kernel is not None:
            losses['l_kernel'] = kernel(field, sample.true_field, sample.weight)
        if self.divergence is not None:
            losses['l_divergence'] = self.divergence(field, sample.true_field)
        if self.restoration is not None:
            losses['l_restoration'] = self.restoration(field, sample.lq, sample.gt)
        return losses

    def _kernel_loss_at(self, iteration: int) -> KernelLoss | None:
        late = self.kernel_p1_iter is not None and iteration >= self.kernel_p1_iter
        return self.kernel_p1 if late else self.kernel


def estimated_field(net: nn.Module, photo: Tensor, gamma: float = GAMMA) -> BlurField:
    """Return the blur field that a network which sees light, such as a BasisKPN, estimates of photos.

    Args:
        net: the network, perhaps wrapped.
        photo: (N, C, H, W); sRGB-like in [0, 1].
        gamma: light = photo ** gamma.
    """
    return net(to_linear(photo, gamma))


def restored_photo(
    net: nn.Module, field: BlurField, photo: Tensor, gamma: float = GAMMA, fusion: IterateFusion | None = None
) -> Tensor:
    """Return photos restored with the blur that a network estimated, as suits the blurs of that network.

    Args:
        net: the network, not wrapped.
        field: its estimate.
        photo, gamma, fusion: arguments of `deblur`.
    """
    return deblur(photo, field.with_removal(removal_of(net)), gamma, fusion=fusion)
