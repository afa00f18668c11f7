# Train the light LatentKernelNet further on blurred photos alone, without sharp ones.
#
# Stage II of UFPNet [F23] on guesses of "basis-blur prep-guesses": the twin of
# options/train_latent_kernel_real_light.yml, which tells what comes before.
_base_ = ['_base_/default_runtime.py', '_base_/guesses.py']

model = dict(
    type='SelfSupervisedReblurModel',
    net=dict(type='LatentKernelNet', kernel_size=19, width=64, estimator='correlation'),
    reblur=dict(type='ReblurLoss'),
    pretrained='latent_kernel_net',  # the shipped one, which train_latent_kernel_light.yml trained
)
val_evaluator = [dict(type='ReblurPSNR')]
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4, betas=(0.9, 0.99)),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=20, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=300, val_interval=100)
custom_hooks = [
    dict(type='CheckpointFormHook'),
    dict(type='EMAHook', ema_type='MovingAverage', decay=0.98),
    dict(type='WriteNetworkHook'),
    dict(type='KernelGridHook'),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=50))
