"""The order and the random numbers of training samples, as a function of the seed and the place in the training.

    sample = dataset[draw],     draw: an index, with random numbers from (manual_seed, epoch, place in the epoch)

Nothing else matters: neither the number of workers, nor which processes share an epoch, nor whether the training was
interrupted. BasicSR's own sampler gives the order of an epoch; a resumed training skips what it has seen of it. No two
samples of a training have the same random numbers.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, get_worker_info


class Draw(int):
    """The index of a sample, together with the numbers that seed its random generator.

    Args:
        index: place in the data set.
        entropy: whole numbers >= 0 that no other sample of the training has.
    """

    entropy: tuple[int, ...]

    def __new__(cls, index: int, entropy: tuple[int, ...]) -> Draw:
        draw = super().__new__(cls, index)
        draw.entropy = entropy
        return draw

    def __reduce__(self) -> tuple[Any, ...]:
        return Draw, (int(self), self.entropy)


class SampleStream(Sampler[Any]):
    """The draws of each epoch.

    Args:
        order: BasicSR's EnlargedSampler, of this process: yields indices, knows `epoch`, `rank` and `num_replicas`.
        seed: the training's `manual_seed`, >= 0, the same in all processes.
    """

    def __init__(self, order: Any, seed: int):
        self.order = order
        self.seed = seed
        self._begun: tuple[int, int] = (0, 0)

    @property
    def epoch(self) -> int:
        """The present epoch, which BasicSR sets in its sampler."""
        return self.order.epoch

    def __len__(self) -> int:
        return len(self.order)

    def begin(self, epoch: int, samples: int) -> None:
        """Skip the first `samples` of this process in one epoch, whenever it comes."""
        self._begun = (epoch, samples)

    def __iter__(self) -> Iterator[Draw]:
        epoch, ranks, rank = self.epoch, self.order.num_replicas, self.order.rank
        first = self._begun[1] if epoch == self._begun[0] else 0
        for place, index in enumerate(self.order):
            if place >= first:
                yield Draw(index, (self.seed, epoch, place * ranks + rank))


class SeededDataset(Dataset[Any]):
    """A data set that seeds the global generators by the draw of each sample, and leaves them as they were.

    So the augmentations of BasicSR's data sets, which use these generators, depend on the draw alone too.
    `SyntheticBlurDataset` reads the draw itself. Where a thread of the training process loads samples (`prefetch_mode:
    cpu` without workers), nothing is seeded, since the network uses the same generators at the same time.

    Args:
        dataset: data set of samples that are asked for by an index.
    """

    def __init__(self, dataset: Dataset[Any]):
        self.dataset = dataset

    def __len__(self) -> int:
        assert isinstance(self.dataset, Sized)
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        with seeded_by(index):
            return self.dataset[index]


@contextmanager
def seeded_by(index: int) -> Iterator[None]:
    """Seed the global generators by a draw, and leave them as they were; see `SeededDataset`.

    Args:
        index: number of a sample; only a `Draw` seeds.
    """
    alone = get_worker_info() is not None or threading.current_thread() is threading.main_thread()
    if not isinstance(index, Draw) or not alone:
        yield
        return
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        words = np.random.SeedSequence(index.entropy).generate_state(3).tolist()
        torch.default_generator.manual_seed(words[0])
        random.seed(words[1])
        np.random.seed(words[2])  # noqa: NPY002
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])  # noqa: NPY002
