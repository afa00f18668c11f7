"""The blur of a camera that rotates about three axes: how long it was in each pose [Whyte12, Eq. 3 to 8].

    blurred = sum_p w_p (sharp seen in pose p),   w_p >= 0, sum 1;      pose p moves pixel x to  C R(theta_p) C^-1 x

    [Whyte12]  Whyte, Sivic, Zisserman, Ponce, "Non-uniform deblurring for shaken images", IJCV 2012.
    [Hirsch11] Hirsch, Schuler, Harmeling, Schoelkopf, "Fast removal of non-uniform camera shake", ICCV 2011.

C has the focal length f, in pixels, and the middle of the photo. The kernels of all places follow linearly from one
set of weights: k_i = A_i w, where column p of A_i is a point at the shift by which pose p moves pixel i. As in
[Hirsch11], each window of the photo has the kernel of its middle, and the weights fit the edges of all windows at once:

    w = argmin_{w >= 0}  sum over windows r of  1/2 (A_r w)' Q_r (A_r w) - b_r' A_r w  +  1/2 ridge |w|^2

with Q_r and b_r of `kernel_fit`. The poses are a grid: pitch and yaw move the middle of the photo by whole pixels and
not further than the kernel of the search reaches, roll moves the corners in steps of `ROLL_STEP`. Two steps take turns,
as in `schedule`: a scene of few edges is found for the present weights, and the weights are fitted to its edges.

A camera goes along a path, so each pitch and yaw has one roll: the mean over the weights near them (`on_path`). The
weights are moved to these rolls after each fit but the last. Without that they stay without roll, as they began, since
the scene that is found for wrong weights agrees with them.

Convention: `pitch` moves the middle down, `yaw` right; `roll` turns the picture clockwise. Angles are in radians.

A photo of more than `MOST_PIXELS` is made smaller for this, and its kernels are enlarged afterwards.

Differs from [Whyte12]: 1. the scene has few edges (`sparse_scene`); theirs has the sparse gradients of a variational
posterior; 2. the weights begin with the kernel of the shake search and no roll, and are moved onto a path; 3. kernels
are those of windows.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from basis_blur.estimation.estimate import Estimate, Estimator, Progress
from basis_blur.estimation.shake.edges import telling_edges
from basis_blur.estimation.shake.extension import differences, extended, inner_ramp
from basis_blur.estimation.shake.fields import window_field
from basis_blur.estimation.shake.kernel_fit import RIDGE, STEPS, Normal, correlations, descend
from basis_blur.estimation.shake.kernels import normalised, odd_size, resized
from basis_blur.estimation.shake.schedule import FAINT, LEAST_WEIGHT, WEIGHT_DECAY, reduced
from basis_blur.estimation.shake.search import ShakeEstimate, gray_light
from basis_blur.estimation.shake.sparse_scene import SparseScene
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.numbers import check_number
from basis_blur.ops.windows import Feathered, tile_windows

TURNING = 'finding the turns of the camera'  # name of the stage
MOST_PIXELS = 500_000  # largest number of pixels of the photo that the poses are fitted to
FULL_FRAME = 36.0  # longer side of the film that focal lengths are converted to, mm
USUAL_FOCAL = 28.0  # focal length of the main camera of most phones, so converted, mm
ROLLS = 4  # number of steps of roll to each side
ROLL_STEP = 2.0  # distance by which a step of roll moves the corners, pixels
MARGIN = 2  # distance by which pitch and yaw go beyond the kernel of the search, pixels
NEAR_PATH = 1.5  # standard deviation of the Gaussian that says what is near a point of the path, pixels
BEYOND = 1.25  # factor of the rolls of the path, about their mean; without it the weights reach them too slowly
ROUNDS = 10  # number of scenes, and of fits; 8 rounds were as good as 15 on two photos, and 30 were worse
SECONDS = 30.0  # time of the fit on two cores, for a photo of MOST_PIXELS
WEIGHT = 2e-3  # lambda of an edge at the beginning, squared linear light
LEAST_WINDOW = 96  # shortest side of a window, pixels
WINDOW_SIDES = 6  # least side of a window, over that of a kernel
WINDOW_OVERLAP = 3  # side of a window, over the overlap of two
# Number of places a side at which the field has kernels: of most photos, and of those of more than LARGE pixels. A
# field has as many numbers for each pixel as places, so that of a large photo has fewer.
PLACES, FEW_PLACES, LARGE = 9, 5, 2_000_000


class Poses(NamedTuple):
    """Poses of a camera, and how long it was in each.

    Args:
        angles: (P, 3); pitch, yaw and roll of each, radians.
        weights: (P,); >= 0, of sum 1.
        focal: f, pixels of the photo.
    """

    angles: Tensor
    weights: Tensor
    focal: float


def focal_in_pixels(size: tuple[int, int], film: float | None = None) -> float:
    """Return the focal length of a photo in pixels.

    Args:
        size: (H, W) of the photo.
        film: focal length in mm, converted to film of 36 x 24 mm, as EXIF has it; by default 28.

    Raises:
        ValueError: it is not positive.
    """
    film = USUAL_FOCAL if film is None else film
    check_number('focal_length', film, above=0, remedy='it is in mm, converted to film of 36 x 24 mm.')
    return film / FULL_FRAME * max(size)


def ways(angles: Tensor, focal: float, points: Tensor) -> Tensor:
    """Return how far poses move places of the photo, (R, P, 2): down and right, pixels.

    Args:
        angles: (P, 3); pitch, yaw and roll, radians.
        focal: f, pixels.
        points: (R, 2); row and column from the middle of the photo, pixels.
    """
    pitch, yaw, roll = angles.double().unbind(1)
    # Right, down, ahead: turn about the axis ahead, then about the one to the right, then about the one down.
    right, down = points.double()[:, 1:], points.double()[:, :1]
    x = right * roll.cos() - down * roll.sin()
    y = right * roll.sin() + down * roll.cos()
    y, z = y * pitch.cos() + focal * pitch.sin(), focal * pitch.cos() - y * pitch.sin()
    x, z = x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin()
    moved = torch.stack([y, x], -1) * (focal / z).unsqueeze(-1)
    return moved - points.double()[:, None]


class PoseKernels:
    """w -> A_r w, the kernels of some places, and its transpose.

    Args:
        moved: (R, P, 2); `ways` of the places, pixels. What leaves a kernel is lost.
        kernel_size: K.
        dtype: dtype of the kernels.
    """

    def __init__(self, moved: Tensor, kernel_size: int, dtype: torch.dtype):
        place = moved + kernel_size // 2
        corner = place.floor()
        down, right = (place - corner).unbind(-1)
        row, column = corner.long().unbind(-1)
        self.size = kernel_size
        index, share = [], []
        for y in (0, 1):
            for x in (0, 1):
                part = (down if y else 1 - down) * (right if x else 1 - right)
                inside = (row + y >= 0) & (row + y < kernel_size) & (column + x >= 0) & (column + x < kernel_size)
                index.append(((row + y) * kernel_size + column + x).where(inside, torch.zeros_like(row)))
                share.append((part * inside).to(dtype))
        self._index, self._share = torch.stack(index, 1), torch.stack(share, 1)  # (R, 4, P)

    def __call__(self, weights: Tensor) -> Tensor:
        """Return the kernels, (R, K, K), of weights (P,)."""
        number = len(self._index)
        light = (self._share * weights).flatten(1)
        kernels = light.new_zeros(number, self.size**2).scatter_add_(1, self._index.flatten(1), light)
        return kernels.view(number, self.size, self.size)

    def transposed(self, kernels: Tensor) -> Tensor:
        """Return the sum over the places of A_r' k_r, (P,)."""
        seen = kernels.flatten(1).gather(1, self._index.flatten(1)).view_as(self._share)
        return (seen * self._share).sum((0, 1))


