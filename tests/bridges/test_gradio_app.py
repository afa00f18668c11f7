"""The app hands out what the command writes, asks no other host, and says what is wrong in a sentence."""

import json
import shutil
import sys
import time
import urllib.request

import numpy as np
import pytest
import torch

from basis_blur.bridges import gradio_app
from basis_blur.bridges.gradio_app import Session
from basis_blur.cli.main import main
from basis_blur.deblurring.deblurrer import Deblurrer
from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError
from basis_blur.photos.photo import Photo
from basis_blur.photos.writing import write_photo

CHROMIUM = (
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--window-size=1400,1000',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
)  # fmt: skip


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'harbour.png'
    levels = torch.randint(0, 65536, (1, 3, 60, 80)) / 65535
    write_photo(path, levels, Photo(levels, bits=16, dpi=(300.0, 300.0)))
    return path


@pytest.fixture
def deblurrer(weights):
    return Deblurrer.pretrained(weights)


def commanded(photo, folder, weights, *options):
    """The bytes that the command writes for a photo."""
    path = folder / 'by_command.png'
    assert main(['deblur', str(photo), '-o', str(path), '--overwrite', '--weights', weights, *options]) == 0
    return path.read_bytes()


# ------------------------------------------------------------------------------------------------ without a browser


def test_the_file_is_what_the_command_writes_with_the_same_settings(tmp_path, photo, weights, deblurrer):
    session = Session(deblurrer, tmp_path)
    first = session.show(photo)
    assert first.file.name == 'harbour_deblurred.png'
    assert first.file.read_bytes() == commanded(photo, tmp_path, weights)
    assert (first.strength, first.gamma) == (0.6, 2.2)
    for options in ({'strength': 0.35}, {'strength': 0.35, 'gamma': 1.5}, {'strength': 0.0, 'gamma': 1.5}):
        seen = session.show(photo, **options)
        told = [word for name, value in options.items() for word in (f'--{name}', str(value))]
        assert seen.file.read_bytes() == commanded(photo, tmp_path, weights, *told)
        assert seen.strength == options['strength']


def test_another_strength_estimates_nothing_again(tmp_path, photo, deblurrer):
    looks, estimator = [], deblurrer.estimator

    def counted(*arguments):
        looks.append(arguments)
        return estimator(*arguments)

    object.__setattr__(deblurrer, 'estimator', counted)
    session = Session(deblurrer, tmp_path)
    for strength, gamma in ((None, None), (0.2, None), (0.2, 2.2), (None, 1.0), (0.9, 1.0)):
        session.show(photo, strength, gamma)
    assert len(looks) == 2


def test_what_is_seen_are_both_photos_the_kernels_and_the_doubts(tmp_path, photo, deblurrer):
    seen = Session(deblurrer, tmp_path).show(photo, strength=0.0)
    assert seen.before.shape == (60, 80, 3)
    assert np.array_equal(seen.before, seen.after)
    assert seen.kernels.shape[1] >= 600
    assert '<p class="doubt">the photo is flat or mostly noise' in seen.words
    assert '80 x 60 pixels' in seen.words


def test_the_blur_and_the_page_are_written_when_they_are_asked_for(tmp_path, photo, deblurrer):
    session = Session(deblurrer, tmp_path)
    with pytest.raises(InputError, match='no result yet; give a photo first'):
        session.save_blur()
    session.show(photo)
    assert not list(tmp_path.glob('*.npz'))
    assert BlurField.load(session.save_blur()).image_size == (60, 80)
    assert '<title>harbour.png</title>' in session.save_page().read_text()


def test_without_gradio_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    monkeypatch.setattr(gradio_app.importlib.util, 'find_spec', lambda name: None)
    assert main(['app']) == 2
    assert "needs Gradio, which is not installed; pip install 'basis_blur[app]'" in capsys.readouterr().err


@pytest.mark.parametrize('port', ['-1', '65536', 'x'])
def test_a_port_that_is_none_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        main(['app', '--port', port])
    assert 'is no port, expected a number from 0 to 65535' in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture
def browser(tmp_path):
    """Chromium without a window; downloads go to tmp_path / 'downloads'."""
    webdriver = pytest.importorskip('selenium.webdriver', reason='selenium, which drives the browser, is not installed')
    paths = [shutil.which(name) for name in ('chromium', 'chromedriver')]
    if None in paths:
        pytest.skip('chromium and chromedriver are not installed')
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for each in (*CHROMIUM, f'--user-data-dir={tmp_path / "profile"}'):
        options.add_argument(each)
    (tmp_path / 'downloads').mkdir()
    options.add_experimental_option('prefs', {'download.default_directory': str(tmp_path / 'downloads')})
    options.set_capability('goog:loggingPrefs', {'performance': 'ALL'})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(paths[1]))
    yield driver
    driver.quit()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, 'the page did not come so far'
        time.sleep(0.1)
    return found


def asked_hosts(browser):
    """Where the page sent requests to, of the schemes that leave it."""
    messages = [json.loads(each['message'])['message'] for each in browser.get_log('performance')]
    urls = [each['params']['request']['url'] for each in messages if each['method'] == 'Network.requestWillBeSent']
    return {url.split('/')[2] for url in urls if url.startswith(('http', 'ws'))}


@pytest.mark.processes
def test_a_photo_that_is_dropped_is_seen_under_a_slider_and_downloaded(tmp_path, photo, weights, deblurrer, browser):
    pytest.importorskip('gradio', reason='gradio (extra "app") is not installed')
    torch.set_default_dtype(torch.float32)  # the server's thread has no other
    expected = commanded(photo, tmp_path, weights)

    def find(selector):
        return browser.find_elements('css selector', selector)

    def downloaded(name):
        return wait_for(lambda: [each for each in (tmp_path / 'downloads').glob(name) if each.stat().st_size])[0]

    with gradio_app.serve(deblurrer, port=0) as address:
        refused = urllib.request.Request(address, headers={'Host': 'elsewhere.example'})
        with pytest.raises(urllib.error.HTTPError, match='400'):
            urllib.request.urlopen(refused)
        browser.get(address)
        wait_for(lambda: find('#photo input[type=file]'))[0].send_keys(str(photo))
        assert len(wait_for(lambda: find('#slider img'))) == 2
        assert len(find('#slider [data-testid=slider]')) == 1
        assert 'the photo is flat or mostly noise' in wait_for(lambda: find('#words'))[0].text
        wait_for(lambda: find('#file:not([disabled])'))[0].click()
        assert downloaded('harbour_deblurred.png').read_bytes() == expected
        find('#blur')[0].click()
        assert BlurField.load(downloaded('harbour_kernels.npz')).image_size == (60, 80)
        assert asked_hosts(browser) == {address.split('/')[2]}
