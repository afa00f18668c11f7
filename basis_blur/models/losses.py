"""How the stages build a loss that has to be of one class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from basicsr.losses import build_loss
from torch import nn

from basis_blur.foundation.options import OptionError, component_name

Loss = TypeVar('Loss', bound=nn.Module)


def build_loss_of(kind: type[Loss], section: Mapping[str, Any], key: str, words: str = '', **facts: Any) -> Loss:
    """Build the loss of a section of `train`.

    Args:
        kind: class that the loss has to be of.
        section: options of the loss.
        key: name of the section, for the error.
        words: reason why it has to be that class, as the rest of the error's sentence.
        facts: further arguments of the loss, which the section may replace.

    Raises:
        OptionError: the section names another class.
    """
    if component_name(section) != kind.__name__:
        raise OptionError(f'train: {key} has the type {section.get("type")!r}, expected "{kind.__name__}"{words}.')
    return build_loss({**facts, **section})
