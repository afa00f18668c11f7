"""basis-blur app: a page in the browser that removes the blur of photos, on this computer alone."""

from __future__ import annotations

import argparse
import threading
import webbrowser

from basis_blur.cli import estimation
from basis_blur.foundation.choices import DEFAULT_WEIGHTS
from basis_blur.foundation.errors import InputError

DESCRIPTION = """Open a page in the browser: drop a photo, and see it before and after under one slider, the kernels
drawn over the photo, and the reasons not to trust the result, if there are any; download the photo and its blur.

The results are those of "basis-blur deblur" to the last bit. The page is served by this computer and to this computer
alone; nothing is sent anywhere, and no network is needed. Ctrl-C ends it and deletes what was dropped.

It needs Gradio: pip install 'basis_blur[app]'."""

PORT = 7860  # port of this computer at which the page is served


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        '--port',
        metavar='N',
        type=_port,
        default=PORT,
        help=f'port of this computer, 0 for any (default: {PORT})',
    )
    parser.add_argument('--no-browser', action='store_true', help='print the address and open no browser')
    weights = DEFAULT_WEIGHTS
    words = estimation.WEIGHTS_HELP.format(f'{weights}, which is in the package')
    parser.add_argument('--weights', metavar='W', default=weights, help=words)
    parser.add_argument('--device', metavar='D', help=estimation.DEVICE_HELP)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'{text[:40]!r} is no port, expected a number from 0 to 65535')
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C.

    Raises:
        InputError: Gradio is not installed, the weights cannot be used, or there is no such device.
        OSError: the port is taken.
    """
    from basis_blur.bridges.gradio_app import HOST, check_installed, serve

    check_installed()
    args.gamma = args.estimate_at = args.estimator = args.focal_length = None
    deblurrer = estimation.deblurrer(args)
    try:
        with serve(deblurrer, args.port) as address:
            print(f'basis-blur app: {address} shows the page; Ctrl-C ends it.', flush=True)
            if not args.no_browser:
                webbrowser.open(address)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                print('\nbasis-blur app: ended.')
    except OSError as error:
        if 'empty port' in str(error):
            raise InputError(f'port {args.port} of {HOST} is taken; give another by --port, or --port 0.') from error
        raise
    return 0
