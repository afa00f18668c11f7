"""basis-blur evaluate: score restored photos, with or without ground truth, and estimated blurs."""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from basis_blur.cli import estimation, side_by_side
from basis_blur.cli.plan import check_writable
from basis_blur.cli.side_by_side import Judged, methods_of, same_names
from basis_blur.foundation.errors import InputError, printable, sentence_of
from basis_blur.foundation.files import real_path
from basis_blur.foundation.interrupts import Interrupted, with_remark
from basis_blur.photos.folders import list_photos, listed, normal_name
from basis_blur.photos.formats import READ_SUFFIXES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from basis_blur.bridges.pyiqa import PerceptualMetric
    from basis_blur.metrics.aligned import Score

DESCRIPTION = """Score restored photos against their ground truth: PSNR and SSIM, their means, worst and best by PSNR.

realblur  the ground truth is another shot of the scene: the restored photo is brought to its brightness, aligned with
          it by a homography (ECC), and compared where both are
koehler   the same with every frame of the camera's trajectory; the frame of the highest PSNR counts
plain     pixel by pixel, without alignment

Photos are paired by their names without suffix. For koehler, DIR of the ground truth holds a folder NAME of frames for
the restored photo NAME.png, or one photo NAME.png.

--perceptual adds scores of pyiqa, an optional package (pip install "basis_blur[perceptual]"), which downloads the
weights of a metric when it is first used. Those with a reference, such as lpips, compare the photos as the protocol
does, aligned or not; those without, such as niqe, look at the restored photo alone.

Several folders, as DIR or NAME=DIR, are methods that are compared: one table, and one sheet with all of them side by
side. Without --gt there is no ground truth, and the scores are those of --perceptual, such as niqe; niqe_basicsr is
BasicSR's own NIQE, which downloads nothing.

--kernels scores blurs in place of photos: fields of "basis-blur kernels", or npz files with the "flow", "pixel_kernels"
or "window_kernels" of another method (docs/exchange.md). --true-kernels compares the kernels themselves; --blurred and
--gt blur the sharp photo with them and compare it with the blurred one.

A photo that cannot be aligned, or not be read, has no score: it is named with the reason, counted apart and not in the
mean, and the exit code is 2."""

COMMAND = 'evaluate'
PROTOCOLS = ('realblur', 'koehler', 'plain')  # choices of --protocol
# Columns of the table, before the perceptual metrics.
CSV_COLUMNS = ('name', 'status', 'psnr', 'ssim', 'correlation', 'frame', 'frames', 'failed_frames', 'reason')
SHEET_CASES = 4  # number of the worst photos on the sheet, and of the best
SHEET_SIDE = 420  # longer side of a photo on the sheet, pixels


class Pair(NamedTuple):
    """A restored photo and its ground truth, of one frame or several."""

    name: str
    restored: Path
    frames: tuple[Path, ...]


