// Writes the optimised graph of a session as a model of its own.
#pragma once
#include "session/session.h"

namespace tiercel {

// To options.optimized_model_path; `outputs`: the names that the model's outputs have. The config
// entries session.optimized_model_external_initializers_* put large weights into a file beside it.
void write_optimized_model(const Model& model, const std::vector<IoInfo>& outputs,
                           const SessionOptions& options);

}  // namespace tiercel
