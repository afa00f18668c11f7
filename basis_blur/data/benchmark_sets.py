"""Benchmarks: their official downloads are brought into one form, and checked for what is missing.

    OUT/SPLIT/blur/NAME.png        the blurred photo
    OUT/SPLIT/sharp/NAME.png       its ground truth, or
    OUT/SPLIT/sharp/NAME/*.png     the frames of the camera's trajectory (Koehler)

Names pair by stem, as `basis-blur evaluate` and `prep-lmdb` expect. The photos are the files of the download, byte for
byte. A download is recognised by the ends of its paths, so it may lie in any folder, unpacked or packed.

Convention: sizes are (width, height).
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from basis_blur.data.download import UNREADABLE, Download, Member
from basis_blur.foundation.errors import InputError, did_you_mean
from basis_blur.foundation.files import make_folder, real_path
from basis_blur.photos.formats import DATA_SUFFIXES

PNG_TAIL = 64  # number of bytes at the end of a PNG in which its last chunk begins


class IncompleteError(InputError):
    """A download is not what it should be; `complaints` tells each difference in a line."""

    def __init__(self, message: str, complaints: Sequence[str]) -> None:
        super().__init__(message)
        self.complaints = tuple(complaints)


@dataclass(frozen=True)
class Split:
    """The contents of a part of a benchmark.

    Args:
        count: number of blurred photos.
        size: size of every photo, (width, height); None where they differ.
        truths: numbers of ground-truth photos that a blurred one may have; more than one become a folder.
        names: names of all blurred photos, where they are known beforehand.
    """

    count: int
    size: tuple[int, int] | None = None
    truths: range = range(1, 2)
    names: frozenset[str] = frozenset()


@dataclass
class Found:
    """The members of a download that were recognised, by (split, name); the ground truth by frame below that."""

    blurred: dict[tuple[str, str], str] = field(default_factory=dict)
    sharp: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: what it holds, how its files are recognised, and where they come from.

    Args:
        name: name of the benchmark, as the command takes it.
        splits: its parts by their names.
        find: function that recognises the photos of a download.
        layout: paths of the photos in the official download, in words for a message.
        where: paper and address of the download, and what to take of it, in words for a person.
    """

    name: str
    splits: Mapping[str, Split]
    find: Callable[[Download], Found]
    layout: str
    where: str


@dataclass(frozen=True)
class Preparation:
    """A report of what was written: pairs by split, files linked and copied; `complaints` on what is not there."""

    pairs: Mapping[str, int]
    linked: int
    copied: int
    complaints: tuple[str, ...]


# ---------------------------------------------------------------------------------------------------------- layouts


def _tables(
    download: Download, patterns: Mapping[str, str], unused: str = r'(?!)'
) -> tuple[dict[str, dict[tuple[Any, ...], str]], list[str]]:
    """Sort photos by the first pattern that fits the end of their path; the pattern's groups are the key.

    A photo of an archive may be there unpacked as well. Any other photo that is there twice, or that fits neither a
    pattern nor `unused`, is a complaint.
    """
    tables: dict[str, dict[tuple[Any, ...], str]] = {kind: {} for kind in patterns}
    complaints = []
    for name in download:
        member = download[name]
        path = member.inside
        hidden = any(part.startswith(('.', '__MACOSX')) for part in path.split('/')[1:])
        if hidden or not path.lower().endswith(DATA_SUFFIXES):
            continue
        for kind, pattern in patterns.items():
            match = re.search(rf'(?:^|/){pattern}\.[A-Za-z]+$', path)
            if match is None:
                continue
            earlier = tables[kind].setdefault(match.groups(), name)
            if earlier != name and member.path is not None:
                complaints.append(f'additional: {name} is the same photo as {earlier}')
            break
        else:
            if not re.search(unused, path):
                complaints.append(f'additional: {name}')
    return tables, complaints


