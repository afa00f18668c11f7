# Train KernelFlow, stage I of UFPNet [L21, F23], on camera shakes.
#
# The flow prior of UFPNet, stage I [L21, F23]: the mmengine twin of options/train_kernel_flow.yml, with its numbers,
# deviations and expectations. Nobody has run these 100,000 iterations.
_base_ = ['_base_/default_runtime.py', '_base_/kernels_19.py']

model = dict(
    type='KernelFlowModel',
    net=dict(type='KernelFlow', kernel_size=19, num_blocks=5, hidden=25),
    nll=dict(type='FlowNLLLoss'),
)
custom_hooks = [dict(type='NormalizationHook'), dict(type='EMAHook', ema_type='MovingAverage', decay=0.999)]
optim_wrapper = dict(
    type='OptimWrapper',  # in full precision: likelihoods need it
    optimizer=dict(type='Adam', lr=1e-3),
    clip_grad=dict(max_norm=100),  # usual are 15 to 20: the loss is in nats per kernel
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.002, begin=0, end=500, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=500, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=100_000, val_interval=5000)
