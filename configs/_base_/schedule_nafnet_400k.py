# The optimiser of NAFNet [Chen et al., ECCV 2022], which UFPNet [F23] shares: batches of 8 on each of
# 8 GPUs, cosine to 1e-7.
optim_wrapper = dict(
    type='OptimWrapper',  # 'AmpOptimWrapper' with dtype='bfloat16' is faster on recent GPUs
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-3, betas=(0.9, 0.9)),
    clip_grad=dict(max_norm=0.01),
)
param_scheduler = dict(type='CosineAnnealingLR', T_max=400_000, eta_min=1e-7, by_epoch=False)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=400_000, val_interval=20_000)
