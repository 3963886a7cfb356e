// Work of a GPU recorded once as a CUDA graph and given again as a whole.
#include "providers/cuda/recording.h"

namespace tiercel::cuda {

Recording::~Recording() {
  if (exec_ != nullptr) static_cast<void>(driver_.graph_exec_destroy(exec_));
}

void Recording::finish(GraphHandle graph) {
  const Result made = driver_.graph_instantiate(&exec_, graph, 0);
  static_cast<void>(driver_.graph_destroy(graph));
  driver_.check(made, "cuGraphInstantiateWithFlags");
}

void Recording::launch(StreamHandle stream) {
  driver_.check(driver_.graph_launch(exec_, stream), "cuGraphLaunch");
}

}  // namespace tiercel::cuda
