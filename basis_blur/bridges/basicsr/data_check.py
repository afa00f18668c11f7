"""The data sets of a run, built before it makes a folder, and refused if the run could not work with them.

BasicSR builds them when the folder of the run is there already, and an earlier one of the same name has been moved
away. The data sets that are built here are handed over to it later, so nothing is read twice. Refused are data sets
without a sample, those that do not fill one batch (BasicSR's loader drops incomplete batches, and its training ends
without a step), pairs that do not fit together, and metrics that cannot be computed of their photos.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import basicsr.utils.logger as logs
import cv2
import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from basis_blur.bridges.basicsr.data_sets import check_sizes
from basis_blur.bridges.basicsr.presence import register_when_complete
from basis_blur.data.sample_stream import Draw, seeded_by
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import OptionError


class _Opened:
    """The data sets that were built, each with the section of the options that it was built from."""

    sets: list[tuple[Mapping[str, Any], Dataset]] = []  # noqa: RUF012


def open_data(opt: Mapping[str, Any], is_train: bool) -> None:
    """Build and judge the data sets of a run; a second call with the same options does nothing.

    Args:
        opt: options as BasicSR's `parse_options` returns them.
        is_train: whether a training will use them.

    Raises:
        InputError: a data set cannot be used.
        OSError: a file cannot be read.
    """
    sections = opt.get('datasets') or {}
    known = [section for section, _ in _Opened.sets]
    if any(section is each for section in sections.values() for each in known):
        return
    _Opened.sets = []
    try:
        for phase, section in sections.items():
            with _before_the_log():
                dataset = _build(section, f'datasets: {phase}')
            _Opened.sets.append((section, dataset))
            _check_number(dataset, section, opt, f'datasets: {phase}', is_train and _is_for_training(phase))
            check_sizes(dataset, f'datasets: {phase}')
        metrics = (opt.get('val') or {}).get('metrics') or {}
        for phase, section in sections.items() if metrics else ():
            if not (is_train and _is_for_training(phase)):
                _check_metrics(metrics, section, f'datasets: {phase}')
    except (InputError, OSError):
        _Opened.sets = []
        raise


def _is_for_training(phase: Any) -> bool:
    return str(phase).split('_')[0] == 'train'


def opened(section: Mapping[str, Any]) -> Dataset | None:
    """Return the data set that was built from this very section, or None."""
    return next((dataset for own, dataset in _Opened.sets if own is section), None)


def mended_build_dataset(original: Callable) -> Callable:
    """Return BasicSR's `build_dataset`, which takes what has been built from the same section."""

    def build_dataset(dataset_opt):
        dataset = opened(dataset_opt)
        if dataset is None:
            return original(dataset_opt)
        name = dataset_opt.get('name', 'without name')
        logs.get_root_logger().info(f'Dataset [{type(dataset).__name__}] - {name} is built.')
        return dataset

    return build_dataset


