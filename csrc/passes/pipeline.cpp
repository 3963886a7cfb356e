// The pipeline: one visible list of passes per stage, in order, each with the level from which on
// it runs.
#include "passes/passes.h"

namespace tiercel {

namespace {

using enum OptimizationLevel;
using namespace passes;

constexpr Pass kGeneric[] = {
    {"infer", DisableAll, infer},
    {"expand", DisableAll, expand},
    {"fuse-quantize-conv", Extended, fuse_quantize_conv},
    {"fuse-quantize-matmul", Extended, fuse_quantize_matmul},
    {"dce-unused", Basic, dce},
    {"fold", Basic, fold},
    {"simplify", Basic, simplify},
    {"cse", Basic, cse},
    {"dce", Basic, dce},
    {"fuse-batch-norm", Basic, fuse_batch_norm},
    {"infer-again", Basic, infer},
    {"fold-again", Basic, fold},
    {"simplify-again", Basic, simplify},
    {"cse-again", Basic, cse},
    {"fuse-pad", Extended, fuse_pad},
    {"dce-again", Basic, dce},
    {"fuse-quantize", Extended, fuse_quantize},
    {"fuse-patterns", Extended, fuse_patterns},
    {"simplify-fused", Extended, simplify},
    {"dce-fused", Extended, dce},
    {"lower", Extended, lower},
    {"infer-fused", Extended, infer},
};

// The layout pass comes before the fusion of pointwise programs, which then become epilogues of
// blocked kernels.
constexpr Pass kProvider[] = {
    {"narrow", Basic, narrow},
    {"fuse-transpose", Extended, fuse_transpose},
    {"layout", Layout, layout},
    {"fuse-pointwise", Extended, fuse_pointwise},
    {"widen", Extended, widen},
    {"dce-provider", Basic, dce},
    {"allow-bfloat16", DisableAll, allow_bfloat16},
    {"infer-provider", Basic, infer},
};

constexpr Pass kSpecialise[] = {
    {"specialise-infer", DisableAll, infer},
    {"specialise-fold", Basic, fold},
    {"specialise-simplify", Basic, simplify},
    {"specialise-dce", Basic, dce},
};

}  // namespace

std::span<const Pass> generic_passes() { return kGeneric; }

std::span<const Pass> provider_passes() { return kProvider; }

std::span<const Pass> specialise_passes() { return kSpecialise; }

}  // namespace tiercel
