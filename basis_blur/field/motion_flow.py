"""From a motion flow, two numbers a pixel, to its blur: a straight line at constant speed at every pixel.

    k_i = (1 / |m_i|) of the line from -m_i / 2 to +m_i / 2,     m_i = (right_i, down_i)       [Gong17, Eq. 3], [Sun15]

    [Gong17] Gong, Yang, Liu, Zhang, Reid, Shen, van den Hengel, Shi, "From Motion Blur to Motion Flow: a Deep Learning
             Solution for Removing Heterogeneous Motion Blur", CVPR 2017.
    [Sun15]  Sun, Cao, Xu, Ponce, "Learning a Convolutional Neural Network for Non-uniform Motion Blur Removal",
             CVPR 2015.

Convention: a flow is (N, 2, H, W) in pixels, the way from the beginning of the exposure to its end; component 0 is to
    the right, component 1 is down; of a flow whose second component is up, change its sign. The line has its middle on
    the pixel, so m and -m are one blur.

The basis kernels of the field are those of flows on a lattice. A pixel mixes the four around its own flow bilinearly,
which is exact on the lattice; between its points, the mean flow of the mixture is right. The lattice is as fine as the
number of kernels allows.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from basis_blur.field.blur_field import BlurField
from basis_blur.field.rasterise import rasterise

MOST_KERNELS = 200  # largest number of basis kernels of a field
FINEST = 0.5  # distance between the points of the finest lattice, pixels
COARSER = 2**0.25  # factor of that distance from one lattice to the next coarser one
POINTS_OF_PIXEL = 16  # number of points of light for each pixel of the kernel's side
SPAN = 1 << 12  # a number above twice the number of lattice points a side, by which two indices become one
LARGEST_FLOW = 511  # largest component of a flow, pixels; a larger one is taken for a mistake


def line_kernels(flow: Tensor, kernel_size: int | None = None) -> Tensor:
    """Return the kernels of straight motions, exactly.

    Args:
        flow: (M, 2); right and down, pixels.
        kernel_size: K, odd; by default the smallest that holds all lines with an empty ring around them.

    Returns:
        (M, K, K); >= 0, each sums to 1, its centre of mass in the middle.

    Raises:
        ValueError: the shape is another, a value is not finite or beyond 511 pixels, or the kernels are too small.
    """
    if flow.ndim != 2 or flow.shape[1] != 2:
        raise ValueError(f'flow has shape {tuple(flow.shape)}, expected (M, 2).')
    size = _size_for(flow, kernel_size)
    points = max(2, POINTS_OF_PIXEL * size)
    time = (np.arange(points) + 0.5) / points - 0.5
    path = flow.detach().double().cpu().numpy()[:, ::-1, None] * time  # row and column
    return torch.from_numpy(rasterise(path, size)).to(flow.device, flow.dtype)


def field_of_flow(flow: Tensor, kernel_size: int | None = None, most_kernels: int = MOST_KERNELS) -> BlurField:
    """Return the blur field of a motion flow.

    Args:
        flow: (N, 2, H, W), floating point; right and down, pixels; see the convention above.
        kernel_size: K, odd; by default the smallest that holds all lines.
        most_kernels: largest number of basis kernels, at least 4.

    Returns:
        The field; its photos share their basis kernels. The blur counts as known.

    Raises:
        ValueError: the shape is another, a value is not finite or beyond 511 pixels, the kernels are too small, or
            `most_kernels` is.

    Example:
        >>> flow = torch.zeros(1, 2, 32, 48)
        >>> flow[:, 0] = 6.0
        >>> field = bb.field_of_flow(flow)  # all moves to the right by 6 pixels
        >>> field.kernels_at(torch.tensor([[16, 24]]))[0, 0, 4]
        tensor([0.0000, 0.0833, 0.1667, 0.1667, 0.1667, 0.1667, 0.1667, 0.0833, 0.0000])
    """
    if flow.ndim != 4 or flow.shape[1] != 2 or not flow.is_floating_point():
        raise ValueError(
            f'flow has shape {tuple(flow.shape)} in {flow.dtype}, expected (N, 2, H, W) in floating point: '
            'the movements to the right and down, pixels.'
        )
    if most_kernels < 4:
        raise ValueError(f'most_kernels is {most_kernels}, expected at least 4, the corners of a cell of the lattice.')
    vectors = flow.permute(0, 2, 3, 1).reshape(-1, 2)
    size = _size_for(vectors, kernel_size)
    distance = _distance(vectors, most_kernels)
    corners, shares = _corners(vectors, distance)
    taken = shares > 0
    used, place = torch.unique(corners[taken], return_inverse=True)
    points = torch.stack([(used + SPAN // 2) % SPAN - SPAN // 2, (used + SPAN // 2) // SPAN], 1)
    kernels = line_kernels(_shortened(points.to(flow) * distance, size), size)
    mixing = flow.new_zeros(len(vectors), len(used))
    pixels = torch.arange(len(vectors), device=flow.device)[:, None].expand(-1, 4)[taken]
    mixing.index_put_((pixels, place), shares[taken].to(flow), accumulate=True)
    number, _, height, width = flow.shape
    mixing = mixing.view(number, height, width, -1).permute(0, 3, 1, 2).contiguous()
    return BlurField(kernels.expand(number, -1, -1, -1).contiguous(), mixing / mixing.sum(1, keepdim=True))


def _distance(vectors: Tensor, most_kernels: int) -> float:
    """Return the distance of the finest lattice of which at most `most_kernels` points lie around the flows (M, 2)."""
    distance = FINEST
    while True:
        low = (vectors.double() / distance).floor().long()
        cells = torch.unique(low[:, 0] + SPAN * low[:, 1])
        points = torch.stack([cells, cells + 1, cells + SPAN, cells + SPAN + 1]).abs()
        if len(torch.unique(points)) <= most_kernels:
            return distance
        distance *= COARSER


def _corners(vectors: Tensor, distance: float) -> tuple[Tensor, Tensor]:
    """Return the lattice points around flows (M, 2), of each pair m and -m the same one, and their shares: (M, 4) both.

    The point (x, y) is the number x + SPAN y.
    """
    place = vectors.double() / distance
    low = place.floor()
    part = place - low
    corners, shares = [], []
    for right in (0, 1):
        for down in (0, 1):
            corner = low[:, 0].long() + right + SPAN * (low[:, 1].long() + down)
            corners.append(corner.abs())  # one of (x, y) and (-x, -y) is negative
            shares.append((part if right else 1 - part)[:, 0] * (part if down else 1 - part)[:, 1])
    return torch.stack(corners, 1), torch.stack(shares, 1)


def _shortened(flow: Tensor, kernel_size: int) -> Tensor:
    """Return flows shortened to fit the kernels; a lattice point may lie beyond every flow of the photo."""
    most = kernel_size - 3
    return flow * (most / flow.abs().amax(1, keepdim=True).clamp_min(1e-9)).clamp(max=1)


def _size_for(flow: Tensor, wanted: int | None) -> int:
    """Return the side of the kernels: the one that is wanted, or the smallest for the lines of flows (M, 2)."""
    longest = flow.abs().max().item() if flow.numel() else 0.0
    if not longest <= LARGEST_FLOW:  # NaN too
        raise ValueError(f'flow has the value {longest:.4g}, expected lines of at most {LARGEST_FLOW} pixels.')
    least = 2 * math.ceil((longest + 2) / 2 - 1e-6) + 1
    if wanted is not None and (wanted < least or wanted % 2 == 0):
        raise ValueError(f'kernel_size is {wanted}, expected an odd number >= {least} for the longest line.')
    return wanted or least
