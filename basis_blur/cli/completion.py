"""basis-blur completion: write a script by which a shell completes commands, options and file names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basis_blur.foundation.errors import InputError

DESCRIPTION = """Write a script by which a shell completes commands, options and file names.

    bash    basis-blur completion bash > ~/.local/share/bash-completion/completions/basis-blur
    zsh     basis-blur completion zsh > ~/.zsh/completions/_basis-blur       (a folder of your fpath)
    tcsh    basis-blur completion tcsh > ~/.basis-blur.tcsh; echo 'source ~/.basis-blur.tcsh' >> ~/.tcshrc

The script does not run basis_blur to complete, so it answers at once. Write it again after an update."""

SHELLS = ('bash', 'zsh', 'tcsh')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('shell', choices=SHELLS, help='name of the shell')


def run(args: argparse.Namespace) -> int:
    """Print the script.

    Raises:
        InputError: shtab, which writes it, is not installed.
    """
    from basis_blur.cli.main import COMMANDS, build_parser

    try:
        import shtab
    except ImportError as error:
        raise InputError("completion needs shtab; pip install 'basis_blur[completion]'.") from error
    parser = build_parser(COMMANDS)
    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.FILE
    print(shtab.complete(parser, args.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[Any]:
    for action in parser._actions:
        yield action
        for below in (action.choices or {}).values() if isinstance(action, argparse._SubParsersAction) else ():
            yield from _actions(below)
