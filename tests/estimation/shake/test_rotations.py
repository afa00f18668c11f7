"""A camera that rotates about three axes."""

import dataclasses
import math
import struct

import pytest
import torch

from basis_blur.cli.main import main
from basis_blur.deblurring.deblurrer import Deblurrer
from basis_blur.estimation.choice import ShakeEstimator, estimator_for
from basis_blur.estimation.estimators import NetworkEstimator
from basis_blur.estimation.shake import rotations
from basis_blur.estimation.shake.rotations import (
    PoseKernels,
    Poses,
    Rotated,
    RotationsEstimator,
    field_of_poses,
    fit_poses,
    focal_in_pixels,
    grid_around,
    kernels_of,
    on_path,
    ways,
)
from basis_blur.estimation.shake.search import ShakeEstimate, uniform_field
from basis_blur.metrics.kernel import field_errors
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.photos.exif import film_focal_of
from basis_blur.photos.photo import Photo
from basis_blur.photos.writing import write_photo

MIDDLE, RIGHT = [0.0, 0.0], [0.0, 50.0]


@pytest.mark.parametrize(
    ('angles', 'point', 'down', 'right'),
    [
        ([0.1, 0, 0], MIDDLE, 100 * math.tan(0.1), 0),
        ([0, 0.1, 0], MIDDLE, 0, 100 * math.tan(0.1)),
        ([0, 0, 0.1], MIDDLE, 0, 0),
        ([0, 0, 0.1], RIGHT, 50 * math.sin(0.1), 50 * (math.cos(0.1) - 1)),
        ([0, 0.1, 0], RIGHT, 0, 100 * math.tan(math.atan(0.5) + 0.1) - 50),  # further than the middle
    ],
)
def test_pitch_moves_down_yaw_right_and_roll_turns_clockwise(angles, point, down, right):
    moved = ways(torch.tensor([angles]).double(), 100.0, torch.tensor([point]).double())
    torch.testing.assert_close(moved, torch.tensor([[[down, right]]]).double())


def test_a_pose_is_the_inverse_of_the_pose_back_for_each_axis():
    for axis in torch.eye(3):
        there = ways(0.2 * axis[None], 80.0, torch.tensor([[10.0, -20.0]]))[0]
        back = ways(-0.2 * axis[None], 80.0, torch.tensor([[10.0, -20.0]]) + there)[0]
        torch.testing.assert_close(there, -back)


def test_kernels_are_points_where_the_pose_moves_the_light():
    poses = Poses(torch.tensor([[0.0, 0.0, 0.02]]), torch.ones(1), 100.0)
    middle, side = kernels_of(poses, torch.tensor([[0.0, 0.0], [0.0, 100.0]]), 9)
    assert middle[4, 4] == 1
    assert side[6, 4] > 0.95  # two pixels down


def test_the_transpose_of_the_kernels_is_the_adjoint():
    moved = 6 * torch.rand(5, 7, 2) - 3
    places = PoseKernels(moved, 5, torch.float64)  # some light leaves the kernels
    weights, kernels = torch.rand(7), torch.rand(5, 5, 5)
    torch.testing.assert_close((places(weights) * kernels).sum(), weights @ places.transposed(kernels))


def test_the_grid_has_the_kernel_and_rolls_about_it():
    kernel = torch.rand(5, 5)
    poses = grid_around(kernel / kernel.sum(), (64, 64), 50.0, rolls=2)
    assert len(poses.angles[:, 2].unique()) == 5
    expected = rotations.normalised(torch.nn.functional.pad(kernel, [1] * 4)[None])
    found = kernels_of(poses, torch.zeros(1, 2), 7)
    torch.testing.assert_close(found, torch.where(expected > 0.02 * expected.max(), expected, 0), atol=0.01, rtol=0)


