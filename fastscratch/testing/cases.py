"""Named problems for every operation: what each one stresses, and the shapes that speed is about.

A case is a problem without its operation and dtype, in the written form of
`fastscratch.kernels.problem`: ``"n2c3h8w10:oc5k3s2p1floor"``. Cases are small, so that all of them
run in seconds; every flag, and every remainder of the kernels' tiles, is in one of them.
"""

import re

from fastscratch.errors import ArgumentError
from fastscratch.kernels.catalogue import find_op
from fastscratch.kernels.problem import (
    AVG_POOL_OPS,
    BATCH_NORM_OPS,
    CONV_OPS,
    CONV_POOL_OPS,
    DENSE_OPS,
    DTYPES,
    ELEMENT_OPS,
    FRACTIONAL_POOL_OPS,
    LOSS_OPS,
    MAX_POOL_OPS,
    PRELU_OPS,
    UPDATE_OPS,
    Problem,
    parse_problem,
)

# Extents on both sides of the sizes that register tiles and vectors have.
_TILES = (
    (5, 7), (6, 8), (8, 6), (13, 32), (14, 16), (16, 14), (15, 33), (17, 31), (32, 17), (33, 15),
)  # fmt: skip

CONV_CASES = {
    "single_pixel": "n3c4h1w1:oc5k1",
    "single_pixel_3x3": "n1c2h1w1:oc3k3p1",
    "zero_batch": "n0c3h5w5:oc4k3p1",
    "batch_1": "n1c8h7w7:oc8k3p1",
    "many_images": "n9c2h4w4:oc3k3",
    "pointwise": "n2c5h4w6:oc7k1",
    "pointwise_large": "n1c32h24w24:oc24k1",
    "pointwise_channels": "n1c37h5w7:oc34k1",
    "pointwise_columns": "n1c47h7w7:oc45k1",
    "pointwise_images": "n32c43h1w2:oc43k1",
    "pointwise_chunks": "n1c301h3w3:oc43k1",
    "pointwise_columns_strided": "n1c43h5w7:oc44k1s2",
    "pointwise_columns_packed": "n2c37h12w12:oc43k1",
    "pointwise_columns_packed_strided": "n2c20h23w23:oc45k1s2p1x0x0x1floor",
    "pointwise_columns_packed_grouped": "n3c34h9w10:oc86k1g2",
    "pointwise_columns_grouped": "n2c86h3w4:oc86k1p1g2",
    "pointwise_columns_batch": "n2c44h9w11:oc45k1s2",
    "pointwise_columns_uneven": "n2c43h7w40:oc46k1s2x3p1x0floor",
    "pointwise_strided": "n1c3h5w7:oc4k1s2",
    "pointwise_padded": "n1c3h5w6:oc4k1s4x1p2x1",
    "first_layer": "n2c1h10w10:oc6k5",
    "first_layer_color": "n1c3h8w9:oc16k3p1",
    "first_layer_wide": "n1c3h6w37:oc9k3p1",
    "stem_7x7": "n1c3h15w15:oc16k7s2p3",
    "few_channels_strided": "n2c2h13w11:oc17k2x3s3floor",
    "few_channels_dilated": "n2c2h11w13:oc9k3x4s3x2p2x1d2x3floor",
    "few_channels_grouped": "n2c4h8w9:oc16k5p2g2",
    "few_channels_long": "n1c1h5w300:oc17k3p1",
    "few_channels_deep": "n1c2h5w9:oc100k3p1",
    "same_3x3": "n1c16h14w14:oc32k3p1",
    "same_5x5": "n1c6h7w8:oc16k5p2",
    "channel_tail": "n1c9h6w7:oc33k3p1",
    "many_channels": "n1c70h4w5:oc40k3p1",
    "one_filter": "n2c6h7w7:oc1k3p1",
    "few_filters_valid": "n2c9h8w21:oc5k3",
    "few_filters_chunks": "n1c36h5w19:oc3k3p1",
    "few_filters_deep": "n1c70h5w9:oc3k3p1",
    "few_filters_grouped": "n2c10h11w13:oc14k3p1g2",
    "few_filters_strided": "n1c12h7w19:oc14k5s2p2x1x0x3g2floor",
    "few_filters_rows": "n1c66h3w9:oc5k3x2p1x3d2x1",
    "few_filters_overhanging": "n3c9h3w12:oc6k4x3p9x0x0x1d3x1",
    "short_rows": "n5c3h4w5:oc4k3p1",
    "pixel_tail": "n1c4h3w29:oc17k3p1",
    "wide_row": "n1c2h2w65:oc5k3p1",
    "wide_panel_of_6": "n1c2h5w36:oc6k3p1",
    "wide_panels_of_7": "n1c2h4w41:oc14k3p1",
    "wide_chunks": "n1c13h3w32:oc20k5p2",
    "chunks_of_images": "n32c33h1w2:oc34k3p1",
    "patches": "n2c3h16w24:oc70k8s8",
    "whole_image": "n7c5h3w4:oc9k3x4",
    "whole_image_single": "n1c18h2w2:oc1k2",
    "whole_image_strided": "n5c3h4w4:oc6k4s2",
    "shrinking": "n3c5h7w8:oc64k5",
    "shrinking_to_one": "n18c4h5w4:oc40k5x4",
    "shrinking_groups": "n2c26h6w9:oc150k5x3s1x2p0x1d1x2g2floor",
    "shrinking_overhang": "n2c8h6w6:oc80k5s2p0x1x0x1",
    "shrinking_ceil": "n1c20h7w7:oc80k4s2ceil",
    "shrinking_vectors": "n1c8h6w37:oc40k5",
    "shrinking_long_rows": "n1c8h5w40:oc40k3",
    "shrinking_spread": "n1c8h6w39:oc24k3s3x2",
    "shrinking_wide": "n1c4h2w272:oc8k2x16s2x16",
    "shrinking_padded": "n2c9h9w11:oc50k5s3x2p2x1d2floor",
    "thin_column": "n1c3h17w1:oc4k3x1p1x0",
    "row_kernel": "n1c3h5w8:oc4k1x5p0x2",
    "column_kernel": "n1c3h8w5:oc4k5x1p2x0",
    "even_kernel": "n1c3h6w6:oc4k2p0x1x0x1",
    "strided": "n1c4h9w9:oc8k3s2p1",
    "strided_tail": "n2c3h8w10:oc5k3s2p1floor",
    "strided_uneven": "n1c5h10w11:oc6k3x2s1x3p0x1x1x0floor",
    "stride_gt_kernel": "n1c2h9w10:oc3k2s4floor",
    "strided_3": "n2c4h8w52:oc9k3s3p1floor",
    "strided_4": "n1c3h9w70:oc8k5s4p2x2x3x1floor",
    "strided_5": "n1c3h7w37:oc8k3x6s2x5p1x1x2x3floor",
    "strided_points": "n2c18h13w12:oc35k3s2p1floor",
    "strided_points_4": "n1c33h11w14:oc20k4s2p1x2x0x1floor",
    "strided_points_5": "n1c5h6w150:oc34k5s2p2floor",
    "strided_points_7": "n1c9h13w14:oc33k7s2p3floor",
    "strided_points_3": "n2c6h14w13:oc17k7s3p3x1x2x0floor",
    "strided_points_11": "n1c3h30w29:oc33k11s4p2floor",
    "strided_points_few": "n3c3h23w21:oc16k5s2p1floor",
    "strided_points_grouped": "n2c18h9w10:oc10k5s2p2g2floor",
    "strided_points_column": "n2c17h9w1:oc6k3s2p1floor",
    "points_2x2": "n2c17h11w10:oc33k2p0x1x0x1",
    "points_5x5": "n1c17h6w6:oc20k5p2",
    "points_5x5_dilated": "n2c3h12w13:oc5k5p4d2",
    "points_6x6": "n2c5h8w9:oc9k6p2x3x1x0",
    "points_7x7": "n1c5h9w8:oc18k7p3",
    "points_9x9": "n1c3h8w9:oc17k9p4x3x2x5",
    "points_11x11": "n1c2h7w6:oc5k11p5",
    "points_1x3": "n2c17h5w13:oc20k1x3p1x2x1x0",
    "points_3x1": "n2c17h13w5:oc20k3x1p1x0x2x1",
    "points_1x2_dilated": "n3c5h1w30:oc33k1x2d1x3",
    "points_2x1": "n1c33h9w3:oc5k2x1p1x0",
    "points_1x5": "n1c20h6w9:oc16k1x5p0x2",
    "points_7x1": "n2c9h11w6:oc18k7x1p3x0",
    "points_1x9_grouped": "n1c18h4w27:oc10k1x9p0x4d3x2g2",
    "points_14x1_dilated": "n1c5h19w2:oc17k14x1p16x0d3x1",
    "floor_remainder": "n1c2h7w9:oc3k2s3floor",
    "ceil_overhang": "n1c2h6w7:oc3k3s2ceil",
    "ceil_overhang_padded": "n1c3h6w9:oc4k3s3p1ceil",
    "ceil_overhang_wide": "n2c2h7w8:oc3k3s4d2ceil",
    "dilated": "n1c4h9w9:oc6k3p2d2",
    "dilated_strided": "n1c3h11w12:oc5k3x2s2x1p2x1d2x3",
    "grouped": "n2c6h5w6:oc9k3p1g3",
    "grouped_wide": "n1c32h6w6:oc34k3p1g2",
    "grouped_strided": "n2c4h9w7:oc8k3s2p1d1g4",
    "grouped_dilated": "n1c6h9w8:oc4k3x2p2x1d2g2",
    "depthwise": "n2c7h6w9:oc7k3p1g7",
    "depthwise_valid": "n2c3h9w12:oc6k3x2d1x2g3",
    "depthwise_far_padding": "n1c2h5w7:oc2k3p4g2",
    "depthwise_small": "n3c37h7w7:oc37k3p1g37",
    "depthwise_wide_kernel": "n1c3h9w9:oc3k3x9p1x1x4x4g3",
    "depthwise_5x5": "n1c6h9w11:oc6k5p2g6",
    "depthwise_wide": "n1c19h5w20:oc19k3p1g19",
    "depthwise_strided": "n1c16h9w9:oc16k3s2p1g16",
    "depthwise_dilated": "n1c5h9w10:oc5k3p2d2g5",
    "depthwise_multiplier": "n1c3h5w5:oc6k3g3",
    "depthwise_ceil": "n1c4h6w7:oc4k3s2g4ceil",
    "depthwise_blocks": "n2c3h19w40:oc3k3p1g3",
    "depthwise_short": "n2c17h7w7:oc17k3s2p1g17",
    "depthwise_strips": "n1c2h61w61:oc2k3s2p1g2",
    "depthwise_filters": "n2c5h9w7:oc10k3s2p1g5",
    "depthwise_uneven": "n1c2h31w9:oc4k5s3p2x1x0x3g2floor",
    "depthwise_strided_3": "n2c5h14w37:oc5k3s3p1g5floor",
    "depthwise_strided_4": "n1c3h13w41:oc3k5x3s4x4p2x1g3floor",
    "depthwise_strided_short": "n2c3h12w11:oc3k3s3x4p1g3floor",
    "depthwise_14": "n1c3h14w14:oc3k3p1g3",
    "depthwise_14_strided": "n2c3h14w14:oc3k3s2p1g3floor",
    "depthwise_flat": "n3c18h4w4:oc18k3p1g18",
    "depthwise_column": "n1c5h4w1:oc5k3p1g5",
    "depthwise_low": "n2c3h4w13:oc6k5p2g3",
    "depthwise_abreast": "n2c18h7w7:oc18k7p3g18",
    "depthwise_abreast_5": "n3c35h8w5:oc35k5p2g35",
    "depthwise_abreast_strided": "n2c19h13w12:oc19k5s2p2g19floor",
    "depthwise_abreast_strided_7": "n1c16h9w8:oc16k7s2x1p4x3g16floor",
    "depthwise_abreast_short": "n2c17h4w3:oc17k5p2g17",
    "depthwise_abreast_low": "n1c16h2w9:oc16k1x5s2p0x2g16floor",
    "depthwise_abreast_far": "n1c17h2w3:oc17k5p5g17",
    "depthwise_long": "n1c2h4w1100:oc2k3p1g2",
    "pad_ge_kernel": "n1c2h3w4:oc3k2p3",
    "pad_ge_kernel_strided": "n1c2h4w4:oc3k3s2p4floor",
    "pad_ge_kernel_depthwise": "n1c3h3w4:oc3k2p3g3",
    "kernel_gt_image": "n1c2h3w2:oc3k5p2",
    "asymmetric": "n1c3h6w7:oc4k3p0x2x1x0",
    "asymmetric_strided": "n2c2h7w8:oc5k3s2p2x0x0x1",
    "odd_everything": "n3c5h11w13:oc19k3x5s2x1p1x2",
    "tiles_overhang": "n3c17h7w9:oc16k3p1",
    "tiles_of_images": "n7c20h4w3:oc18k3p1",
    "tiles_of_4x4": "n8c16h8w8:oc17k3p1",
    "tiles_many_channels": "n1c300h6w5:oc9k3p1",
    "tiles_wide": "n1c16h3w173:oc16k3p0x1x1x0",
    "tiles_padded": "n1c3h2w3:oc4k3p4x3x5x2",
    "tiles_5x5": "n2c17h9w11:oc18k5p2",
    "tiles_5x5_channels": "n1c24h8w8:oc24k5p2",
    "tiles_5x5_wide": "n1c16h3w101:oc8k5p2",
    "tiles_5x5_dilated": "n1c16h7w9:oc17k5p4d2",
    "tiles_4x4": "n3c18h8w6:oc16k4p1",
    "tiles_4x4_uneven": "n2c16h5w43:oc9k4p1x2x0x3",
    "tiles_dilated": "n3c17h7w9:oc18k3p2d2",
    "tiles_dilated_rows": "n2c16h7w9:oc16k3p2x2x1x1d2x1",
    "tiles_dilated_columns": "n2c16h6w9:oc16k3p1x1x2x2d1x2",
    "tiles_dilated_uneven": "n2c18h11w7:oc17k3p1x4x3x0d3x2",
    "tiles_dilated_wide": "n1c16h4w173:oc16k3p2x2x4x4d2x4",
    "tiles_dilated_far": "n2c16h3w5:oc16k3p8x7x6x8d8x7",
} | {f"tile_{w}_{oc}": f"n1c3h3w{w}:oc{oc}k3p1" for w, oc in _TILES}  # fmt: skip
"""Cases of the convolutions."""

