"""The corpus of malformed inputs: each case makes its files in an empty folder and returns a command line.

Everything that is random has a fixed seed. Hostile files are harmless: all they try is to make an empty file CANARY.
"""

from __future__ import annotations

from case_parts import CANARY, Case, Good
from command_cases import absurd_values, controls, traps, unwritable
from data_cases import broken_archives, broken_fields, broken_lmdbs, broken_masks
from option_cases import broken_options, hostile_options
from photo_cases import damaged_photos, odd_photos, other_files, photo_formats
from training_cases import trainings
from weight_cases import broken_weights, hostile_weights

__all__ = ['CANARY', 'Case', 'Good', 'all_cases']


def all_cases(mounts: bool) -> list[Case]:
    """Return the whole corpus.

    Args:
        mounts: whether small disks can be mounted.
    """
    groups = (
        controls(),
        damaged_photos(),
        other_files(),
        odd_photos(),
        photo_formats(),
        absurd_values(),
        hostile_options(),
        broken_options(),
        hostile_weights(),
        broken_weights(),
        broken_lmdbs(),
        broken_masks(),
        broken_fields(),
        broken_archives(),
        unwritable(mounts),
        traps(),
        trainings(),
    )
    return [case for group in groups for case in group]
