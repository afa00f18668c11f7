"""A page in the browser that removes the blur of a photo, served from this computer by Gradio (extra "app").

    Session     one photo in hand: what the page shows of it, and the files that it hands out; needs no Gradio
    build       the page
    serve       the page at http://127.0.0.1:PORT, until the block ends

Nothing leaves the computer: the server listens to it alone, Gradio's statistics are off, and a content security policy
keeps the browser from asking any other host, for fonts or scripts. Photos and results lie in a folder that is deleted
at the end.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from basis_blur.foundation.errors import InputError, sentence_of
from basis_blur.foundation.numbers import GAMMA
from basis_blur.photos.formats import READ_SUFFIXES, result_suffix

if TYPE_CHECKING:
    import numpy as np

    from basis_blur.deblurring.deblurrer import Deblurred, Deblurrer

HOST, PORT = '127.0.0.1', 7860  # address of the page
LONGEST_SHOWN = 3000  # longest side of a photo as the page shows it, pixels; files have all pixels
LEAST_GAMMA, MOST_GAMMA = 1.0, 3.0  # range of the slider of gamma
# Environment that keeps Gradio from sending anything.
OPTIONS = {'GRADIO_ANALYTICS_ENABLED': 'False', 'HF_HUB_OFFLINE': '1', 'DO_NOT_TRACK': '1'}
# Content security policy of the page.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)


class View(NamedTuple):
    """The contents of the page for a photo.

    Args:
        before, after: (H, W, 3) uint8 RGB.
        kernels: (H, W, 3) uint8 RGB; kernels drawn over the photo, where they are known.
        words: doubts, and how the photo was made, as HTML.
        strength, gamma: settings that the photo was made with.
        file: file of the restored photo.
    """

    before: np.ndarray
    after: np.ndarray
    kernels: np.ndarray | None
    words: str
    strength: float
    gamma: float
    file: Path


class Session:
    """One photo in hand. Its blur is estimated again only if the photo or its gamma has changed.

    Args:
        deblurrer: deblurrer whose settings hold, except for strength and gamma.
        folder: folder of the files that are handed out.
    """

    def __init__(self, deblurrer: Deblurrer, folder: str | os.PathLike[str]):
        self.deblurrer = deblurrer
        self.folder = Path(folder)
        self._path: Path | None = None
        self._made: tuple[Deblurrer, Deblurred] | None = None

    def show(
        self,
        path: str | os.PathLike[str],
        strength: float | None = None,
        gamma: float | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> View:
        """Remove the blur of a photo, and return what there is to see.

        Args:
            path: name of the photo, from which the names of its results are made.
            strength: share of the way from the blurred to the restored photo, in [0, 1]; None for what suits the
                estimate, as for the command without --strength.
            gamma: exponent of the photo; None for what the photo says, as for the command without --gamma.
            progress: function that is called during the work with the share that is done and the name of its stage.

        Raises:
            InputError: the photo cannot be used.
            OSError: it cannot be read.
        """
        path = Path(path)
        settings = dataclasses.replace(self.deblurrer.settings, strength=strength, gamma=gamma)
        deblurrer = dataclasses.replace(self.deblurrer, settings=settings)
        result = self._again(path, deblurrer) or _told(deblurrer, path, progress)
        self._path, self._made = path, (deblurrer, result)
        file = self.folder / f'{path.stem}_deblurred{_suffix_of(path)}'
        result.save(file)
        return self._view(deblurrer, result, file)

    def save_blur(self) -> Path:
        """Write the blur field that was found, and return the file.

        Raises:
            InputError: there is no result yet.
        """
        path, result = self._ready()
        file = self.folder / f'{path.stem}_kernels.npz'
        result.field.save(file)
        return file

    def save_page(self) -> Path:
        """Write the page that compares the photos, and return the file.

        Raises:
            InputError: there is no result yet.
        """
        path, result = self._ready()
        file = self.folder / f'{path.stem}_compare.html'
        result.save_comparison(file, title=path.name)
        return file

    def _ready(self) -> tuple[Path, Deblurred]:
        if self._path is None or self._made is None:
            raise InputError('there is no result yet; give a photo first.')
        return self._path, self._made[1]

    def _again(self, path: Path, deblurrer: Deblurrer) -> Deblurred | None:
        """Return the last result with another strength, if nothing else is asked for."""
        if self._made is None or path != self._path:
            return None
        before, result = self._made
        gammas = {result.given.gamma(each.settings.gamma) for each in (before, deblurrer)}
        return deblurrer.with_strength(result, deblurrer.settings.strength) if len(gammas) == 1 else None

    def _view(self, deblurrer: Deblurrer, result: Deblurred, file: Path) -> View:
        from basis_blur.photos.comparison import comparison_of
        from basis_blur.photos.pictures import resized_picture, rgb_levels

        seen = comparison_of(result.given.photo, result.pixels, result.field)
        before, after = (resized_picture(rgb_levels(each), 1, LONGEST_SHOWN) for each in (seen.before, seen.after))
        (estimate,) = result.estimates
        strength = deblurrer.strength_of(estimate)
        strength = strength if isinstance(strength, float | int) else strength.mean().item()
        gamma = result.given.gamma(deblurrer.settings.gamma)
        doubts = [f'<p class="doubt">{escape(str(doubt))}</p>' for doubt in result.doubts]
        height, width = result.pixels.shape[-2:]
        made = [f'{width} x {height} pixels; {ORIGINS.get(estimate.source, estimate.source)}.', *result.notes]
        words = ''.join([*doubts, *(f'<p>{escape(each)}</p>' for each in made)])
        return View(before, after, seen.kernels, words, strength, gamma, file)


# Source of an estimate -> words on it.
ORIGINS = {
    'shake': 'one camera shake explains the whole photo',
    'roll': 'the camera shook and rolled',
    'places': 'places that tell their blur have kernels of their own; the others have those of the network',
    'network': 'the blur of each place was estimated by the network',
    'none': 'nothing was removed',
}


def _told(deblurrer: Deblurrer, path: Path, progress: Callable[[float, str], None] | None) -> Deblurred:
    from basis_blur.deblurring.pace import Pace
    from basis_blur.photos.reading import read_photo

    photo = read_photo(path)
    pace = Pace(deblurrer.expected_seconds(photo.pixels[0, 0].numel()))

    def tell(*step) -> None:
        if step:
            pace.tell(*step)
        if progress is not None:
            progress(pace.share, f'{pace.stage}, about {pace.seconds_left:.0f} s left')

    tell()
    return deblurrer(photo, progress=tell)


def _suffix_of(path: Path) -> str:
    return result_suffix(path.suffix) if path.suffix.lower() in READ_SUFFIXES else '.png'


def build(deblurrer: Deblurrer, folder: str | os.PathLike[str]) -> Any:
    """Return the page, as a `gradio.Blocks`.

    Args:
        deblurrer: deblurrer that removes the blur.
        folder: folder of the files that are handed out.

    Raises:
        InputError: Gradio is not installed.
    """
    gr = _gradio()

    def session_of(held: Session | None) -> Session:
        return held or Session(deblurrer, tempfile.mkdtemp(dir=folder))

    def show(path, strength, gamma, held, progress):
        session = session_of(held)
        try:
            seen = session.show(path, strength, gamma, progress)
        except (InputError, OSError) as error:
            words = sentence_of(error).replace(str(Path(path).parent) + os.sep, '')
            raise gr.Error(words, duration=None) from error
        return (
            (seen.before, seen.after),
            seen.kernels,
            gr.update(value=seen.words, visible=True),
            gr.update(value=seen.strength, interactive=True),
            gr.update(value=seen.gamma, interactive=True),
            gr.update(value=str(seen.file), interactive=True),
            gr.update(interactive=True),
            gr.update(interactive=True),
            session,
        )

    def first(path, held, progress=gr.Progress()):  # noqa: B008  # Gradio looks for it there
        return show(path, None, None, held, progress)

    def again(path, strength, gamma, held, progress=gr.Progress()):  # noqa: B008
        if path is None:
            raise gr.Error('there is no photo yet; drop one first.')
        return show(path, strength, gamma, held, progress)

    def made_by(save: Callable[[Session], Path]):
        return lambda held: str(save(session_of(held)))

    with gr.Blocks(title='basis-blur', analytics_enabled=False) as page:
        held = gr.State(None)
        gr.HTML(_TITLE, padding=False)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                photo = gr.File(label='Drop a blurred photo', elem_id='photo', height=150)
                off = {'interactive': False}
                strength = gr.Slider(0, 1, 1, step=0.05, label='Strength', info=_STRENGTH, elem_id='strength', **off)
                gamma = gr.Slider(
                    LEAST_GAMMA, MOST_GAMMA, GAMMA, step=0.1, label='Gamma', info=_GAMMA, elem_id='gamma', **off
                )
                file = gr.DownloadButton('Download the photo', variant='primary', elem_id='file', **off)
                with gr.Row():
                    blur = gr.Button('Blur (.npz)', elem_id='blur', min_width=60, size='md', **off)
                    report = gr.Button('Page (.html)', elem_id='report', min_width=60, size='md', **off)
                # Files that take time are made when they are asked for, and then fetched by a button nobody sees.
                blur_file = gr.DownloadButton(visible='hidden', elem_id='blur-file')
                report_file = gr.DownloadButton(visible='hidden', elem_id='report-file')
            with gr.Column(scale=3):
                words = gr.HTML(visible=False, elem_id='words')
                with gr.Tab('Before and after'):
                    slider = gr.ImageSlider(
                        show_label=False, format='png', elem_id='slider', max_height=620, interactive=False,
                        buttons=['fullscreen'],
                    )  # fmt: skip
                with gr.Tab('The blur over the photo', render_children=True):
                    kernels = gr.Image(show_label=False, format='png', elem_id='kernels', interactive=False)
        shown = [slider, kernels, words, strength, gamma, file, blur, report, held]
        quick = {
            'concurrency_id': 'deblur',
            'concurrency_limit': 1,
            'show_progress_on': slider,
            'api_visibility': 'private',
        }
        photo.upload(first, [photo, held], shown, **quick)
        gr.on([strength.release, gamma.release], again, [photo, strength, gamma, held], shown, **quick)
        for button, target, save in ((blur, blur_file, Session.save_blur), (report, report_file, Session.save_page)):
            button.click(made_by(save), [held], [target], show_progress_on=button, api_visibility='private').then(
                None, js=f"() => document.querySelector('#{target.elem_id}').click()", api_visibility='private'
            )
    return page


@contextmanager
def serve(deblurrer: Deblurrer, port: int = PORT) -> Iterator[str]:
    """Serve the page until the block ends.

    Args:
        deblurrer: deblurrer that removes the blur.
        port: port of this computer; 0 for any that is free.

    Yields:
        the address of the page.

    Raises:
        InputError: Gradio is not installed.
        OSError: the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix='basis-blur-') as folder:
        before = {name: os.environ.get(name) for name in (*OPTIONS, 'GRADIO_TEMP_DIR')}
        os.environ.update(OPTIONS, GRADIO_TEMP_DIR=folder)
        try:
            gr = _gradio()
            page = build(deblurrer, folder)
            theme = gr.themes.Soft(primary_hue='orange', neutral_hue='gray', font=_FONTS, font_mono=['monospace'])
            page.launch(
                server_name=HOST, server_port=port or None, share=False, inbrowser=False, prevent_thread_lock=True,
                quiet=True, ssr_mode=False, footer_links=[], theme=theme, css=_STYLE, head=_HEAD, pwa=False,
                app_kwargs={'middleware': _middleware()}, show_error=True, enable_monitoring=False, mcp_server=False,
            )  # fmt: skip
            try:
                yield page.local_url
            finally:
                page.close(verbose=False)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def check_installed() -> None:
    """Raise InputError if Gradio is not installed."""
    if importlib.util.find_spec('gradio') is None:
        raise InputError("the app needs Gradio, which is not installed; pip install 'basis_blur[app]'.")


