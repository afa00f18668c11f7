"""Docstrings in plain text, made safe for reStructuredText: what is indented is literal, names are links.

indented lines outside of Args, Returns, Raises      a literal block: formulas, tables, examples of calls
`name`                                               a link, where it is a public name; code, where it is not
* | _ outside of backticks                           themselves
"""

from __future__ import annotations

import re

import basis_blur

SECTIONS = re.compile(r'(Args|Returns|Raises|Yields|Convention|Example):')


def setup(app):
    """Let every docstring pass through `process`, before napoleon reads it."""
    app.connect(
        'autodoc-process-docstring', lambda app, what, name, thing, options, lines: process(lines), priority=100
    )
    return {'parallel_read_safe': True}


def process(lines: list[str]) -> None:
    """Change the lines of a docstring in place."""
    result, section, block, in_example = [], False, False, False
    for number, line in enumerate(lines):
        indented = line.startswith('    ')
        if line.strip() and not indented:
            in_example = line.startswith('Example:')
            section, block = SECTIONS.fullmatch(line.rstrip()) is not None or line.startswith('Convention:'), False
        if indented and not section:
            before = lines[number - 1] if number else ''
            if not block:
                if before.strip():
                    result.append('')
                result += ['::', '']
                block = True
            result.append(line)
        elif in_example:
            result.append(line)
        else:
            result.append(_escaped(line))
    lines[:] = result


def _escaped(line: str) -> str:
    parts = re.split(r'(``[^`]*``|`[^`]*`)', line)
    return ''.join(_code(part.strip('`')) if part.startswith('`') else _plain(part) for part in parts)


def _plain(text: str) -> str:
    return re.sub(r'([*|\\]|_(?!\w))', r'\\\1', text)


def _code(name: str) -> str:
    public = name.removeprefix('basis_blur.')
    return f':py:obj:`~basis_blur.{public}`' if public in basis_blur.__all__ else f'``{name}``'
