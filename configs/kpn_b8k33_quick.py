# Train a light BasisKPN in minutes on a CPU.
#
# A light BasisKPN, in minutes on a CPU: the twin of options/train_basis_quick.yml, which tells what to expect.
# Before: `make demo` for the photos and kernels.
_base_ = ['_base_/default_runtime.py', '_base_/demo_synthetic.py', '_base_/schedule_quick.py']

model = dict(
    type='BasisBlurModel',
    net=dict(type='BasisKPN', num_feat=16, num_kernels=8, norm='group'),
    reblur=dict(type='ReblurLoss', loss_weight=10.0),
    kernel=dict(type='KernelLoss'),
    gamma=2.2,
)
train_dataloader = dict(dataset=dict(dataroot_kernels='datasets/demo/kernels.lmdb', kernel_size=33, patch_size=96))
val_dataloader = dict(dataset=dict(kernel_size=33))
test_dataloader = val_dataloader
val_evaluator = [dict(type='ReblurPSNR'), dict(type='KernelErrors')]
test_evaluator = val_evaluator
custom_hooks = [dict(type='EMAHook', ema_type='MovingAverage', decay=0.99)]
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.99)))
train_cfg = dict(max_iters=500, val_interval=500)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=250))
