"""The options of a data set: how a section of an option file becomes its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from basis_blur.foundation.basicsr_options import DATASET
from basis_blur.foundation.options import Option, read_options


class DataSection(NamedTuple):
    """A section that has been read.

    Args:
        options: all that it holds, with defaults filled in; BasicSR reads `name` and others there.
        where: words for messages by which a person finds the section, such as 'datasets: train'.
        is_train: whether the data set is for a training.
    """

    options: dict[str, Any]
    where: str
    is_train: bool


def read_data_section(section: Mapping[str, Any], known: Mapping[str, Option]) -> DataSection:
    """Check a section of `datasets` and fill in the defaults.

    Args:
        section: section of an option file; its `phase` is 'train' unless it says otherwise.
        known: options of the data set.

    Raises:
        OptionError: an option is unknown or has a wrong value.
    """
    phase = section.get('phase', 'train')
    where = f'datasets: {phase}'
    return DataSection({**section, **read_options(section, known, where, DATASET)}, where, phase == 'train')