CONV_POOL_CASES = {
    "single_pixel": "n3c4h1w1:oc5k1m1",
    "zero_batch": "n0c3h5w5:oc4k3p1m2",
    "batch_1": "n1c2h8w8:oc8k3p1m2",
    "first_layer": "n2c1h12w12:oc6k5m2",
    "first_layer_odd": "n3c1h11w14:oc7k3m2",
    "many_images": "n19c1h5w6:oc3k3m2",
    "first_layer_color": "n2c3h8w16:oc16k3p1m2",
    "channel_tail": "n1c9h6w7:oc33k3p1m2",
    "wide_kernel": "n2c2h6w31:oc5k3x19p1x9m2x3",
    "tall_kernel": "n1c1h17w5:oc3k9x2p1x0x1x0m3x1",
    "pointwise": "n2c5h4w6:oc7k1m2",
    "strided": "n2c2h11w13:oc17k3s2p1m3x2",
    "stride_gt_kernel": "n1c2h17w18:oc3k2s4floorm2",
    "ceil_overhang": "n2c2h6w9:oc3k3s2ceilm1x2",
    "dilated": "n1c4h9w11:oc6k3p2d2m3",
    "grouped": "n2c6h5w6:oc9k3p1g3m2",
    "asymmetric": "n1c3h6w7:oc4k3p0x2x1x0m2",
    "pad_ge_kernel": "n1c2h3w4:oc3k2p3m2",
    "pool_16": "n1c2h34w17:oc2k2m16",
    "pool_17": "n1c1h19w35:oc3k3m17",
}
"""Cases of convolution, ReLU and max pooling in one."""

