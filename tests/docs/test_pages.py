"""The pages of the documentation: their links lead somewhere, and the reference has every public name."""

import re
from pathlib import Path

import pytest
import torch

import basis_blur
from basis_blur.photos.writing import write_photo

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'CHANGELOG.md', *sorted((ROOT / 'docs').glob('*.md'))]
LINK = re.compile(r'\]\((?!\w+:)([^)#]*)(?:#([^)]*))?\)')


def anchors_of(page: Path) -> set[str]:
    """The headings as GitHub and MyST link to them."""
    text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.S)
    return {
        re.sub(r'[^\w\- ]', '', heading).strip().lower().replace(' ', '-')
        for heading in re.findall(r'^#+ (.*)$', text, flags=re.M)
    }


@pytest.mark.parametrize('page', PAGES, ids=[page.name for page in PAGES])
def test_its_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding='utf-8')):
        path = (page.parent / target).resolve() if target else page
        if path.is_relative_to(ROOT / 'docs' / 'gallery'):  # made from the example by `make docs`
            path = ROOT / 'docs' / 'examples' / f'{path.name}.py'
        assert path.exists(), f'{page.name} leads to {target}, which is not there'
        assert not anchor or anchor in anchors_of(path), f'{target}#{anchor} is no heading'


def test_the_reference_has_every_public_name():
    text = ''.join(page.read_text() for page in (ROOT / 'docs' / 'api').glob('*.md'))
    shown = re.findall(r'auto(?:class|function):: basis_blur\.(\w+)$', text, flags=re.M)
    assert sorted(shown) == sorted(basis_blur.__all__)


def test_the_readme_begins_with_what_a_newcomer_does():
    text = (ROOT / 'README.md').read_text()
    for command in ('git clone <this repository> && cd basis_blur', 'make demo', 'make test'):
        assert f'    {command}' in text
    assert len(text.splitlines()) <= 125


@pytest.mark.parametrize('page', [ROOT / 'README.md', ROOT / 'docs' / 'index.md'], ids=lambda page: page.name)
def test_its_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float32)
    photo = torch.rand(1, 3, 6, 8).repeat_interleave(12, -1).repeat_interleave(12, -2)
    write_photo('photo.jpg', photo)
    (block,) = re.findall(r'```python\n(.*?)```', page.read_text(), flags=re.S)
    exec(compile(block, page.name, 'exec'), {'photo': photo})
    assert (tmp_path / 'sharp.jpg').exists()
