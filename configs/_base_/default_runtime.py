# What every training with mmengine's Runner shares. Not for mmagic: only mmengine >= 0.10.7 is needed.
default_scope = 'basis_blur'
custom_imports = dict(imports=['basis_blur.bridges.mmengine'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=200),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=5000, by_epoch=False, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    random_numbers=dict(type='RandomNumbersHook'),
    checkpoint_form=dict(type='CheckpointFormHook'),
    network=dict(type='WriteNetworkHook'),
    kernel_grid=dict(type='KernelGridHook'),
)
custom_hooks = [dict(type='EMAHook', ema_type='MovingAverage', decay=0.999)]

model_wrapper_cfg = dict(type='basis_blur.DistributedModel')  # wraps the model where several processes train it

env_cfg = dict(
    cudnn_benchmark=True, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=1), dist_cfg=dict(backend='nccl')
)
randomness = dict(seed=0)
log_processor = dict(type='LogProcessor', window_size=100, by_epoch=False)
log_level = 'INFO'
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='BlurVisualizer', vis_backends=vis_backends)
load_from = None  # a checkpoint of mmengine or of BasicSR
resume = False
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