def _find_gopro(download: Download, blur: str, other: str) -> Found:
    """Recognise GoPro: SPLIT/SCENE/blur/NUMBER; `blur` is the folder that is taken, and `other` that which is not."""
    patterns = {kind: rf'(train|test)/([^/]+)/{kind}/([^/]+)' for kind in (blur, 'sharp')}
    tables, complaints = _tables(download, patterns, unused=rf'/{other}/')
    return Found(
        {(split, f'{scene}-{number}'): name for (split, scene, number), name in tables[blur].items()},
        {(split, f'{scene}-{number}'): {'': name} for (split, scene, number), name in tables['sharp'].items()},
        complaints,
    )


def _find_hide(download: Download) -> Found:
    """Recognise HIDE, whose ground truth lies in one folder for both splits."""
    patterns = {'blur': r'(train|test)/(?:test-[^/]+/)?([^/]+)', 'gt': r'GT/(?:[^/]+/)?([^/]+)'}
    tables, complaints = _tables(download, patterns)
    found = Found(tables['blur'], {}, complaints)
    truths = dict(tables['gt'])
    for split, stem in found.blurred:
        if (stem,) in truths:
            found.sharp[split, stem] = {'': truths[stem,]}
    blurred = {stem for _, stem in found.blurred}
    found.complaints += [
        f'missing: the blurred photo of {name}' for (stem,), name in truths.items() if stem not in blurred
    ]
    return found


def _find_realblur(download: Download, variant: str) -> Found:
    """Recognise RealBlur, whose official lists tell the split of each photo; `variant` is J or R."""
    folder = rf'RealBlur-{variant}_[^/]*ECC[^/]*'
    patterns = {'blur': rf'{folder}/(scene\d+)/blur/blur_0*(\d+)', 'gt': rf'{folder}/(scene\d+)/gt/gt_0*(\d+)'}
    tables, complaints = _tables(download, patterns, unused=rf'(?:^|/)RealBlur-(?!{variant}_[^/]*ECC)')
    split_of: dict[tuple[Any, ...], str] = {}
    for split in ('train', 'test'):
        title = f'RealBlur_{variant}_{split}_list.txt'
        lists = [name for name in download if download[name].inside.rpartition('/')[2] == title]
        if not lists:
            complaints.append(f'missing: {title}, the official list')
            continue
        for key in _realblur_list(download[lists[0]], variant):
            split_of[key] = split
            if not any(key in table for table in tables.values()):
                complaints.append(f'missing: {key[0]}/blur/blur_{key[1]}.png and its ground truth, of {title}')
    if len(set(split_of.values())) == 2:
        complaints += [f'additional: {name}, in no list' for key, name in tables['blur'].items() if key not in split_of]
    if not split_of:  # without any list everything is one split
        split_of = dict.fromkeys([*tables['blur'], *tables['gt']], 'all')
    found = Found(complaints=complaints)
    for key, split in split_of.items():
        if key in tables['blur']:
            found.blurred[split, '-'.join(key)] = tables['blur'][key]
        if key in tables['gt']:
            found.sharp[split, '-'.join(key)] = {'': tables['gt'][key]}
    return found


def _realblur_list(member: Member, variant: str) -> list[tuple[str, str]]:
    """Return (scene, number) of the blurred photos in a list; each line names the ground truth and the blurred one."""
    with member.open() as stream:
        text = stream.read().decode('utf-8', errors='replace')
    keys = re.findall(r'(scene\d+)/blur/blur_0*(\d+)', text)
    if not keys:
        raise InputError(f'the list for RealBlur-{variant} names no photo sceneNNN/blur/blur_N.png; download it again.')
    return list(dict.fromkeys(keys))