class Result(NamedTuple):
    """The outcome for a pair: its scores, or the reason why there are none, and the ground-truth frame to show."""

    pair: Pair
    score: Score | None
    reason: str = ''
    perceptual: Mapping[str, float] = MappingProxyType({})

    @property
    def shown(self) -> Path:
        """The ground-truth frame that counts, or the first."""
        return self.pair.frames[self.score.frame if self.score else 0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    judged = parser.add_mutually_exclusive_group(required=True)
    judged.add_argument(
        '--restored', metavar='DIR', nargs='+', help='folder of restored photos, or one for each method'
    )
    judged.add_argument(
        '--kernels', metavar='PATH', nargs='+', help='folder of blurs, or one npz file; or one for each method'
    )
    parser.add_argument('--gt', metavar='DIR', type=Path, help='folder of ground truth')
    parser.add_argument('--true-kernels', metavar='PATH', type=Path, help='with --kernels: the true blurs')
    parser.add_argument('--blurred', metavar='PATH', type=Path, help='with --kernels and --gt: the blurred photos')
    parser.add_argument(
        '--gamma',
        metavar='G',
        type=estimation.gamma,
        help='with --blurred: light = photo ** G, 1 or more (default: 2.2)',
    )
    parser.add_argument('--protocol', choices=PROTOCOLS, help='with --gt: protocol of the comparison, see above')
    parser.add_argument('--csv', metavar='OUT.csv', type=Path, help='also write a line for each photo')
    parser.add_argument(
        '--sheet', metavar='OUT.png', type=Path, help='also draw the worst and best cases beside their ground truth'
    )
    parser.add_argument(
        '--perceptual',
        metavar='M,...',
        type=_names,
        default=(),
        help='also score by these metrics of pyiqa, such as lpips,niqe; see above',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace files that are already there')


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(','))
    if not all(names):
        raise argparse.ArgumentTypeError(f'{text[:40]!r} is no list of names such as lpips,niqe')
    return names


def run(args: argparse.Namespace) -> int:
    """Run the command and print the table.

    Raises:
        InputError: a folder is missing or empty, photos have no counterpart or another size, an output cannot be, or a
            perceptual metric is not there.
        OSError: a file cannot be read or written.
    """
    if args.kernels is not None:
        return of_kernels(args)
    methods = methods_of(args.restored)
    check_arguments(args)
    check_outputs(args, [*methods.values(), *([args.gt] if args.gt else [])])
    if args.gt is None:
        return without_truth(args, methods)
    pairs = {
        method: pair_up(folder, args.gt, several_frames=args.protocol == 'koehler')
        for method, folder in methods.items()
    }
    for each in pairs.values():
        check_sizes(each)
    tell_left_out((*methods.values(), args.gt))
    metrics = _metrics(args.perceptual)
    if len(methods) > 1:
        return several(args, pairs, metrics)
    (of_method,) = pairs.values()
    results, stop = compare(of_method, args.protocol, metrics)
    if stop is not None and not results:
        raise stop
    print(table(results, args.protocol))
    if args.csv is not None:
        write_csv(args.csv, results, args.perceptual)
    if args.sheet is not None:
        from basis_blur.photos.pictures import write_picture

        write_picture(args.sheet, contact_sheet(results))
    if stop is not None:
        raise stop
    return _tell_failures(sum(result.score is None for result in results), len(results))


def of_kernels(args: argparse.Namespace) -> int:
    """Score blurs of one method or several; return the exit code."""
    from basis_blur.cli import kernel_scores

    kernel_scores.check_arguments(args)
    check_outputs(args, [])
    return conclude(args, kernel_scores.judge(args), {}, 'blurs: ')


def _tell_failures(failures: int, number: int) -> int:
    """Say how many photos have no score, if there are any; return the exit code."""
    if failures:
        print(f'basis-blur {COMMAND}: {failures} of {number} photos have no score.', file=sys.stderr)
    return 2 if failures else 0


def check_arguments(args: argparse.Namespace) -> None:
    """Raise InputError if options contradict each other or need others."""
    for name in ('true_kernels', 'blurred', 'gamma'):
        if getattr(args, name) is not None:
            raise InputError(f'--{name.replace("_", "-")} goes with --kernels; leave it out beside --restored.')
    if args.gt is not None and args.protocol is None:
        raise InputError(f'--gt needs a --protocol, one of {", ".join(PROTOCOLS)}; see --help.')
    if args.gt is None and args.protocol is not None:
        raise InputError(f'--protocol {args.protocol} compares with a ground truth; give its folder by --gt.')
    if args.gt is None and not args.perceptual:
        raise InputError('without --gt there is nothing to compare with; give it, or --perceptual niqe.')


def compare(
    pairs: Sequence[Pair], protocol: str, metrics: Sequence[PerceptualMetric], method: str = ''
) -> tuple[list[Result], Interrupted | None]:
    """Score pairs one after the other; return the results, and the interrupt that ended the work, if there was one."""
    from tqdm import tqdm

    results: list[Result] = []
    total = sum(len(pair.frames) for pair in pairs)
    stop = None
    with tqdm(
        total=total, unit='frame' if total > len(pairs) else 'photo', desc=method or protocol, disable=None
    ) as bar:
        for pair in pairs:
            before = bar.n

            def tell(done: int, before: int = before) -> None:
                bar.update(before + done - bar.n)

            try:
                score = score_of(pair, protocol, tell)
                results.append(Result(pair, score, perceptual=perceptual_of(pair, score, protocol, metrics)))
            except InputError as error:
                results.append(Result(pair, None, sentence_of(error)))
                name = f'{method}: {pair.name}' if method else pair.name
                tqdm.write(f'basis-blur {COMMAND}: {name}: {sentence_of(error)}', file=sys.stderr)
            except KeyboardInterrupt as error:
                remark = f'{len(results)} of {len(pairs)} photos were compared; what is written is of those'
                stop = with_remark(error, remark)
                break
            bar.update(before + len(pair.frames) - bar.n)
    return results, stop


def several(args: argparse.Namespace, pairs: Mapping[str, Sequence[Pair]], metrics: Sequence[PerceptualMetric]) -> int:
    """Score several methods and print one table; return the exit code."""
    judged: dict[str, dict[str, Judged]] = {}
    truth: dict[str, Path] = {}
    for method, of_method in pairs.items():
        results, stop = compare(of_method, args.protocol, metrics, method)
        if stop is not None:  # a method that lacks some photos cannot be compared
            stop.remark = 'the methods were not compared to their end, so nothing is written'
            raise stop
        judged[method] = {
            result.pair.name: Judged(result.pair.restored, _scores(result), result.reason) for result in results
        }
        truth.update((result.pair.name, result.shown) for result in results if result.score is not None)
    return conclude(args, judged, truth, f'{args.protocol} protocol: ')


def _scores(result: Result) -> dict[str, float] | None:
    """Return all scores of a pair by their names, or None where there are none."""
    if result.score is None:
        return None
    return {'psnr': result.score.psnr, 'ssim': result.score.ssim, **result.perceptual}


def without_truth(args: argparse.Namespace, methods: Mapping[str, Path]) -> int:
    """Score photos without ground truth, of one method or several; return the exit code."""
    from tqdm import tqdm

    folders = {
        method: {name: photo for name, (photo,) in _named(folder, several_frames=False).items()}
        for method, folder in methods.items()
    }
    names = same_names(folders)
    tell_left_out(methods.values())
    metrics = _metrics(args.perceptual)
    if with_reference := [metric.name for metric in metrics if metric.needs_reference]:
        raise InputError(f'{listed(with_reference)} compares with a ground truth; give its folder by --gt.')
    judged: dict[str, dict[str, Judged]] = {method: {} for method in methods}
    with tqdm(total=len(names) * len(methods), unit='photo', desc=COMMAND, disable=None) as bar:
        for name in names:
            for method, photos in folders.items():
                try:
                    pixels = _pixels(photos[name])
                    scores = {metric.name: metric(pixels, pixels) for metric in metrics}
                    judged[method][name] = Judged(photos[name], scores)
                except InputError as error:
                    judged[method][name] = Judged(photos[name], None, sentence_of(error))
                    tqdm.write(f'basis-blur {COMMAND}: {method}: {name}: {sentence_of(error)}', file=sys.stderr)
                bar.update()
    return conclude(args, judged, {}, 'no ground truth: ')


def conclude(
    args: argparse.Namespace, judged: Mapping[str, Mapping[str, Judged]], truth: Mapping[str, Path], words: str
) -> int:
    """Print the table of methods and write the files that were asked for; return the exit code."""
    print(words + side_by_side.table(judged))
    if args.csv is not None:
        side_by_side.write_csv(args.csv, judged)
    if args.sheet is not None:
        from basis_blur.photos.pictures import write_picture

        write_picture(args.sheet, side_by_side.sheet(judged, truth))
    failures = [one for photos in judged.values() for one in photos.values() if one.scores is None]
    return _tell_failures(len(failures), sum(map(len, judged.values())))


def check_outputs(args: argparse.Namespace, folders: Iterable[Path]) -> None:
    """Raise InputError or OSError for an output that could not be written in the end."""
    if args.csv is not None and args.csv.suffix.lower() != '.csv':
        raise InputError(f'{args.csv} ends in "{args.csv.suffix}", expected ".csv"; name the table so.')
    if args.sheet is not None and args.sheet.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
        raise InputError(f'{args.sheet} ends in "{args.sheet.suffix}", expected .png or .jpg; name the sheet so.')
    folders = list(folders)
    for path in (args.csv, args.sheet):
        if path is None:
            continue
        if real_path(path.absolute().parent) in map(real_path, folders) and path is args.sheet:
            raise InputError(f'{path} would lie among the photos that are compared; put it elsewhere.')
        if path.exists() and not args.overwrite:
            raise InputError(f'{path} already exists; add --overwrite to replace it.')
        check_writable(path)


def pair_up(restored: Path, truth: Path, several_frames: bool) -> list[Pair]:
    """Return the pairs of two folders in the order of their names.

    Args:
        restored: folder of restored photos.
        truth: folder of photos of the same names but for the suffix.
        several_frames: whether a folder of frames may stand for a photo in `truth`.

    Raises:
        InputError: a folder is missing or without photos, a name stands twice in it or has no counterpart.
    """
    photos = {name: frames[0] for name, frames in _named(restored, several_frames=False).items()}
    frames = _named(truth, several_frames)
    complaints = [
        f'{listed(sorted(missing))} of {there} {"is" if len(missing) == 1 else "are"} missing in {here}'
        for missing, there, here in (
            (photos.keys() - frames.keys(), restored, truth),
            (frames.keys() - photos.keys(), truth, restored),
        )
        if missing
    ]
    if complaints:
        raise InputError(f'{"; ".join(complaints)}; give folders with the same names.')
    return [Pair(name, photos[name], frames[name]) for name in sorted(photos)]


def _named(folder: Path, several_frames: bool) -> dict[str, tuple[Path, ...]]:
    """Return the photos of a folder by their names without suffix; each has one, or the frames of a folder.

    Args:
        folder: the folder.
        several_frames: whether a folder of frames in it counts as a photo too.

    Raises:
        InputError: the folder is missing or without photos, or a name stands twice in it.
    """
    if not folder.is_dir():
        raise InputError(f'there is no folder {folder} (looked from {Path.cwd()}); correct the path.')
    found: list[tuple[str, tuple[Path, ...]]] = [(normal_name(photo.stem), (photo,)) for photo in _photos(folder)]
    if several_frames:
        folders = (each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith('.'))
        trajectories = ((normal_name(each.name), tuple(_photos(each))) for each in folders)
        found += [(name, frames) for name, frames in trajectories if frames]
    if not found:
        raise InputError(f'the folder {folder} holds no photo, expected PNG, JPEG, TIFF or others.')
    twice = [name for name, number in Counter(name for name, _ in found).items() if number > 1]
    if twice:
        raise InputError(f'{folder} holds {listed(twice)} more than once; keep one of each name, whatever its suffix.')
    return dict(found)


def _photos(folder: Path) -> list[Path]:
    return list_photos(folder, READ_SUFFIXES).photos


def tell_left_out(folders: Iterable[Path]) -> None:
    """Name on the standard error the files of folders that are no photos."""
    for folder in folders:
        if words := list_photos(folder, READ_SUFFIXES).left_out:
            print(printable(f'{words} of {folder}'), file=sys.stderr)


def check_sizes(pairs: Iterable[Pair]) -> None:
    """Raise InputError that lists the pairs whose photos differ in size; only the files' heads are read."""
    different = []
    for pair in pairs:
        size = _size(pair.restored)
        sizes = {_size(frame) for frame in pair.frames}
        others = [each for each in sizes if each is not None and each != size]
        if size is not None and others:
            different.append(f'{pair.name} ({size[0]}x{size[1]}, ground truth {"x".join(map(str, min(others)))})')
    if different:
        raise InputError(f'{listed(different)} differ in size, expected one size for each pair; crop both alike.')


def _size(path: Path) -> tuple[int, int] | None:
    """Return width and height of the upright photo; None if its head cannot be read; reading it will then say why."""
    from PIL import Image, UnidentifiedImageError

    from basis_blur.photos.pillow_warnings import no_warnings

    try:
        with no_warnings(), Image.open(path) as image:
            if image.format == 'TIFF':  # Pillow looks at the first page, which may be a thumbnail
                return None
            return image.size[::-1] if image.getexif().get(0x0112, 1) in (5, 6, 7, 8) else image.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def score_of(pair: Pair, protocol: str, callback: Callable[[int], None]) -> Score:
    """Read a pair and score it.

    Raises:
        InputError: a photo cannot be read, or not be aligned.
    """
    from basis_blur.metrics import aligned

    restored = _pixels(pair.restored)
    if protocol == 'koehler':
        return aligned.koehler_score(restored, map(_pixels, pair.frames), callback)
    score = aligned.realblur_score if protocol == 'realblur' else aligned.plain_score
    return score(restored, _pixels(pair.frames[0]))


def _metrics(names: Sequence[str]) -> list[PerceptualMetric]:
    """Return the perceptual metrics of these names; pyiqa is loaded only if there are any."""
    if not names:
        return []
    from basis_blur.bridges.pyiqa import perceptual_metrics

    return perceptual_metrics(names)


def perceptual_of(pair: Pair, score: Score, protocol: str, metrics: Sequence[PerceptualMetric]) -> Mapping[str, float]:
    """Return the perceptual scores of a pair by their names; those with a reference take the frame that counts.

    Raises:
        InputError: a metric gives no number for the photo.
    """
    if not metrics:
        return {}
    restored, reference = _pixels(pair.restored), _pixels(pair.frames[score.frame])
    one, other = restored, reference
    if protocol != 'plain' and any(metric.needs_reference for metric in metrics):
        from torch import from_numpy

        from basis_blur.metrics.aligned import align

        alignment = align(restored, reference)
        one, other = (from_numpy(each).movedim(-1, 0) for each in (alignment.restored, alignment.reference))
    return {
        metric.name: metric(one, other) if metric.needs_reference else metric(restored, reference) for metric in metrics
    }


def _pixels(path: Path) -> Tensor:
    """Return the pixels of a photo, (1, 3 or 1, H, W) in [0, 1].

    Raises:
        InputError: it cannot be read.
    """
    from basis_blur.photos.reading import read_photo

    try:
        return read_photo(path).pixels
    except OSError as error:  # a reason to leave out this photo, not to stop
        raise InputError(sentence_of(error)) from error


def table(results: Sequence[Result], protocol: str) -> str:
    """Return the lines that the command prints: the mean, the worst and the best score, and photos without a score."""
    scored = _by_psnr(results)
    lines = [f'{protocol} protocol: {len(scored)} of {len(results)} photos scored']
    if len(scored) < len(results):
        lines[0] += f', {len(results) - len(scored)} failed and not in the mean'
    if protocol == 'koehler':
        lines += _remarks_on_frames(results)
    if scored:
        number = len(scored)
        psnr, ssim = sum(score.psnr for score, _ in scored) / number, sum(score.ssim for score, _ in scored) / number
        more = list(scored[0][1].perceptual)
        mean_more = {name: sum(result.perceptual[name] for _, result in scored) / number for name in more}
        lines.append(f'{"":<6} {"PSNR":>8} {"SSIM":>8}{"".join(f" {name:>8}" for name in more)}')
        lines.append(f'{"mean":<6} {psnr:8.2f} {ssim:8.4f}{_cells(mean_more)}')
        for label, (score, result) in (('worst', scored[0]), ('best', scored[-1])):
            cells = f'{score.psnr:8.2f} {score.ssim:8.4f}{_cells(result.perceptual)}'
            lines.append(f'{label:<6} {cells}  {result.pair.name}')
    return '\n'.join(lines)


def _remarks_on_frames(results: Sequence[Result]) -> list[str]:
    """Return the lines of the table on frames that are missing or could not be aligned."""
    lines = []
    single = sum(len(result.pair.frames) == 1 for result in results)
    if single:
        lines.append(
            f'{single} of {len(results)} photos have one ground-truth frame instead of a trajectory; '
            'their scores are at most those of the full protocol.'
        )
    failed = sum(result.score.failed_frames for result in results if result.score is not None)
    if failed:
        lines.append(f'{failed} frames could not be aligned and do not count.')
    return lines


def _cells(perceptual: Mapping[str, float]) -> str:
    """Return perceptual scores as the end of a line of the table, below their names."""
    return ''.join(f' {value:{max(8, len(name))}.4f}' for name, value in perceptual.items())


def _by_psnr(results: Iterable[Result]) -> list[tuple[Score, Result]]:
    """Return the results that have scores, with these, the worst first."""
    scored = [(result.score, result) for result in results if result.score is not None]
    return sorted(scored, key=lambda each: each[0].psnr)


def write_csv(path: Path, results: Iterable[Result], perceptual: Sequence[str] = ()) -> None:
    """Write a line for each photo, whole or not at all; scores with all their digits, none for a failed photo.

    Args:
        path: name of the table.
        results: results, in the order in which they were found.
        perceptual: names of the metrics that were asked for; each has a column at the end.
    """
    from basis_blur.foundation.files import atomic_path

    with atomic_path(path) as partial, open(partial, 'w', newline='', encoding='utf-8') as stream:
        writer = csv.DictWriter(stream, (*CSV_COLUMNS, *perceptual))
        writer.writeheader()
        for result in results:
            row: dict[str, object] = {
                'name': result.pair.name,
                'status': 'scored' if result.score else 'failed',
                'reason': result.reason,
            }
            if result.score is not None:
                row.update(result.score._asdict())
                row['frame'] = result.shown.name
                row.update(result.perceptual)
            writer.writerow(row)


def contact_sheet(results: Sequence[Result]) -> np.ndarray:
    """Return a picture of the worst cases, failures first, and of the best, each beside its ground truth."""
    from basis_blur.photos.pictures import put_side_by_side

    failed = [result for result in results if result.score is None]
    ordered = [*failed, *(result for _, result in _by_psnr(results))]
    number = min(SHEET_CASES, -(-len(ordered) // 2))
    columns = [ordered[:number], ordered[number:][-number:][::-1]]
    return put_side_by_side([_stacked([_row(result) for result in column]) for column in columns if column])


def _row(result: Result) -> np.ndarray:
    import torch
    from torch.nn.functional import interpolate

    from basis_blur.photos.pictures import draw_side_by_side, put_side_by_side

    words = f'{result.score.psnr:.2f} dB  {result.score.ssim:.4f}' if result.score else 'failed'
    photos = {}
    for title, path in ((f'{words}  {result.pair.name}', result.pair.restored), ('ground truth', result.shown)):
        try:
            pixels = _pixels(path)
        except InputError:
            title, pixels = f'{title}: not readable', torch.zeros(1, 1, SHEET_SIDE, SHEET_SIDE)
        scale = SHEET_SIDE / max(pixels.shape[-2:])
        size = [max(1, round(length * scale)) for length in pixels.shape[-2:]]
        photos[title] = interpolate(pixels, size, mode='bilinear', antialias=True).clamp(0, 1)
    return put_side_by_side([draw_side_by_side({title: photo}) for title, photo in photos.items()])


def _stacked(pictures: list[np.ndarray]) -> np.ndarray:
    """Return pictures below each other, the narrower ones on paper."""
    from basis_blur.photos.pictures import put_side_by_side

    return put_side_by_side([each.swapaxes(0, 1) for each in pictures]).swapaxes(0, 1)
