"""A camera that rolls while it shifts: how long it was in each pose of both, fitted to the whole photo.

    blurred = sum_a  k_a * (sharp turned by angle a),      k_a >= 0, with sum 1 over all angles and pixels

A turn by a moves the place (y, x), from the middle of the photo, by a (x, -y). With shifts s of covariance S, turns of
variance V and C = cov(s, a), the kernel at a place has the covariance

    S + C j' + j C' + V j j',      j = (x, -y)

So the extents of the kernels that a network sees at places of the photo tell S, C and V (`roll_seen`), and with them
what turn belongs to a shift: a normal distribution of mean C' S^-1 s. The poses begin with the network's mean kernel,
spread over turns so (`begin`). This start decides: from one without turns, or with turns that do not depend on the
shift, the fit stays where it begins, since the scene of wrong poses agrees with them.

The fit alternates two steps, on photos of growing size (`schedule`). First it finds a scene of few edges, window by
window, with the kernels of the present poses. Then it turns the edges of that scene by each angle and fits the k_a of
all angles together, so that the blurred edges are those of the photo [Whyte12; kernel_fit]:

    min over k >= 0 of  1/2 sum_ab k_a' A_ab k_b + 1/2 ridge A_00(0) |k|^2 - sum_a b_a' k_a

A_ab holds the correlations of the edges turned by a with those turned by b, and b_a theirs with the edges of the photo.

    [Whyte12]  Whyte, Sivic, Zisserman, Ponce, "Non-uniform deblurring for shaken images", IJCV 2012.

Convention: an angle > 0 turns the picture clockwise. Angles are in pixels of the corner of the photo: the angle in
    radians times half the diagonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.estimation.by_network import estimate_blur, kernel_size_of
from basis_blur.estimation.estimate import ROLLING, Progress
from basis_blur.estimation.shake.edges import telling_edges
from basis_blur.estimation.shake.extension import differences, extended, inner_ramp
from basis_blur.estimation.shake.fields import window_field
from basis_blur.estimation.shake.kernel_fit import RIDGE, STEPS, descend, middle_of
from basis_blur.estimation.shake.kernels import cleaned, normalised, odd_size, resized, shifted
from basis_blur.estimation.shake.rotations import LEAST_WINDOW, MOST_PIXELS, PoseKernels, middles, places_of
from basis_blur.estimation.shake.schedule import (
    FAINT,
    LEAST_NOISE,
    LEAST_WEIGHT,
    SMALL,
    WEIGHT_DECAY,
    levels_of,
    reduced,
)
from basis_blur.estimation.shake.search import gray_light
from basis_blur.estimation.shake.sparse_scene import SparseScene
from basis_blur.field.blur_field import BlurField
from basis_blur.ops.camera_response import to_linear
from basis_blur.ops.convolution import fast_fft_size
from basis_blur.ops.windows import Feathered, tile_windows
from basis_blur.restoration.noise import estimate_noise

LARGEST_KERNEL = 65  # pixels; photos with larger ones are looked at at a smaller size
LEAST_SEEN = 0.2  # variance of turns that a network sees, from which on they are searched for, squared pixels
PLACES_SEEN, BORDER_SEEN = 9, 20  # places a side whose kernels are looked at; pixels that they stay away from the sides
FITS = 6  # number of fits, by weights that follow the residuals
# A network that averages over windows sees a part of what turns do: these are the factors of cov(shift, turn) and of
# the variance of turns, on photos with a roll of 2 pixels.
FACTOR_OF_BOTH, FACTOR_OF_ROLL = 2.0, 4.0
LEAST_SHIFT, LEAST_ROLL = 0.5, 0.5  # lower bounds of the variances with which the poses begin, squared pixels
REACH, LEAST_REACH, MOST_REACH = 2.5, 2.0, 14.0  # largest angle, in standard deviations, and its bounds in pixels
ANGLES = 6  # largest number of angles to each side
LEAST_STEP = 1.0  # least distance from one angle to the next, pixels
SMOOTH = 0.7  # lower bound of the standard deviation of the turns of a shift, in steps
WEIGHT, ROUNDS = 4e-3, 4  # lambda of an edge at the beginning, squared linear light; number of rounds at each level
# Number of steps of the power iteration that finds the largest eigenvalue, and the factor on its result.
POWER_STEPS, POWER_MARGIN = 15, 1.15
LEAST_PLACES = 5  # least number of places a side at which the field has kernels


@dataclass(frozen=True, eq=False)
class Rolled:
    """What a photo tells of a camera that rolled.

    Args:
        poses: how long the camera was in each pose, in pixels of the size at which the photo was looked at.
        size: (H, W) at which it was looked at.
    """

    poses: Poses
    size: tuple[int, int]

    def field(self, like: Tensor, factor: float = 1.0) -> BlurField:
        """Return the blur of the photo at a size, with kernels at 5 x 5 to 9 x 9 places, the more the more it turns.

        Args:
            like: (..., H, W); a tensor with the size, the device and the type of the field.
            factor: factor of the turns; 0 for a camera that does not turn, -1 for one that turns the other way.
        """
        poses = self.poses._replace(angles=factor * self.poses.angles)
        light = poses.weights.sum((1, 2)).double().cpu()
        turn = math.sqrt(float((light * poses.angles.square()).sum()))
        wanted = math.ceil(max(self.size) * turn / (math.hypot(*self.size) / 2))  # neighbours differ by a pixel
        size = (like.shape[-2], like.shape[-1])
        places = min(max(wanted, LEAST_PLACES), places_of(size))
        kernels = kernels_of(poses, middles(self.size, places, poses.weights), self.size)
        enlarged = odd_size(kernels.shape[-1] * size[0] / self.size[0])
        return window_field(resized(kernels, enlarged).to(like), places, size)


def estimate_roll(
    net: nn.Module, photo: Tensor, gamma: float, start: Tensor, progress: Progress | None = None
) -> Rolled | None:
    """Return how a camera shifted and rolled, or None where a network sees no roll.

    Args:
        net: network whose kernels tell what the camera does (`roll_seen`); takes light and returns a BlurField.
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        gamma: exponent of the photo.
        start: (K, K); the mean kernel that the network sees (`network_start`).
        progress: function that is called after each level.
    """
    light = to_linear(photo, gamma)
    size = (photo.shape[-2], photo.shape[-1])
    kernel_size = start.shape[-1]
    scale = min(1.0, math.sqrt(MOST_PIXELS / (size[0] * size[1])), LARGEST_KERNEL / kernel_size)
    small = (round(size[0] * scale), round(size[1] * scale))
    # The network sees the photo at a size at which its kernels hold the blur.
    of_network = min(scale, kernel_size_of(net) / kernel_size)
    seen = roll_seen(estimate_blur(net, reduced(light, of_network).clamp(0, 1), gamma=1.0))
    if seen.turn < LEAST_SEEN:
        return None
    factor = (scale / of_network) ** 2
    seen = Roll(factor * seen.shift, factor * seen.both, factor * seen.turn)
    gray = reduced(gray_light(photo, gamma), scale)
    kernel = resized(start[None].to(gray), odd_size(kernel_size * scale))[0]
    return Rolled(fit_roll(gray, begin(kernel, seen), progress), small)


class Roll(NamedTuple):
    """Covariances of how a camera shifts and turns, squared pixels; turns are measured at the corner of the photo.

    Args:
        shift: (2, 2); S, of down and right.
        both: (2,); C, of down and right with the turn.
        turn: V.
    """

    shift: Tensor
    both: Tensor
    turn: float


class Poses(NamedTuple):
    """How long a camera was in each pose of shift and turn.

    Args:
        weights: (A, K, K); >= 0, of sum 1; k_a for each angle.
        angles: (A,); pixels of the corner, evenly spaced, 0 in the middle.
    """

    weights: Tensor
    angles: Tensor


def roll_seen(field: BlurField) -> Roll:
    """Return the covariances of shift and turn that explain the extents of the kernels of a field best.

    Extents that do not fit, such as those of places without texture, have little say.

    Args:
        field: blur of one photo, as a network sees it.
    """
    size = field.image_size
    rows, columns = (
        torch.linspace(BORDER_SEEN, side - 1 - BORDER_SEEN, PLACES_SEEN).round().long().clamp(0, side - 1)
        for side in size
    )
    points = torch.cartesian_prod(rows, columns)
    seen = _covariances(cleaned(field.kernels_at(points.to(field.device))[0].float(), 0.1, 0.1)).cpu()
    half = math.hypot(*size) / 2
    y, x = ((points.double() - (torch.tensor(size) - 1) / 2) / half).unbind(1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    # Rows: down-down, down-right (whose square counts twice) and right-right; columns: S (3), C (2), V.
    matrix = torch.stack(
        [
            torch.stack([one, zero, zero, 2 * x, zero, x * x], -1),
            torch.stack([zero, one, zero, -y, x, -x * y], -1) * math.sqrt(2),
            torch.stack([zero, zero, one, zero, -2 * y, y * y], -1),
        ],
        1,
    )
    target = seen * torch.tensor([1, math.sqrt(2), 1])
    solution = _robust_solution(matrix, target)
    a, b, c = solution[:3].tolist()
    return Roll(torch.tensor([[a, b], [b, c]], dtype=torch.float64), solution[3:5], solution[5].item())


def _robust_solution(matrix: Tensor, target: Tensor) -> Tensor:
    """Return x (C,) of least squares, matrix @ x = target, where places that do not fit have little weight.

    Args:
        matrix: (M, 3, C); three equations for each place.
        target: (M, 3).
    """
    weights = torch.ones(len(matrix), 1)
    for _ in range(FITS):
        root = weights.double().sqrt()
        found = torch.linalg.lstsq((matrix * root[..., None]).flatten(0, 1), (target * root).flatten()[:, None])
        solution = found.solution[:, 0]
        left = (matrix @ solution - target).norm(dim=1, keepdim=True)
        weights = 1 / (left.square() + left.median().clamp_min(0.05) ** 2)
        weights = weights / weights.mean()
    return solution


def _covariances(kernels: Tensor) -> Tensor:
    """Return down-down, down-right and right-right covariances of the light of kernels (N, K, K), (N, 3)."""
    offset = torch.arange(kernels.shape[-1], dtype=torch.float64, device=kernels.device) - kernels.shape[-1] // 2
    light = normalised(kernels.double())
    down, right = light.sum(-1), light.sum(-2)
    y, x = (down * offset).sum(-1), (right * offset).sum(-1)
    both = (light * offset[:, None] * offset).sum((-2, -1))
    return torch.stack([(down * offset**2).sum(-1) - y**2, both - y * x, (right * offset**2).sum(-1) - x**2], -1)


def begin(kernel: Tensor, seen: Roll) -> Poses:
    """Return the poses that a search begins with.

    Args:
        kernel: (K, K); kernel of shifts alone, such as the mean kernel that a network sees.
        seen: covariances that a network sees, as `roll_seen` returns them.
    """
    values, vectors = torch.linalg.eigh(seen.shift)
    shift = vectors * values.clamp_min(0) @ vectors.T + LEAST_SHIFT * torch.eye(2, dtype=torch.float64)
    both = FACTOR_OF_BOTH * seen.both
    of_shift = torch.linalg.solve(shift, both)
    explained = float(both @ of_shift)
    turn = max(FACTOR_OF_ROLL * seen.turn, LEAST_ROLL, explained + 0.1)
    reach = min(max(REACH * math.sqrt(turn), LEAST_REACH), MOST_REACH)
    step = max(LEAST_STEP, reach / ANGLES)
    number = math.ceil(reach / step)
    angles = step * torch.arange(-number, number + 1, dtype=torch.float64)
    offset = torch.arange(kernel.shape[-1], dtype=torch.float64) - kernel.shape[-1] // 2
    mean = of_shift[0] * offset[:, None] + of_shift[1] * offset
    variance = max(turn - explained, (SMOOTH * step) ** 2)
    share = torch.softmax(-((angles[:, None, None] - mean) ** 2) / (2 * variance), 0)
    weights = _narrowed(kernel, shift) * share.to(kernel)
    return Poses(weights / weights.sum(), angles)


def kernels_of(poses: Poses, points: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the kernels of some places of a photo, (R, L, L), of sum 1; L is K and what turns reach beyond it.

    Args:
        poses: what the camera did.
        points: (R, 2); row and column from the middle of the photo, pixels.
        size: (H, W) of the photo.
    """
    return _PlaceKernels(poses, points, size)(poses.weights)


