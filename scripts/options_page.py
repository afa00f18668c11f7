"""Write docs/options.md, the reference page of option files, from the descriptions of the options.

python scripts/options_page.py
"""

from pathlib import Path

import basis_blur.plugin  # noqa: F401 (registers what the page is about)
from basis_blur.bridges.basicsr.option_reference import page

PAGE = Path(__file__).parents[1] / 'docs' / 'options.md'

if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
    print(f'{PAGE} is written.')
