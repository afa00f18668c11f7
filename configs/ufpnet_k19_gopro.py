# Train UFPNet, stage III [F23], on GoPro.
#
# UFPNet [F23, stage III] on GoPro: the mmengine twin of options/train_ufpnet_gopro.yml, with its numbers, deviations
# and expectations. Nobody has run these 800,000 iterations. Before: latent_w64k19_gopro.py.
_base_ = ['_base_/default_runtime.py', '_base_/gopro.py', '_base_/schedule_nafnet_400k.py']

model = dict(
    type='UFPNetModel',
    net=dict(
        type='UFPNet',
        width=64,
        enc_blocks=[1, 1, 1, 28],
        middle_blocks=1,
        dec_blocks=[1, 1, 1, 1],
        kernel_size=19,
        local_size=384,
    ),
    pixel=dict(type='PSNRLoss', loss_weight=1.0),
    reblur=dict(type='ConsistencyLoss', loss_weight=0.01, gamma=1.0, saturation=False),
    pretrained_estimator='work_dirs/latent_w64k19_gopro/models/net_g_200000.pth',
    freeze_estimator=True,  # see BasicSR's UFPNetModel; its kernels are those of stage II
)
param_scheduler = dict(T_max=800_000)
train_cfg = dict(max_iters=800_000)
custom_hooks = []  # without averaged weights
