# Training further from shipped weights: 20 iterations to warm up, then a cosine to 1e-6, at a smaller rate.
_base_ = ['schedule_quick.py']

optim_wrapper = dict(optimizer=dict(lr=3e-4, betas=(0.9, 0.99)))
train_cfg = dict(val_interval=100)
