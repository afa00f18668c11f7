"""NetworkDeblurrer: a blurred photo in, the sharp one out, made by a restoring network such as UFPNet.

    deblurrer = NetworkDeblurrer.pretrained()                 what `basis-blur deblur --method ufpnet` does
    result = deblurrer('photo.jpg', keep_kernels=True);   result.photo, result.field, result.field.sigma

It is called as a `Deblurrer` is, takes the same kinds of photos, and returns the same kind of result.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basis_blur.archs import names_of
from basis_blur.archs.network_facts import RESTORER, facts_of
from basis_blur.deblurring.deblurrer import REFINING, Deblurred, check_refine
from basis_blur.deblurring.restoring import OVERLAP, SampledKernels, restore
from basis_blur.estimation.estimate import Progress
from basis_blur.estimation.refinement import refine_codes
from basis_blur.field.blur_field import PixelField
from basis_blur.foundation.choices import DEFAULT_RESTORER
from basis_blur.foundation.errors import InputError, naming
from basis_blur.photos.alpha import with_hidden_as_before, with_visible_continued
from basis_blur.photos.kinds import take
from basis_blur.weights.checkpoints import load_network
from basis_blur.weights.layouts import UnknownNetwork

# Module that this one may not import, since bridges lie above; it is loaded by its name when it is needed.
SPANDREL_BRIDGE = 'basis_blur.bridges.spandrel'
RESTORING = 'restoring'  # name of the stage
SECONDS_OF_MEGAPIXEL = 10.0  # time that the shipped network takes for a megapixel on two cores


@dataclass(frozen=True)
class RestoringSettings:
    """The settings of a restoring network.

    Args:
        gamma: exponent of the photos, light = photo ** gamma, which only the refinement uses; by default that which the
            file of the photo states, or else 2.2.
        refine: number of steps by which the codes of the kernels are fitted to the photo; 0 for none.
        tile: largest side of the tiles in which a photo is restored, pixels; by default as memory allows.

    Raises:
        ValueError: a value is out of its range, or two contradict each other.
    """

    gamma: float | None = None
    refine: int = 0
    tile: int | None = None

    def __post_init__(self) -> None:
        check_refine(self.refine, self.gamma)
        if self.tile is not None and self.tile <= OVERLAP:
            raise ValueError(f'tile is {self.tile}, expected more than the {OVERLAP} pixels by which tiles overlap.')
        if self.refine and self.tile is not None:
            raise ValueError('refine works on the photo as a whole; leave out tile.')


@dataclass(frozen=True, eq=False)
class NetworkDeblurrer:
    """Restore photos by a network.

    Args:
        net: network that takes (N, 3, h, w), sRGB-like in [0, 1], and returns a photo, a list of photos of which the
            first is the restored one, or a result with `.image`; see `basis_blur.deblurring.restoring.restore`.
        settings: settings of the restoration.

    Example:
        >>> sizes = {'enc_blocks': (1,), 'dec_blocks': (1,), 'attention_levels': (0,), 'kernel_size': 5}
        >>> net = bb.UFPNet(width=4, estimator_width=4, **sizes)
        >>> bb.NetworkDeblurrer(net)(torch.rand(1, 3, 24, 32)).photo.shape
        torch.Size([1, 3, 24, 32])
    """

    net: nn.Module
    settings: RestoringSettings = RestoringSettings()

    @classmethod
    def pretrained(
        cls, weights: str | os.PathLike[str] | None = None, *, device: torch.device | str = 'cpu', **settings: Any
    ) -> NetworkDeblurrer:
        """Return what `basis-blur deblur --method ufpnet` and `--method network` use; the arguments are their options.

        Args:
            weights: file or name of a network that restores photos; by default the shipped UFPNet. Published weights of
                NAFNet, UFPNet, MIMO-UNet, MPRNet, DeblurGAN, DeblurGAN-v2 and DMPHN (a folder) are known, and those of
                more networks with spandrel.
            device: device on which to compute.
            settings: fields of `RestoringSettings`.

        Raises:
            ValueError: a setting is out of its range, or two contradict each other.
            InputError: the weights cannot be used.
            OSError: the file does not exist or cannot be read.
        """
        chosen = RestoringSettings(**settings)
        weights = DEFAULT_RESTORER if weights is None else weights
        try:
            net = load_network(weights, device, expect=names_of(RESTORER))
        except UnknownNetwork as error:
            net = importlib.import_module(SPANDREL_BRIDGE).load_restorer(Path(weights), device, error)
        facts = facts_of(net)
        if facts.kernel_size is not None and 'pixel_kernels' not in facts.tensors:
            raise InputError(
                f'{weights} holds a {type(net).__name__} that looks at kernels, which it does not estimate; give the '
                'UFPNet that it is a part of.'
            )
        return cls(net, chosen)

    @property
    def has_kernels(self) -> bool:
        """Return whether the network estimates kernels, so that a result can have them."""
        return facts_of(self.net).kernel_size is not None

    def expected_seconds(self, pixels: int) -> dict[str, float]:
        """Return the seconds that each stage takes on two cores for a photo of so many pixels; see `Pace`."""
        stage, seconds = (REFINING, self.settings.refine) if self.settings.refine else (RESTORING, SECONDS_OF_MEGAPIXEL)
        return {stage: seconds * pixels / 1e6}

    @torch.no_grad()
    def __call__(
        self, photo: Any, *, order: str = 'rgb', keep_kernels: bool = False, progress: Progress | None = None
    ) -> Deblurred[PixelField | SampledKernels | None]:
        """Return the sharp photo, of the kind that was given.

        Args:
            photo, order: arguments of a call of a `Deblurrer`.
            keep_kernels: whether the result has a field: a `SampledKernels`, or after a refinement a `PixelField`.
            progress: function that is called during the work with the name of the stage, 'restoring' or 'refining', the
                number of a step, from 1, and the number of steps.

        Raises:
            InputError: the photo cannot be used, or the network has no kernels to keep, or no codes to refine.
            ValueError: numbers are outside [0, 1], or there are several photos and kernels or a refinement are wanted.
            TypeError: the photo is of an unknown kind.
            OSError: a file cannot be read.
        """
        given = take(photo, order)
        if (keep_kernels or self.settings.refine) and len(given.pixels) != 1:
            raise ValueError(f'there are {len(given.pixels)} photos, expected one; give them one by one.')
        first = next(self.net.parameters(), given.pixels)
        alpha = given.photo.alpha
        field: PixelField | SampledKernels | None
        notes: tuple[str, ...] = ()
        with naming(photo):
            seen = with_visible_continued(given.pixels, alpha).to(first.device)
            if self.settings.refine:
                sharp, field, notes = self._refined(seen, given.gamma(self.settings.gamma), progress)
            else:
                sharp, field = self._restored(seen, keep_kernels, progress)
        sharp = with_hidden_as_before(sharp.to(given.pixels), given.pixels, alpha)
        return Deblurred(given.back(sharp), sharp, field if keep_kernels else None, (), (), notes, given)

    def _restored(
        self, pixels: Tensor, keep_kernels: bool, progress: Progress | None
    ) -> tuple[Tensor, SampledKernels | None]:
        found = SampledKernels(pixels.shape[-2:]) if keep_kernels else None
        tell = None if progress is None else lambda number, total: progress(RESTORING, number, total)
        watch = None if found is None else found.look
        sharp = restore(self.net, pixels, self.settings.tile, callback=tell, watch=watch)
        if found is not None and found.kernels is None:
            raise InputError('the network was trained without kernels, so there are none to keep.')
        return sharp, found

    def _refined(
        self, pixels: Tensor, gamma: float, progress: Progress | None
    ) -> tuple[Tensor, PixelField, tuple[str, ...]]:
        steps = self.settings.refine
        check_refine(steps, gamma)
        tell = None if progress is None else lambda step, _: progress(REFINING, step, steps)
        with torch.enable_grad():
            try:
                found = refine_codes(self.net, pixels.expand(-1, 3, -1, -1), gamma, steps, tell)
            except ValueError as error:
                raise InputError(str(error)) from error
        sharp = found.image if pixels.shape[1] == 3 else found.image.mean(1, keepdim=True)
        return sharp, PixelField(found.pixel_kernels.cpu()), (found.sentence,)
