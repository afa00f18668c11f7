"""Sphinx: the pages in Markdown, the reference from the docstrings, the examples as a gallery. `make docs` builds it.

Docstrings of the package are plain text, not reStructuredText: `_ext/plain_docstrings.py` makes them safe to render.
"""

import os
import sys
from pathlib import Path

import basis_blur

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / '_ext'))
os.environ.setdefault('MPLBACKEND', 'agg')

project = 'basis_blur'
author = 'the authors of basis_blur'
version = release = basis_blur.__version__
html_title = f'basis_blur {version}'

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.mathjax',
    'sphinx_gallery.gen_gallery',
    'plain_docstrings',
    'commands_page',
    'outside_pages',
]
exclude_patterns = ['_build', '_ext', 'examples', 'gallery/*.ipynb', 'gallery/*.py', 'gallery/*.json', 'gallery/*.md5']
html_theme = 'furo'
html_static_path = ['_static']
html_css_files = ['site.css']
html_show_copyright = False
templates_path = []

myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 3
suppress_warnings = ['config.cache']  # of sphinx-gallery's order of examples, which cannot be pickled

autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_member_order = 'bysource'
autodoc_class_signature = 'mixed'
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [('Convention', 'notes')]
default_role = None

# `make docs` runs the examples; an interrupted or quick build can leave them out: sphinx-build -D plot_gallery=0.
sphinx_gallery_conf = {
    'examples_dirs': 'examples',
    'gallery_dirs': 'gallery',
    'filename_pattern': r'/\d\d_',
    'ignore_pattern': r'__init__|drawing\.py',
    'within_subsection_order': 'FileNameSortKey',
    'abort_on_example_error': True,
    'download_all_examples': False,
    'show_signature': False,
    'remove_config_comments': True,
    'min_reported_time': 1e9,
    'show_memory': False,
    'capture_repr': ('_repr_html_',),
}
