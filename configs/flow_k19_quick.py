# Train a light KernelFlow in a minute or two on a CPU.
#
# The flow prior on few kernels and for few steps, to see it work: the twin of options/train_kernel_flow_quick.yml.
#
#   basis-blur prep-kernels -o datasets/demo/flow_kernels.lmdb -n 4000 --kernel-size 19
_base_ = ['flow_k19_shake.py']

_kernels = dict(dataroot='datasets/demo/flow_kernels.lmdb', hold_out=400)
train_dataloader = dict(num_workers=1, batch_size=128, dataset=_kernels)
val_dataloader = dict(dataset=_kernels)
test_dataloader = val_dataloader
custom_hooks = [dict(type='NormalizationHook'), dict(type='EMAHook', ema_type='MovingAverage', decay=0.99)]
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=50, by_epoch=False),
]
train_cfg = dict(max_iters=2000, val_interval=500)
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=1000))
