# Train UFPNet with its state shared out among processes by DeepSpeed.
#
# ufpnet_k19_gopro.py with gradients and the optimiser's state shared out among processes by DeepSpeed, ZeRO stage 2.
# The averaged weights are left out: mmengine's EMAHook copies whole models.
_base_ = ['ufpnet_k19_gopro.py']

custom_imports = dict(imports=['basis_blur.bridges.mmengine', 'basis_blur.bridges.mmengine.strategies'])
strategy = dict(
    type='basis_blur.DeepSpeedStrategy',
    train_micro_batch_size_per_gpu=8,  # that of train_dataloader
    zero_optimization=dict(stage=2),
    gradient_clipping=0.01,
)
optim_wrapper = dict(
    _delete_=True,
    type='DeepSpeedOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-3, betas=(0.9, 0.9)),
)
