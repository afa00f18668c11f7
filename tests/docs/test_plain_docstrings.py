"""docs/_ext/plain_docstrings.py: docstrings in plain text become reStructuredText that says the same."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / 'docs' / '_ext'


@pytest.fixture
def process(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield lambda text: processed(importlib.import_module('plain_docstrings').process, text)
    sys.modules.pop('plain_docstrings', None)


def processed(process, text):
    lines = text.splitlines()
    process(lines)
    return '\n'.join(lines)


def test_a_formula_is_literal(process):
    assert process('Blur.\n\n    a * b_ |c|\n\nMore.') == 'Blur.\n\n::\n\n    a * b_ |c|\n\nMore.'


def test_signs_of_plain_text_are_themselves(process):
    assert process('K*K numbers, |x| and net_ and a_b') == r'K\*K numbers, \|x\| and net\_ and a_b'


def test_public_names_are_links_and_others_are_code(process):
    assert process('See `BlurField` and `chunk`.') == 'See :py:obj:`~basis_blur.BlurField` and ``chunk``.'


def test_sections_keep_their_indentation_and_examples_are_untouched(process):
    text = 'Args:\n    x: K*K numbers.\n\nExample:\n    >>> 2 * 3\n    6'
    assert process(text) == text.replace('x: K*K', r'x: K\*K')
