"""Score a network on real blurred photos with their sharp ones: PSNR and SSIM before and after `deblur`.

    python scripts/evaluate/score_pairs.py W.safetensors PAIRS --json OUT.json --sheet OUT.png

PAIRS is a folder of one of these layouts, told by what is in it:

    blur/NAME and sharp/NAME                            pairs of one name, such as those of GoPro
    SCENE_blur_NN.png with one SCENE_gt.png             RealBlur
    NAME_gyro_NN.png with one NAME.png                  the synthetic set of Lai et al.

Each blurred photo is restored as `basis-blur deblur` does, by a `Deblurrer` with W, with --fusion also by that network,
with --estimator auto as suits the photo, and rounded to 8 bits; where W is a UFPNet, by a `NetworkDeblurrer`. It is
scored as it lies (plain) and by the protocol of RealBlur (aligned, see `basis_blur.metrics.aligned`); so is the blurred
photo. Photos of a pair that differ in size by a few pixels are cropped alike around their middle and have aligned
scores only.

Where the blurred or the restored photo cannot be aligned, or a pair not be read or compared, the pair is named with the
reason, and is in none of the means concerned; the exit code is then 2. Blurred photos without a sharp one are listed
and not scored.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from records import (
    add_record_arguments,
    check_output,
    facts_of,
    finite,
    load_fusion,
    load_scored,
    means_of,
    run_script,
    table,
    write_record,
)
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm import tqdm

import basis_blur as bb
from basis_blur.archs.network_facts import ESTIMATOR
from basis_blur.cli.estimation import gamma as gamma_argument
from basis_blur.cli.evaluate import SHEET_SIDE, pair_up
from basis_blur.estimation.choice import estimator_for
from basis_blur.estimation.estimators import NetworkEstimator
from basis_blur.foundation.choices import ESTIMATORS
from basis_blur.foundation.errors import InputError, sentence_of
from basis_blur.foundation.numbers import GAMMA
from basis_blur.metrics.aligned import plain_score, realblur_score
from basis_blur.photos.formats import SUFFIXES
from basis_blur.photos.pictures import PICTURE_SUFFIXES, draw_side_by_side, put_side_by_side, write_picture
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

PROTOCOLS = {'plain': plain_score, 'aligned': realblur_score}
STAGES = ('blurred', 'restored')
MOST_CROPPED = 32  # pixels by which the photos of a pair may differ in size
SHEET_PAIRS = 6  # number of pairs with the smallest gain, and as many with the largest
# Layouts other than blur/ and sharp/: name of a blurred photo, and of its sharp one.
LAYOUTS = (('RealBlur', r'(?P<scene>.+)_blur_\d+', '{scene}_gt'), ('Lai', r'(?P<scene>.+)_gyro_\d+', '{scene}'))


class Pair(NamedTuple):
    """A blurred photo and its sharp one."""

    name: str
    blurred: Path
    sharp: Path


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', type=Path, metavar='W', help='weights file')
    parser.add_argument('pairs', type=Path, metavar='PAIRS', help='folder of pairs; see above')
    parser.add_argument(
        '--fusion', type=Path, metavar='F', help='weights of an IterateFusion; without, the solver alone'
    )
    parser.add_argument(
        '--estimator',
        choices=ESTIMATORS,
        default='network',
        help='what estimates the blur, with W as its network (default: network)',
    )
    parser.add_argument('--name', help='name of the set in the record (default: that of the folder)')
    parser.add_argument(
        '--gamma', type=gamma_argument, default=GAMMA, help='light = photo ** gamma (default: %(default)s)'
    )
    parser.add_argument('--device', default='cpu', help='device that computes (default: cpu)')
    parser.add_argument('--restored', type=Path, metavar='DIR', help='also keep the restored photos here')
    parser.add_argument('--sheet', type=Path, metavar='OUT.png', help='also draw the smallest and the largest gains')
    add_record_arguments(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Restore and score all pairs, print the table, write the record and the sheet."""
    args = build_parser().parse_args(arguments)
    check_output(args.json, ['.json'], args.overwrite)
    check_output(args.sheet, PICTURE_SUFFIXES, args.overwrite)
    pairs, alone = find_pairs(args.pairs)
    net, fusion = load_scored(args.weights, args.device), load_fusion(args.fusion, args.device)
    deblurrer = deblurrer_of(net, fusion, args)
    rows, thumbnails = [], {}
    for pair in tqdm(pairs, unit='pair', disable=None):
        try:
            blurred, sharp, restored = restore_pair(pair, deblurrer)
            row = score_pair(pair.name, blurred, restored, sharp)
        except (InputError, OSError) as error:  # the other pairs are scored
            rows.append(failed_row(pair.name, sentence_of(error)))
            tqdm.write(f'{pair.name}: not scored: {sentence_of(error)}', file=sys.stderr)
            continue
        rows.append(row)
        for stage, reason in row['failed'].items():
            tqdm.write(f'{pair.name}: the {stage} photo has no aligned score: {reason}', file=sys.stderr)
        if args.restored is not None:
            write_photo(args.restored / f'{pair.name}.png', restored)
        if args.sheet is not None:
            photos = {'blurred': blurred, 'restored': restored, 'ground truth': sharp}
            thumbnails[pair.name] = {title: thumbnail(photo) for title, photo in photos.items()}
    summary = summary_of(rows)
    print(table_of(rows))
    print(text_of(summary, alone))
    if args.json is not None:
        record = {
            'kind': 'pairs',
            'set': args.name or args.pairs.resolve().name,
            'weights': [
                facts_of(path, each) for path, each in ((args.weights, net), (args.fusion, fusion)) if path is not None
            ],
            'config': {'gamma': args.gamma, 'estimator': args.estimator, 'without_sharp': alone},
            'means': summary,
            'pairs': rows,
        }
        write_record(args.json, record, 'pairs')
    if args.sheet is not None:
        drawable = [row for row in rows if row['name'] in thumbnails]
        if drawable:
            write_picture(args.sheet, contact_sheet(drawable, thumbnails))
    return 2 if any(row['failed'] for row in rows) else 0


