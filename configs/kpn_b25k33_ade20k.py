# Train BasisKPN at the size of its paper [C21], on ADE20K.
#
# BasisKPN with 25 kernels of 33 x 33 [C21]: the mmengine twin of options/train_basis.yml, with its numbers, deviations
# and expectations. Nobody has run these 3 million iterations.
_base_ = ['_base_/default_runtime.py', '_base_/ade20k_synthetic.py']

model = dict(
    type='BasisBlurModel',
    net=dict(type='BasisKPN', num_feat=64, num_kernels=25, kernel_size=33),
    reblur=dict(type='ReblurLoss', loss_weight=1.0),
    kernel=dict(type='KernelLoss', p=2, loss_weight=1.0),
    kernel_p1_iter=757_801,
    gamma=2.2,
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = dict(
    type='MultiStepLR',
    milestones=[378_900, 757_800, 1_136_700, 1_515_600, 1_894_500, 2_273_400, 2_652_300],
    gamma=0.5,
    by_epoch=False,
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=3_031_200, val_interval=25_260)
