"""
Use KernelLoss in your own BasicSR project
==========================================

A project that has models and option files of its own can take our losses, data sets and networks by name. This needs
BasicSR: ``pip install 'basis_blur[basicsr]'``.

Names
-----
``pip install basis_blur`` puts a start-up hook in place: whoever imports BasicSR finds our components in its
registries. ``BASIS_BLUR_HOOK=off`` in the environment switches it off; then one import does the same.
"""

import tempfile
from pathlib import Path

import torch
from skimage import data, io

import basis_blur.plugin  # noqa: F401  (registers everything; the hook would have done so)

from basicsr.data import build_dataset  # isort: skip
from basicsr.losses import build_loss  # isort: skip
from basicsr.utils.registry import LOSS_REGISTRY  # isort: skip

print('KernelLoss' in LOSS_REGISTRY, 'ReblurLoss' in LOSS_REGISTRY)

# %%
# Should your project register a ``KernelLoss`` too, yours keeps the name, and ours is ``KernelLoss_basis_blur``.
assert 'KernelLoss_basis_blur' in LOSS_REGISTRY

# %%
# Batch keys
# ----------
# A data set in an option file is ``type: SyntheticBlurDataset``. Its samples are dictionaries:
#
# ==============  ===========================  =====================================================
# key             shape                        meaning
# ==============  ===========================  =====================================================
# ``lq``          (3, H, W)                    the blurred photo, sRGB-like
# ``gt``          (3, H + K - 1, W + K - 1)    the sharp scene with its border
# ``kernels``     (P, K, K)                    true kernels, one for each object
# ``mixing``      (P, H, W)                    where each of them applies
# ``weight``      (1, H, W)                    1 / number of pixels of the object that a pixel is of
# ==============  ===========================  =====================================================
with tempfile.TemporaryDirectory() as folder:
    io.imsave(Path(folder) / 'astronaut.png', data.astronaut())
    options = {
        'name': 'photos', 'type': 'SyntheticBlurDataset', 'phase': 'train', 'dataroot_gt': folder, 'kernel_size': 9,
        'patch_size': 64, 'samples_per_epoch': 4,
    }  # fmt: skip
    data_set = build_dataset(options)
    batch = torch.utils.data.default_collate([data_set[0], data_set[1]])
print({key: tuple(value.shape) for key, value in batch.items() if isinstance(value, torch.Tensor)})

# %%
# Signatures of the losses
# ------------------------
# Losses are built as BasicSR builds them, from a section of the option file, and called with fields.
#
# - ``KernelLoss()(field, true_field, weight)``
# - ``ReblurLoss()(field, scene_light, blurred_srgb, weight)``
kernel_loss = build_loss({'type': 'KernelLoss', 'p': 2, 'loss_weight': 1.0})
reblur_loss = build_loss({'type': 'ReblurLoss', 'loss_weight': 10.0})

# %%
# In your model
# -------------
# This is what ``optimize_parameters`` of a model does with them. Any network will do that makes kernels and mixing;
# a softmax over each makes a valid field.
from basis_blur import BlurField, to_linear  # noqa: E402


class MyNet(torch.nn.Module):
    """A few convolutions that predict the mixing, and a basis that is the same for all photos."""

    def __init__(self, number=4, size=9):
        super().__init__()
        self.size = size
        self.basis = torch.nn.Parameter(0.1 * torch.randn(1, number, size * size))
        self.mixing = torch.nn.Conv2d(3, number, 5, padding=2)

    def forward(self, light):
        kernels = self.basis.softmax(-1).view(1, -1, self.size, self.size)
        return BlurField(kernels.expand(len(light), -1, -1, -1), self.mixing(light).softmax(1))


torch.manual_seed(0)
net = MyNet()
optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
true_field = BlurField(batch['kernels'], batch['mixing'])
losses = []
for _ in range(10):
    field = net(to_linear(batch['lq']))
    l_kernel = kernel_loss(field, true_field, batch['weight'])
    l_reblur = reblur_loss(field, to_linear(batch['gt']), batch['lq'], batch['weight'])
    optimizer.zero_grad()
    (l_kernel + l_reblur).backward()
    optimizer.step()
    losses.append(l_kernel.item())
print(f'kernel loss {losses[0]:.3f} before, {losses[-1]:.3f} after ten steps')
assert losses[-1] < losses[0]