POOL_CASES = {
    "single_pixel": "n2c3h1w1:k1",
    "single_pixel_padded": "n1c2h1w1:k3s1p1",
    "zero_batch": "n0c2h4w4:k2",
    "batch_1": "n1c4h6w6:k2",
    "pool_2x2": "n2c3h6w8:k2",
    "pool_2x2_odd": "n3c5h7w9:k2floor",
    "pool_3x3_s2": "n1c4h9w11:k3s2",
    "pool_3x3_s2_padded": "n2c3h7w9:k3s2p1",
    "pool_3x3": "n1c2h6w9:k3",
    "pool_5x5": "n1c2h9w14:k5s1p2",
    "overlap": "n1c2h6w7:k3s1",
    "overlap_padded": "n1c3h5w18:k3s1p1",
    "overlap_2x2": "n2c33h5w5:k2s1",
    "row_window": "n1c3h4w9:k1x3",
    "column_window": "n1c3h9w4:k3x1s1",
    "thin_column": "n1c3h12w1:k2x1",
    "stride_gt_kernel": "n1c2h10w11:k2s4floor",
    "strided_uneven": "n3c5h11w13:k3x2s2x3p1x0floor",
    "ceil_overhang": "n2c3h7w10:k2x3s2ceil",
    "ceil_overhang_padded": "n1c2h8w8:k3s2p1ceil",
    "ceil_dropped": "n1c2h4w5:k2s3p1ceil",
    "pad_half_kernel": "n1c2h4w6:k2s2p1",
    "asymmetric": "n1c2h6w7:k3s1p0x2x1x0",
    "asymmetric_strided": "n2c2h7w8:k3s2p2x0x0x1",
    "kernel_gt_image": "n1c2h3w4:k5s1p2",
    "whole_image": "n2c5h6w7:k6x7",
    "window_256": "n1c2h16w17:k16s1",
    "window_272": "n1c2h17w18:k17x16s1",
    "window_289_padded": "n1c1h20w20:k17s3p3",
    "strips": "n1c1h260w6:k3s2p1floor",
    "blocks_3x3_s1": "n2c2h4w17:k3s1p1",
    "blocks_3x3_s2": "n2c2h5w37:k3s2",
    "blocks_odd": "n2c3h4w19:k2floor",
    "one_row": "n3c5h4w6:k2s3floor",
} | {
    f"tile_{w}": f"n1c2h4w{2 * w}:k2" for w in (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)
} | {f"tile_odd_{w}": f"n2c3h7w{2 * w + 1}:k2floor" for w in (2, 4, 5)}  # fmt: skip
"""Cases of both kinds of pooling."""

