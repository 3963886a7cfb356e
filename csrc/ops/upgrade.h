// Import: every node takes the newest meaning of its operator, its definition, and the types that
// follow.
#pragma once
#include "ir/graph.h"

namespace tiercel {

// Rewrites old opset forms (attributes that became inputs, operators that were renamed) node by
// node in order, binds Node::def and infers types, so that nothing afterwards knows about versions.
// Throws Error(NotImplemented) for an unknown operator, Error(InvalidGraph) for a node that
// contradicts its operator.
void upgrade(Model& model);

}  // namespace tiercel
