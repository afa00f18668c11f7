"""Pages that lie outside of docs, taken into the site: cards of the shipped weights, CHANGELOG, CONTRIBUTING.

They are copied to `docs/outside` before a build, with their links changed, and the links to them are changed likewise;
so the same text is right where it lies, and here.

Pages of docs that the index does not name are put into its last table of contents, so that none is lost.
"""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
FOLDER = 'outside'
PAGES = [
    *sorted((ROOT / 'basis_blur' / 'weights' / 'trained').glob('*.md')),
    ROOT / 'CHANGELOG.md',
    ROOT / 'CONTRIBUTING.md',
]
LINK = re.compile(r'\]\(([^)#:]+\.md)(#[^)]*)?\)')


def setup(app):
    """Copy the pages, and change links to them in every source."""
    (DOCS / FOLDER).mkdir(exist_ok=True)
    for page in PAGES:
        text = LINK.sub(lambda link, page=page: _changed(link, page.parent, DOCS / FOLDER), page.read_text('utf-8'))
        target = DOCS / FOLDER / page.name
        if not target.exists() or target.read_text('utf-8') != text:
            target.write_text(text, encoding='utf-8')
    app.connect('source-read', _read)
    app.connect('env-get-outdated', lambda app, env, added, changed, removed: ['index'])
    return {'parallel_read_safe': True}


def _read(app, name, source):
    if name == 'index':
        named = set(re.findall(r'^\S+$', source[0], flags=re.M))
        others = sorted(page.stem for page in DOCS.glob('*.md') if page.stem not in {*named, 'index'})
        if others:
            source[0] += '\n```{toctree}\n:caption: More\n:hidden:\n\n' + '\n'.join(others) + '\n```\n'
    folder = (DOCS / name).parent
    if folder.name != FOLDER:
        source[0] = LINK.sub(lambda link: _changed(link, folder, folder), source[0])


def _changed(link: re.Match, before: Path, after: Path) -> str:
    """Return a link of a page in the folder `before`, for a page in the folder `after`."""
    target = (before / link[1]).resolve()
    if target in PAGES:
        target = DOCS / FOLDER / target.name
    elif before == after:
        return link[0]
    steps = Path(*['..'] * len(after.relative_to(DOCS).parts)) / target.relative_to(DOCS)
    return f']({steps.as_posix()}{link[2] or ""})'