MAX_POOL_CASES = POOL_CASES | {
    "dilated": "n1c3h9w9:k3s1d2",
    "dilated_strided": "n1c2h10w9:k2x3s2p1d3x2",
    "dilated_ceil": "n1c2h8w9:k2s2p1d2ceil",
}
"""Cases of max pooling."""

AVG_POOL_CASES = POOL_CASES | {
    "pad_ge_kernel": "n1c2h3w4:k2s1p2",
    "nopad": "n2c3h7w9:k3s2p1nopad",
    "nopad_overlap": "n1c3h5w18:k3s1p1nopad",
    "nopad_unpadded": "n1c2h6w8:k2nopad",
    "nopad_asymmetric": "n2c2h7w8:k3s2p2x0x0x1nopad",
    "nopad_ceil": "n1c2h8w8:k3s2p1ceilnopad",
    "nopad_floor": "n3c2h8w9:k3x2s2p1x0floornopad",
    "nopad_kernel_gt_image": "n1c2h3w4:k5s1p2nopad",
    "nopad_single_pixel": "n1c2h1w1:k3s1p1nopad",
}
"""Cases of average pooling."""

DENSE_CASES = {
    "single": "n1i1:o1",
    "small": "n3i4:o5",
    "zero_batch": "n0i3:o4",
    "batch_1": "n1i37:o19",
    "batch_1_wide": "n1i9:o130",
    "one_feature": "n5i1:o9",
    "one_output": "n9i13:o1",
    "output_layer": "n4i50:o10",
    "many_terms": "n3i700:o5",
    "many_rows": "n65i3:o4",
    "wide": "n2i9:o130",
    "blocks": "n35i66:o97",
    "three_vectors": "n13i21:o23",
    "many_steps": "n19i530:o21",
    "parts_of_rows": "n101i256:o5",
    "copied_rows": "n29i45:o401",
    "one_feature_copied": "n9i1:o401",
    "one_feature_many": "n401i1:o9",
} | {f"tile_{n}_{o}": f"n{n}i11:o{o}" for n, o in _TILES}  # fmt: skip
"""Cases of the dense products."""

