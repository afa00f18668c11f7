"""basis-blur options: list the option files and configs that come with basis_blur, or print one to start from.

With --schema it prints the JSON schema of option files, for editors, and with --page their reference.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from basis_blur.foundation import shipped
from basis_blur.foundation.errors import InputError, did_you_mean

DESCRIPTION = """List the option files and configs that come with basis_blur, or print one of them.

    basis-blur options                       the names, with one line each
    basis-blur options train_basis > my.yml  one to change; "basis-blur train train_basis" trains it as it is

    basis-blur options --schema > s.json     a JSON schema, by which editors complete and check an option file with the
                                             comment "# yaml-language-server: $schema=s.json"

    basis-blur options --page > options.md   the reference of all options: their types, defaults and meanings

A config of mmengine is made of several files, so it is printed as one that inherits all of it."""
TITLES = {
    'options': 'Option files, for "basis-blur train NAME" and "basis-blur test NAME":',
    'configs': 'Configs, for "python -m basis_blur.bridges.mmengine NAME":',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('name', metavar='NAME', nargs='?', help='name of the file to print (default: list all)')
    parser.add_argument('--schema', action='store_true', help='print the JSON schema of option files')
    parser.add_argument('--page', action='store_true', help='print the reference of all options, as Markdown')


def run(args: argparse.Namespace) -> int:
    """Print the list or the file.

    Raises:
        InputError: there is no file of that name, options contradict each other, or BasicSR, whose options the schema
            and the reference describe too, is missing.
    """
    if args.schema or args.page:
        if args.name is not None:
            raise InputError(f'--schema and --page print one text for all option files; leave out {args.name}.')
        if args.schema and args.page:
            raise InputError('--schema and --page print two texts; give one of them.')
        from basis_blur.bridges.basicsr import registration  # noqa: F401 (registers what they describe)
        from basis_blur.bridges.basicsr.option_reference import page, schema

        print(page() if args.page else json.dumps(schema(), indent=1), end='' if args.page else '\n')
        return 0
    found = {kind: shipped.files(kind) for kind in TITLES}
    if args.name is not None:
        print(_text_of(args.name, found), end='')
        return 0
    width = max((len(name) for files in found.values() for name in files), default=0)
    for kind, title in TITLES.items():
        print(title)
        for name, path in found[kind].items():
            print(f'  {name:<{width}}  {shipped.summary(path)}')
    return 0


def _text_of(name: str, found: dict[str, dict[str, Any]]) -> str:
    if name in found['options']:
        return found['options'][name].read_text(encoding='utf-8')
    if name in found['configs']:
        path = found['configs'][name]
        return f'# {shipped.summary(path)}\n_base_ = [{str(path)!r}]\n'
    known = [each for files in found.values() for each in files]
    raise InputError(f'no file that comes with basis_blur is called "{name}".{did_you_mean(name, known)}')
