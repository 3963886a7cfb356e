"""The operators of com.microsoft that ONNX Runtime has and tiercel has not, and why."""

_GPU = "runs on GPUs only"
_LOOP = "a whole generation loop; its body runs as a model"
_OTHER_DEVICE = "hands its work to a compiler of another vendor"
_LAYOUT = "weights in a layout of one device's kernels"
_SERVING = "bookkeeping of a serving engine's paged or speculative caches"

CONTRIB: dict[str, str] = {
    "AttnLSTM": "a recurrence that no exporter emits any more",
    "BeamSearch": _LOOP,
    "ConvStateReplay": _SERVING,
    "DecoderAttention": "its form is chosen by booleans at run time",
    "DecoderMaskedSelfAttention": f"{_GPU}, inside generation loops",
    "DequantizeBFP": _OTHER_DEVICE,
    "DequantizeWithOrder": _LAYOUT,
    "DynamicSparseAttention": _GPU,
    "EPContext": _OTHER_DEVICE,
    "GatedDeltaNetStateReplay": _SERVING,
    "GatherPacked": _LAYOUT,
    "GemmFloat8": f"{_GPU}; products of float8 run as DequantizeLinear and Gemm",
    "GreedySearch": _LOOP,
    "HyperConnectionLowRankMix": _GPU,
    "LongformerAttention": _GPU,
    "Mamba2Verify": _SERVING,
    "MatMulBlockQuantizedFp4Weight": _LAYOUT,
    "MatMulBlockQuantizedFp8Weight": _LAYOUT,
    "MatMulFpQ4": _LAYOUT,
    "MatMulPacked": _LAYOUT,
    "MaxpoolWithMask": "for internal use, says its definition",
    "MoEPacked": _LAYOUT,
    "PackedSparseAttentionIndexer": _SERVING,
    "PackedSparseAttentionIndexerMerge": _SERVING,
    "PagedAttention": _SERVING,
    "QOrderedAttention": _LAYOUT,
    "QOrderedGelu": _LAYOUT,
    "QOrderedLayerNormalization": _LAYOUT,
    "QOrderedLongformerAttention": _LAYOUT,
    "QOrderedMatMul": _LAYOUT,
    "QuantizeBFP": _OTHER_DEVICE,
    "QuantizeWithOrder": _LAYOUT,
    "RMSNormRotary": _GPU,
    "RouterGateUpProj": _GPU,
    "Sampling": _LOOP,
    "Snpe": _OTHER_DEVICE,
    "SparseAttentionIndexer": _SERVING,
    "SparsePagedAttention": _SERVING,
    "SparseToDenseMatMul": "takes sparse tensors at run time",
    "SpeculativePrefixCommit": _SERVING,
    "VarlenNGramHashMapping": "over packed requests; NGramHashMapping is its form by batches",
    "WhisperBeamSearch": _LOOP,
}
