"""IterateFusion: a network that makes one photo of a blurred photo and iterates of its restoration.

    photo v, iterates u_1 ... u_n of the solver with an estimated blur
        -> pixels of 4 x 4 as channels -> residual blocks, the middle ones at half of that size -> weights w_i, image r
    restored = v + sum_i w_i (u_i - v) + r,        one w_i for each pixel, of either sign

w_i are the same for all colours, and r is so where the photo and all iterates are gray, so gray stays gray; r is free
where their colours differ by 0.02 or more. Both come up from the cells of 4 x 4 pixels by a pixel shuffle, which may
leave a grid of such cells; `without_grid` takes it away. In evaluation the result is clipped to the range of the photo
and the iterates at each pixel, widened by `SLACK`. So errors of the network cannot make what none of them has, such as
a hole in a bright place.

With `trust_width` the network is told how far to trust it. In windows of 216 pixels it measures the photo and its
iterates (`measures`): how far the solver went, how fine and how smooth the photo is, how much noise it has. Two layers
make three shares of that, which sum to 1, change slowly from pixel to pixel and are the same for all colours:

    restored = s_photo v + s_step (v + 0.6 (mean u_i - v)) + s_network (what stands above)

Early iterates are safe and soft. Late ones are crisp where the blur was estimated well, and full of rings where it was
not, and the network sees which. That artifacts of deconvolution can be removed by learning is due to [S13]. A fresh
network returns a step of 0.6 from the photo to the mean of its iterates.

[S13] Schuler et al., "A machine learning approach for non-blind image deconvolution", CVPR 2013.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
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
WINDOW = 27  # side of the squares of cells of 8 pixels in which `measures` are taken; odd
LEAST_SQUARE = 1e-8  # mean square that is added to each, sRGB-like
LAGS = (1, 2, 4)  # distances at which the slopes of the photo are compared, pixels
SMALL = (0.003, 0.01)  # absolute values up to which differences are counted, sRGB-like
FULL_TRUST = 3.0  # input of the softmax by which a fresh network prefers its own photo
IMAGE_SCALE = 0.1  # factor of the image r, whose numbers in the network are about 1


class IterateFusion(DescribedNetwork):
    """Fuse a photo and the iterates of its restoration to one photo.

    Args:
        iterations: numbers of the iterates that it takes, from 1 and ascending.
        width: number of channels at a quarter of the photo's size.
        deep_width: number of channels at an eighth.
        blocks: number of residual blocks at a quarter of the size, half of them before and half after the deep ones.
        deep_blocks: number of residual blocks at an eighth.
        trust_width: number of hidden channels of what decides how far the network is trusted; 0 for full trust.

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
        trust_width: int = 0,
    ):
        super().__init__()
        iterations = tuple(iterations)
        _check(iterations, width, deep_width, blocks, deep_blocks, trust_width)
        self.iterations = iterations
        self._hyper_parameters = {
            'iterations': iterations,
            'width': width,
            'deep_width': deep_width,
            'blocks': blocks,
            'deep_blocks': deep_blocks,
            'trust_width': trust_width,
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
        self.trust = _Trust(trust_width) if trust_width else None

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
        window = WINDOW // 2 + 2 if self.trust is not None else 0  # and a cell for the filters, one for the way up
        return SIZE_MULTIPLE * max(deep + -(-shallow // 2) + beside, window)

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
        return self.combined(stack, self.features(stack), self.measured(stack))

    def features(self, stack: Tensor) -> Tensor:
        """Return what the network sees in a stack, before its last blocks: (N, width, H/4, W/4), H and W rounded up."""
        changes = stack[:, COLOURS:] - stack[:, :COLOURS].repeat(1, len(self.iterations), 1, 1)
        shown = torch.cat([stack[:, :COLOURS] - 0.5, DIFFERENCES * changes], 1)
        x = self.before(self.intro(F.pixel_unshuffle(reflect_to_multiple(shown, SIZE_MULTIPLE), CELL)))
        return x + self.up(self.deep(self.down(x)))

    def measured(self, stack: Tensor) -> Tensor | None:
        """Return what tells how far to trust the network, see `measures`, or None where it is always trusted."""
        return None if self.trust is None else measures(reflect_to_multiple(stack, SIZE_MULTIPLE))

    def combined(self, stack: Tensor, features: Tensor, measured: Tensor | None) -> Tensor:
        """Return the restored photo of a stack, as `forward` does, by the last blocks of the network.

        Args:
            stack: argument of `forward`.
            features: result of `features`.
            measured: result of `measured`; None for full trust.
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
        own = cropped(own, *stack.shape[-2:])
        if self.trust is not None and measured is not None:
            shares = cropped(self.trust(measured), *stack.shape[-2:])
            first, own = (1 - shares[:, :1]) * first, shares[:, 2:] * own
        restored = photo + first + own
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


def measures(stack: Tensor) -> Tensor:
    """Return what tells whether a photo is blurred, and whether the solver was right, at each cell of 8 x 8 pixels.

    Each is a mean over the colours and over the 27 x 27 cells around, of those that there are: log10 of mean squares
    of how far the iterates went, of the fine parts and of the slopes of photo and last iterate, and of means of small
    absolute values, which tell noise; the brightness; the correlation of what the last iterate changed with what an
    unsharp mask would; and how alike the slopes of the photo are 1, 2 and 4 pixels apart, which tells its blur.

    Args:
        stack: (N, 3 (1 + n), H, W), n >= 1; sRGB-like. 8 divides H and W.

    Returns:
        (N, 24, H/8, W/8).
    """
    images = stack.unflatten(1, (-1, COLOURS))
    photo, early, late = images[:, 0], images[:, 1], images[:, -1]
    change = late - photo
    coarse, fine, fine_change = (_finer(x, side) for x, side in ((photo, 5), (photo, 3), (change, 3)))
    slopes, slopes_late = _slopes(photo), _slopes(late)
    twist = _slopes(slopes[:, :COLOURS])[:, COLOURS:]  # difference along both axes, which noise has and edges have not
    # Maps are made one after the other, since each is as large as the photo.
    energies = (
        x.square() for x in (early - photo, change, late - early, coarse, fine, fine_change, slopes, slopes_late, twist)
    )
    sizes = (x.abs().clamp_max(most) for x in (fine, change, twist) for most in (*SMALL, 1.0))
    alike = (slopes * _moved(slopes, lag) for lag in LAGS)
    means = _window_means(itertools.chain(energies, sizes, [change * coarse], alike, [photo]))
    least = LEAST_SQUARE**0.5
    # ONNX exporters leave out a term as small as LEAST_SQUARE, so 1 is added.
    squares, small = LEAST_SQUARE * (means[:, :9] / LEAST_SQUARE + 1), least * (means[:, 9:18] / least + 1)
    agreement = means[:, 18:19] * (squares[:, 1:2] * squares[:, 3:4]).rsqrt()
    of_slopes = means[:, 19:22] / squares[:, 6:7]
    ratio = squares[:, 7:8].log10() - squares[:, 6:7].log10()
    return torch.cat([squares.log10(), small.log10(), agreement, of_slopes, means[:, 22:], ratio], 1)


MEASURES = 24  # number of channels of `measures`
MOST = 3.0  # largest distance of a measure from its mean that counts, standard deviations


def _finer(x: Tensor, side: int) -> Tensor:
    return x - F.avg_pool2d(F.pad(x, [side // 2] * 4, 'replicate'), side, 1)


def _slopes(x: Tensor) -> Tensor:
    """Return the differences of neighbours along W, and after them along H: (N, 2 C, H, W), 0 at the last ones."""
    along_width, along_height = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    return torch.cat([F.pad(along_width, (0, 1)), F.pad(along_height, (0, 0, 0, 1))], 1)


def _moved(slopes: Tensor, lag: int) -> Tensor:
    """Return slopes from `lag` pixels further along their own axis, 0 beyond the border."""
    along_width, along_height = slopes.chunk(2, 1)
    return torch.cat([F.pad(along_width, (0, lag))[..., lag:], F.pad(along_height, (0, 0, 0, lag))[..., lag:, :]], 1)


def _window_means(maps: Iterable[Tensor]) -> Tensor:
    """Return the means of maps (N, any, H, W) over their channels and the cells around: (N, number, H/8, W/8)."""
    cells = torch.cat([F.avg_pool2d(x.mean(1, keepdim=True), SIZE_MULTIPLE) for x in maps], 1)
    there = F.avg_pool2d(torch.ones_like(cells[:, :1]), WINDOW, 1, WINDOW // 2)  # share of a window within the photo
    return F.avg_pool2d(cells, WINDOW, 1, WINDOW // 2) / there


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


class _Trust(nn.Module):
    """Shares of the photo, of the first step and of the network, (N, 3, H, W), of `measures` (N, 24, H/8, W/8).

    mean and scale are those of the measures in training.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer('mean', torch.zeros(1, MEASURES, 1, 1))
        self.register_buffer('scale', torch.ones(1, MEASURES, 1, 1))
        self.hidden = nn.Conv2d(MEASURES, width, 1)
        self.out = nn.Conv2d(width, 3, 1)
        nn.init.zeros_(self.out.weight)
        self.out.bias = nn.Parameter(torch.tensor([0.0, 0.0, FULL_TRUST]))

    def forward(self, measured: Tensor) -> Tensor:
        shares = self.shares_of(measured)
        return F.interpolate(shares, scale_factor=SIZE_MULTIPLE, mode='bilinear', align_corners=False)

    def shares_of(self, measured: Tensor, dropped: float = 0.0) -> Tensor:
        """Return the shares (N, 3, H/8, W/8).

        Args:
            measured: (N, 24, H/8, W/8); result of `measures`.
            dropped: share of the hidden channels that are left out by chance, in [0, 1), as in `F.dropout`.
        """
        usual = ((measured - self.mean) / self.scale).clamp(-MOST, MOST)
        hidden = torch.tanh(self.hidden(usual))
        hidden = F.dropout(hidden, dropped) if dropped else hidden
        return self.out(hidden).softmax(1)


def _check(
    iterations: tuple[int, ...], width: int, deep_width: int, blocks: int, deep_blocks: int, trust_width: int
) -> None:
    ascending = all(a < b for a, b in itertools.pairwise(iterations))
    if not iterations or not all(isinstance(i, int) and i >= 1 for i in iterations) or not ascending:
        raise ValueError(f'iterations are {iterations}, expected whole numbers >= 1, ascending, such as (2, 4, 8).')
    if min(width, deep_width) < 1:
        raise ValueError(f'width is {width} and deep_width {deep_width}, expected at least 1; see the defaults.')
    if min(blocks, deep_blocks, trust_width) < 0:
        raise ValueError(
            f'blocks are {blocks}, deep_blocks {deep_blocks} and trust_width {trust_width}, expected >= 0.'
        )
