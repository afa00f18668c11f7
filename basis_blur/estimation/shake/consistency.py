"""The likeness of one kernel for a photo to kernels that are fitted to its parts.

Where things moved on their own, or the camera rolled, the kernel that fits a part differs from that of the whole. The
scene is found once, with the kernel of the whole, so that a part costs no more than a fit.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.estimation.shake.extension import differences, extended, inner_ramp
from basis_blur.estimation.shake.kernel_fit import fit_kernels
from basis_blur.estimation.shake.kernels import best_shift, cleaned
from basis_blur.estimation.shake.schedule import FAINT, LEAST_NOISE, SMALL, best_window
from basis_blur.estimation.shake.sparse_scene import SparseScene
from basis_blur.restoration.noise import estimate_noise

WEIGHT = 1e-3  # lambda of the scene, squared linear light
PARTS = 4  # number of parts along a side, which overlap by half; one fewer where they would be too small
EDGE_PIXELS = 4  # number of pixels of a part whose edges count, over the number of pixels of the kernel
LEAST_EDGE = 10  # least height of an edge that counts, over the noise
LEAST_PARTS = 2.2  # least side of a part, over that of the kernel


@torch.no_grad()
def consistency(light: Tensor, kernel: Tensor) -> float:
    """Return how alike the kernels of the parts of a photo are to the kernel of the whole, 0 to 1.

    It is the mean of the largest normalised correlations, each part weighted by the root of its edges' power. Of a
    large photo the window with the most texture is looked at.

    Args:
        light: (1, 1, H, W); gray linear light.
        kernel: (K, K).
    """
    size = kernel.shape[-1]
    light = light[(..., *best_window(light, size))]
    height, width = light.shape[-2:]
    parts = PARTS if min(height, width) * 2 / (PARTS + 1) > LEAST_PARTS * size else PARTS - 1
    periodic = extended(light, 2 * size)
    scene = SparseScene(periodic).find(kernel[None], WEIGHT)
    noise = max(estimate_noise(light).item(), LEAST_NOISE)
    found, seen = (torch.cat(differences(each), 1)[..., :height, :width] for each in (scene, periodic))
    rows, columns = (_pieces(side, parts) for side in (height, width))
    places = [(slice(*row), slice(*column)) for row in rows for column in columns]
    border = (0, 2 * size, 0, 2 * size)
    edges = F.pad(torch.cat([found[(..., *place)] for place in places]), border)
    photo_edges = F.pad(torch.cat([seen[(..., *place)] for place in places]), border)
    power = edges.square().sum(1, keepdim=True).sqrt_()
    count = min(EDGE_PIXELS * size**2, power[0].numel())
    least = power.flatten(1).topk(count).values[:, -1].view(-1, 1, 1, 1).clamp_min(LEAST_EDGE * noise)
    part_size = (rows[0][1] - rows[0][0], columns[0][1] - columns[0][0])
    ramp = inner_ramp(part_size, size, edges)
    edges = edges * ((power >= least) * ramp)
    weights = edges.square().sum((1, 2, 3)).sqrt()
    fitted = fit_kernels(edges, photo_edges * ramp, kernel[None].repeat(len(edges), 1, 1))
    alike = [best_shift(each, kernel)[2] for each in cleaned(fitted, FAINT, SMALL)]
    total = weights.sum().item()
    return sum(a * w for a, w in zip(alike, weights.tolist(), strict=True)) / total if total > 0 else 0.0


def _pieces(side: int, parts: int) -> list[tuple[int, int]]:
    """Cut a side into pieces of one length that overlap by half: (start, stop)."""
    length = round(2 * side / (parts + 1))
    starts = [min(round(number * side / (parts + 1)), side - length) for number in range(parts)]
    return [(start, start + length) for start in starts]
