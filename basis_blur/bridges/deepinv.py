"""A blur field as a physics operator of deepinv (0.5), and back.

    physics = field.to_deepinv('reflect')      deepinv.physics.SpaceVaryingBlur
    field = BlurField.from_deepinv(physics)

`SpaceVaryingBlur` with `mask_first=False` is  A x = sum_b multipliers_b * (filters_b conv x),  our H: its filters
(N, 1, B, K, K) are convolved, not correlated, and its multipliers (N, 1, B, H, W) are the mixing. Its default,
`mask_first=True`, weighs the scene before the convolution: another operator, in which pixels have no kernels.

Its padding says what lies outside the photo:

    'valid'                  nothing is assumed, x is the scene       BasisBlur(field)
    'reflect'                mirrored about the edge pixels           BasisBlur(field) @ ReflectPad(field)
    'replicate'              the edge pixel goes on                   BasisBlur(field) @ ReplicatePad(field)
    'constant' or 'zeros'    black                                    BasisBlur(field) @ ZeroPad(field)

Its adjoint is then the transpose of the same. Its 'circular' has no counterpart here.
"""

from __future__ import annotations

import re
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING

from torch import Tensor

from basis_blur.bridges import torchvision_shim
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError

if TYPE_CHECKING:
    from deepinv.physics import SpaceVaryingBlur

BORDERS = ('valid', 'reflect', 'replicate', 'constant', 'zeros')  # names of border rules
OLDEST = (0, 5)  # first version of deepinv with `mask_first`


def to_deepinv(field: BlurField, border: str = 'valid') -> SpaceVaryingBlur:
    """Return the operator of a field as deepinv's, with an adjoint, on the field's device and in its dtype.

    The tensors are the field's own, so gradients flow to its kernels and mixing. It convolves by FFT, which for
    kernels above some 9 pixels is the faster way; `physics.use_fft = False` gives the same numbers without.

    Args:
        field: the blur.
        border: one of `BORDERS`; deepinv calls it padding.

    Raises:
        InputError: deepinv is absent or older than 0.5, or the border is another.
        ValueError: the photo is too small to be mirrored.
    """
    physics = _physics()
    _check_border(border)
    radius = field.kernel_size // 2
    if border == 'reflect' and min(field.image_size) <= radius:
        raise ValueError(
            f'a {field.image_size[0]}x{field.image_size[1]} photo cannot be mirrored by {radius} pixels; '
            "take the border 'replicate' for photos this small."
        )
    return physics.SpaceVaryingBlur(
        filters=field.kernels.unsqueeze(1),
        multipliers=field.mixing.unsqueeze(1),
        padding='constant' if border == 'zeros' else border,
        use_fft=True,
        mask_first=False,
        device=field.device,
    )


def from_deepinv(physics: SpaceVaryingBlur) -> BlurField:
    """Return the blur field of an operator of deepinv.

    The field is exactly that of the operator, or the operator is refused. A field has no border; the table above tells
    by `physics.padding` which operator to build. Noise and sensor of the physics are not part of it.

    Args:
        physics: operator of deepinv with `mask_first=False` and one filter for all colours.

    Raises:
        InputError: deepinv is absent or older than 0.5.
        ValueError: the operator is no blur field; the message says why.
    """
    kind = _physics().SpaceVaryingBlur
    if not isinstance(physics, kind):
        raise ValueError(
            f'the operator is a {type(physics).__name__}, expected deepinv.physics.SpaceVaryingBlur, the one whose '
            'pixels have kernels mixed from a basis.'
        )
    if physics.mask_first:
        raise ValueError(
            'the operator has mask_first=True: it weighs the scene before the convolution, and a blur field the photo '
            'after it; build it with mask_first=False.'
        )
    _check_border(physics.padding)
    filters, multipliers = physics.filters, physics.multipliers
    if filters is None or multipliers is None:
        raise ValueError('the operator has no filters or no multipliers yet; give it both, by update_parameters.')
    for name, values in (('filters', filters), ('multipliers', multipliers)):
        if values.ndim != 5:
            raise ValueError(f'{name} have shape {tuple(values.shape)}, expected (N, C, B, rows, columns).')
    if filters.shape[3] != filters.shape[4] or filters.shape[4] % 2 == 0:
        raise ValueError(
            f'the filters are {filters.shape[3]}x{filters.shape[4]}, expected square with an odd side, which have a '
            'pixel in their middle; add rows or columns of zeros.'
        )
    number = max(len(filters), len(multipliers))
    if min(len(filters), len(multipliers)) not in (1, number):
        raise ValueError(
            f'there are filters for {len(filters)} photos and multipliers for {len(multipliers)}, expected the same '
            'number, or those of one photo for all.'
        )
    return BlurField(
        _of_one_colour(filters, 'filters').expand(number, -1, -1, -1),
        _of_one_colour(multipliers, 'multipliers').expand(number, -1, -1, -1),
    )


def _of_one_colour(values: Tensor, name: str) -> Tensor:
    first = values[:, 0]
    if values.shape[1] > 1 and not (values[:, 1:] == first.unsqueeze(1)).all():
        raise ValueError(
            f'the {name} differ between the {values.shape[1]} channels, and a blur field is one for all colours; '
            'make a physics of each channel.'
        )
    return first


def _check_border(border: str) -> None:
    if border not in BORDERS:
        reason = ' (in which the photo goes on at its other side)' if border == 'circular' else ''
        raise InputError(f'the border is {border!r}{reason}, expected one of {", ".join(BORDERS)}.')


def _physics() -> ModuleType:
    """Import deepinv.physics, and torchvision with it, whose build need not suit this torch."""
    remedy = "pip install 'basis_blur[deepinv]'"
    try:
        found = metadata.version('deepinv')
    except metadata.PackageNotFoundError as error:
        raise InputError(f'deepinv is not installed; {remedy} installs it.') from error
    if tuple(map(int, re.findall(r'\d+', found)[:2])) < OLDEST:
        raise InputError(f'deepinv is {found}, expected {".".join(map(str, OLDEST))} or later; {remedy} installs it.')
    torchvision_shim.install()
    import deepinv.physics

    return deepinv.physics
