// Stream capture and graphs: nodes with what they come after, run in any order that respects it.
#include <algorithm>

#include "driver.h"

namespace softcuda {
namespace {

// Every node that nothing comes after must be one the origin's next operation would come after.
bool joined(const Capture& capture) {
  const auto& nodes = capture.graph->nodes;
  std::vector<bool> ends(nodes.size(), true);
  for (const CUgraphNode_st& node : nodes)
    for (size_t before : node.after) ends[before] = false;
  const auto last = capture.last.find(capture.origin);
  for (size_t i = 0; i < nodes.size(); i++) {
    if (!ends[i]) continue;
    if (last == capture.last.end()) return false;
    if (std::find(last->second.begin(), last->second.end(), i) == last->second.end()) return false;
  }
  return true;
}

CUresult run_nodes(const std::deque<CUgraphNode_st>& nodes) {
  Driver& d = driver();
  std::vector<bool> done(nodes.size(), false);
  for (size_t count = 0; count < nodes.size(); count++) {
    std::vector<size_t> able;
    for (size_t i = 0; i < nodes.size(); i++) {
      const auto& after = nodes[i].after;
      if (!done[i] && std::all_of(after.begin(), after.end(), [&](size_t b) { return done[b]; }))
        able.push_back(i);
      if (!able.empty() && d.options.schedule.seed == 0) break;
    }
    const size_t pick = able[d.options.schedule.seed ? d.next_random() % able.size() : 0];
    done[pick] = true;
    if (CUresult r = nodes[pick].work ? nodes[pick].work() : CUDA_SUCCESS) return r;
  }
  return CUDA_SUCCESS;
}

void end_capture(Capture& capture) {
  if (capture.global) driver().global_captures--;
  for (CUstream_st* s : driver().streams)
    if (s->capture.get() == &capture && s != capture.origin) s->capture.reset();
}

}  // namespace
}  // namespace softcuda

using softcuda::driver;
using softcuda::Lock;
using softcuda::ready;

SOFTCUDA_API cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (!driver().streams.contains(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
  stream->capture = std::make_shared<Capture>();
  stream->capture->graph = std::make_unique<CUgraph_st>();
  stream->capture->origin = stream;
  stream->capture->global = mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
  if (stream->capture->global) driver().global_captures++;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  Lock lock;
  if (CUresult r = ready()) return r;
  *graph = nullptr;
  if (!driver().streams.contains(stream) || !stream->capture)
    return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != stream) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  softcuda::end_capture(*capture);
  stream->capture.reset();
  if (!capture->valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!softcuda::joined(*capture)) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  *graph = capture->graph.release();
  driver().graphs.insert(*graph);
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
  Lock lock;
  const bool named = driver().streams.contains(stream) && stream->capture;
  *status = !named                   ? CU_STREAM_CAPTURE_STATUS_NONE
            : stream->capture->valid ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                     : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  *mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuGraphGetNodes(CUgraph graph, CUgraphNode* nodes, size_t* count) {
  Lock lock;
  if (!driver().graphs.contains(graph)) return CUDA_ERROR_INVALID_VALUE;
  if (nodes)
    for (size_t i = 0; i < std::min(*count, graph->nodes.size()); i++) nodes[i] = &graph->nodes[i];
  *count = graph->nodes.size();
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (!driver().graphs.contains(graph)) return CUDA_ERROR_INVALID_VALUE;
  *exec = new CUgraphExec_st{graph->nodes};
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuGraphUpload(CUgraphExec, CUstream) { return ready(); }
SOFTCUDA_API cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (stream && stream > CU_STREAM_PER_THREAD && stream->capture) return CUDA_ERROR_NOT_SUPPORTED;
  // the graph may be destroyed before its work runs
  auto nodes = std::make_shared<std::deque<CUgraphNode_st>>(exec->nodes);
  return driver().submit(stream, [nodes] {
    driver().statistics.graphs++;
    return softcuda::run_nodes(*nodes);
  });
}
SOFTCUDA_API cuGraphDestroy(CUgraph graph) {
  Lock lock;
  if (!driver().graphs.erase(graph)) return CUDA_ERROR_INVALID_VALUE;
  delete graph;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuGraphExecDestroy(CUgraphExec exec) {
  Lock lock;
  delete exec;
  return CUDA_SUCCESS;
}
