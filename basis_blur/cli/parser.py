"""The parser of the command line, whose errors are a few lines: how to call the command, and what is wrong."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from basis_blur.foundation.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser that tells of a wrong word which one was meant, and leaves the list of all options to --help."""

    def error(self, message: str) -> NoReturn:
        """Print the error under a short line of usage, and end with 2."""
        usage = argparse.HelpFormatter(f'{self.prog} [options]')
        needed = [action for action in self._actions if action.required or not action.option_strings]
        usage.add_usage(None, needed, [])
        told = f'{usage.format_help().strip()}\n{self.prog}: error: {message}\n"{self.prog} --help" tells more.\n'
        self.exit(2, told)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            raise argparse.ArgumentError(
                action, f'{error.message}.{did_you_mean(value, action.choices or ())}'
            ) from None
