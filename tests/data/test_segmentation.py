"""Every form of annotation becomes the same kind of label map: 0 background, 1..n from the largest object down."""

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from basis_blur.data.segmentation import decode_segmentation, open_annotations
from basis_blur.foundation.errors import InputError

# Two objects of 6 and 2 pixels on a 3x5 photo.
LABELS = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 0, 2], [0, 0, 0, 0, 2]], np.uint8)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def label_map(form, path, photos, name='day/a.jpg', size=LABELS.shape, classes=()):
    return open_annotations(form, path, photos, classes).find(name).label_map(photos / name, size)


def coco_file(tmp_path, segmentations, crowd=0, size=LABELS.shape):
    content = {
        'images': [{'id': 5, 'file_name': 'a.jpg', 'height': size[0], 'width': size[1]}],
        'annotations': [{'image_id': 5, 'iscrowd': crowd, 'segmentation': shape} for shape in segmentations],
    }
    (tmp_path / 'coco.json').write_text(json.dumps(content))
    return tmp_path / 'coco.json'


def compressed(counts):
    """Write run lengths as COCO's text; the published format, from its definition."""
    text = ''
    for i, count in enumerate(counts):
        number = count - counts[i - 2] if i > 2 else count
        while True:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text


def runs_of(mask, compress):
    flat = np.concatenate([[0], mask.T.ravel(), [0]])
    edges = np.flatnonzero(np.diff(flat))
    counts = [int(n) for n in np.diff(np.concatenate([[0], edges, [mask.size]]))]
    return {'size': list(mask.shape), 'counts': compressed(counts) if compress else counts}


@pytest.mark.parametrize('kind', ['uint8', 'uint16', 'palette'])
def test_labels_are_renumbered_by_size(tmp_path, kind):
    values = np.where(LABELS == 2, 3, np.where(LABELS == 1, 200, 0)).astype('uint16' if kind == 'uint16' else 'uint8')
    file = tmp_path / 'masks/day/a.png'
    save(file, values)
    if kind == 'palette':
        picture = Image.fromarray(values, mode='P')
        picture.putpalette(list(range(256)) * 3)
        picture.save(file)
    np.testing.assert_array_equal(label_map('labels', tmp_path / 'masks', tmp_path), LABELS)


def test_ade20k_parts_objects_by_class_and_instance(tmp_path):
    # Class 3 * 256 + 7 twice (instances 1 and 2) and class 1 with instance 1 again: three objects.
    red = np.where(LABELS > 0, 30, 0).astype(np.uint8)
    green = np.where(LABELS > 0, 7, 0).astype(np.uint8)
    blue = LABELS.copy()
    red[2, 0], green[2, 0], blue[2, 0] = 0, 1, 1
    save(tmp_path / 'day/a_seg.png', np.stack([red, green, blue], axis=2))
    expected = LABELS.copy()
    expected[2, 0] = 3
    np.testing.assert_array_equal(label_map('ade20k', None, tmp_path), expected)


