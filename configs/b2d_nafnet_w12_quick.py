# Fine-tune a light NAFNet by blurring its result again, in minutes on a CPU.
#
# Blurring to deblur at a thousandth of its size: the twin of options/train_blur_to_deblur_quick.yml. Before:
# latent_w16k19_quick.py and nafnet_w12_quick.py.
_base_ = ['nafnet_w12_quick.py']

model = dict(
    type='BlurToDeblurModel',
    pretrained='work_dirs/nafnet_w12_quick/models/net_g_300.pth',
    blur='work_dirs/latent_w16k19_quick/models/net_g_150.pth',
    consistency=dict(type='ConsistencyLoss'),
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