def find_pairs(folder: Path) -> tuple[list[Pair], list[str]]:
    """Return the pairs of a folder in the order of their names, and the blurred photos that have no sharp one.

    Raises:
        InputError: the folder is missing, has none of the layouts, or no pair.
    """
    if not folder.is_dir():
        raise InputError(f'there is no folder {folder} (looked from {Path.cwd()}); correct the path.')
    if (folder / 'blur').is_dir() and (folder / 'sharp').is_dir():
        found = pair_up(folder / 'blur', folder / 'sharp', several_frames=False)
        return [Pair(pair.name, pair.restored, pair.frames[0]) for pair in found], []
    photos = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    for _, pattern, sharp_name in LAYOUTS:
        blurred = {name: match for name in photos if (match := re.fullmatch(pattern, name))}
        sharp_of = {name: sharp_name.format(**match.groupdict()) for name, match in blurred.items()}
        pairs = [Pair(name, photos[name], photos[sharp]) for name, sharp in sharp_of.items() if sharp in photos]
        if pairs:
            return pairs, [name for name, sharp in sharp_of.items() if sharp not in photos]
    raise InputError(
        f'{folder} holds no pairs, expected blur/ and sharp/, SCENE_blur_NN.png with SCENE_gt.png, or NAME_gyro_NN.png '
        'with NAME.png; arrange them so.'
    )


