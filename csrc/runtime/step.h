// One step of a plan: a function, the slots it reads and writes, and its private state.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace tiercel {

class RunContext;
struct Step;

using StepFn = void (*)(const Step& step, RunContext& context);

struct Step {
  StepFn run = nullptr;
  std::shared_ptr<const void>
      state;            // what `run` needs: kernel row, attributes, packed weights, subplans
  NodeId node = kNone;  // in the plan's graph, for names and messages
  std::vector<ValueId> inputs;  // kNone: absent; captures of subgraphs follow the node's own
  std::vector<ValueId> outputs;
  int inplace = -1;           // input whose bytes output 0 may share when sizes agree; -1: none
  bool takes_values = false;  // works on Values and makes its outputs' Values itself
  bool reads_on = false;      // reads its inputs until the run is over
  std::string kernel;         // for people: "generic v4", "pointwise", "host"
};

}  // namespace tiercel
