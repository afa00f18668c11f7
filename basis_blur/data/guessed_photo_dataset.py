"""Training samples of blurred photos without sharp ones: guesses of "basis-blur prep-guesses", and their trust.

    lq       (3, P, P)                 window of the blurred photo
    gt       (3, P+K-1, P+K-1)         the same window of the guess, with the border that the blur reaches into
    trust    (1, P, P) in [0, 1]       how far each pixel is trusted

P is `patch_size` and K `kernel_size`. A training takes the photos whose mean trust is at least `least_trust`, and a
random window of each; a validation takes whole photos, whatever their trust, without border.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from basis_blur.data.data_section import read_data_section
from basis_blur.data.guesses import GuessFiles, names_in, read_told
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.foundation.options import Option
from basis_blur.photos.decoding import decode_photo


class GuessedPhotoDataset(Dataset[Any]):
    """Blurred photos, guesses of the sharp ones, and how far these are trusted.

    Windows, and how they are mirrored and turned, are drawn from torch's default generator. A training of BasicSR seeds
    it for each sample, see `sample_stream`; other loaders seed it for each worker and epoch.

    Args:
        opt: section of an option file; `OPTIONS` describes its keys.

    Raises:
        OptionError: an option is unknown or has a wrong value.
        InputError: there are no guesses, none is trusted enough, or a photo is smaller than the window.
    """

    OPTIONS: ClassVar[dict[str, Option]] = {
        'dataroot': Option((str,), is_path=True, meaning='Folder of "basis-blur prep-guesses".'),
        'patch_size': Option((int,), 224, least=1, meaning='Side of the blurred photo in a training, pixels.'),
        'kernel_size': Option(
            (int,), 19, least=1, odd=True, meaning='K, the side of the kernels that are trained, pixels.',
        ),
        'least_trust': Option(
            (float,), 0.05, least=0, most=1, meaning='Mean trust below which a photo is not trained on.',
        ),
        'gamma': Option((float,), GAMMA, above=0, meaning='Exponent of the photos, light = photo ** gamma.'),
        'use_hflip': Option((bool,), True, meaning='Whether a training mirrors windows at random.'),
        'use_rot': Option((bool,), True, meaning='Whether a training turns windows at random.'),
        'samples_per_epoch': Option(
            (int, type(None)), None, least=1,
            meaning='Number of samples of an epoch, photo by photo; ~ takes each photo once.',
        ),
    }  # fmt: skip

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__()
        self.opt, where, self.is_train = read_data_section(opt, self.OPTIONS)
        folder = Path(self.opt['dataroot']).expanduser()
        found = {name: GuessFiles.of(folder, name) for name in names_in(folder)}
        told = {name: read_told(files.told) for name, files in found.items()}
        least = self.opt['least_trust'] if self.is_train else 0.0
        self._names = [name for name in found if told[name]['mean_trust'] >= least]
        if not self._names:
            raise InputError(
                f'{where}: none of the {len(found)} guesses in {folder} has a mean trust of {least:g}, the '
                '"least_trust"; lower it, or give other photos.'
            )
        self._files = [found[name] for name in self._names]
        side = self.opt['patch_size'] + self.opt['kernel_size'] - 1
        for name in self._names if self.is_train else ():
            size = told[name].get('size', (side, side))
            if min(size) < side:
                raise InputError(
                    f'{where}: {found[name].blurred} has {size[1]}x{size[0]} pixels, but a sample takes {side}x{side}; '
                    'write a smaller "patch_size".'
                )

    def __len__(self) -> int:
        return self.opt['samples_per_epoch'] or len(self._files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return lq, gt and trust of the head of this module, and the photo's name as `key` and `lq_path`.

        Raises:
            InputError: a file is damaged, or they differ in size.
        """
        number = range(len(self))[index] % len(self._files)
        blurred, guess, trust = self._read(self._files[number])
        border = 0
        if self.is_train:
            border = self.opt['kernel_size'] // 2
            side = self.opt['patch_size'] + 2 * border
            top, left = (int(torch.randint(size - side + 1, ())) for size in trust.shape[:2])
            window = np.s_[top : top + side, left : left + side]
            turn = self._turn()
            blurred, guess, trust = (turn(each[window]) for each in (blurred, guess, trust))
        inner = np.s_[border : trust.shape[0] - border, border : trust.shape[1] - border]
        name = self._names[number]
        return {
            'lq': _tensor(blurred[inner]),
            'gt': _tensor(guess),
            'trust': _tensor(trust[inner]),
            'key': name,
            'lq_path': name,
        }

    def _turn(self) -> Any:
        """Return a function that mirrors and turns arrays (H, W, C), the same way each, as was drawn."""
        mirror, upset, transpose = (torch.rand(3) < 0.5).tolist()

        def turn(photo: np.ndarray) -> np.ndarray:
            if self.opt['use_hflip'] and mirror:
                photo = photo[:, ::-1]
            if self.opt['use_rot'] and upset:
                photo = photo[::-1]
            return photo.swapaxes(0, 1) if self.opt['use_rot'] and transpose else photo

        return turn

    @staticmethod
    def _read(files: GuessFiles) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the blurred photo and the guess, (H, W, 3) uint8, red first, and the trust, (H, W, 1) uint8."""
        try:
            blurred, guess = (
                decode_photo(path.read_bytes(), str(path))[..., ::-1] for path in (files.blurred, files.guess)
            )
            trust = cv2.imdecode(np.frombuffer(files.trust.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
        except FileNotFoundError as error:
            raise InputError(
                f'{error.filename} is missing; delete {files.told}, and prepare the folder again.'
            ) from error
        except cv2.error as error:
            raise InputError(f'{files.trust} is no photo ({error}); prepare the folder again.') from error
        if trust is None or not blurred.shape == guess.shape == (*trust.shape, 3):
            raise InputError(
                f'{files.blurred}, {files.guess} and {files.trust} are not three photos of one size; delete '
                f'{files.told}, and prepare the folder again.'
            )
        return blurred, guess, trust[..., None]


def _tensor(photo: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1))).float() / 255