def deblurrer_of(
    net: nn.Module, fusion: nn.Module | None, args: argparse.Namespace
) -> bb.Deblurrer | bb.NetworkDeblurrer:
    """Return what restores photos with these networks.

    Raises:
        InputError: a fusion is given for a network that restores photos itself.
    """
    if net.facts.kind == ESTIMATOR:
        # The other estimators say themselves where the fusion suits.
        fused = fusion is not None if args.estimator == 'network' or fusion is None else None
        estimator = estimator_for(args.estimator, NetworkEstimator(net))
        return bb.Deblurrer(estimator, bb.DeblurSettings(args.gamma, fusion=fused), fusion, device=args.device)
    if args.estimator != 'network':
        raise InputError(f'{args.weights} holds a UFPNet, which estimates no blur; leave out --estimator.')
    if fusion is not None:
        raise InputError(f'{args.weights} holds a UFPNet, which restores photos itself; leave out --fusion.')
    return bb.NetworkDeblurrer(net)


def restore_pair(pair: Pair, deblurrer: bb.Deblurrer | bb.NetworkDeblurrer) -> tuple[Tensor, Tensor, Tensor]:
    """Return the blurred, the sharp and the restored photo, each as it was read or would be written."""
    blurred, sharp = (read_photo(path).pixels for path in (pair.blurred, pair.sharp))
    return blurred, sharp, (255 * deblurrer(blurred).photo).round() / 255


def score_pair(name: str, blurred: Tensor, restored: Tensor, sharp: Tensor) -> dict[str, Any]:
    """Score the blurred and the restored photo of a pair.

    Returns:
        'name'; 'plain' and 'aligned': {'blurred': {'psnr', 'ssim'}, 'restored': the same}, without what could not be
        scored; 'failed': {'blurred' or 'restored': why it could not be aligned}.

    Raises:
        InputError: the photos differ in size by more than a few pixels.
    """
    row: dict[str, Any] = {'name': name, 'plain': {}, 'aligned': {}, 'failed': {}}
    size = [min(lengths) for lengths in zip(blurred.shape[-2:], sharp.shape[-2:], strict=True)]
    same = blurred.shape[-2:] == sharp.shape[-2:]
    reference = middle(sharp, size, name)
    for stage, photo in zip(STAGES, (blurred, restored), strict=True):
        photo = middle(photo, size, name)
        for protocol, score_of in PROTOCOLS.items():
            if protocol == 'plain' and not same:
                continue
            try:
                score = score_of(photo, reference)
            except InputError as error:
                if protocol == 'plain':
                    raise
                row['failed'][stage] = sentence_of(error)
            else:
                row[protocol][stage] = {'psnr': finite(score.psnr), 'ssim': finite(score.ssim)}
    return row


def failed_row(name: str, reason: str) -> dict[str, Any]:
    """Return what is kept of a pair that could not be read, restored or compared."""
    return {'name': name, 'plain': {}, 'aligned': {}, 'failed': dict.fromkeys(STAGES, reason)}


