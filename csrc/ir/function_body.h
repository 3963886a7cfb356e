// Puts the bodies of model-local functions in the place of their calls.
#pragma once
#include "ir/onnx_proto.h"

namespace tiercel {

// Afterwards no node of the model calls a local function. Throws Error(InvalidGraph) when functions
// call each other in a circle or a call passes more than the function takes.
void inline_functions(proto::Model& model);

}  // namespace tiercel
