"""The one exception type for mistakes a user can mend, and the search for the name she meant.

Commands turn an `InputError` into its sentence on standard error and exit code 2, without a traceback.
Any other exception is a defect of the program and keeps its traceback.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST_SENTENCE = 600  # characters of a message that are printed


class InputError(ValueError):
    """A file, an option or an argument cannot be used; the message says what was found and expected, and what to do.

    Example:
        >>> try:
        ...     bb.load_network('correlation_kpm')
        ... except (bb.InputError, OSError) as error:
        ...     print(type(error).__name__)
        InputError
    """


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return `' Did you mean "near"?'` for the candidate nearest to `name`, or `''` where none is near.

    Args:
        name: name that was written.
        candidates: names that could have been meant.
    """
    near = difflib.get_close_matches(str(name), [str(c) for c in candidates], n=1, cutoff=0.5)
    return f' Did you mean "{near[0]}"?' if near else ''


def kind_of(thing: object) -> str:
    """Return what a thing is, for a message about one of the wrong kind: 'the text "ufpnet"' or 'a UFPNet'."""
    return f'the text "{thing}"' if isinstance(thing, str) else f'a {type(thing).__name__}'


@contextmanager
def naming(source: object) -> Iterator[None]:
    """Begin the message of an `InputError` that is raised within with the name of the file that it is about.

    Args:
        source: path of the file; for anything else, messages stay as they are.
    """
    try:
        yield
    except InputError as error:
        if not isinstance(source, (str, os.PathLike)):
            raise
        raise InputError(f'{os.fspath(source)}: {error}') from error


def sentence_of(error: BaseException) -> str:
    """Return the message of an error as one line that can be printed.

    A message may quote names and texts of damaged or hostile files. Control characters are written out, so that they
    cannot change the terminal, and the middle of a very long message is left out.

    Args:
        error: an `InputError` or an `OSError`. One that a loader's worker process raised carries that process's
            traceback in its text; only its last line, the message, is returned.
    """
    if isinstance(error, OSError) and error.strerror:
        place = f'{error.filename}: ' if error.filename is not None else ''
        return _in_one_line(f'{place}{error.strerror}.')
    text = str(error)
    if text.startswith('Caught '):
        text = text.rstrip().rsplit('\n', 1)[-1].split(': ', 1)[-1]
    return _in_one_line(text)


def printable(text: object) -> str:
    """Return a text, such as one with the name of a file, with its control characters written out."""
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def _in_one_line(text: str) -> str:
    line = printable(' '.join(text.split('\n')))
    half = LONGEST_SENTENCE // 2
    return line if len(line) <= LONGEST_SENTENCE else f'{line[:half]} ... {line[-half:]}'