def steps_of_an_epoch(dataset: Any, section: Mapping[str, Any], opt: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many samples an epoch has for one process, and how many of them fill a batch."""
    samples = math.ceil(len(dataset) * section.get('dataset_enlarge_ratio', 1) / opt.get('world_size', 1))
    copies = 1 if opt.get('dist') else max(1, opt.get('num_gpu', 0))
    return samples, section.get('batch_size_per_gpu', 1) * copies


def _build(section: Mapping[str, Any], where: str) -> Dataset:
    kind = DATASET_REGISTRY.get(section['type'])
    try:
        return kind(copy.deepcopy(section))
    except InputError:
        raise
    except (KeyError, AssertionError, ValueError, TypeError, IndexError) as error:
        if kind.__module__.split('.')[0] != 'basicsr':
            raise  # nobody here knows what it means
        found = f'it lacks the key {error}' if isinstance(error, KeyError) else str(error)
        raise OptionError(f'{where}: {section["type"]} cannot be built: {found}') from error


@contextmanager
def _before_the_log() -> Iterator[None]:
    """Leave BasicSR's log as it is: the first who asks for it decides whether it has a file."""
    begun = getattr(logs, 'initialized_logger', {})
    fresh = 'basicsr' not in begun
    try:
        yield
    finally:
        if fresh and begun.pop('basicsr', None):
            logger = logging.getLogger('basicsr')
            for handler in list(logger.handlers):
                logger.removeHandler(handler)


def _check_number(
    dataset: Dataset, section: Mapping[str, Any], opt: Mapping[str, Any], where: str, trains: bool
) -> None:
    if not hasattr(dataset, '__len__'):
        return
    total = len(dataset)
    if not total:
        raise InputError(f'{where}: {section["type"]} finds no samples; correct its "dataroot_..." and "io_backend".')
    if not trains:
        return
    samples, batch = steps_of_an_epoch(dataset, section, opt)
    if samples >= batch:
        return
    processes = opt.get('world_size', 1)
    ratio = math.ceil(batch * processes / total)
    each = f' for each of {processes} processes' if processes > 1 else ''
    raise InputError(
        f'{where}: an epoch has {samples} samples{each}, of {total} in all, which do not fill one batch of {batch}; '
        f'write "batch_size_per_gpu: {max(1, samples)}", or "dataset_enlarge_ratio: {ratio}" to see each of them '
        f'{ratio} times an epoch.'
    )


def _check_metrics(metrics: Mapping[str, Any], section: Mapping[str, Any], where: str) -> None:
    """Compute each metric once, of a made-up photo of the first sample's size, if the metric is BasicSR's or ours."""
    dataset = opened(section)
    known = {'basicsr', 'basis_blur'}
    if type(dataset).__module__.split('.')[0] not in known:
        return
    size = _size_of_first(section, where)
    for name, options in metrics.items():
        metric = METRIC_REGISTRY.get(options['type'])
        if size is None or metric.__module__.split('.')[0] not in known:
            continue
        # Ours have no border to crop, and align photos, which takes seconds of large ones.
        tried = size if metric.__module__.startswith('basicsr') else (min(size[0], 128), min(size[1], 128))
        try:
            with warnings.catch_warnings(), np.errstate(all='ignore'):
                warnings.simplefilter('ignore')
                score = float(calculate_metric(_photos_of_size(tried), dict(options)))
        except (ValueError, TypeError, AssertionError, LookupError, ArithmeticError, RuntimeError, cv2.error) as error:
            raise OptionError(
                f'val: metrics: {name}: {options["type"]} cannot be computed of photos of {size[1]}x{size[0]} pixels, '
                f'as {where} has them: {error}'
            ) from error
        if not math.isfinite(score):
            raise OptionError(
                f'val: metrics: {name}: {options["type"]} of a photo of {size[1]}x{size[0]} pixels, as {where} has '
                f'them, is {score}; correct its options, such as "crop_border".'
            )


def _size_of_first(section: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    dataset = opened(section)
    if dataset is None or type(dataset).__module__.split('.')[0] == 'basicsr':
        # These open an LMDB at their first sample, which must not happen before workers are forked.
        dataset = _build(section, where)
    with seeded_by(Draw(0, (0,))):
        sample = dataset[0]
    photo = next((sample[key] for key in ('gt', 'lq', 'sharp') if isinstance(sample.get(key), Tensor)), None)
    return None if photo is None or photo.ndim < 3 else tuple(photo.shape[-2:])


def _photos_of_size(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return two smooth photos that differ a little, (H, W, 3) uint8."""
    generator = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(generator.uniform(0, 255, (*size, 3)).astype(np.float32), (0, 0), 2)
    low, high = smooth.min(), smooth.max()
    photo = 20 + 200 * (smooth - low) / max(high - low, 1e-6)
    noisy = photo + generator.normal(0, 4, photo.shape)
    return {'img': noisy.round().astype(np.uint8), 'img2': photo.round().astype(np.uint8)}


register_when_complete(__name__)
