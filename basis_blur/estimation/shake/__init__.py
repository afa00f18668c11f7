"""The shake search: one camera motion, estimated from the whole photo, coarse to fine.

    kernels         kernels as arrays: resized, cleaned, centred, compared and averaged
    extension       a photo made periodic, so that FFTs may be used
    sparse_scene    photo and kernel -> a scene of few edges                        [XZJ13]
    edges           the edges of that scene that tell the kernel                    [XJ10]
    kernel_fit      edges and photo -> kernel                                       [CL09]
    schedule        these three in turn, on photos of growing size
    residual        what a kernel leaves unexplained of the photo, and what its mirror image does
    search          the search of a photo: its size, its starts, its variants; `estimate_shake`
    local           the search in windows, where objects move on their own
    streaks         the kernel as the streaks of small lights show it
    consistency     whether parts of the photo ask for other kernels
    rotations       a camera that also rolls: the kernels of all places from its poses   [Whyte12], [Hirsch11]
    fields          a kernel as the blur field of a photo

No network is needed, but the field that one estimated is a good start.

[CL09] Cho, Lee, "Fast motion deblurring", SIGGRAPH Asia 2009.
[XJ10] Xu, Jia, "Two-phase kernel estimation for robust motion deblurring", ECCV 2010.
[XZJ13] Xu, Zheng, Jia, "Unnatural L0 sparse representation for natural image deblurring", CVPR 2013.
[Whyte12] Whyte, Sivic, Zisserman, Ponce, "Non-uniform deblurring for shaken images", IJCV 2012.
[Hirsch11] Hirsch, Schuler, Harmeling, Schoelkopf, "Fast removal of non-uniform camera shake", ICCV 2011.
"""
