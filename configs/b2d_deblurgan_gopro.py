# Fine-tune the generator of DeblurGAN by blurring its result again [C21], on GoPro.
#
# Blurring to deblur [C21, Sec. 7.3] for the generator of DeblurGAN: the mmengine twin of
# options/train_blur_to_deblur_deblurgan.yml; nobody has run these 50,000 iterations. Before: kpn_b25k33_ade20k.py and
# deblurgan_gopro.py.
_base_ = ['b2d_nafnet_w64_gopro.py']

model = dict(
    net=dict(_delete_=True, type='DeblurGANGenerator'),
    pretrained='work_dirs/deblurgan_gopro/models/net_g_300000.pth',
)
train_dataloader = dict(batch_size=4)
