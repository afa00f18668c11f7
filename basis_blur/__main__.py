"""`python -m basis_blur COMMAND ...` is `basis-blur COMMAND ...`."""

import sys

from basis_blur.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