def _find_koehler(download: Download) -> Found:
    """Recognise the set of Koehler et al., where a photo has the frames of a trajectory as its ground truth."""
    patterns = {'blur': r'Blurry0*(\d+)_0*(\d+)', 'gt': r'GroundTruth0*(\d+)_0*(\d+)(?:_0*(\d+))?'}
    tables, complaints = _tables(download, patterns)
    found = Found({('test', f'Blurry{i}_{t}'): name for (i, t), name in tables['blur'].items()}, {}, complaints)
    for (scene, trajectory, frame), name in tables['gt'].items():
        frames = found.sharp.setdefault(('test', f'Blurry{scene}_{trajectory}'), {})
        frames[f'{int(frame):03d}' if frame else '000'] = name
    matrices = sum(name.lower().endswith('.mat') for name in download)
    if matrices and not tables['gt']:
        complaints.append(
            f'missing: the ground-truth frames as photos, there are {matrices} .mat files only; add '
            'GroundTruth_pngs_Image1.zip to ..._Image4.zip of the same page, or write the frames of a .mat to '
            'GroundTruth<scene>_<trajectory>_<frame>.png'
        )
    return found


def _find_lai(download: Download) -> Found:
    """Recognise the sets of Lai et al.; those of one scene share its ground truth, and real photos have none."""
    scene = r'((?:manmade|natural|people|saturated|text)_\d+)'
    patterns = {
        'uniform': rf'{scene}(_kernel_\d+)',
        'nonuniform': rf'{scene}(_gyro_\d+)',
        'gt': rf'(?:ground_truth|gt)/{scene}',
        'real': r'real(?:_dataset)?/(?:blur(?:ry|red)?/)?([^/]+)',
    }
    tables, complaints = _tables(download, patterns, unused=r'/(?:kernel|gyro)s?/')
    found = Found({('real', stem): name for (stem,), name in tables['real'].items()}, {}, complaints)
    for split in ('uniform', 'nonuniform'):
        for (photo, blur), name in tables[split].items():
            found.blurred[split, photo + blur] = name
            if (photo,) in tables['gt']:
                found.sharp[split, photo + blur] = {'': tables['gt'][photo,]}
    return found


# ------------------------------------------------------------------------------------------------------- benchmarks

_GOPRO = {'train': Split(2103, (1280, 720)), 'test': Split(1111, (1280, 720))}
_GOPRO_WHERE = """GoPro: S. Nah, T. H. Kim, K. M. Lee, "Deep Multi-scale Convolutional Neural Network for Dynamic Scene
Deblurring", CVPR 2017. Project page: https://seungjunnah.github.io/Datasets/gopro.html
Take GOPRO_Large.zip, not GOPRO_Large_all.zip, which has the single frames. gopro takes its folders blur, gopro-gamma
its folders blur_gamma, where the frames were averaged with a gamma curve."""
_REALBLUR = {'train': Split(3758), 'test': Split(980)}
_REALBLUR_WHERE = """RealBlur: J. Rim, H. Lee, J. Won, S. Cho, "Real-World Blur Dataset for Learning and Benchmarking
Deblurring Algorithms", ECCV 2020. Project page: http://cg.postech.ac.kr/research/RealBlur/, linked from
https://github.com/rimchang/RealBlur
Take the archive of RealBlur, which has both sets: realblur-j takes the JPEGs of the camera, realblur-r those made
from raw photos. The official lists RealBlur_J_train_list.txt and so on tell which photos are for training; where the
archive does not hold them, take them from the same place and give them too."""
_KOEHLER_NAMES = frozenset(f'Blurry{scene}_{path}' for scene in range(1, 5) for path in range(1, 13))
_LAI_SCENES = [f'{kind}_{i:02d}' for kind in ('manmade', 'natural', 'people', 'saturated', 'text') for i in range(1, 6)]

BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            'gopro',
            _GOPRO,
            partial(_find_gopro, blur='blur', other='blur_gamma'),
            '{train,test}/SCENE/{blur,sharp}/NUMBER.png',
            _GOPRO_WHERE,
        ),
        Benchmark(
            'gopro-gamma',
            _GOPRO,
            partial(_find_gopro, blur='blur_gamma', other='blur'),
            '{train,test}/SCENE/{blur_gamma,sharp}/NUMBER.png',
            _GOPRO_WHERE,
        ),
        Benchmark(
            'hide',
            {'train': Split(6397, (1280, 720)), 'test': Split(2025, (1280, 720))},
            _find_hide,
            'train/NAME.png, test/test-close-ups/NAME.png, test/test-long-shot/NAME.png and GT/NAME.png',
            """HIDE: Z. Shen, W. Wang, X. Lu, J. Shen, H. Ling, T. Xu, L. Shao, "Human-Aware Motion Deblurring",
ICCV 2019. Project page: https://github.com/joanshen0508/HA_deblur
Take the photos, which lie in folders train, test and GT.""",
        ),
        Benchmark(
            'realblur-j',
            _REALBLUR,
            partial(_find_realblur, variant='J'),
            'RealBlur-J_ECC_IMCORR_centroid_itensity_ref/sceneNNN/{blur/blur_N.png,gt/gt_N.png}',
            _REALBLUR_WHERE,
        ),
        Benchmark(
            'realblur-r',
            _REALBLUR,
            partial(_find_realblur, variant='R'),
            'RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref/sceneNNN/{blur/blur_N.png,gt/gt_N.png}',
            _REALBLUR_WHERE,
        ),
        Benchmark(
            'koehler',
            {'test': Split(48, (800, 800), range(198, 201), _KOEHLER_NAMES)},
            _find_koehler,
            'Blurry<scene>_<trajectory>.png and GroundTruth<scene>_<trajectory>_<frame>.png',
            """Koehler: R. Koehler, M. Hirsch, B. Mohler, B. Schoelkopf, S. Harmeling, "Recording and Playback of
Camera Shake: Benchmarking Blind Deconvolution with a Real-World Database", ECCV 2012.
Project page: http://webdav.is.mpg.de/pixel/benchmark4camerashake/
Take BlurryImages.zip and GroundTruth_pngs_Image1.zip to GroundTruth_pngs_Image4.zip, and give all of them, or the
folder that holds them. Each of the 48 photos has 198 to 200 ground-truth frames.""",
        ),
        Benchmark(
            'lai',
            {
                'real': Split(100, truths=range(1)),
                'uniform': Split(
                    100, names=frozenset(f'{scene}_kernel_{i:02d}' for scene in _LAI_SCENES for i in range(1, 5))
                ),
                'nonuniform': Split(100),
            },
            _find_lai,
            'real_dataset/NAME.jpg, ground_truth/SCENE_NN.png, uniform/SCENE_NN_kernel_NN.png and '
            'nonuniform/SCENE_NN_gyro_NN.png',
            """Lai: W.-S. Lai, J.-B. Huang, Z. Hu, N. Ahuja, M.-H. Yang, "A Comparative Study for Single Image Blind
Deblurring", CVPR 2016. Project page: http://vllab.ucmerced.edu/~wlai24/cvpr16_deblur_study/
Take the real and the synthetic photos: 100 real ones without ground truth, and 25 scenes each blurred by 4 kernels
(uniform) and by 4 recorded movements of a camera (nonuniform).""",
        ),
    )
}


