"""
Deblur in a batch job
=====================

A folder of photos, overnight or on a cluster: what was done is kept, what failed is named, and the job can be started
again.
"""

import tempfile
from pathlib import Path

import torch
from drawing import show
from skimage import data

import basis_blur as bb
from basis_blur.cli.main import main
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

folder = tempfile.TemporaryDirectory()
photos, results = Path(folder.name) / 'photos', Path(folder.name) / 'results'
photos.mkdir()
sharp = torch.from_numpy(data.coffee()[80:340, 150:450]).permute(2, 0, 1)[None] / 255
shake = bb.BlurField(torch.from_numpy(bb.shake_kernels(1, 21, seed=1, start=32))[None], torch.ones(1, 1, 240, 280))
blurred = bb.to_srgb(bb.BasisBlur(shake)(bb.to_linear(sharp)).clamp(0, 1))
write_photo(photos / 'coffee.png', blurred)
(photos / 'notes.txt').write_text('no photo')

# %%
# As a command
# ------------
# ``basis-blur deblur photos -o results --skip-done --log deblur.log`` is all. It names what it leaves out, goes on
# where it was stopped, and ends with exit code 0, or 2 for a mistake. Each result is written whole or not at all.
code = main(['deblur', str(photos), '-o', str(results), '--skip-done', '--log', str(Path(folder.name) / 'deblur.log')])
print('exit code', code, sorted(path.name for path in results.iterdir()))
assert code == 0

# %%
# The same command again has nothing left to do.
assert main(['deblur', str(photos), '-o', str(results), '--skip-done']) == 0

# %%
# In Python
# ---------
# One ``Deblurrer`` serves all photos: its networks are loaded once, and it keeps nothing of a photo. Mistakes in a
# file are an ``InputError`` with one sentence, so that one bad file does not end a job.
deblurrer = bb.Deblurrer.pretrained()
for path in sorted(photos.iterdir()):
    try:
        result = deblurrer(path)
    except bb.InputError as error:
        print('left out:', str(error).replace(folder.name, ''))
        continue
    result.save(results / path.name)
    doubts = '; '.join(map(str, result.doubts)) or 'no doubts'
    print(f'{path.name}: by {result.estimates[0].source}, {doubts}')

# %%
show(blurred=read_photo(photos / 'coffee.png').pixels, restored=read_photo(results / 'coffee.png').pixels)
folder.cleanup()

# %%
# ``--workers 4`` works on four photos at a time and ``--shard 3/16`` on a part of them, for array jobs of a cluster;
# :doc:`/batch` has both. In a program of your own that uses several processes, give each its own ``Deblurrer`` and set
# ``OMP_NUM_THREADS`` to the cores that it may use: processes that each take all cores wait for one another.
