"""The page that the demo ends with: photos before and after under a slider, pictures with labels, curves of losses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from basis_blur.foundation.files import atomic_path

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 3rem; }
img { max-width: 100%; display: block; } figure { margin: 1rem 0; } figcaption { opacity: .75; }
.pair { position: relative; --at: 50%; }
.pair img { width: 100%; }
.pair .before { position: absolute; inset: 0; clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.pair::after { content: ''; position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; background: #fff; }
.pair input { position: absolute; inset: 0; width: 100%; height: 100%; opacity: 0; cursor: ew-resize; margin: 0; }
.sides { display: flex; justify-content: space-between; opacity: .75; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 0 1rem; }
.line { font-weight: 600; }
"""
WIDTH, HEIGHT, MARGIN = 640, 180, 12  # width, height and margin of a curve, pixels
BLOCKS = 60  # points of a curve at most; each is a mean


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        title: its heading.
        line: the result in one line.
        words: caption.
        folder: folder of its pictures, beside the page. A folder with blurred.png and restored.png has a slider.
        pictures: file names and what they show.
        figure: SVG, or nothing.
        scores: numbers by name, for programs.
    """

    title: str
    line: str
    words: str
    folder: str
    pictures: Sequence[tuple[str, str]] = ()
    figure: str = ''
    scores: dict[str, float] = field(default_factory=dict)


def write_page(path: Path, title: str, sections: Sequence[Section], last: str) -> None:
    """Write the page, whole or not at all; its pictures are beside it."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{escape(title)}</title><style>{STYLE}</style><h1>{escape(title)}</h1>',
    ]
    for section in sections:
        parts += [
            f'<h2>{escape(section.title)}</h2><p class="line">{escape(_capital(section.line))}</p>',
            _slider(section.folder) if (path.parent / section.folder / 'restored.png').exists() else '',
            f'<p>{escape(section.words)}</p>{section.figure}<div class="pictures">',
            *(_picture(f'{section.folder}/{name}', label) for name, label in section.pictures),
            '</div>',
        ]
    parts.append(f'<p>{escape(last)}</p></html>\n')
    with atomic_path(path) as partial:
        partial.write_text('\n'.join(parts), encoding='utf-8')


def loss_curve(losses: Path, name: str, label: str) -> str:
    """Return a curve of a loss as SVG.

    Args:
        losses: losses.jsonl of a run.
        name: key of the loss.
        label: caption for a person.
    """
    rows = [json.loads(line) for line in losses.read_text().splitlines()]
    values = [float(row[name]) for row in rows if name in row]
    block = -(-len(values) // BLOCKS)
    means = [sum(part) / len(part) for part in (values[i : i + block] for i in range(0, len(values), block))]
    low, high = min(means), max(means)
    points = ' '.join(
        f'{MARGIN + (WIDTH - 2 * MARGIN) * i / max(1, len(means) - 1):.1f},'
        f'{MARGIN + (HEIGHT - 2 * MARGIN) * (high - mean) / max(high - low, 1e-12):.1f}'
        for i, mean in enumerate(means)
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img" aria-label="{escape(label)}">'
        f'<polyline points="{points}" fill="none" stroke="#3a86ff" stroke-width="2.5"/></svg><figcaption>'
        f'{escape(_capital(label))} of the training batches, in {len(values)} iterations: from {means[0]:.3g} to '
        f'{means[-1]:.3g}.</figcaption></figure>'
    )


def _slider(folder: str) -> str:
    return (
        f'<div class="pair"><img src="{folder}/restored.png" alt="restored">'
        f'<img class="before" src="{folder}/blurred.png" alt="blurred">'
        '<input type="range" aria-label="how much of the blurred photo is shown" '
        "oninput=\"this.parentNode.style.setProperty('--at', this.value + '%')\"></div>"
        '<div class="sides"><span>blurred</span><span>restored</span></div>'
    )


def _picture(source: str, label: str) -> str:
    return (
        f'<figure><img src="{source}" alt="{escape(label)}"><figcaption>{escape(_capital(label))}</figcaption></figure>'
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
