"""The commands that are killed: their inputs and options, and what must be there and equal after a kill.

Every job has three functions: what is missing of what it had told to be done, which files are not whole, and the
contents that the finished work must agree in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import torch

# Options that both trainings have; the own ones of `train`; those of `train-noise`.
TRAINING = """
name: run
num_gpu: 0
manual_seed: 3
path: {{pretrain_network_g: ~, resume_state: ~}}
{own}
logger: {{print_freq: 1, save_checkpoint_freq: {save}, use_tb_logger: false, loss_log_freq: 1}}
"""
TRAIN = """
model_type: BasisBlurModel
datasets:
  train:
    {{name: photos, type: SyntheticBlurDataset, dataroot_gt: {photos}, patch_size: 32,
     noise_std: [0.0, 0.01], num_worker_per_gpu: 2, batch_size_per_gpu: 2}}
  val:
    {{name: held_out, type: SyntheticBlurDataset, dataroot_gt: {photos}, patch_size: 32,
     samples_per_epoch: 2}}
network_g: {{type: BasisKPN, num_feat: 4, num_kernels: 2}}
train:
  total_iter: {total}
  optim_g: {{type: AdamW, lr: 0.001}}
  scheduler: {{type: CosineAnnealingRestartLR, periods: [{total}], eta_min: 0.000001}}
  warmup_iter: 5
  ema_decay: 0.9
  amp: fp16
  reblur_opt: {{type: ReblurLoss}}
val: {{val_freq: {validate}, save_img: false, pbar: false}}
"""
TRAIN_NOISE = """
model_type: SelfSupervisedReblurModel
datasets:
  train:
    {{name: pairs, type: PairedImageDataset, dataroot_gt: {photos}, dataroot_lq: {photos}, scale: 1, gt_size: 32,
     io_backend: {{type: disk}}, use_hflip: true, use_rot: true, num_worker_per_gpu: 0, batch_size_per_gpu: 2}}
network_g: {{type: LatentKernelNet, kernel_size: 5, width: 4, flow_prior: false}}
train:
  total_iter: {total}
  optim_g: {{type: AdamW, lr: 0.001}}
  scheduler: {{type: MultiStepLR, milestones: [{validate}], gamma: 0.5}}
  ema_decay: 0.9
  reblur_opt: {{type: PixelReblurLoss}}
"""


@dataclass
class Job:
    """A command to be killed.

    Args:
        name: as `--only` takes it.
        arguments: arguments of basis-blur, which runs in the folder that it writes to.
        at_work: text that it prints when it has started.
        check_kept: function of (folder, told) that yields what is missing after a kill of what was told.
        check_whole: function of (folder, contents of the quiet run) that yields the files with a final name that are
            not whole.
        contents_of: function of (folder) that returns what the finished work must agree in.
        options: the option file of a training.
    """

    name: str
    arguments: list[str]
    at_work: str
    check_kept: Callable[[Path, str], Iterator[str]]
    check_whole: Callable[[Path, dict], Iterator[str]]
    contents_of: Callable[[Path], dict[str, Any]]
    options: str = ''


def differences(found: Any, expected: Any, where: str = '') -> Iterator[str]:
    """Yield the places at which two nested things differ, to the bit."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            if key not in found or key not in expected:
                yield f'{where}/{key} is only in one of them'
            else:
                yield from differences(found[key], expected[key], f'{where}/{key}')
    elif isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, other, f'{where}/{number}')
    elif isinstance(expected, torch.Tensor) and isinstance(found, torch.Tensor):
        if found.dtype != expected.dtype or not torch.equal(found, expected):
            yield f'{where} differs'
    elif type(found) is not type(expected) or found != expected:
        yield f'{where} differs'


# --- preparations ---


