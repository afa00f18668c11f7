# How every training reads its data sets; a file of data says which, in how many processes and in what batches.
train_dataloader = dict(
    persistent_workers=True,
    sampler=dict(type='InfiniteDraws', shuffle=True),
    worker_init_fn=dict(type='basis_blur.seed_worker'),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = val_dataloader