COLUMN_CASES = {
    name: re.sub(r"oc\d+|g\d+", "", case)
    for name, case in CONV_CASES.items()
    # The kernels of im2col and col2im count windows themselves, rounding down.
    if "ceil" not in case and not name.startswith(("tile", "grouped", "depthwise"))
} | {
    "chunk_4": "n1c2h7w12:k4s2p1floor",
    "chunk_8": "n2c3h5w20:k2x8p1x0",
    "no_chunk": "n1c2h9w12:k9p4",
}  # fmt: skip
"""Cases of im2col and col2im."""

ELEMENT_CASES = {
    "single": "n1",
    "zero_batch": "n0x3",
    "batch_1": "n1x37",
    "rows": "n5x9",
    "image": "n2x3x4x5",
    "many": "n17x515",
}
"""Cases of operations on single elements."""

LOSS_CASES = {
    "single": "n1c1",
    "zero_batch": "n0c4",
    "batch_1": "n1c7",
    "two_classes": "n5c2",
    "digits": "n7c10",
    "many_rows": "n133c10",
    "many_classes": "n6c517",
}
"""Cases of losses over rows of scores."""

BATCH_NORM_CASES = {
    "single": "n1c1",
    "zero_batch": "n0c4",
    "batch_1": "n1c7",
    "rows": "n5c7",
    "many_rows": "n140c9",
    "wide_rows": "n6c133",
    "one_image": "n1c3s20",
    "images": "n4c5s49",
    "large_images": "n2c2s1037",
    "pairs_of_pixels": "n3c70s2",
}
"""Cases of batch normalisation, and of rectifiers with a slope for each channel."""

