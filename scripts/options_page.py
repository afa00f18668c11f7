"""Write docs/options.md, the reference page of option files, as `basis-blur options --page` prints it.

python scripts/options_page.py
"""

import contextlib
import io
import sys
from pathlib import Path

from basis_blur.cli.main import main

PAGE = Path(__file__).parents[1] / 'docs' / 'options.md'

if __name__ == '__main__':
    with contextlib.redirect_stdout(io.StringIO()) as text:
        code = main(['options', '--page'])
    if code:
        sys.exit(code)
    PAGE.write_text(text.getvalue(), encoding='utf-8')
    print(f'{PAGE} is written.')