def kernels_of(poses: Poses, points: Tensor, kernel_size: int) -> Tensor:
    """Return the kernels of some places of a photo, (R, K, K), of sum 1.

    Args:
        poses: poses with a focal length in pixels of this photo.
        points: (R, 2); row and column from the middle of the photo, pixels.
        kernel_size: K.
    """
    moved = ways(poses.angles, poses.focal, points)
    return normalised(PoseKernels(moved, kernel_size, poses.weights.dtype)(poses.weights))


def field_of_poses(poses: Poses, size: tuple[int, int], kernel_size: int) -> BlurField:
    """Return the blur of a photo, with kernels at 9 x 9 places of it, or 5 x 5 of a photo of more than two megapixels.

    Args:
        poses: poses with a focal length in pixels of this photo.
        size: (H, W) of the photo.
        kernel_size: K.
    """
    places = places_of(size)
    kernels = kernels_of(poses, middles(size, places, poses.weights), kernel_size)
    return window_field(kernels, places, size)


def places_of(size: tuple[int, int]) -> int:
    """Return how many places a side the field of a photo (H, W) has at most."""
    return PLACES if size[0] * size[1] <= LARGE else FEW_PLACES


def middles(size: tuple[int, int], places: int, like: Tensor) -> Tensor:
    """Return the middles of places x places windows of a photo, (places^2, 2), from the middle of the photo."""
    rows, columns = (
        (torch.arange(places, dtype=torch.float64, device=like.device) + 0.5) * side / places - side / 2
        for side in size
    )
    return torch.cartesian_prod(rows, columns)


