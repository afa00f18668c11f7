"""basis-blur test: run BasicSR's test with the current folder as its root."""

from __future__ import annotations

import argparse
import os

from basis_blur.cli.train import add_run_arguments, check_option_file, set_basicsr_arguments

DESCRIPTION = """Test a network on data sets from an option file, by BasicSR.

The log with the scores and the pictures go to results/NAME in the current folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Test.

    Raises:
        InputError, OSError: the option file, or something that it names, cannot be used.
    """
    opt = check_option_file(args, is_train=False)
    from basicsr.test import test_pipeline

    from basis_blur.bridges.basicsr.mended import handed_over
    from basis_blur.bridges.basicsr.run_folder import release_folder

    set_basicsr_arguments(args, [])
    try:
        with handed_over(opt):
            test_pipeline(os.getcwd())
    finally:
        release_folder()
    return 0