def benchmark_of(name: str) -> Benchmark:
    """Return a benchmark by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in BENCHMARKS:
        known = ', '.join(BENCHMARKS)
        raise InputError(f'there is no data set "{name}", expected one of {known}.{did_you_mean(name, BENCHMARKS)}')
    return BENCHMARKS[name]


# ------------------------------------------------------------------------------------------------------ preparation


def prepare_benchmark(
    benchmark: Benchmark,
    downloads: Iterable[Path],
    out: Path,
    link: bool = False,
    allow_incomplete: bool = False,
    watch: Callable[[Iterable[Any], int], Iterable[Any]] = lambda steps, total: steps,
) -> Preparation:
    """Write a benchmark to the folder `out`, which appears when all is there and checked.

    Counts and names are checked before anything is written, sizes and the ends of the files while it is.

    Args:
        benchmark: set that is expected.
        downloads: folders, archives and single files that hold it together.
        out: a folder that is not there yet, or is empty.
        link: whether to make hard links to unpacked files where the file system can; otherwise all are copied.
        allow_incomplete: whether photos that have no counterpart, are damaged or of another size are left out, and the
            complaints returned.
        watch: function that is given the iterator over the files to write and their number, and returns an iterator.

    Raises:
        IncompleteError: something is missing, additional, damaged or of another size.
        InputError: nothing of the benchmark is there, or `out` holds something.
        OSError: a file cannot be read or written.
    """
    downloads = [Path(path) for path in downloads]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f'{out} already exists; remove it or name another folder.')
    with Download(downloads) as download:
        found = benchmark.find(download)
        if not found.blurred:
            raise InputError(
                f'{", ".join(map(str, downloads))} holds no blurred photo of {benchmark.name}, expected '
                f'{benchmark.layout}; "basis-blur prep-dataset --where" tells which download that is.'
            )
        complaints = check_found(benchmark, found)
        _refuse(complaints, benchmark, allow_incomplete)
        pairs = [key for key in found.blurred if _number_of_truths(found, key) or not _truths(benchmark, key).start]
        files = [each for key in pairs for each in _files_of(benchmark, found, key)]
        files.sort(key=lambda each: download[each.member].place)  # a compressed tar is read fast in its order only
        folder = out.absolute().with_name(f'.{out.absolute().name}.{uuid.uuid4().hex[:8]}.partial')
        try:
            linked, bad = _write(download, files, folder, link, watch)
            bad |= _different_sizes(benchmark, files, folder, bad)
            complaints += [bad[each.target] for each in files if each.target in bad]
            _refuse(complaints, benchmark, allow_incomplete)
            left_out = {each.pair for each in files if each.target in bad}
            _remove(files, folder, left_out)
            pairs = [key for key in pairs if key not in left_out]
            if not pairs:
                raise IncompleteError(f'no photo of {benchmark.name} is left that has a ground truth.', complaints)
            os.replace(folder, out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    counts = {split: sum(key[0] == split for key in pairs) for split in (*benchmark.splits, 'all')}
    counts = {split: number for split, number in counts.items() if number}
    return Preparation(counts, linked, len(files) - linked, tuple(complaints))


def check_found(benchmark: Benchmark, found: Found) -> list[str]:
    """Return a line for each thing that is missing or additional."""
    complaints = list(found.complaints)
    for split, expected in benchmark.splits.items():
        names = {name for place, name in found.blurred if place == split}
        complaints += [f'missing: {split}, blurred photo {name}' for name in sorted(expected.names - names)]
        if expected.names:
            complaints += [f'additional: {split}, blurred photo {name}' for name in sorted(names - expected.names)]
        if len(names) != expected.count:
            kind = 'missing' if len(names) < expected.count else 'additional'
            complaints.append(f'{kind}: {split} has {len(names)} blurred photos, expected {expected.count}')
    for key in sorted(found.blurred):
        truths, number = _truths(benchmark, key), _number_of_truths(found, key)
        if number not in truths:
            span = str(truths.start) if len(truths) == 1 else f'{truths.start} to {truths.stop - 1}'
            kind = 'missing' if number < truths.start else 'additional'
            complaints.append(f'{kind}: {"/".join(key)} has {number} ground-truth photos, expected {span}')
    complaints += [
        f'missing: {"/".join(key)} has no blurred photo'
        for key in sorted(found.sharp.keys() - found.blurred)
        if key[0] not in benchmark.splits or key[1] not in benchmark.splits[key[0]].names  # those are named above
    ]
    return complaints


def _truths(benchmark: Benchmark, key: tuple[str, str]) -> range:
    """Return the numbers of ground-truth photos that a blurred one may have; `key` is its split and name."""
    return benchmark.splits[key[0]].truths if key[0] in benchmark.splits else range(1, 2)


def _number_of_truths(found: Found, key: tuple[str, str]) -> int:
    return len(found.sharp.get(key, ()))


def _refuse(complaints: list[str], benchmark: Benchmark, allow_incomplete: bool) -> None:
    """Raise IncompleteError if there are complaints, unless they are allowed."""
    if complaints and not allow_incomplete:
        number = f'{len(complaints)} {"difference" if len(complaints) == 1 else "differences"}'
        raise IncompleteError(
            f'the download of {benchmark.name} has {number} to the official one, expected none; complete it, '
            'or add --allow-incomplete to take what is there.',
            complaints,
        )


class _File(NamedTuple):
    """A file to write: of which pair, from which member, to which path below the folder."""

    pair: tuple[str, str]
    member: str
    target: str


def _files_of(benchmark: Benchmark, found: Found, key: tuple[str, str]) -> list[_File]:
    """Return the files to write for a pair: the blurred photo, and its ground truth, in a folder if several may be."""
    split, name = key
    blurred = found.blurred[key]
    files = [_File(key, blurred, f'{split}/blur/{name}{Path(blurred).suffix.lower()}')]
    several = _truths(benchmark, key).stop > 2
    for frame, member in sorted(found.sharp.get(key, {}).items()):
        place = f'{name}/{frame}' if several else name
        files.append(_File(key, member, f'{split}/sharp/{place}{Path(member).suffix.lower()}'))
    return files


def _write(
    download: Download,
    files: list[_File],
    folder: Path,
    link: bool,
    watch: Callable[[Iterable[Any], int], Iterable[Any]],
) -> tuple[int, dict[str, str]]:
    """Write the files; return how many are links, and the complaints on damaged ones by target."""
    linked, bad = 0, {}
    for each in watch(files, len(files)):
        target = folder / each.target
        make_folder(target.parent)
        member = download[each.member]
        if link and member.path is not None and _hard_link(member.path, target):
            linked += 1
        else:
            try:
                with member.open() as source, open(target, 'wb') as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                    copy.flush()
                    os.fsync(copy.fileno())
            except UNREADABLE as error:
                bad[each.target] = f'damaged: {each.member} ({error})'
                continue
        if _size(target) is None:
            bad[each.target] = f'damaged: {each.member} cannot be read as a photo or is cut off'
    return linked, bad


def _hard_link(source: Path, target: Path) -> bool:
    """Link a file and return True, or return False where that cannot be done."""
    try:
        os.link(real_path(source), target)
    except OSError:  # another disk, or a file system without links
        return False
    return True


def _different_sizes(
    benchmark: Benchmark, files: list[_File], folder: Path, damaged: Mapping[str, str]
) -> dict[str, str]:
    """Return the complaints, by target, on photos whose size is not the split's or not that of their blurred photo."""
    sizes = {each.target: _size(folder / each.target) for each in files if each.target not in damaged}
    of_pair = {each.pair: sizes.get(each.target) for each in files if each.target.startswith(f'{each.pair[0]}/blur/')}
    complaints = {}
    for each in files:
        split = benchmark.splits.get(each.pair[0])
        expected = (split.size if split else None) or of_pair[each.pair]
        size = sizes.get(each.target)
        if size is not None and expected is not None and size != expected:
            complaints[each.target] = (
                f'size: {each.member} has {size[0]}x{size[1]}, expected {expected[0]}x{expected[1]}'
            )
    return complaints


def _size(path: Path) -> tuple[int, int] | None:
    """Return width and height as a photo's head tells them; None for what is no photo, or a PNG that is cut off."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            size, kind = image.size, image.format
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if kind == 'PNG':
        with open(path, 'rb') as stream:
            stream.seek(-min(PNG_TAIL, path.stat().st_size), os.SEEK_END)
            if b'IEND' not in stream.read():
                return None
    return size


def _remove(files: list[_File], folder: Path, pairs: set[tuple[str, str]]) -> None:
    """Delete what was written of some pairs, and folders that are empty then."""
    for each in files:
        if each.pair in pairs:
            target = folder / each.target
            target.unlink(missing_ok=True)
            if target.parent.is_dir() and not any(target.parent.iterdir()):
                target.parent.rmdir()
