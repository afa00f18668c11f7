# Train a light UFPNet in minutes on a CPU.
#
# A light UFPNet for few steps, to see it work: the twin of options/train_ufpnet_quick.yml. Before:
# latent_w16k19_quick.py.
_base_ = ['nafnet_w12_quick.py']

model = dict(
    type='UFPNetModel',
    net=dict(
        _delete_=True,
        type='UFPNet',
        width=12,
        enc_blocks=[1, 1, 2],
        middle_blocks=1,
        dec_blocks=[1, 1, 1],
        attention_levels=[0, 1],
        kernel_size=19,
        estimator_width=16,
    ),
    reblur=dict(type='ConsistencyLoss', loss_weight=0.1),
    pretrained_estimator='work_dirs/latent_w16k19_quick/models/net_g_150.pth',
    freeze_estimator=True,  # its kernels are those of stage II
)
train_dataloader = dict(batch_size=2)
