"""
Train a tiny network
====================

An option file and ``basis-blur train`` do this with BasicSR's schedules, averages and resumable states. Here is the
bare loop: scenes are made on the fly, a network predicts their blur, and a loss compares the kernels of every pixel.
"""

import matplotlib.pyplot as plt
import torch
from drawing import show
from skimage import data

import basis_blur as bb
from basis_blur.archs import ARCHS
from basis_blur.losses import KernelDivergenceLoss

torch.manual_seed(0)
K, SIDE, BATCH, STEPS = 17, 64, 4, 40
photo = torch.from_numpy(data.camera()).float()[None, None].expand(1, 3, -1, -1) / 255

# %%
# The network reads blur from the correlations of a photo's gradients, where it can be seen, so that few steps are
# enough.
net = ARCHS['CorrelationKPN'](kernel_size=K, num_feat=8, num_kernels=1, window=SIDE)
print(sum(each.numel() for each in net.parameters()), 'parameters')


def batch_of(step):
    """Cut windows of the photo and blur each by a shake of its own."""
    kernels = torch.from_numpy(bb.shake_kernels(BATCH, K, seed=0, start=BATCH * step))[:, None]
    field = bb.BlurField(kernels, torch.ones(BATCH, 1, SIDE, SIDE))
    generator = torch.Generator().manual_seed(step)
    corners = torch.randint(0, 512 - SIDE - K, (BATCH, 2), generator=generator).tolist()
    scenes = torch.cat([photo[..., y : y + SIDE + K - 1, x : x + SIDE + K - 1] for y, x in corners])
    return bb.BasisBlur(field)(bb.to_linear(scenes)), field


# %%
# ``KernelDivergenceLoss`` compares kernels as distributions, which has a slope also where they do not overlap.
loss_of = KernelDivergenceLoss()
optimizer = torch.optim.AdamW(net.parameters(), lr=0.005)
losses = []
for step in range(STEPS):
    light, truth = batch_of(step)
    loss = loss_of(net(light), truth)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f'loss: {sum(losses[:5]) / 5:.2f} in the first steps, {sum(losses[-5:]) / 5:.2f} in the last')
assert sum(losses[-5:]) < sum(losses[:5])

figure, axis = plt.subplots(figsize=(6, 2.2))
axis.plot(losses)
axis.set_xlabel('step')
axis.set_ylabel('divergence')
figure.tight_layout()

# %%
# After so few steps it knows how wide a blur is. A thousand times more samples make the shipped network.
with torch.no_grad():
    light, truth = batch_of(STEPS + 1)
    found = net(light)
names = [f'{kind}_{number}' for number in range(2) for kind in ('true', 'estimated')]
kernels = [each for number in range(2) for each in (truth.kernels[number, 0], found.kernels[number, 0])]
show(height=1.8, **dict(zip(names, kernels, strict=True)))

# %%
# ``bb.save_network(net, 'mine.safetensors')`` keeps its hyper-parameters with the weights, and
# ``basis-blur deblur photo.jpg --weights mine.safetensors`` uses it.
