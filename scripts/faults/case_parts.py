# ruff: noqa: E501  A case is read best as a line.
"""What the cases of malformed inputs are made of: a case, tables of cases, and sound inputs to damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from small_files import encoded, picture

CANARY = 'CANARY'
KEPT = r'(.*/)?\.\w+\.lmdb\.partial(/.*)?'  # the hidden folder in which a preparation keeps what is done
RUN = r'(experiments|results|tb_logger)(/[^/]+)*?(/[^/]+\.(log|yml)|/events.*)?'  # files of a run that has begun
TALKATIVE = ('evaluate', 'prep-dataset')  # commands that list what they found before the last line


class Case(NamedTuple):
    """A malformed input and the command that meets it.

    Args:
        category: category under which it is counted.
        name: name that tells it apart in its category.
        make: function that writes the input to a folder and returns the command line, which runs in that folder.
        says: pattern that the message must fit: what was found.
        codes: exit codes that are right.
        may_leave: patterns of files, relative to the folder, that may be new afterwards.
        talks: whether the command says more than one line, of which the last is judged.
        whole: whether it is also run as a whole process.
        short: whether it belongs to the short version that runs in the tests.
        seconds: seconds that it may take; an export computes before it writes.
    """

    category: str
    name: str
    make: Callable[[Path, Good], list[Any]]
    says: str = ''
    codes: tuple[int, ...] = (2,)
    may_leave: tuple[str, ...] = ()
    talks: bool = False
    whole: bool = False
    short: bool = False
    seconds: int = 10


Make = Callable[[Path, 'Good'], list[Any]]  # the `make` of a case


def cases(category: str, table: Mapping[str, tuple], **common: Any) -> Iterator[Case]:
    """Return the cases of a table.

    Args:
        category: category of all of them.
        table: name -> (make, says), or (make, says, fields), where fields are further ones of a `Case`.
        common: fields of all that do not say otherwise.
    """
    for name, (make, says, *fields) in table.items():
        yield Case(category, name, make, says, **{**common, **(fields[0] if fields else {})})


def command(line: str, *more: Any, before: Callable[[Path], Any] | None = None) -> Make:
    """Return the `make` of a command line.

    Args:
        line: words between spaces, with the names of sound inputs and "here" in braces.
        more: further words, as they are.
        before: function that writes to the folder what the command meets.
    """

    def maker(here: Path, good: Good) -> list[Any]:
        if before is not None:
            before(here)
        return [*line.format(here=here, **good._asdict()).split(), *more]

    return maker


class Good(NamedTuple):
    """Sound inputs, made once, that the cases damage copies of."""

    folder: Path
    photo: Path
    kpn: Path
    ufpnet: Path
    kernels: Path
    large_kernels: Path
    photos: Path
    masks: Path
    photos_lmdb: Path
    masks_lmdb: Path
    field: Path
    checkpoint: Path

    @classmethod
    def make(cls, folder: Path) -> Good:
        """Write all of them to `folder`."""
        from basis_blur import BlurField, save_network
        from basis_blur.archs import ARCHS
        from basis_blur.data.kernel_lmdb import KernelRecipe, prepare_kernels
        from basis_blur.data.photo_lmdb import PhotoSource, prepare_photos

        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        torch.manual_seed(0)
        names = (
            'photo.png', 'kpn.safetensors', 'ufpnet.safetensors', 'kernels.lmdb', 'large.lmdb', 'photos', 'masks', 'lmdbs/photos.lmdb',
            'lmdbs/masks.lmdb', 'field.npz', 'kpn.pth',
        )  # fmt: skip
        good = cls(folder, *(folder / name for name in names))
        folder.mkdir(parents=True)
        good.photo.write_bytes(encoded(picture(), 'PNG'))
        kpn = ARCHS['BasisKPN'](num_feat=1, num_kernels=2)
        save_network(kpn, good.kpn)
        torch.save({'params': kpn.state_dict()}, good.checkpoint)
        tiny = {
            'width': 2, 'kernel_size': 5, 'estimator_width': 2, 'enc_blocks': (1,), 'dec_blocks': (1,),
            'attention_levels': (0,), 'flow_hidden': 4,
        }  # fmt: skip
        save_network(ARCHS['UFPNet'](**tiny), good.ufpnet)
        for place in (good.photos, good.masks):
            place.mkdir()
        for number in range(3):
            (good.photos / f'{number}.png').write_bytes(encoded(picture(seed=number), 'PNG'))
            labels = np.zeros((40, 48), np.uint8)
            labels[10:30, 10:30] = 1
            (good.masks / f'{number}.png').write_bytes(encoded(labels, 'PNG'))
        prepare_kernels(good.kernels, KernelRecipe(6, 5))
        prepare_kernels(good.large_kernels, KernelRecipe(4, 33))
        prepare_photos(PhotoSource(good.photos, good.masks, 'labels'), good.photos_lmdb.parent)
        kernels = torch.zeros(1, 1, 5, 5)
        kernels[..., 2, 2] = 1
        BlurField(kernels, torch.ones(1, 1, 40, 48)).save(good.field)
        torch.set_default_dtype(dtype)
        return good
