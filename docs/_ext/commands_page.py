"""The directive `basis-blur-commands`: the help of every command, from its parser."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout, suppress

from docutils import nodes
from docutils.parsers.rst import Directive

from basis_blur.cli.main import COMMANDS, build_parser

COLUMNS = '100'


class Commands(Directive):
    """One section for each command, with what `--help` prints."""

    def run(self):
        os.environ['COLUMNS'] = COLUMNS
        sections = []
        for name, summary in COMMANDS.items():
            section = nodes.section(ids=[f'command-{name}'])
            section += nodes.title(text=f'basis-blur {name}')
            section += nodes.paragraph(text=f'{summary[0].upper()}{summary[1:]}.')
            with redirect_stdout(io.StringIO()) as out, suppress(SystemExit):
                build_parser([name]).parse_args([name, '--help'])
            text = out.getvalue()
            section += nodes.literal_block(text, text, language='text')
            sections.append(section)
        return sections


def setup(app):
    """Register the directive."""
    app.add_directive('basis-blur-commands', Commands)
    return {'parallel_read_safe': True}