def _gradio() -> Any:
    check_installed()
    import gradio

    return gradio


def _middleware() -> list:
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # A name of another site that its DNS makes lead here is refused (DNS rebinding).
    return [Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, 'localhost']), Middleware(_WithPolicy)]


class _WithPolicy:
    """An ASGI application whose answers carry `POLICY`."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def send_with_policy(message):
            if message['type'] == 'http.response.start':
                headers = [*message.get('headers', ()), (b'content-security-policy', POLICY.encode())]
                message = {**message, 'headers': [*headers, (b'referrer-policy', b'no-referrer')]}
            await send(message)

        await self.app(scope, receive, send_with_policy if scope['type'] == 'http' else send)


_FONTS = ['system-ui', 'sans-serif']
_HEAD = '<meta name="color-scheme" content="dark light">'
_TITLE = '<h1>basis-blur</h1><p>Drop a photo; its blur is found and removed on this computer.</p>'
_STRENGTH = 'how far to go from the blurred photo to the restored one'
_GAMMA = 'light = photo ^ gamma; 1 for linear light. Another one means to find the blur again.'
_STYLE = """
h1 { font-size: 1.6rem; font-weight: 650; margin: 0; }
.doubt { border-left: 3px solid #f59e0b; padding: .1rem 0 .1rem .7rem; margin: 0 0 .4rem; }
footer { display: none !important; }
"""
