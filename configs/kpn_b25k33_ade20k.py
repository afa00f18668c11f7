# Train BasisKPN at the size of its paper [C21], on ADE20K.
#
# BasisKPN with 25 kernels of 33 x 33 [C21]: the mmengine twin of options/train_basis.yml, with its numbers, deviations
# and expectations. Nobody has run these 883,200 iterations.
_base_ = ['_base_/default_runtime.py', '_base_/ade20k_synthetic.py']

model = dict(
    type='BasisBlurModel',
    net=dict(type='BasisKPN', num_feat=64, num_kernels=25, kernel_size=33),
    reblur=dict(type='ReblurLoss', loss_weight=1.0),
    kernel=dict(type='KernelLoss', p=2, loss_weight=1.0),
    kernel_p1_iter=220_801,
    gamma=2.2,
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = dict(
    type='MultiStepLR',
    milestones=[110_400, 220_800, 331_200, 441_600, 552_000, 662_400, 772_800],
    gamma=0.5,
    by_epoch=False,
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=883_200, val_interval=7_360)
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=7_360))
