"""One validation or test of a data set: its samples, the paths of its pictures, and the means of its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from torch.utils.data import DataLoader
from tqdm import tqdm

from basis_blur.foundation import interrupts
from basis_blur.metrics.psnr import mean_score
from basis_blur.models.batch import gamma_of
from basis_blur.photos.pictures import write_picture

TENSORBOARD_PICTURES = 4  # number of pictures of a data set in the event file; more would fill it


class DataSet(Protocol):
    """A data set as BasicSR builds it, with its options in `opt`."""

    opt: Mapping[str, Any]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


def data_set_of(loader: DataLoader[Any]) -> DataSet:
    """Return the data set of a loader that BasicSR built."""
    return cast(DataSet, loader.dataset)


@dataclass(frozen=True)
class Validation:
    """One validation, for a stage to carry out.

    Args:
        samples: batches of one sample, as the data set's loader returns them.
        dataset: the data set; its options are in `dataset.opt`.
        iteration: number of the iteration, or the name of the test.
        tb_logger: a SummaryWriter, or None.
        save_img: whether pictures are written.
        opt: the options of the run.
    """

    samples: Iterable[dict[str, Any]]
    dataset: DataSet
    iteration: int | str
    tb_logger: Any
    save_img: bool
    opt: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.dataset.opt['name']

    @property
    def gamma(self) -> float:
        """Exponent of the photos of the data set."""
        return gamma_of(self.dataset.opt)

    def progress(self) -> Iterator[dict[str, Any]]:
        """Yield the samples with a progress bar, in the first process and unless `val: pbar` is false."""
        rank, processes = self.opt['rank'], self.opt['world_size']
        quiet = rank != 0 or not self.opt['val'].get('pbar', True)
        share = len(range(rank, len(self.dataset), processes))
        words = 'Validation' if self.opt['is_train'] else 'Test'
        for sample in tqdm(self.samples, total=share, desc=words, unit='photo', disable=quiet):
            if not self.opt['dist']:  # processes that work together stop together, between two iterations
                interrupts.stop_if_asked()
            yield sample

    def wants_picture(self, index: int) -> bool:
        """Tell whether the picture of a sample is wanted: TensorBoard takes the first ones, and the disk all."""
        return self.save_img or (self.tb_logger is not None and index < TENSORBOARD_PICTURES)

    def show(self, index: int, photo: str, picture: np.ndarray) -> None:
        """Give a picture to TensorBoard and write it to the disk, as far as it is wanted there.

        Args:
            index: place of the sample in the data set.
            photo: name or path of the photo.
            picture: (H, W, 3) uint8.
        """
        if self.tb_logger is not None and index < TENSORBOARD_PICTURES:
            title = f'{self.name}/{_numbered(index, photo)}'
            self.tb_logger.add_image(title, picture, self.iteration, dataformats='HWC')
        if self.save_img:
            write_picture(self.photo_path(index, photo), picture)

    def photo_path(self, index: int, photo: str) -> Path:
        """Return the path of the picture of a photo, the `index`-th of its data set; see `picture_path`."""
        return self.picture_path(_numbered(index, photo))

    def picture_path(self, name: str) -> Path:
        """Return the path of a picture: in the folder of its data set, and in training by photo and iteration.

        BasicSR has no folder for a data set in training, so sets with equal names of photos overwrite each other's
        pictures.

        Args:
            name: name of the photo, without suffix. In a test `val: suffix`, or the name of the test, follows it.

        Returns:
            A path that ends with .png.
        """
        folder = Path(self.opt['path']['visualization'], self.name)
        if self.opt['is_train']:
            return folder / name / f'{name}_{self.iteration}.png'
        return folder / f'{name}_{self.opt["val"].get("suffix") or self.opt["name"]}.png'


def _numbered(index: int, photo: str) -> str:
    return f'{index:03d}_{Path(photo).stem}'


def averaged(
    scores: list[dict[str, float]],
    best: dict[str, dict[str, Any]],
    lower_is_better: Callable[[str], bool],
    iteration: int | str,
) -> tuple[dict[str, float], str]:
    """Return the means of the scores of photos, and a sentence about them.

    Args:
        scores: scores of each photo, by name.
        best: the best means so far, {'better', 'val', 'iter'} by name; modified.
        lower_is_better: whether a score of a name is an error.
        iteration: iteration of the validation.
    """
    means = {key: mean_score([each[key] for each in scores]) for key in scores[0]}
    words = []
    for key, value in means.items():
        lower = lower_is_better(key)
        record = best.get(key)
        if record is None or not np.isfinite(record['val']):  # there was none to compare with
            is_best = True
        else:
            is_best = value <= record['val'] if lower else value >= record['val']
        if is_best and np.isfinite(value):
            best[key] = {'better': 'lower' if lower else 'higher', 'val': value, 'iter': iteration}
        words.append(f'{key} {value:.4g}')
        if not is_best:
            words[-1] += f' (best {best[key]["val"]:.4g} @ {best[key]["iter"]})'
        if infinite := sum(each[key] == np.inf for each in scores):
            words[-1] += f' (without {infinite} photos that it is infinite for)'
    return means, ', '.join(words)
