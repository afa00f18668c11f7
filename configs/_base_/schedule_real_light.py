# Training further from shipped weights: 20 iterations to warm up, then a cosine to 1e-6.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4, betas=(0.9, 0.99)),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=20, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', val_interval=100)
