"""A comparison shows both photos as they are, on a page that needs no other file."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError
from basis_blur.photos.comparison import Comparison, comparison_of, most_detailed
from basis_blur.photos.photo import Photo


class Page(HTMLParser):
    """What a page holds: its pictures by their names, and its words."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.words = [], ''
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == 'img':
            told = dict(attributes)
            kind, data = told['src'].split(',', 1)
            assert kind == 'data:image/jpeg;base64'
            self.pictures.append((told['alt'], Image.open(io.BytesIO(base64.b64decode(data)))))

    def handle_data(self, data):
        self.words += data


def mean_of(image):
    return np.asarray(image).mean()


def flat(level, height=30, width=50, channels=3):
    return torch.full((channels, height, width), level)


def test_the_page_holds_both_photos_in_their_places():
    page = Page(Comparison(flat(0.2), flat(0.8)).page())
    assert [(name, round(mean_of(image) / 255, 2)) for name, image in page.pictures] == [
        ('after', 0.8),
        ('before', 0.2),
    ]
    assert 'The whole photo: 50 x 30 pixels.' in page.words


def test_the_page_asks_for_nothing_and_runs_nothing_that_it_was_told():
    told = {'title': '<script>alert(1)</script>', 'doubts': ['a < b & "c"'], 'notes': ['<b>bold</b>']}
    text = Comparison(flat(0.2), flat(0.8), **told).page()
    assert text.count('<script') == 1
    assert "default-src 'none'" in text
    assert not re.search(r' src="(?!data:)|href|url\(|@import|//', re.sub('base64,[^"]*', '', text))
    words = Page(text).words
    assert 'a < b & "c"' in words
    assert '<b>bold</b>' in words


def test_a_large_photo_is_shrunk_and_a_detail_stands_below_at_full_size():
    before, after = flat(0.2, 1200, 3000, 1), flat(0.8, 1200, 3000, 1)
    after[:, 900:1100:2, 2500:2900] = 0  # the only edges
    comparison = Comparison(before, after)
    page = Page(comparison.page())
    assert [image.size for _, image in page.pictures] == [(2560, 1024)] * 2 + [(900, 600)] * 2
    assert 'shown at 85% of their size' in page.words
    detail = np.asarray(page.pictures[2][1])
    assert detail.min() < 30
    assert mean_of(page.pictures[3][1]) == pytest.approx(0.2 * 255, abs=1)
    assert comparison.picture().shape[1] >= 2 * 1200


def test_a_small_photo_is_magnified_in_the_picture_with_the_photo_before_on_the_left():
    picture = Comparison(flat(0.0), flat(1.0)).picture()
    assert picture.dtype == np.uint8
    left, right = np.array_split(picture[100:], 2, axis=1)
    assert right.mean() > left.mean() + 150
    assert picture.shape[1] >= 2 * 8 * 50


def test_what_has_most_edges_is_found_also_at_the_border():
    levels = np.zeros((200, 300, 3), np.uint8)
    levels[150:, 250:] = np.indices((50, 50)).sum(0)[..., None] // 8 % 2 * 255
    rows, columns = most_detailed(levels, 64, 48)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (48, 64)
    assert rows.start > 110
    assert columns.start > 190
    assert most_detailed(levels, 1000, 1000) == (slice(0, 200), slice(0, 300))


def test_linear_light_is_shown_as_a_photo_and_a_profile_goes_along():
    light = flat(0.2)[None]
    seen = Page(comparison_of(Photo(light, gamma=1.0), light).page()).pictures[0][1]
    assert mean_of(seen) / 255 == pytest.approx(0.2 ** (1 / 2.2), abs=0.01)
    profile = b'not really a profile'
    seen = Page(comparison_of(Photo(light, gamma=1.0, icc=profile), light).page()).pictures[0][1]
    assert mean_of(seen) / 255 == pytest.approx(0.2, abs=0.01)
    assert seen.info['icc_profile'] == profile


def test_the_kernels_stand_on_the_page():
    kernel = torch.zeros(1, 1, 5, 5)
    kernel[..., 2, :] = 0.2
    field = BlurField(kernel, torch.ones(1, 1, 30, 50))
    page = Page(comparison_of(Photo(flat(0.2)[None]), flat(0.8)[None], field).page())
    assert page.pictures[-1][0] == 'The blur that was found, drawn over the photo'


def test_photos_of_two_sizes_and_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'\(30, 50\) before and \(31, 50\) after'):
        Comparison(flat(0.2), flat(0.2, height=31))
    with pytest.raises(InputError, match=r'ends in "\.gif", expected \.html'):
        Comparison(flat(0.2), flat(0.8)).save(tmp_path / 'a.gif')


def test_a_title_that_is_no_text_is_written_all_the_same(tmp_path):
    Comparison(flat(0.2), flat(0.8), title='a\udcff.jpg').save(tmp_path / 'a.html')
    assert '<title>a' in (tmp_path / 'a.html').read_text()