def _entries(path: Path) -> dict[str, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as store, store.begin() as transaction:
        return {bytes(key).decode(): bytes(value) for key, value in transaction.cursor()}


def _number_of_entries(path: Path) -> int:
    if not (path / 'data.mdb').exists() or not (path / 'data.mdb').stat().st_size:
        return 0
    with lmdb.open(str(path), readonly=True, lock=False) as store:
        return store.stat()['entries']


def contents_of_lmdbs(folder: Path) -> dict[str, Any]:
    """Names, entries and texts of all finished LMDBs."""
    contents: dict[str, Any] = {}
    for path in sorted([*folder.glob('*.lmdb'), *folder.glob('*/*.lmdb')]):
        texts = {each.name: each.read_text() for each in path.iterdir() if each.suffix in ('.txt', '.json')}
        files = sorted(each.name for each in path.iterdir())
        contents[path.name] = {'entries': _entries(path), 'texts': texts, 'files': files}
    return contents


def check_lmdbs_kept(folder: Path, told: str) -> Iterator[str]:
    """Yield a sentence if fewer entries are there than the progress bar has counted."""
    counted = [int(number) for number in re.findall(r'(\d+)/\d+ \[', told)]
    for name in ('photos.lmdb', 'masks.lmdb') if 'prep-lmdb' in told else ('kernels.lmdb',):
        place = next(iter(folder.rglob(name)), None) or next(iter(folder.rglob(f'.{name}.partial')), folder)
        found = _number_of_entries(place)
        if counted and found < max(counted):
            yield f'{max(counted)} entries were counted and {name} has {found}'


def check_lmdbs_whole(folder: Path, expected: dict[str, Any]) -> Iterator[str]:
    """Yield the LMDBs that have their name and differ from those of the quiet run."""
    found = contents_of_lmdbs(folder)
    yield from differences(found, {name: expected[name] for name in found})


# --- trainings ---


def _load(path: Path) -> Any:
    return torch.load(path, map_location='cpu', weights_only=True)


def contents_of_training(folder: Path) -> dict[str, Any]:
    """All losses, and the checkpoints and states that the options ask for; Ctrl-C leaves others too."""
    run, every = folder / 'experiments/run', _checkpoint_frequency(folder)
    contents: dict[str, Any] = {'losses': (run / 'losses.jsonl').read_text()}
    for path in sorted([*run.glob('models/[!.]*'), *run.glob('training_states/[!.]*')]):
        iteration = path.stem.rpartition('_')[2]
        if iteration == 'latest' or int(iteration) % every == 0:
            contents[path.name] = _load(path)
    return contents


def _checkpoint_frequency(folder: Path) -> int:
    return int(re.search(r'save_checkpoint_freq: (\d+)', (folder / 'train.yml').read_text())[1])


def check_training_kept(folder: Path, told: str) -> Iterator[str]:
    """Yield a sentence if a state is missing that was saved before the last logged iteration."""
    every = _checkpoint_frequency(folder)
    iterations = [int(number.replace(',', '')) for number in re.findall(r'iter: *([\d,]+), lr', told)]
    states = {int(path.stem) for path in (folder / 'experiments/run/training_states').glob('[!.]*.state')}
    saved = range(every, max(iterations, default=0), every)
    for number in saved:
        if number not in states:
            yield f'iteration {max(iterations)} was logged, and {number}.state is missing'


def check_training_whole(folder: Path, expected: dict[str, Any]) -> Iterator[str]:
    """Yield the checkpoints and states that cannot be read, and states without their network."""
    run = folder / 'experiments/run'
    for path in [*run.glob('models/[!.]*'), *run.glob('training_states/[!.]*')]:
        try:
            _load(path)
        except Exception as error:
            yield f'{path.name} cannot be read ({type(error).__name__})'
        if path.suffix == '.state' and not (run / 'models' / f'net_g_{path.stem}.pth').exists():
            yield f'{path.name} has no network'


# --- what is killed ---


def make_photos(folder: Path, number: int, side: int, masks: Path | None = None) -> Path:
    """Write synthetic photos, smooth coloured noise with a disc, and perhaps masks of the discs."""
    generator = np.random.default_rng(0)
    for path in (folder, *([masks] if masks else [])):
        path.mkdir(parents=True)
    for index in range(number):
        rough = generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        photo = cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC)
        photo = cv2.add(photo, generator.integers(0, 20, photo.shape, dtype=np.uint8))
        mask = np.zeros((side, side), np.uint8)
        cv2.circle(mask, (side // 2, side // 3), side // 5, 1, -1)
        photo[mask == 1] = 255 - photo[mask == 1]
        cv2.imwrite(str(folder / f'{index:04d}.png'), photo)
        if masks:
            cv2.imwrite(str(masks / f'{index:04d}.png'), mask)
    return folder


def make_jobs(place: Path, short: bool) -> list[Job]:
    """Make the inputs, and return the jobs; short ones for the tests."""
    photos = make_photos(place / 'photos', 60 if short else 800, 128 if short else 256, place / 'masks')
    workers = '0' if short else '1'
    few = make_photos(place / 'few', 11, 72)
    prep = (check_lmdbs_kept, check_lmdbs_whole, contents_of_lmdbs)
    train = (check_training_kept, check_training_whole, contents_of_training)
    # An epoch of 11 photos has 5 batches, so states lie within epochs, at their ends, and beside validations.
    numbers = {'total': 16 if short else 60, 'save': 4 if short else 6, 'validate': 8 if short else 12}
    options = [TRAINING.format(own=own.format(photos=few, **numbers), **numbers) for own in (TRAIN, TRAIN_NOISE)]
    go_on = ['train', 'train.yml', '--auto_resume']
    return [
        Job(
            'prep-lmdb',
            ['prep-lmdb', str(photos), '-o', 'out', '--masks', str(place / 'masks'), '--mask-format', 'labels',
             '--workers', workers],
            'prep-lmdb: ', *prep,
        ),
        Job(
            'prep-kernels',
            ['prep-kernels', '-o', 'kernels.lmdb', '-n', '600' if short else '8000', '--kernel-size', '19',
             '--workers', workers],
            'prep-kernels: ', *prep,
        ),
        Job('train', go_on, 'Start training from', *train, options[0]),
        Job('train-noise', go_on, 'Start training from', *train, options[1]),
    ]  # fmt: skip
