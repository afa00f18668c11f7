"""The residual that a blur leaves of a photo: the photo restored with it, blurred again, minus the photo.

The residual of a wrong kernel is small too, since it blurs away again what it added to the restored photo. But that of
a right kernel is 0.1 to 0.5 of that of its mirror image, and that of a wrong kernel 0.7 to 1 of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from basis_blur.estimation.estimate import CHOOSING, Progress
from basis_blur.estimation.shake.fields import uniform_field
from basis_blur.estimation.trust import reblur_residual
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.camera_response import to_srgb
from basis_blur.ops.windows import Window, spread_windows
from basis_blur.restoration.deblur import deblur_iterates
from basis_blur.restoration.settings import Removal

ITERATIONS = 10  # number of iterations of Richardson-Lucy in comparisons with wrong blurs, such as mirror images
PROBE, PROBES = 420, 2  # side in pixels, and number, of the windows that are restored for it


@torch.no_grad()
def unexplained(
    photo: Tensor,
    field: BlurField,
    gamma: float,
    removal: Removal,
    windows: Sequence[Window],
    progress: Progress | None = None,
) -> float:
    """Return the root mean square, over windows of a photo, of what `reblur_residual` finds in each, sRGB-like.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        field: blur of the photo.
        gamma: exponent of the photo.
        removal: settings by which each window is restored; its strength and fusion are not used.
        windows: rows and columns of each window.
        progress: function that is called after each window.
    """
    squares = []
    for number, (rows, columns) in enumerate(windows, 1):
        part = photo[..., rows, columns]
        blur = field.crop(rows.start, columns.start, *part.shape[-2:])
        restored = deblur_iterates(part, blur, (removal.iterations,), gamma, least_tv_weight=removal.least_tv_weight)
        squares.append(reblur_residual(part, restored, blur, gamma) ** 2)
        if progress is not None:
            progress(CHOOSING, number, len(windows))
    return (sum(squares) / len(squares)) ** 0.5


def wrong_kernels(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Return a kernel (K, K) mirrored, and turned by 90 degrees, to compare with."""
    return kernel.flip(0), kernel.rot90(1, (0, 1)).contiguous()


@torch.no_grad()
def share_of_wrong(light: Tensor, kernel: Tensor) -> float:
    """Return the residual of a photo with a kernel, over that with the kernel mirrored or turned by 90 degrees.

    The residual is that of `unexplained`, in windows spread over the photo; the larger of the two ratios is returned.
    It is about 1 if the kernel is not that of the photo, or if it equals its mirror image.

    Args:
        light: (1, 1, H, W); gray linear light.
        kernel: (K, K).
    """
    windows = spread_windows((light.shape[-2], light.shape[-1]), max(PROBE, 3 * kernel.shape[-1]), PROBES)
    turned = (kernel, *wrong_kernels(kernel))
    residuals = [0.0] * len(turned)
    for rows, columns in windows:
        part = to_srgb(light[..., rows, columns].clamp(0, 1))
        whole = [(slice(0, part.shape[-2]), slice(0, part.shape[-1]))]
        for number, each in enumerate(turned):
            residuals[number] += unexplained(part, uniform_field(each, part), GAMMA, Removal(ITERATIONS), whole) ** 2
    right, *wrong = residuals
    return (right / max(min(wrong), 1e-18)) ** 0.5
