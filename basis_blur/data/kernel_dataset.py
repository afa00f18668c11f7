"""Kernels alone, for training a flow: those of an LMDB of prep-kernels.

With `hold_out: n` the last n kernels of the LMDB are for validation and all others for training; the kernels of
prep-kernels are independent of each other, so this is a fair split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from basis_blur.data.data_section import read_data_section
from basis_blur.data.kernel_lmdb import KernelLmdb
from basis_blur.data.lmdb_store import LmdbReader
from basis_blur.foundation.options import Option, OptionError

DEFAULT_SAMPLE = 10_000  # largest number of kernels that are spread over the data set by default


class KernelDataset(Dataset[Any]):
    """Blur kernels, mirrored and turned at random in training.

    Mirroring and turning are drawn from torch's default generator. A training of BasicSR seeds it for each sample, see
    `sample_stream`; other loaders seed it for each worker and epoch.

    Args:
        opt: a section of an option file; `OPTIONS` describes what it may hold.

    Raises:
        OptionError: an option is unknown or has a wrong value.
        InputError: the kernels cannot be read.
    """

    OPTIONS: ClassVar[dict[str, Option]] = {
        'dataroot': Option((str,), is_path=True, meaning='LMDB of kernels, made by "basis-blur prep-kernels".'),
        'io_backend': Option((dict,), {'type': 'lmdb'}, meaning='{type: lmdb}, the only form.'),
        'hold_out': Option(
            (int,), 0,
            meaning='Number of kernels at the end of the LMDB that are kept for validation; 0 validates on all.',
        ),
        'use_hflip': Option((bool,), True, meaning='Whether a training mirrors kernels at random.'),
        'use_rot': Option((bool,), True, meaning='Whether a training turns kernels at random.'),
    }  # fmt: skip
    READER: ClassVar[type[LmdbReader]] = LmdbReader  # class that reads LMDBs

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__()
        self.opt, where, self.is_train = read_data_section(opt, self.OPTIONS)
        if self.opt['io_backend'].get('type') != 'lmdb':
            raise OptionError(
                f'{where}: "io_backend" has the type {self.opt["io_backend"].get("type")!r}, expected lmdb; '
                'prepare the kernels with basis-blur prep-kernels.'
            )
        self._kernels = KernelLmdb(self.opt['dataroot'], self.READER)
        kept, total = self.opt['hold_out'], len(self._kernels)
        if not 0 <= kept < total:
            raise OptionError(
                f'{where}: "hold_out" is {kept}, expected 0 to {total - 1}, for there are {total} kernels.'
            )
        if self.is_train:
            self._numbers = range(total - kept)
        else:
            self._numbers = range(total - kept if kept else 0, total)

    @property
    def kernel_size(self) -> int:
        """K, the side of every kernel in pixels."""
        return self._kernels.kernel_size

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `kernel`, (K, K) float32, >= 0, sum 1; and its number in the LMDB as `key`.

        Raises:
            InputError: the entry is damaged.
        """
        number = self._numbers[index]
        kernel = self._kernels[number]
        if self.is_train:
            mirror, upset, transpose = (torch.rand(3) < 0.5).tolist()
            if self.opt['use_hflip'] and mirror:
                kernel = kernel[:, ::-1]
            if self.opt['use_rot'] and upset:
                kernel = kernel[::-1]
            if self.opt['use_rot'] and transpose:
                kernel = kernel.T
        return {'kernel': torch.from_numpy(np.ascontiguousarray(kernel)), 'key': f'{number:08d}'}

    def spread(self, count: int = DEFAULT_SAMPLE) -> Tensor:
        """Return kernels evenly spread over the data set as they are stored, (M, K, K), M = `count` or all."""
        places = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int))
        return torch.from_numpy(np.stack([self._kernels[self._numbers[int(place)]] for place in places]))
