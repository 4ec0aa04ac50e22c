"""What a method's own numbers have to be on a stand-in, whose matrices are too small for those that fit real ones."""

SMALL = {
    "c3a": ("method.block_size=4",),
    "lora_xs": ("method.rank=4",),
    "psoft": ("method.r=4",),
    "svft_truncated": ("method.rank=4",),
    "vblora": ("method.vector_length=4", "method.num_vectors=16"),
}