FRACTIONAL_CASES = {
    "single_pixel": "n2c1h1w1:oh1ow1",
    "zero_batch": "n0c2h4w5:oh2ow3",
    "batch_1": "n1c3h5w7:oh3ow4",
    "every_element": "n2c1h4w3:oh4ow3",
    "whole_image": "n3c2h6w5:oh1ow1",
    "images": "n2c5h11w13:oh7ow9",
    "wide_rows": "n1c2h3w70:oh2ow44",
}
"""Cases of fractional pooling."""

CONV_SHAPES = {
    "mnist_c1": "n100c1h28w28:oc30k5",
    "lenet_c2": "n100c6h14w14:oc16k5",
    "cifar_c1": "n64c3h32w32:oc64k3p1",
    "vgg_c2": "n16c64h32w32:oc64k3p1",
    "res_56": "n8c64h56w56:oc64k3p1",
    "res_28": "n8c128h28w28:oc128k3p1",
    "res_14": "n8c256h14w14:oc256k3p1",
    "res_7": "n8c512h7w7:oc512k3p1",
    "res_s2": "n8c64h56w56:oc128k3s2p1floor",
    "stem7": "n8c3h224w224:oc64k7s2p3floor",
    "pw_56": "n8c64h56w56:oc256k1",
    "n1_28": "n1c128h28w28:oc128k3p1",
    "tiny": "n1c1h8w8:oc8k3p1",
    "depthwise_28": "n8c128h28w28:oc128k3p1g128",
    "depthwise_s2": "n8c64h56w56:oc64k3s2p1g64floor",
    "depthwise_28k5": "n8c128h28w28:oc128k5p2g128",
    "depthwise_7": "n8c512h7w7:oc512k3p1g512",
    "dilated_28": "n8c64h28w28:oc64k3p2d2",
}
"""The shapes that the speed of convolutions is measured at."""

CONV_POOL_SHAPES = {
    "mnist_c1": "n100c1h28w28:oc30k5m2",
    "lenet_c2": "n100c6h14w14:oc16k5m2",
    "cifar_c1": "n64c3h32w32:oc64k3p1m2",
}
"""The same for convolutions with ReLU and pooling behind them."""

POOL_SHAPES = {
    "mnist_pool": "n100c30h24w24:k2",
    "cifar_pool": "n64c64h32w32:k2",
    "stem_pool": "n8c64h112w112:k3s2floor",
}
"""The same for pooling."""

