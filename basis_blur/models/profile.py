"""The profile of a training's first iterations: samples a second, memory, and what limits them.

    waiting      from the end of one step to the moment when the next batch is there
    computing    from that moment to the end of the step

Both are medians over the iterations, so that logging, validations and saves in between do not count; the first
iteration, in which memory is asked for and networks are compiled, is told apart. Where a GPU computes, each of these
moments waits for it. A training is limited by its data if it waits for more than a fifth of the time.

    samples a second = batch / (waiting + computing)
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from basis_blur.foundation.files import atomic_path

PROFILE_FILE = 'profile.json'  # name of the file in the folder of a run
LIMITED_BY_DATA = 0.2  # share of the time from which on a training that waits for data is limited by them


class Profile:
    """A profile that is being taken; it writes profile.json once, after its last iteration.

    Args:
        folder: folder of the run; an earlier profile in it is kept, and none is taken.
        iterations: number of iterations, >= 2; None for no profile.
        batch: number of samples of an iteration, of all processes.
        device: device on which the network computes.
        settings: what else the profile says of the run, such as its precision.
    """

    def __init__(
        self,
        folder: str | Path,
        iterations: int | None,
        batch: int,
        device: torch.device,
        settings: Mapping[str, Any],
    ):
        self.path = Path(folder, PROFILE_FILE)
        self.iterations = 0 if iterations is None or self.path.exists() else iterations
        self.batch, self.device, self.settings = batch, device, dict(settings)
        self._waiting: list[float] = []
        self._computing: list[float] = []
        self._began: float | None = None
        self._ended: float | None = None

    @classmethod
    def of_run(
        cls, opt: Mapping[str, Any], iterations: int | None, device: torch.device, facts: Mapping[str, Any]
    ) -> Profile:
        """Return the profile of a training of BasicSR; of its processes only the first takes one.

        Args:
            opt: options of the training, after BasicSR's `parse_options`.
            iterations: number of iterations, >= 2; None for no profile.
            device: device on which the network computes.
            facts: what else the profile says of the network, such as its precision.
        """
        processes = opt.get('world_size', 1)
        batch = opt['datasets']['train'].get('batch_size_per_gpu', 1) * processes
        settings = {'run': opt['name'], **facts, 'processes': processes}
        is_first = opt.get('rank', 0) == 0
        return cls(opt['path'].get('log', '.'), iterations if is_first else None, batch, device, settings)

    @property
    def is_taken(self) -> bool:
        """Whether iterations are still to be measured."""
        return len(self._computing) < self.iterations

    def begin(self) -> None:
        """Tell that the batch of an iteration is there."""
        if not self.is_taken:
            return
        if self._ended is None and self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
        self._began = self._now()
        if self._ended is not None:
            self._waiting.append(self._began - self._ended)

    def end(self) -> None:
        """Tell that the step of an iteration is done, and write the profile after the last one."""
        if not self.is_taken or self._began is None:
            return
        self._ended = self._now()
        self._computing.append(self._ended - self._began)
        if not self.is_taken:
            with atomic_path(self.path) as partial:
                partial.write_text(json.dumps(self.result(), indent=1) + '\n', encoding='utf-8')

    def result(self) -> dict[str, Any]:
        """Return the profile of the iterations that are measured, at least two."""
        waiting, computing = statistics.median(self._waiting), statistics.median(self._computing[1:])
        share = waiting / (waiting + computing)
        return {
            **self.settings,
            'device': device_name(self.device),
            'torch': torch.__version__,
            'threads': torch.get_num_threads(),
            'iterations': len(self._computing),
            'batch': self.batch,
            'samples_per_second': _rounded(self.batch / (waiting + computing)),
            'seconds': {
                'waiting': _rounded(waiting),
                'computing': _rounded(computing),
                'first': _rounded(self._computing[0]),
            },
            'waiting_share': _rounded(share),
            'limited_by': 'data' if share > LIMITED_BY_DATA else 'compute',
            'peak_memory_mb': peak_memory_mb(self.device),
        }

    def _now(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the kind of the processor."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else f'cpu {platform.machine()}'


def peak_memory_mb(device: torch.device) -> int | None:
    """Return the most memory that was in use, MB: of tensors on a GPU, or of this process; None where nobody tells."""
    if device.type == 'cuda':
        return round(torch.cuda.max_memory_allocated(device) / 1e6)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == 'darwin' else peak * 1024 / 1e6)


def _rounded(value: float) -> float:
    return float(f'{value:.4g}')