def middle(photo: Tensor, size: Sequence[int], name: str) -> Tensor:
    """Return the middle of a photo (..., H, W)."""
    spare = [length - kept for length, kept in zip(photo.shape[-2:], size, strict=True)]
    if max(spare) > MOST_CROPPED:
        raise InputError(
            f'the photos of {name} differ in size by {max(spare)} pixels, expected at most {MOST_CROPPED}; '
            'crop them alike.'
        )
    (top, left), (height, width) = (each // 2 for each in spare), size
    return photo[..., top : top + height, left : left + width]


def summary_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return, for each protocol, means and gains over the pairs whose blurred and restored photo both have a score."""
    summary: dict[str, Any] = {'pairs': len(rows)}
    for protocol in PROTOCOLS:
        both = [row[protocol] for row in rows if len(row[protocol]) == len(STAGES)]
        gains = [finite(gain_of(each)) for each in both]
        summary[protocol] = {'pairs': len(both), **{stage: means_of(each[stage] for each in both) for stage in STAGES}}
        if gains:
            summary[protocol]['gain'] = {
                'mean': finite(sum(gains) / len(gains)),
                'worst': min(gains),
                'best': max(gains),
            }
    summary['failed'] = sum(bool(row['failed']) for row in rows)
    return summary


def gain_of(scores: dict[str, dict[str, float]]) -> float:
    """Return by how much the restored photo's PSNR is above that of the blurred one, in dB."""
    return scores['restored']['psnr'] - scores['blurred']['psnr']


def table_of(rows: Iterable[dict[str, Any]]) -> str:
    """Return a line of PSNR and SSIM for each pair: blurred, restored, gain; plain and aligned."""
    header = ['pair', *(f'{protocol} {what}' for protocol in PROTOCOLS for what in (*STAGES, 'gain'))]
    return table(header, [[row['name'], *(cell for name in PROTOCOLS for cell in cells_of(row[name]))] for row in rows])


def cells_of(scores: dict[str, dict[str, float]]) -> list[str]:
    """Return what stands in the table for a protocol."""
    cells = [
        f'{scores[stage]["psnr"]:.2f} {scores[stage]["ssim"]:.4f}' if stage in scores else 'none' for stage in STAGES
    ]
    return [*cells, f'{gain_of(scores):+.2f}' if len(scores) == len(STAGES) else '']


def text_of(summary: dict[str, Any], alone: Sequence[str]) -> str:
    """Return the means as lines of text."""
    lines = []
    for protocol in PROTOCOLS:
        part = summary[protocol]
        lines.append(f'{protocol}: {part["pairs"]} of {summary["pairs"]} pairs scored')
        if part['pairs']:
            blurred, restored, gain = part['blurred'], part['restored'], part['gain']
            lines[-1] += (
                f'; blurred {blurred["psnr"]:.2f} dB {blurred["ssim"]:.4f}, restored {restored["psnr"]:.2f} dB '
                f'{restored["ssim"]:.4f}; gain {gain["mean"]:+.2f} dB, worst {gain["worst"]:+.2f}, '
                f'best {gain["best"]:+.2f}'
            )
    if alone:
        lines.append(f'without a sharp photo, not scored: {", ".join(alone)}')
    return '\n'.join(lines)


def thumbnail(photo: Tensor) -> Tensor:
    """Return a photo at the size it has on the sheet."""
    scale = SHEET_SIDE / max(photo.shape[-2:])
    size = [max(1, round(length * scale)) for length in photo.shape[-2:]]
    return interpolate(photo, size, mode='bilinear', antialias=True).clamp(0, 1)


def contact_sheet(rows: Sequence[dict[str, Any]], thumbnails: dict[str, dict[str, Tensor]]) -> np.ndarray:
    """Draw pairs without an aligned score, then those of the smallest gains, and beside them the largest gains."""
    failed = [row for row in rows if len(row['aligned']) < len(STAGES)]
    ordered = failed + sorted(
        (row for row in rows if len(row['aligned']) == len(STAGES)), key=lambda row: gain_of(row['aligned'])
    )
    number = min(SHEET_PAIRS, -(-len(ordered) // 2))
    columns = [ordered[:number], ordered[number:][-number:][::-1]]
    return put_side_by_side(
        [stacked([drawn(row, thumbnails[row['name']]) for row in column]) for column in columns if column]
    )


def drawn(row: dict[str, Any], photos: dict[str, Tensor]) -> np.ndarray:
    """Draw one pair: blurred, restored and sharp, with their aligned scores."""
    pictures = []
    for title, photo in photos.items():
        if title in row['aligned']:
            title = f'{title} {row["aligned"][title]["psnr"]:.2f} dB  {row["name"]}'
        elif title in row['failed']:
            title = f'{title}, not aligned  {row["name"]}'
        pictures.append(draw_side_by_side({title: photo}))
    return put_side_by_side(pictures)


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Put pictures below each other, the narrower ones on paper."""
    return put_side_by_side([each.swapaxes(0, 1) for each in pictures]).swapaxes(0, 1)


if __name__ == '__main__':
    sys.exit(run_script(main))