DENSE_SHAPES = {
    "mlp_hidden": "n100i784:o50",
    "cnn_hidden": "n100i4320:o100",
    "square": "n128i1024:o1024",
    "one_image": "n1i784:o100",
}
"""The same for dense products."""

ELEMENT_SHAPES = {
    "mnist_map": "n100x30x24x24",
    "cnn_hidden": "n100x100",
    "mlp_hidden": "n100x50",
}
"""The same for operations on single elements."""

LOSS_SHAPES = {"mnist_scores": "n100c10", "imagenet_scores": "n64c1000"}
"""The same for losses."""

UPDATE_SHAPES = {"mlp": "n39824", "cnn": "n434016", "large": "n4000000"}
"""The same for optimizers' updates."""

BATCH_NORM_SHAPES = {
    "mnist_map": "n100c30s576",
    "res_28": "n8c128s784",
    "mlp_hidden": "n100c50",
    "hidden": "n128c1024",
}
"""The same for batch normalisation."""


FRACTIONAL_SHAPES = {"mnist_pool": "n100c30h24w24:oh16ow16"}
"""The same for fractional pooling."""


def cases_of(op: str) -> dict[str, str]:
    """The cases of an operation by name: problems without operation and dtype.

    >>> cases_of("dense_forward")["small"]
    'n3i4:o5'
    """
    if op in CONV_OPS:
        return CONV_CASES
    if op in CONV_POOL_OPS:
        return CONV_POOL_CASES
    if op in MAX_POOL_OPS:
        return MAX_POOL_CASES
    if op in AVG_POOL_OPS:
        return AVG_POOL_CASES
    if op in ELEMENT_OPS:
        return ELEMENT_CASES
    if op in LOSS_OPS:
        return LOSS_CASES
    if op in BATCH_NORM_OPS + PRELU_OPS:
        return BATCH_NORM_CASES
    if op in FRACTIONAL_POOL_OPS:
        return FRACTIONAL_CASES
    return DENSE_CASES if op in DENSE_OPS else COLUMN_CASES


def shapes_of(op: str) -> dict[str, str]:
    """The shapes at which the speed of an operation is measured, by name.

    >>> shapes_of("max_pool2d_forward")["mnist_pool"]
    'n100c30h24w24:k2'
    """
    if op in CONV_OPS:
        return CONV_SHAPES
    if op in CONV_POOL_OPS:
        return CONV_POOL_SHAPES
    if op in MAX_POOL_OPS + AVG_POOL_OPS:
        return POOL_SHAPES
    if op in DENSE_OPS:
        return DENSE_SHAPES
    if op in ELEMENT_OPS:
        return UPDATE_SHAPES if op in UPDATE_OPS else ELEMENT_SHAPES
    if op in LOSS_OPS:
        return LOSS_SHAPES
    if op in BATCH_NORM_OPS + PRELU_OPS:
        return BATCH_NORM_SHAPES
    if op in FRACTIONAL_POOL_OPS:
        return FRACTIONAL_SHAPES
    return {
        name: re.sub(r"oc\d+|g\d+", "", CONV_SHAPES[name])
        for name in ("mnist_c1", "lenet_c2", "cifar_c1", "n1_28", "tiny")
    }


def find_case(op: str, name: str, dtype: str = "f32") -> Problem:
    """The problem of a named case or shape.

    >>> str(find_case("max_pool2d_forward", "pool_2x2"))
    'max_pool2d_forward:f32:n2c3h6w8:k2s2p0'
    """
    every = shapes_of(op) | cases_of(find_op(op).name)
    if name not in every:
        raise ArgumentError(f"{op} has no case {name!r}; there are {', '.join(every)}")
    return _problem(op, dtype, every[name])


def all_problems(op: str) -> list[Problem]:
    """Every case of an operation in every dtype, the smallest first.

    >>> len(all_problems("dense_forward")) == 2 * len(DENSE_CASES)
    True
    """
    spec = find_op(op)
    problems = [_problem(op, dtype, case) for case in cases_of(op).values() for dtype in DTYPES]
    return sorted(problems, key=spec.nbytes)


def _problem(op: str, dtype: str, case: str) -> Problem:
    return parse_problem(f"{op}:{dtype}:{case}")