@pytest.mark.parametrize('classes', [('car',), ('401',)])
def test_of_the_full_ade20k_chosen_classes_alone_are_objects(tmp_path, classes):
    wall, car = 2978, 401
    kind = np.where(LABELS == 1, wall, np.where(LABELS == 2, car, 0))
    colours = np.stack([kind // 256 * 10, kind % 256, LABELS], axis=2).astype(np.uint8)
    save(tmp_path / 'day/a_seg.png', colours)
    np.testing.assert_array_equal(label_map('ade20k', None, tmp_path), LABELS)
    np.testing.assert_array_equal(label_map('ade20k', None, tmp_path, classes=classes), LABELS == 2)


def test_of_the_2016_classes_a_surrounding_can_be_chosen_too(tmp_path):
    person, car, sky = 13, 21, 3
    save(tmp_path / 'masks/day/a.png', np.array([[person, sky, sky, sky, car]] * 3, np.uint8))
    found = label_map('ade20k_2016', tmp_path / 'masks', tmp_path, size=(3, 5), classes=('person', '3'))
    np.testing.assert_array_equal(found, [[2, 1, 1, 1, 0]] * 3)


def test_of_coco_chosen_categories_alone_are_objects(tmp_path):
    masks = [runs_of(number == LABELS, compress=False) for number in (1, 2)]
    content = {
        'images': [{'id': 5, 'file_name': 'a.jpg', 'height': 3, 'width': 5}],
        'categories': [{'id': 1, 'name': 'person'}, {'id': 62, 'name': 'chair'}],
        'annotations': [
            {'image_id': 5, 'category_id': 62, 'segmentation': masks[0]},
            {'image_id': 5, 'category_id': 1, 'segmentation': masks[1]},
        ],
    }
    (tmp_path / 'coco.json').write_text(json.dumps(content))
    found = label_map('coco', tmp_path / 'coco.json', tmp_path, 'a.jpg', classes=('person',))
    np.testing.assert_array_equal(found, LABELS == 2)
    with pytest.raises(InputError, match="class 'dog' is not known by name.*chair, person"):
        open_annotations('coco', tmp_path / 'coco.json', tmp_path, ('dog',))


@pytest.mark.parametrize('form', ['labels', 'none'])
def test_classes_are_refused_where_the_annotations_know_none(tmp_path, form):
    with pytest.raises(InputError, match=f'"{form}" knows none'):
        open_annotations(form, tmp_path if form == 'labels' else None, tmp_path, ('person',))


def test_ade20k_classes_part_objects_by_connection_and_leave_surroundings(tmp_path):
    person, car, sky = 13, 21, 3
    classes = np.array([[13, 13, 13, 3, 3], [13, 13, 13, 3, 13], [21, 3, 0, 3, 13]], np.uint8)
    assert {person, car, sky} < set(classes.ravel())
    save(tmp_path / 'masks/day/a.png', classes)
    expected = LABELS.copy()
    expected[2, 0] = 3
    np.testing.assert_array_equal(label_map('ade20k_2016', tmp_path / 'masks', tmp_path), expected)


def test_pixels_that_touch_at_a_corner_are_one_object(tmp_path):
    save(tmp_path / 'masks/day/a.png', np.diag([13, 13, 13]).astype(np.uint8))
    labels = label_map('ade20k_2016', tmp_path / 'masks', tmp_path, size=(3, 3))
    np.testing.assert_array_equal(labels, np.eye(3))


@pytest.mark.parametrize('compress', [False, True])
def test_coco_run_lengths_go_down_the_columns(tmp_path, compress):
    shapes = [runs_of(number == LABELS, compress) for number in (2, 1)]
    np.testing.assert_array_equal(label_map('coco', coco_file(tmp_path, shapes), tmp_path), LABELS)


@pytest.mark.parametrize('compress', [False, True])
def test_long_and_irregular_runs_survive(compress):
    mask = np.random.default_rng(0).random((70, 90)) < 0.02
    mask[:, 30:60] = True
    np.testing.assert_array_equal(decode_segmentation(runs_of(mask, compress), mask.shape), mask)


def test_coco_polygons_cover_the_pixels_whose_centres_they_hold(tmp_path):
    shapes = [[[0, 0, 3, 0, 3, 2, 0, 2]], [[4.2, 0.8, 4.9, 0.8, 4.9, 2.9, 4.2, 2.9]]]
    np.testing.assert_array_equal(label_map('coco', coco_file(tmp_path, shapes), tmp_path), LABELS)


def test_a_polygon_has_the_area_of_its_outline():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([60 + 40 * np.cos(angle), 50.3 + 30 * np.sin(angle)], axis=1)
    mask = decode_segmentation([circle.ravel().tolist()], (100, 120))
    assert mask.sum() == pytest.approx(np.pi * 40 * 30, rel=2e-3)
    rows, columns = np.nonzero(mask)
    assert rows.mean() + 0.5 == pytest.approx(50.3, abs=0.05)
    assert columns.mean() + 0.5 == pytest.approx(60, abs=0.05)


def test_parts_of_a_polygon_are_joined_and_parts_outside_the_photo_cut():
    inside = [[-5, -5, 2, -5, 2, 2, -5, 2], [1, 1, 99, 1, 99, 3, 1, 3]]
    expected = np.zeros((4, 5), bool)
    expected[:2, :2] = expected[1:3, 1:] = True
    np.testing.assert_array_equal(decode_segmentation(inside, (4, 5)), expected)


def test_the_smaller_of_overlapping_objects_is_in_front(tmp_path):
    shapes = [[[1, 1, 2, 1, 2, 2, 1, 2]], [[0, 0, 5, 0, 5, 3, 0, 3]]]
    expected = np.ones((3, 5))
    expected[1, 1] = 2
    np.testing.assert_array_equal(label_map('coco', coco_file(tmp_path, shapes), tmp_path), expected)


def test_crowds_are_background(tmp_path):
    file = coco_file(tmp_path, [runs_of(LABELS == 1, False)], crowd=1)
    assert not label_map('coco', file, tmp_path).any()


def test_beyond_255_objects_the_smallest_join_the_background(tmp_path):
    values = np.arange(300 * 4).reshape(300, 4) // 4 + 1
    values[:20] = np.arange(1, 21)[::-1, None]  # any order
    values[0] = 301  # the 45 last of equal size are dropped
    save(tmp_path / 'masks/day/a.png', values.astype(np.uint16))
    labels = label_map('labels', tmp_path / 'masks', tmp_path, size=(300, 4))
    assert labels.max() == 255
    assert (labels == 0).sum() == 4 * (300 - 255)


def test_photos_without_annotation_are_told_apart(tmp_path):
    assert open_annotations('none', None, tmp_path).find('a.jpg') is None
    assert open_annotations('labels', tmp_path, tmp_path).find('a.jpg') is None
    assert open_annotations('coco', coco_file(tmp_path, []), tmp_path).find('b.jpg') is None


@pytest.mark.parametrize('form', ['labels', 'ade20k', 'ade20k_2016', 'coco'])
def test_masks_of_another_size_are_refused_with_both_sizes_and_files(tmp_path, form):
    values = np.ones((4, 6, 3) if form == 'ade20k' else (4, 6), np.uint8)
    save(tmp_path / ('day/a_seg.png' if form == 'ade20k' else 'day/a.png'), values)
    path = coco_file(tmp_path, [], size=(4, 6)) if form == 'coco' else tmp_path
    with pytest.raises(InputError, match='6x4 pixels.*5x3') as caught:
        label_map(form, path, tmp_path, name='a.jpg' if form == 'coco' else 'day/a.jpg')
    assert 'a.jpg' in str(caught.value)
    assert 'coco.json' in str(caught.value) if form == 'coco' else '.png' in str(caught.value)


@pytest.mark.parametrize(
    ('form', 'values', 'found'),
    [
        ('labels', np.zeros((3, 5, 3), np.uint8), 'one channel of whole numbers'),
        ('labels', np.zeros((3, 5), np.float32), 'one channel of whole numbers'),
        ('ade20k', np.zeros((3, 5), np.uint8), 'red, green and blue'),
        ('ade20k_2016', np.full((3, 5), 151, np.uint8), 'classes 0 to 150'),
    ],
)
def test_a_mask_of_another_kind_is_refused(tmp_path, form, values, found):
    ending = '_seg.png' if form == 'ade20k' else '.png'
    file = tmp_path / f'a{ending}'
    Image.fromarray(values).save(file, 'TIFF' if values.dtype == np.float32 else 'PNG')
    with pytest.raises(InputError, match=rf'a{ending}.*{found}'):
        label_map(form, tmp_path, tmp_path, name='a.jpg')


def test_a_damaged_mask_is_named(tmp_path):
    save(tmp_path / 'a.png', np.random.default_rng(0).integers(0, 99, (50, 50)).astype(np.uint8))
    (tmp_path / 'a.png').write_bytes((tmp_path / 'a.png').read_bytes()[:200])
    with pytest.raises(InputError, match=r'a\.png cannot be read'):
        label_map('labels', tmp_path, tmp_path, name='a.jpg', size=(50, 50))


@pytest.mark.parametrize('runs', [{'size': [3, 5], 'counts': [3, 4]}, {'size': [5, 3], 'counts': [15]}])
def test_runs_that_do_not_fill_the_photo_are_refused(tmp_path, runs):
    with pytest.raises(InputError, match=r'coco\.json: an object of .*a\.jpg.*expected 15 for 5x3'):
        label_map('coco', coco_file(tmp_path, [runs]), tmp_path, name='a.jpg')


@pytest.mark.parametrize(
    ('form', 'path', 'found'),
    [
        ('cocoa', None, 'expected one of none, labels'),
        ('none', 'masks', 'name their format'),
        ('labels', None, 'no masks are given'),
        ('labels', 'nowhere', 'is not a folder'),
        ('coco', 'nowhere.json', 'is not a file'),
        ('coco', 'broken.json', 'is not a COCO instances json'),
        ('coco', 'other.json', 'is not a COCO instances json .KeyError'),
    ],
)
def test_what_cannot_be_opened_is_said(tmp_path, form, path, found):
    (tmp_path / 'broken.json').write_text('{"images": [')
    (tmp_path / 'other.json').write_text('{}')
    with pytest.raises(InputError, match=found):
        open_annotations(form, path and tmp_path / path, tmp_path)


def test_real_coco_outlines_have_their_annotated_areas(shared_data):
    content = json.loads((shared_data / 'photos/coco128/instances_train2017.json').read_text())
    sizes = {photo['id']: (photo['height'], photo['width']) for photo in content['images']}
    large = [entry for entry in content['annotations'] if entry['area'] > 2000 and not entry['iscrowd']][:100]
    ratios = [decode_segmentation(e['segmentation'], sizes[e['image_id']]).sum() / e['area'] for e in large]
    assert np.median(np.abs(np.array(ratios) - 1)) < 2e-3


def test_real_regions_cover_the_photo(shared_data):
    folder = shared_data / 'photos/bsds500'
    photo = sorted((folder / 'images').glob('*.jpg'))[0]
    with Image.open(photo) as picture:
        size = picture.size[::-1]
    labels = label_map('labels', folder / 'regions', folder / 'images', photo.name, size)
    assert labels.min() == 1
    assert np.all(np.diff(np.bincount(labels.ravel())[1:]) <= 0)


@pytest.mark.parametrize(('photo', 'mask'), [('NFC', 'NFD'), ('NFD', 'NFC')])
def test_a_mask_is_found_whatever_the_form_of_its_letters(tmp_path, photo, mask):
    name = unicodedata.normalize(photo, 'Zoë')
    Image.new('L', (8, 9)).save(tmp_path / f'{unicodedata.normalize(mask, "Zoë")}.png')
    assert open_annotations('labels', tmp_path, tmp_path).find(f'{name}.jpg') is not None
    coco = coco_file(tmp_path, [])
    coco.write_text(coco.read_text().replace('a.jpg', f'{unicodedata.normalize(mask, "Zoë")}.jpg'))
    assert open_annotations('coco', coco, tmp_path).find(f'{name}.jpg') is not None
