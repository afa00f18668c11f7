"""IterateFusion: a network that makes one photo of a blurred photo and iterates of its restoration.

    photo v, iterates u_1 ... u_n of the solver with an estimated blur
        -> pixels of 4 x 4 as channels -> residual blocks, the middle ones at half of that size -> weights w_i, image r
    restored = v + sum_i w_i (u_i - v) + r,        one w_i for each pixel, of either sign

w_i are the same for all colours, and r is so where the photo and all iterates are gray, so gray stays gray; r is free
where their colours differ by 0.02 or more. Both come up from the cells of 4 x 4 pixels by a pixel shuffle, which may
leave a grid of such cells; `without_grid` takes it away. In evaluation the result is clipped to the range of the photo
and the iterates at each pixel, widened by `SLACK`. So errors of the network cannot make what none of them has, such as
a hole in a bright place.

Early iterates are safe and soft. Late ones are crisp where the blur was estimated well, and full of rings where it was
not, and the network sees which. That artifacts of deconvolution can be removed by learning is due to [S13]. A fresh
network returns a step of 0.6 from the photo to the mean of its iterates.

[S13] Schuler et al., "A machine learning approach for non-blind image deconvolution", CVPR 2013.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs.basis_kpn_arch import cropped, reflect_to_multiple
from basis_blur.archs.network_facts import FUSION, PHOTO, STACK, DescribedNetwork, NetworkFacts

COLOURS = 3  # number of colours of a photo
SLACK = 0.02  # largest distance of a fused photo from the range of the photo and its iterates, sRGB-like
CELL = 4  # side of the cells of pixels that become channels
SIZE_MULTIPLE = 2 * CELL  # multiple of pixels that the sides of a photo are padded to
NEAR = 5  # side of the squares of cells in which a grid is looked for; odd
SLOPE = 0.01  # slope of the activation for negative values
FIRST_STEP = 0.6  # step that a fresh network takes from the photo to the mean of its iterates
DIFFERENCES = 4.0  # factor that brings the differences of iterates and photo to a size of about 1
FULL_SPREAD = 0.02  # difference of the colours of a pixel from which on r may be coloured there
IMAGE_SCALE = 0.1  # factor of the image r, whose numbers in the network are about 1


class IterateFusion(DescribedNetwork):
    """Fuse a photo and the iterates of its restoration to one photo.

    Args:
        iterations: numbers of the iterates that it takes, from 1 and ascending.
        width: number of channels at a quarter of the photo's size.
        deep_width: number of channels at an eighth.
        blocks: number of residual blocks at a quarter of the size, half of them before and half after the deep ones.
        deep_blocks: number of residual blocks at an eighth.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(
        FUSION,
        STACK,
        PHOTO,
        tensors={
            'stack': '(N, 3 (1 + n), H, W), sRGB-like in [0, 1]: the photo, its iterates that hyper_parameters name',
            'image': '(N, 3, H, W), the restored photo, sRGB-like in [0, 1]',
        },
    )

    def __init__(
        self,
        iterations: tuple[int, ...] = (2, 4, 8),
        width: int = 128,
        deep_width: int = 192,
        blocks: int = 6,
        deep_blocks: int = 6,
    ):
        super().__init__()
        iterations = tuple(iterations)
        _check(iterations, width, deep_width, blocks, deep_blocks)
        self.iterations = iterations
        self._hyper_parameters = {
            'iterations': iterations,
            'width': width,
            'deep_width': deep_width,
            'blocks': blocks,
            'deep_blocks': deep_blocks,
        }
        self.in_channels = COLOURS * (1 + len(iterations))
        self.intro = nn.Conv2d(CELL**2 * self.in_channels, width, 3, padding=1)
        self.before = nn.Sequential(*(_Block(width) for _ in range(blocks // 2)))
        self.down = nn.Conv2d(width, deep_width, 2, stride=2)
        self.deep = nn.Sequential(*(_Block(deep_width) for _ in range(deep_blocks)))
        self.up = nn.Sequential(nn.Conv2d(deep_width, 4 * width, 1), nn.PixelShuffle(2))
        self.after = nn.Sequential(*(_Block(width) for _ in range(blocks - blocks // 2)))
        self.tail = nn.Conv2d(width, CELL**2 * (COLOURS + len(iterations)), 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    @property
    def facts(self) -> NetworkFacts:
        """The facts of the network: what it takes and returns."""
        return replace(super().facts, channels=(self.in_channels,))

    @property
    def reach(self) -> int:
        """The distance over which a pixel of the result can depend on the photo, rounded up to whole cells of 8."""
        shallow = 2 + 2 * self._hyper_parameters['blocks']  # convolutions of 3 x 3
        deep = 2 * self._hyper_parameters['deep_blocks']
        beside = 1 + NEAR // 2 // 2 + 1  # whole cells of 8 for the alignment, and for the grid
        return SIZE_MULTIPLE * (deep + -(-shallow // 2) + beside)

    def forward(self, stack: Tensor) -> Tensor:
        """Return the restored photo (N, 3, H, W), sRGB-like; in evaluation it is clipped, see `clipped_to_range`.

        Args:
            stack: (N, 3 (1 + n), H, W); sRGB-like in [0, 1], any H, W >= 1: the photo, and after it its iterates.

        Raises:
            ValueError: the shape is another.
        """
        if stack.ndim != 4 or stack.shape[1] != self.in_channels or 0 in stack.shape:
            raise ValueError(
                f'stack has shape {tuple(stack.shape)}, expected (N, {self.in_channels}, H, W) with at least one '
                f'pixel: a photo of 3 colours and its iterates {", ".join(map(str, self.iterations))}.'
            )
        return self.combined(stack, self.features(stack))

    def features(self, stack: Tensor) -> Tensor:
        """Return what the network sees in a stack, before its last blocks: (N, width, H/4, W/4), H and W rounded up."""
        changes = stack[:, COLOURS:] - stack[:, :COLOURS].repeat(1, len(self.iterations), 1, 1)
        shown = torch.cat([stack[:, :COLOURS] - 0.5, DIFFERENCES * changes], 1)
        x = self.before(self.intro(F.pixel_unshuffle(reflect_to_multiple(shown, SIZE_MULTIPLE), CELL)))
        return x + self.up(self.deep(self.down(x)))

    def combined(self, stack: Tensor, features: Tensor) -> Tensor:
        """Return the restored photo of a stack, as `forward` does, by the last blocks of the network.

        Args:
            stack: argument of `forward`.
            features: result of `features`.
        """
        images = stack.unflatten(1, (-1, COLOURS))
        photo, changes = images[:, 0], images[:, 1:] - images[:, :1]
        padded = reflect_to_multiple(changes.flatten(1, 2), SIZE_MULTIPLE).unflatten(1, (-1, COLOURS))
        spread = (images.amax(2) - images.amin(2)).amax(1, keepdim=True)
        coloured = reflect_to_multiple((spread / FULL_SPREAD).clamp_max(1), SIZE_MULTIPLE)
        found = F.pixel_shuffle(self.tail(self.after(features)).to(stack.dtype), CELL)
        image = IMAGE_SCALE * found[:, :COLOURS]
        gray = image.mean(1, keepdim=True)
        image = gray + coloured * (image - gray)
        own = without_grid((found[:, COLOURS:, None] * padded).sum(1) + image)
        first = FIRST_STEP / len(self.iterations) * changes.sum(1)
        restored = photo + first + cropped(own, *stack.shape[-2:])
        return restored if self.training else clipped_to_range(restored, images.unbind(1))

    plain = forward  # what is exported

    def fused(self, photo: Tensor, iterates: Tensor) -> Tensor:
        """Return the restored photo of a photo in colour or gray, in its shape and dtype.

        Args:
            photo: (N, C, H, W), C = 3 or 1; sRGB-like in [0, 1]. Gray is repeated, and the colours of the result are
                averaged.
            iterates: (N, C n, H, W); the iterates, one after the other.
        """
        images = (photo, *iterates.split(photo.shape[1], 1))
        found = self(torch.cat([image.to(self.intro.weight).expand(-1, COLOURS, -1, -1) for image in images], 1))
        found = (found if photo.shape[1] == COLOURS else found.mean(1, keepdim=True)).to(photo)
        return clipped_to_range(found, images)


def without_grid(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) without what repeats from cell to cell of a pixel shuffle; 4 divides H and W.

    The grid at a pixel is the mean, over the pixels of the same place in the 5 x 5 cells around, of what is finer than
    cells. Finer is what a triangle of 7 pixels, two means of 4, takes away: it keeps slopes, and has double zeros at
    the frequencies 1/4 and 1/2, in 1/pixel, of a grid. So a pattern with the period of the cells becomes its mean, a
    slope stays a slope, and of what has no period a 25th is lost.
    """
    repeated = F.pad(F.pixel_unshuffle(images, CELL), [1] * 4, 'replicate')  # a pattern goes on over the borders
    wide = F.pixel_shuffle(repeated, CELL)[..., 1:-1, 1:-1]
    finer = images - F.avg_pool2d(F.avg_pool2d(wide, CELL, 1), CELL, 1)
    grid = F.avg_pool2d(F.pixel_unshuffle(finer, CELL), NEAR, 1, NEAR // 2, count_include_pad=False)
    return images - F.pixel_shuffle(grid, CELL)


def clipped_to_range(fused: Tensor, images: Sequence[Tensor]) -> Tensor:
    """Return a photo clipped to the smallest and the largest number of some images at each pixel, widened by `SLACK`.

    Args:
        fused: (N, C, H, W); sRGB-like.
        images: images of the same shape each.
    """
    low, high = functools.reduce(torch.minimum, images), functools.reduce(torch.maximum, images)
    return fused.clamp((low - SLACK).clamp_min(0), (high + SLACK).clamp_max(1))


class _Block(nn.Module):
    """The residual block x + conv(leaky(conv(x))); a fresh one returns x."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(x), SLOPE, inplace=True))


def _check(iterations: tuple[int, ...], width: int, deep_width: int, blocks: int, deep_blocks: int) -> None:
    ascending = all(a < b for a, b in itertools.pairwise(iterations))
    if not iterations or not all(isinstance(i, int) and i >= 1 for i in iterations) or not ascending:
        raise ValueError(f'iterations are {iterations}, expected whole numbers >= 1, ascending, such as (2, 4, 8).')
    if min(width, deep_width) < 1:
        raise ValueError(f'width is {width} and deep_width {deep_width}, expected at least 1; see the defaults.')
    if min(blocks, deep_blocks) < 0:
        raise ValueError(f'blocks are {blocks} and deep_blocks {deep_blocks}, expected >= 0.')