def rolled_scene(side=176, size=13):
    """A photo of rectangles by a camera that rotated about three axes, its field, and the kernel of the middle."""
    generator = torch.Generator().manual_seed(3)
    sharp = torch.rand(1, 1, side // 8 + 2, side // 8 + 2, generator=generator).repeat_interleave(8, 2)
    sharp = sharp.repeat_interleave(8, 3)[..., : side + size - 1, : side + size - 1]
    focal = focal_in_pixels((side, side))
    time = torch.linspace(-1, 1, 60)
    angles = torch.stack([3 * (3 * time).sin() / focal, 4 * (4 * time).cos() / focal, 5 * time / (side / 2**0.5)], 1)
    field = field_of_poses(Poses(angles, torch.full((60,), 1 / 60.0), focal), (side, side), size)
    light = BasisBlur(field)(sharp)
    middle = field.kernels_at(torch.tensor([[side // 2, side // 2]]))[0, 0]
    return light, field, middle, focal


def test_a_roll_is_found_from_the_kernel_of_the_middle():
    light, field, middle, focal = (each.float() if hasattr(each, 'float') else each for each in rolled_scene())
    field = field.to(torch.float32)
    poses = fit_poses(light, middle, focal, rounds=6)
    assert poses.weights.min() >= 0
    assert poses.weights.sum() == pytest.approx(1, abs=1e-5)
    found = field_of_poses(poses, field.image_size, 17)
    before = field_errors(uniform_field(middle, light), field)['kernel_correlation'].item()
    after = field_errors(found, field)['kernel_correlation'].item()
    assert after > before + (1 - before) / 3
    roll = (poses.angles[:, 2] ** 2 * poses.weights).sum().sqrt()
    assert 0.5 < roll / (5 / (176 / 2**0.5) / 3**0.5) < 1.5


def exif(focal: int) -> bytes:
    """A block with a focal length converted to film, in little-endian order."""
    main = struct.pack('<HHHIII', 1, 0x8769, 4, 1, 26, 0)
    below = struct.pack('<HHHIII', 1, 0xA405, 3, 1, focal, 0)
    return b'Exif\0\0' + struct.pack('<2sHI', b'II', 42, 8) + main + below


def test_the_focal_length_is_that_of_the_photo_unless_one_is_given():
    assert film_focal_of(exif(52)) == 52
    assert film_focal_of(exif(0)) is None
    assert film_focal_of(b'Exif\0\0') is None
    assert focal_in_pixels((300, 400), 36) == 400
    search = ShakeEstimator()
    assert RotationsEstimator(search).for_film(52.0).focal_length == 52
    assert RotationsEstimator(search, 24.0).for_film(52.0).focal_length == 24


def test_a_deblurrer_tells_the_estimator_the_focal_length_of_the_photo(monkeypatch):
    seen = []

    def search(photo, gamma, progress=None):
        kernel = torch.zeros(5, 5)
        kernel[2, 1:4] = 1 / 3
        return ShakeEstimate(uniform_field(kernel, photo), 'shake', kernel=kernel)

    def rotated(photo, gamma, kernel, film, progress):
        seen.append(film)
        size = photo.shape[-2:]
        return Rotated(grid_around(kernel, size, 50.0), size, kernel.shape[-1] + 4)

    monkeypatch.setattr(rotations, 'estimate_rotations', rotated)
    photo = Photo(torch.rand(1, 3, 64, 72).float(), exif=exif(52))
    estimate = Deblurrer(RotationsEstimator(search)).estimate(photo)
    assert seen == [52]
    assert estimate.source == 'rotations'
    assert estimate.field.image_size == (64, 72)


def test_large_photos_are_looked_at_at_a_smaller_size(monkeypatch):
    monkeypatch.setattr(rotations, 'MOST_PIXELS', 64 * 64)
    kernel = torch.zeros(9, 9)
    kernel[4, 2:7] = 1 / 5
    seen = []

    def fit(light, kernel, focal, progress=None):
        seen.append((tuple(light.shape[-2:]), len(kernel), focal))
        return grid_around(kernel, light.shape[-2:], focal)

    monkeypatch.setattr(rotations, 'fit_poses', fit)
    photo = torch.rand(1, 3, 128, 128)
    found = ShakeEstimate(uniform_field(kernel, photo), 'shake', kernel=kernel)
    estimate = RotationsEstimator(lambda *_: found, 36.0)(photo, 2.2)
    assert seen == [((64, 64), 5, 64.0)]
    assert estimate.field.kernel_size == 17  # 5 and 2 to each side at half size
    torch.testing.assert_close(estimate.field.kernels.sum((-2, -1)), torch.ones(1, 81))


def test_rolls_are_turned_round_about_their_mean():
    angles = torch.tensor([[0.0, 0.0, 0.01], [0.0, 0.0, 0.05]], dtype=torch.float64)
    rotated = Rotated(Poses(angles, torch.tensor([0.5, 0.5]), 100.0), (100, 100), 15)
    photo = torch.rand(1, 1, 100, 100)
    right, reverse, still = (rotated.field(photo, factor) for factor in (1.0, -1.0, 0.0))
    torch.testing.assert_close(right.kernels, reverse.kernels)  # both rolls are as long
    corner = torch.tensor([[2, 2]])
    assert (right.kernels_at(corner) > 0.1).sum() > (still.kernels_at(corner) > 0.1).sum()
    skewed = dataclasses.replace(rotated, poses=rotated.poses._replace(weights=torch.tensor([0.8, 0.2])))
    assert not torch.allclose(skewed.field(photo).kernels, skewed.field(photo, -1.0).kernels)


def test_a_focal_length_is_asked_for_rotations_only(tmp_path, capsys):
    network = NetworkEstimator(torch.nn.Identity())
    with pytest.raises(ValueError, match='expected it with auto or rotations only'):
        estimator_for('shake', network, 28.0)
    with pytest.raises(ValueError, match='focal_length is -1'):
        estimator_for('rotations', network, -1.0)
    assert isinstance(estimator_for('rotations', network, 28.0), RotationsEstimator)
    write_photo(tmp_path / 'p.png', torch.rand(1, 3, 80, 80))
    assert main(['deblur', str(tmp_path / 'p.png'), '--estimator', 'shake', '--focal-length', '50']) == 2
    assert '--focal-length means nothing without --estimator auto or rotations' in capsys.readouterr().err


def test_on_the_path_each_pitch_and_yaw_has_one_roll():
    kernel = torch.zeros(11, 11)
    kernel[5, 2:9] = 1 / 7
    grid = grid_around(kernel, (60, 80), 70.0)
    rolls = grid.angles[:, 2].unique()
    weights = grid.weights.view(len(rolls), -1).clone()
    column = (70 * grid.angles[: weights.shape[1], 1].tan()).round()
    for step in range(-3, 4):  # the camera turns on as it goes right
        weights[4, column == step] = 0.5 * weights[4, column == step]
        weights[4 + step, column == step] += weights[4, column == step]
    weights = weights / weights.sum()
    found = on_path(grid._replace(weights=weights.flatten()), near=0.3, beyond=1.0).view_as(weights)
    torch.testing.assert_close(found.sum(0), weights.sum(0))
    assert ((found > 1e-6).sum(0) <= 2).all()  # the two rolls next to it
    mean = (found * rolls[:, None].to(found)).sum(0) / found.sum(0).clamp_min(1e-12)
    lit = found.sum(0) > 0
    assert torch.corrcoef(torch.stack([mean[lit], column[lit].to(mean)]))[0, 1] > 0.95
