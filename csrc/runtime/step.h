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
  std::shared_ptr<const void> state;   // what `run` needs: kernel row, attributes, packed weights, subplans
  NodeId node = kNone;                 // in the plan's graph, for names and messages
  std::vector<ValueId> inputs;         // kNone: absent
  std::vector<ValueId> outputs;
  int64_t workspace = 0;               // bytes in the arena, shared by the threads of the step
  bool inplace = false;                // output 0 may share the bytes of input 0
};

}  // namespace tiercel