def grid_around(kernel: Tensor, size: tuple[int, int], focal: float, rolls: int = ROLLS) -> Poses:
    """Return the poses of the grid that a kernel of the middle allows, with all weight on those without roll.

    Args:
        kernel: (K, K); the kernel of the middle of the photo.
        size: (H, W) of the photo.
        focal: f, pixels.
        rolls: number of steps of roll to each side.
    """
    lit = kernel > FAINT * kernel.max()
    near = nn.functional.max_pool2d(lit[None, None].to(kernel), 2 * MARGIN + 1, 1, MARGIN)[0, 0] > 0
    rows, columns = near.nonzero().unbind(1)
    pitch, yaw = (torch.atan((place - kernel.shape[-1] // 2).double() / focal) for place in (rows, columns))
    step = ROLL_STEP / (math.hypot(*size) / 2)
    roll = step * torch.arange(-rolls, rolls + 1, dtype=torch.float64, device=kernel.device)
    angles = torch.stack([pitch.repeat(len(roll)), yaw.repeat(len(roll)), roll.repeat_interleave(len(pitch))], 1)
    still = (angles[:, 2] == 0).to(kernel)
    weights = still * kernel[rows, columns].repeat(len(roll))
    return Poses(angles, weights / weights.sum(), focal)


def fit_poses(
    light: Tensor, kernel: Tensor, focal: float, rounds: int = ROUNDS, progress: Progress | None = None
) -> Poses:
    """Return how long the camera was in each pose.

    Args:
        light: (1, 1, H, W); gray linear light, larger than the kernel.
        kernel: (K, K); kernel of the middle of the photo, about, such as the shake search finds.
        focal: f, pixels.
        rounds: number of scenes, and of fits.
        progress: function that is called after each round.
    """
    size = (light.shape[-2], light.shape[-1])
    side = kernel.shape[-1] + 2 * MARGIN
    poses = grid_around(kernel, size, focal)
    tile = max(LEAST_WINDOW, WINDOW_SIDES * kernel.shape[-1])
    overlap = tile // WINDOW_OVERLAP
    windows = tile_windows(size, tile, overlap)
    points = torch.tensor(
        [[(part.start + part.stop - length) / 2 for part, length in zip(w, size, strict=True)] for w in windows]
    )
    places = PoseKernels(ways(poses.angles, focal, points.to(light.device)), side, light.dtype)
    parts = torch.cat([light[(..., *window)] for window in windows])
    periodic = extended(parts, 2 * side)
    scenes = SparseScene(periodic)
    ramp = inner_ramp((parts.shape[-2], parts.shape[-1]), side, periodic)
    photo_edges = torch.cat(differences(periodic), 1) * ramp
    weights, weight = poses.weights, WEIGHT
    for number in range(rounds):
        found = scenes.find(normalised(places(weights)), weight)
        whole = Feathered(light, overlap)
        for window, scene in zip(windows, found.split(1), strict=True):
            whole.add(window, scene[..., : parts.shape[-2], : parts.shape[-1]])
        # Edges are chosen in the whole scene, so that a window without any has no say.
        scene = whole.result()
        padded = extended(scene, 2 * side)
        chosen = telling_edges(padded, inner_ramp(size, side, padded), side, None, number)
        edges = torch.cat([chosen[(..., *window)] for window in windows]) * ramp[: parts.shape[-2], : parts.shape[-1]]
        edges = nn.functional.pad(
            edges, (0, periodic.shape[-1] - edges.shape[-1], 0, periodic.shape[-2] - edges.shape[-2])
        )
        weights = _fitted(edges, photo_edges, places, weights)
        if number < rounds - 1:
            weights = on_path(poses._replace(weights=weights))
        weight = max(weight / WEIGHT_DECAY, LEAST_WEIGHT)
        if progress is not None:
            progress(TURNING, number + 1, rounds)
    return poses._replace(weights=weights / weights.sum())


def on_path(poses: Poses, near: float = NEAR_PATH, beyond: float = BEYOND) -> Tensor:
    """Return weights (P,) that give each pitch and yaw one roll: the mean over the weights near it.

    Args:
        poses: poses of a grid, as `grid_around` returns them.
        near: standard deviation of the Gaussian that says what is near, pixels of the middle of the photo.
        beyond: factor on the rolls, about their mean.
    """
    rolls = poses.angles[:, 2].unique()
    if len(rolls) == 1:
        return poses.weights
    weights = poses.weights.view(len(rolls), -1)
    cells = (poses.focal * poses.angles[: weights.shape[1], :2].tan()).round().long()
    row, column = (cells - cells.amin(0)).unbind(1)
    light = weights.sum(0)
    rolls = rolls.to(weights)
    image = weights.new_zeros(2, 1, int(row.max()) + 1, int(column.max()) + 1)
    image[:, 0, row, column] = torch.stack([(weights * rolls[:, None]).sum(0), light])
    turned, around = _smoothed(image, near)[:, 0, row, column]
    roll = beyond * turned / around.clamp_min(1e-12)
    roll = roll - (roll * light).sum() / light.sum()
    place = ((roll - rolls[0]) / (rolls[1] - rolls[0])).clamp(0, len(rolls) - 1 - 1e-4)
    lower = place.floor().long()[None]
    part = place - lower
    gathered = torch.zeros_like(weights).scatter_(0, lower, (1 - part) * light)
    return gathered.scatter_add_(0, lower + 1, part * light).flatten()


def _smoothed(images: Tensor, deviation: float) -> Tensor:
    """Return images (N, 1, h, w) blurred by a Gaussian, with zeros beyond them."""
    reach = max(1, round(3 * deviation))
    offset = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    tap = torch.softmax(-offset.square() / (2 * deviation**2), 0)
    down = nn.functional.conv2d(images, tap.view(1, 1, -1, 1), padding=(reach, 0))
    return nn.functional.conv2d(down, tap.view(1, 1, 1, -1), padding=(0, reach))


def _fitted(edges: Tensor, photo_edges: Tensor, places: PoseKernels, start: Tensor) -> Tensor:
    """Return the weights (P,) that fit the edges (R, 2, h, w) of all windows, without faint ones."""
    own, other = correlations(edges, photo_edges, places.size)
    middle = places.size - 1
    scale = own[:, middle, middle].sum().clamp_min(1e-12)
    normal = Normal(own, scale)
    # |A_r|^2 is at most the light that all poses together put into one pixel, since none has more than 1 in all.
    reach = places(torch.ones_like(start)).amax((-2, -1))
    largest = (normal.largest().flatten() * reach).sum() + RIDGE
    target = places.transposed(other / scale)
    found = descend(
        lambda w: places.transposed(normal(places(w[0])))[None] + RIDGE * w, target[None], start[None], largest, STEPS
    )[0]
    found = torch.where(found < FAINT * found.max(), 0, found)
    return start if found.sum() <= 0 else found / found.sum()


@dataclass(frozen=True, eq=False)
class Rotated:
    """What a photo tells of a camera that rotated about three axes.

    Args:
        poses: how long the camera was in each pose, in pixels of the size at which the photo was looked at.
        size: (H, W) at which it was looked at.
        kernel_size: K of its kernels at that size.
    """

    poses: Poses
    size: tuple[int, int]
    kernel_size: int

    def field(self, like: Tensor, factor: float = 1.0) -> BlurField:
        """Return the blur of the photo at a size, with kernels at the places of `field_of_poses`.

        Args:
            like: (..., H, W); a tensor with the size, the device and the type of the field.
            factor: of the rolls, about their mean; -1 for a camera that rolled the other way.
        """
        size = (like.shape[-2], like.shape[-1])
        places = places_of(size)
        rolls = self.poses.angles[:, 2]
        mean = (rolls * self.poses.weights).sum() / self.poses.weights.sum()
        angles = torch.cat([self.poses.angles[:, :2], (mean + factor * (rolls - mean))[:, None]], 1)
        points = middles(self.size, places, self.poses.weights)
        kernels = kernels_of(self.poses._replace(angles=angles), points, self.kernel_size)
        enlarged = odd_size(self.kernel_size * size[0] / self.size[0])
        return window_field(resized(kernels, enlarged).to(like), places, size)


def estimate_rotations(
    photo: Tensor, gamma: float, kernel: Tensor, film: float | None = None, progress: Progress | None = None
) -> Rotated:
    """Return how a camera rotated, from the kernel of its photo's middle on.

    Args:
        photo: (1, 3 or 1, H, W); sRGB-like in [0, 1].
        gamma: exponent of the photo.
        kernel: (K, K); kernel of the middle of the photo, about, such as the shake search finds.
        film: focal length in mm, converted to film of 36 x 24 mm; by default 28.
        progress: function that is called after each round.
    """
    light = gray_light(photo, gamma)
    height, width = light.shape[-2:]
    scale = min(1.0, math.sqrt(MOST_PIXELS / (height * width)))
    light = reduced(light, scale, 2 * kernel.shape[-1])
    kernel = resized(kernel[None].to(light), odd_size(kernel.shape[-1] * scale) if scale < 1 else len(kernel))[0]
    size = (light.shape[-2], light.shape[-1])
    poses = fit_poses(light, kernel, focal_in_pixels(size, film), progress=progress)
    return Rotated(poses, size, kernel.shape[-1] + 2 * MARGIN)


class KnowsLens:
    """A dataclass with a `focal_length`: that of the photos in mm, converted to film of 36 x 24 mm, or None.

    Raises:
        ValueError: it is not positive.
    """

    focal_length: float | None

    def __post_init__(self) -> None:
        focal_in_pixels((1, 1), self.focal_length)

    def for_film(self, focal_length: float | None) -> Any:
        """Return the estimator for a photo whose file tells a focal length; one that was given by hand is kept.

        Args:
            focal_length: focal length in mm, converted as EXIF has it; None if the file tells none.
        """
        itself: Any = self
        return itself if self.focal_length is not None else dataclasses.replace(itself, focal_length=focal_length)


@dataclass(frozen=True, eq=False)
class RotationsEstimator(KnowsLens):
    """Estimate the poses of a camera that rotated about three axes, from the kernel of the shake search on.

    Args:
        search: estimator of one kernel for the whole photo.
        focal_length: focal length of the photos in mm, converted to film of 36 x 24 mm; None for what a photo says
            itself (`for_film`), and for 28 mm where it says nothing.

    Raises:
        ValueError: `focal_length` is not positive.
    """

    search: Estimator
    focal_length: float | None = None

    def __call__(self, photo: Tensor, gamma: float, progress: Progress | None = None) -> Estimate:
        """Return the blur of a photo; arguments and errors are those of an `Estimator`."""
        found = self.search(photo, gamma, progress)
        if not isinstance(found, ShakeEstimate):
            return found
        field = estimate_rotations(photo, gamma, found.kernel, self.focal_length, progress).field(photo)
        return Estimate(field, 'rotations', found.removal, found.confidence, found.doubts, found.notes)

    def expected_seconds(self, pixels: int) -> dict[str, float]:
        """Return the seconds of each stage; see `Estimator`."""
        before: dict[str, float] = getattr(self.search, 'expected_seconds', lambda pixels: {})(pixels)
        return {**before, TURNING: SECONDS * min(1.0, pixels / MOST_PIXELS)}
