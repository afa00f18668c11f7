"""The blur of a photo as a linear operator, with a kernel of its own for every pixel [F23].

    (H u)[i] = sum_s k[s, i] u[i + (K - 1) - s],         s in [0, K-1] x [0, K-1],
    (H^T v)[j] = sum_s k[s, j - (K - 1) + s] v[j - (K - 1) + s]

`u` is the scene with its border, as in `basis_blur.ops.basis_blur`: scene pixel i + (K-1)/2 lies under image pixel i.

Convention: kernels are convolved, not correlated: where neighbouring pixels have one kernel, an impulse in the scene
    appears as that kernel itself. Tap s = (y, x) stands at index y K + x.

H, H^T and the gradient with respect to the kernels are the three partial derivatives of one form that is linear in each
argument,  T(u, k, v) = <H(k) u, v>.  Each goes through the K*K taps one by one and adds the product of a shifted photo
and the plane of that tap to its result in place. So there is no memory besides the inputs and the result; `unfold`
would hold K*K shifted photos. A CPU works on one band of rows at a time, which stays in its cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from basis_blur.field.blur_field import PixelField
from basis_blur.ops.linear_operator import LinearOperator
from basis_blur.ops.threads import share
from basis_blur.ops.transforms import LinearForm, common_dtype, plain

CPU_BAND_NUMBERS = 1 << 18  # largest number of numbers of the photo, in all channels, in a band of rows


class PixelBlur(LinearOperator):
    """The operator H of a kernel for every pixel, from the scene to the image.

    `blur(scene)` maps (N, C, H+K-1, W+K-1) to (N, C, H, W), `blur.T(image)` back; both are differentiable with
    respect to their input and the kernels, to any order. `PixelBlur(k) @ ReplicatePad(PixelField(k))` maps an image to
    an image. With inputs of half precision, the result is computed and returned in float32.

    Args:
        pixel_kernels: (N, K*K, H, W), K odd, or a `PixelField`; on any device.

    Raises:
        ValueError: the kernels have another shape.

    Example:
        >>> blur = bb.PixelBlur(torch.rand(1, 9, 32, 48).softmax(1))
        >>> blur(torch.rand(1, 3, 34, 50)).shape
        torch.Size([1, 3, 32, 48])
    """

    def __init__(self, pixel_kernels: Tensor | PixelField):
        field = pixel_kernels if isinstance(pixel_kernels, PixelField) else PixelField(pixel_kernels)
        super().__init__((len(field), 3, *field.scene_size), (len(field), 3, *field.image_size))
        self.field = field

    def _apply(self, x: Tensor) -> Tensor:
        return _Blur.apply(*common_dtype(x, self.field.pixel_kernels))

    def _apply_transpose(self, y: Tensor) -> Tensor:
        return _BlurTranspose.apply(*common_dtype(y, self.field.pixel_kernels))


class _Blur(LinearForm):
    """H(k) u."""

    @staticmethod
    def forward(u: Tensor, k: Tensor) -> Tensor:
        u, k = plain(u, k)
        image = u.new_zeros(*u.shape[:2], *k.shape[-2:])

        def work(band: slice) -> None:
            for tap in _taps(k, band):
                image[tap.image].addcmul_(u[tap.scene], k[tap.kernel].unsqueeze(1))

        _share(work, image)
        return image

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        u, k = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _BlurTranspose.apply(v, k) if needs[0] else None,
            _KernelGradient.apply(u, v) if needs[1] else None,
        )


class _BlurTranspose(LinearForm):
    """H(k)^T v."""

    @staticmethod
    def forward(v: Tensor, k: Tensor) -> Tensor:
        v, k = plain(v, k)
        border = PixelField(k).kernel_size - 1
        scene = v.new_zeros(*v.shape[:2], *(side + border for side in v.shape[-2:]))

        def work(band: slice) -> None:
            for tap in _taps(k, band, of_scene=True):
                scene[tap.scene].addcmul_(v[tap.image], k[tap.kernel].unsqueeze(1))

        _share(work, scene)
        return scene

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        v, k = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _Blur.apply(u, k) if needs[0] else None,
            _KernelGradient.apply(u, v) if needs[1] else None,
        )


class _KernelGradient(LinearForm):
    """dT/dk: for each tap, sum over the channels of v[i] u[i + (K - 1) - s]."""

    @staticmethod
    def forward(u: Tensor, v: Tensor) -> Tensor:
        u, v = plain(u, v)
        size = u.shape[-1] - v.shape[-1] + 1
        k = v.new_empty(v.shape[0], size**2, *v.shape[-2:])

        def work(band: slice) -> None:
            for tap in _taps(k, band):
                gradient, shifted, light = k[tap.kernel], u[tap.scene], v[tap.image]
                torch.mul(shifted[:, 0], light[:, 0], out=gradient)
                for channel in range(1, v.shape[1]):
                    gradient.addcmul_(shifted[:, channel], light[:, channel])

        _share(work, v)
        return k

    @staticmethod
    def backward(ctx: Any, k: Tensor) -> tuple[Tensor | None, ...]:
        u, v = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            _BlurTranspose.apply(v, k) if needs[0] else None,
            _Blur.apply(u, k) if needs[1] else None,
        )


class _Tap(NamedTuple):
    """One tap of the kernels in a band of rows, as indices: of the tap, of the image, and of the shifted scene."""

    kernel: tuple[Any, ...]
    image: tuple[Any, ...]
    scene: tuple[Any, ...]


def _share(work: Callable[[slice], None], result: Tensor) -> None:
    """Do `work` on bands of rows of `result`, (N, C, H, W), in as many threads as torch would use.

    Each thread has bands of its own: if all shared each tap, they would wait for each other thousands of times.
    """
    number, channels, height, width = result.shape
    on_cpu = result.device.type == 'cpu'
    threads = torch.get_num_threads() if on_cpu else 1
    rows = max(1, min(-(-height // threads), CPU_BAND_NUMBERS // max(1, number * channels * width)))
    bands = [slice(top, min(top + rows, height)) for top in range(0, height, rows if on_cpu else height)]
    share(work, bands)


def _taps(k: Tensor, band: slice, of_scene: bool = False) -> Iterator[_Tap]:
    """Go through the taps of all kernels (N, K*K, H, W), for a band of rows of the image, or of the scene."""
    height, width = k.shape[-2:]
    size = PixelField(k).kernel_size
    for y in range(size):
        below = size - 1 - y
        shift = below if of_scene else 0
        rows = slice(max(0, band.start - shift), max(0, min(height, band.stop - shift)))
        if rows.start >= rows.stop:
            continue
        for x in range(size):
            right = size - 1 - x
            yield _Tap(
                (slice(None), y * size + x, rows),
                (..., rows, slice(None)),
                (..., slice(rows.start + below, rows.stop + below), slice(right, right + width)),
            )
