"""What training minimises. Each loss is weighted by pixel, summed over pixels and averaged over the batch."""

from basis_blur.losses.kernel_loss import KernelLoss
from basis_blur.losses.reblur_loss import ReblurLoss

__all__ = ['KernelLoss', 'ReblurLoss']
