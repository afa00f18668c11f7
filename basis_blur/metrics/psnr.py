"""Peak signal-to-noise ratio of photos in [0, 1]:  10 log10(1 / mean squared difference), in dB."""

from __future__ import annotations

from torch import Tensor


def psnr(photo: Tensor, reference: Tensor) -> Tensor:
    """Return how alike photos are, in dB; infinite where they are the same.

    Args:
        photo: (N, C, H, W), in [0, 1].
        reference: (N, C, H, W).

    Returns:
        (N,).

    Raises:
        ValueError: the shapes differ.
    """
    if photo.shape != reference.shape:
        raise ValueError(f'the photo has shape {tuple(photo.shape)} and the reference {tuple(reference.shape)}.')
    return -10 * (photo - reference).square().flatten(1).mean(1).log10()