def _narrowed(kernel: Tensor, covariance: Tensor) -> Tensor:
    """Return a kernel (K, K) times a normal distribution, so that it has about a covariance if that is smaller."""
    a, b, c = _covariances(kernel[None])[0].tolist()
    own = torch.tensor([[a, b], [b, c]], dtype=torch.float64) + LEAST_SHIFT * torch.eye(2, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(torch.linalg.inv(covariance) - torch.linalg.inv(own))
    down = (vectors * values.clamp_min(0).sqrt()).T  # its square is the part by which the inverse grows
    offset = torch.arange(kernel.shape[-1], dtype=torch.float64) - kernel.shape[-1] // 2
    steps = down[:, 0, None, None] * offset[:, None] + down[:, 1, None, None] * offset
    return kernel * torch.exp(-steps.square().sum(0) / 2).to(kernel)


class _PlaceKernels:
    """The map from weights (A, K, K) to the kernels (R, L, L) of some places."""

    def __init__(self, poses: Poses, points: Tensor, size: tuple[int, int]):
        kernel_size, half = poses.weights.shape[-1], math.hypot(*size) / 2
        farthest = math.ceil(float(poses.angles.abs().max() * points.norm(dim=1).max()) / half)
        offset = torch.arange(kernel_size, dtype=torch.float64) - kernel_size // 2
        shifts = torch.cartesian_prod(offset, offset)  # (K^2, 2)
        points = points.double().cpu()
        turned = torch.stack([points[:, 1], -points[:, 0]], -1) / half  # (R, 2)
        moved = shifts[None, None] + poses.angles[:, None, None] * turned[:, None, None]  # (R, A, K^2, 2)
        moved = moved.flatten(1, 2).to(poses.weights.device)
        self._places = PoseKernels(moved, kernel_size + 2 * farthest, poses.weights.dtype)

    def __call__(self, weights: Tensor) -> Tensor:
        return normalised(self._places(weights.flatten()))


def fit_roll(light: Tensor, poses: Poses, progress: Progress | None = None) -> Poses:
    """Return how long a camera was in each pose, from a photo and poses to begin with.

    Args:
        light: (1, 1, H, W); gray linear light, larger than twice the kernel.
        poses: poses to begin with, as `begin` returns them.
        progress: function that is called after each level.
    """
    size = poses.weights.shape[-1]
    noise = max(estimate_noise(light).item(), LEAST_NOISE)
    weight, first = WEIGHT, levels_of(size)
    for level in range(first, -1, -1):
        scale = 2 ** (-level / 2)
        of_level = size if level == 0 else odd_size(size * scale)
        poses = poses._replace(weights=_resized(poses.weights, of_level))
        photo = reduced(light, scale, 2 * of_level)
        of_photo = poses._replace(angles=scale * poses.angles)  # a pixel of the smaller photo is larger
        weights, weight = _level(photo, of_photo, noise * scale, weight)
        poses = poses._replace(weights=weights)
        if progress is not None:
            progress(ROLLING, first - level + 1, first + 1)
    return poses


def _level(photo: Tensor, poses: Poses, noise: float, weight: float) -> tuple[Tensor, float]:
    """Return the weights (A, K, K) after the rounds of a level, and the weight of an edge that the next begins with."""
    size = (photo.shape[-2], photo.shape[-1])
    kernel_size = poses.weights.shape[-1]
    scenes = _WindowScenes(photo, poses)
    whole = extended(photo, 2 * kernel_size)
    ramp = inner_ramp(size, kernel_size, whole)
    photo_edges = torch.cat(differences(whole), 1) * ramp
    room = (0, whole.shape[-1] - size[1], 0, whole.shape[-2] - size[0])
    weights = poses.weights
    for number in range(ROUNDS):
        scene = extended(scenes.find(weights, weight), 2 * kernel_size)
        edges = telling_edges(scene, ramp, kernel_size, noise, number)[..., : size[0], : size[1]]
        turned = F.pad(torch.cat([_turned(edges, angle) for angle in poses.angles.tolist()]), room)
        weights = _cleaned(_fitted(turned, photo_edges, weights))
        weight = max(weight / WEIGHT_DECAY, LEAST_WEIGHT)
    return _centred(weights), weight


class _WindowScenes:
    """Scenes of few edges of a photo whose kernel depends on the place, by windows that fade into each other."""

    def __init__(self, photo: Tensor, poses: Poses):
        size = (photo.shape[-2], photo.shape[-1])
        kernel_size = poses.weights.shape[-1]
        tile = max(LEAST_WINDOW, 5 * kernel_size)
        self._photo, self._overlap = photo, tile // 4
        self._windows = tile_windows(size, tile, self._overlap)
        points = torch.tensor(
            [[(p.start + p.stop - side) / 2 for p, side in zip(window, size, strict=True)] for window in self._windows]
        )
        self._kernels = _PlaceKernels(poses, points, size)
        parts = torch.cat([photo[(..., *window)] for window in self._windows])
        self._part_size = parts.shape[-2:]
        self._scenes = SparseScene(extended(parts, 2 * kernel_size))

    def find(self, weights: Tensor, weight: float) -> Tensor:
        """Return the scene, (1, 1, H, W), of poses' weights (A, K, K) and the weight of an edge."""
        found = self._scenes.find(self._kernels(weights), weight)
        whole = Feathered(self._photo, self._overlap)
        for window, scene in zip(self._windows, found.split(1), strict=True):
            whole.add(window, scene[..., : self._part_size[0], : self._part_size[1]])
        return whole.result()


def _turned(image: Tensor, angle: float) -> Tensor:
    """Return an image (1, C, H, W) turned by an angle, pixels of the corner; dark outside."""
    if angle == 0:
        return image
    height, width = image.shape[-2:]
    radians = angle / (math.hypot(height, width) / 2)
    y, x = (torch.arange(side, dtype=image.dtype, device=image.device) - (side - 1) / 2 for side in (height, width))
    down, right = y[:, None] - radians * x, x + radians * y[:, None]
    grid = torch.stack([right * (2 / (width - 1)), down * (2 / (height - 1))], -1)[None]
    return F.grid_sample(image, grid, mode='bilinear', padding_mode='zeros', align_corners=True)


def _fitted(edges: Tensor, photo_edges: Tensor, start: Tensor) -> Tensor:
    """Return the weights (A, K, K) that fit turned edges (A, 2, h, w) to those of the photo (1, 2, h, w)."""
    normal = _TurnedNormal(edges, photo_edges, start.shape[-1])
    return descend(
        lambda k: normal(k[0])[None] + RIDGE * k,
        normal.target[None],
        start[None],
        torch.as_tensor(normal.largest + RIDGE),
        STEPS,
    )[0]


class _TurnedNormal:
    """k -> sum_b A_ab k_b, divided by A_00(0), and b_a as `target`, for A angles and kernels of K x K pixels."""

    def __init__(self, edges: Tensor, photo_edges: Tensor, kernel_size: int):
        number, wide = len(edges), 2 * kernel_size - 1
        self.size, self.period = kernel_size, fast_fft_size(3 * kernel_size - 2)
        scenes = torch.fft.rfft2(edges)
        size = edges.shape[-2:]
        photo = torch.fft.rfft2(photo_edges)
        target = torch.fft.irfft2((photo * scenes.conj()).sum(1), s=size)
        blocks = scenes.new_zeros(number, number, self.period, self.period // 2 + 1)
        room = self.period - wide
        for first in range(number):
            own = torch.fft.irfft2((scenes[first] * scenes[first:].conj()).sum(1), s=size)
            canvas = F.pad(middle_of(own, wide), (0, room, 0, room))
            spectra = torch.fft.rfft2(canvas.roll((1 - kernel_size, 1 - kernel_size), (-2, -1)))
            blocks[first:, first] = spectra
            blocks[first, first:] = spectra.conj()
        scale = edges[number // 2].square().sum().clamp_min(1e-12)
        self.blocks, self.target = blocks / scale, middle_of(target, kernel_size) / scale
        self.largest = self._largest()

    def __call__(self, weights: Tensor) -> Tensor:
        room = self.period - self.size
        spectra = torch.fft.rfft2(F.pad(weights, (0, room, 0, room)))
        mixed = torch.einsum('abyx,byx->ayx', self.blocks, spectra)
        return torch.fft.irfft2(mixed, s=(self.period, self.period))[..., : self.size, : self.size]

    def _largest(self) -> Tensor:
        """Return an estimate of the largest eigenvalue, with a margin, since it must not be too small."""
        vector = torch.ones_like(self.target)
        for _ in range(POWER_STEPS):
            vector = self(vector / vector.norm())
        return POWER_MARGIN * vector.norm()


def _cleaned(weights: Tensor) -> Tensor:
    """Return weights (A, K, K) without faint ones and without small parts of the kernel of the middle, of sum 1."""
    weights = torch.where(weights < FAINT * weights.max(), 0, weights)
    kept = cleaned(weights.sum(0, keepdim=True), 0.0, SMALL) > 0
    return _of_sum_one(weights * kept)


def _centred(weights: Tensor) -> Tensor:
    """Return weights (A, K, K) moved by whole pixels, so that the kernel of the middle has its centre in the middle."""
    offset = torch.arange(weights.shape[-1], dtype=weights.dtype, device=weights.device) - weights.shape[-1] // 2
    kernel = weights.sum(0)
    down, right = (int((kernel.sum(dim) * offset).sum().round()) for dim in (1, 0))
    return _of_sum_one(torch.stack([shifted(each, -down, -right) for each in weights]))


def _resized(weights: Tensor, size: int) -> Tensor:
    """Return weights (A, K, K) drawn on size x size pixels."""
    if weights.shape[-1] == size:
        return weights
    smaller = size < weights.shape[-1]
    drawn = F.interpolate(weights[None], size=(size, size), mode='bilinear', align_corners=False, antialias=smaller)
    return _of_sum_one(drawn[0].clamp_min(0))


def _of_sum_one(weights: Tensor) -> Tensor:
    """Return weights (A, K, K) divided by their sum; without any, the camera stood still."""
    total = weights.sum()
    if total > 1e-9:
        return weights / total
    still = torch.zeros_like(weights)
    still[len(weights) // 2, weights.shape[1] // 2, weights.shape[2] // 2] = 1
    return still
