"""`python -m basis_blur COMMAND ...` is `basis-blur COMMAND ...`; neither imports from the current folder."""

import os
import sys

if __name__ == '__main__':
    # `python -m` puts the current folder before all others, unless it is told to be safe. This package may itself lie
    # there, in a checkout that is not installed; then it stays, behind all others.
    if sys.path and sys.path[0] in ('', os.getcwd()):
        here = os.path.realpath(sys.path.pop(0) or '.')
        if os.path.dirname(os.path.dirname(os.path.realpath(__file__))) == here:
            sys.path.append(here)

    from basis_blur.cli.main import main

    sys.exit(main())
