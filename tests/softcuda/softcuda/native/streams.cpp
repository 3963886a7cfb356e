// Streams and events: queues whose work runs when somebody waits for it, or at random.
#include <algorithm>

#include "driver.h"

namespace softcuda {
namespace {

// What the provider says is in a stream: the null stream's three names, or a handle.
std::shared_ptr<Queue> queue_of(CUstream stream) {
  if (!stream || stream == CU_STREAM_LEGACY) return driver().null_queue;
  if (stream == CU_STREAM_PER_THREAD) return driver().thread_queue;
  return stream->queue;
}

bool known(CUstream stream) {
  return !stream || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD ||
         driver().streams.contains(stream);
}

Capture* capture_of(CUstream stream) {
  const bool named = stream && stream != CU_STREAM_LEGACY && stream != CU_STREAM_PER_THREAD;
  return named ? stream->capture.get() : nullptr;
}

CUresult add_node(CUstream stream, Capture& capture, Work work) {
  std::vector<size_t>& last = capture.last[stream];
  capture.graph->nodes.push_back({std::move(work), last});
  last = {capture.graph->nodes.size() - 1};
  return CUDA_SUCCESS;
}

}  // namespace

void Driver::run_until(Queue& queue, uint64_t count) {
  while (queue.done < count && !queue.waiting.empty()) {
    Operation operation = std::move(queue.waiting.front());
    queue.waiting.pop_front();
    for (const Mark& mark : operation.after) run_until(*mark.queue, mark.count);
    const CUresult r = !failed && operation.work ? operation.work() : CUDA_SUCCESS;
    if (r && !failed) failed = r;
    queue.done++;
  }
}

void Driver::run_all() {
  for (const auto& weak : queues)
    if (const auto queue = weak.lock()) run_until(*queue, queue->submitted);
  std::erase_if(queues, [](const auto& weak) { return weak.expired(); });
}

CUresult Driver::submit(CUstream stream, Work work, std::vector<Mark> after) {
  if (!known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (Capture* capture = capture_of(stream)) {
    if (!capture->valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    return add_node(stream, *capture, std::move(work));
  }
  const auto queue = queue_of(stream);
  if (queue == null_queue) {
    for (CUstream_st* s : streams)
      if (s->capture && s->queue->blocking) {
        s->capture->valid = false;
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      }
    for (const auto& weak : queues) {
      const auto other = weak.lock();
      if (other && other != queue && other->blocking) after.push_back({other, other->submitted});
    }
  } else if (queue->blocking) {
    after.push_back({null_queue, null_queue->submitted});
  }
  queue->waiting.push_back({std::move(work), std::move(after)});
  queue->submitted++;
  if (options.streams == StreamMode::kEager) run_until(*queue, queue->submitted);
  if (options.streams == StreamMode::kRandom)
    for (const auto& weak : queues)
      if (const auto any = weak.lock(); any && (next_random() & 1)) run_until(*any, any->done + 1);
  return failed;
}

CUresult Driver::finish(CUstream stream) {
  if (!known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (Capture* capture = capture_of(stream)) {
    capture->valid = false;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  const auto queue = queue_of(stream);
  if (queue == null_queue) {
    // waiting for the null stream is waiting for all that it is ordered with
    for (const auto& weak : queues)
      if (const auto other = weak.lock(); other && other->blocking)
        run_until(*other, other->submitted);
  }
  run_until(*queue, queue->submitted);
  return failed;
}

}  // namespace softcuda

using softcuda::driver;
using softcuda::Lock;
using softcuda::ready;

SOFTCUDA_API cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int priority) {
  Lock lock;
  if (CUresult r = ready()) return r;
  *stream = new CUstream_st;
  (*stream)->queue = std::make_shared<softcuda::Queue>();
  (*stream)->queue->blocking = !(flags & CU_STREAM_NON_BLOCKING);
  (*stream)->flags = flags, (*stream)->priority = priority;
  driver().queues.push_back((*stream)->queue);
  driver().streams.insert(*stream);
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuStreamCreate(CUstream* stream, unsigned flags) {
  return cuStreamCreateWithPriority(stream, flags, 0);
}
SOFTCUDA_API cuStreamDestroy(CUstream stream) {
  Lock lock;
  if (!driver().streams.contains(stream)) return CUDA_ERROR_INVALID_HANDLE;
  driver().run_until(*stream->queue, stream->queue->submitted);
  driver().streams.erase(stream);
  delete stream;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuStreamSynchronize(CUstream stream) {
  Lock lock;
  if (CUresult r = ready()) return r;
  return driver().finish(stream);
}
SOFTCUDA_API cuStreamQuery(CUstream stream) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (!softcuda::known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  const auto queue = softcuda::queue_of(stream);
  // asking makes progress, so that loops of questions end
  driver().run_until(*queue, queue->done + 1);
  if (driver().failed) return driver().failed;
  return queue->done == queue->submitted ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
SOFTCUDA_API cuStreamGetFlags(CUstream stream, unsigned* flags) {
  *flags = stream && stream > CU_STREAM_PER_THREAD ? stream->flags : 0;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuStreamGetPriority(CUstream stream, int* priority) {
  *priority = stream && stream > CU_STREAM_PER_THREAD ? stream->priority : 0;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
  Lock lock;
  if (CUresult r = ready()) return r;
  return driver().submit(stream, [=] {
    function(data);
    return CUDA_SUCCESS;
  });
}

SOFTCUDA_API cuEventCreate(CUevent* event, unsigned flags) {
  Lock lock;
  if (CUresult r = ready()) return r;
  *event = new CUevent_st;
  (*event)->timed = !(flags & CU_EVENT_DISABLE_TIMING);
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuEventDestroy(CUevent event) {
  Lock lock;
  delete event;
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuEventRecord(CUevent event, CUstream stream) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (!softcuda::known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (Capture* capture = softcuda::capture_of(stream)) {
    event->capture = stream->capture;
    event->nodes = capture->last[stream];
    return CUDA_SUCCESS;
  }
  event->capture.reset();
  // an operation that does nothing: it carries what the null stream is ordered with
  if (CUresult r = driver().submit(stream, {})) return r;
  const auto queue = softcuda::queue_of(stream);
  event->mark = {queue, queue->submitted};
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned) {
  return cuEventRecord(event, stream);
}
SOFTCUDA_API cuEventSynchronize(CUevent event) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (event->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (event->mark.queue) driver().run_until(*event->mark.queue, event->mark.count);
  return driver().failed;
}
SOFTCUDA_API cuEventQuery(CUevent event) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (!event->mark.queue) return CUDA_SUCCESS;
  softcuda::Queue& queue = *event->mark.queue;
  if (queue.done < event->mark.count) driver().run_until(queue, queue.done + 1);
  if (driver().failed) return driver().failed;
  return queue.done >= event->mark.count ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
#undef cuEventElapsedTime
SOFTCUDA_API cuEventElapsedTime_v2(float* milliseconds, CUevent start, CUevent end) {
  Lock lock;
  if (!start->timed || !end->timed || !start->mark.queue || !end->mark.queue)
    return CUDA_ERROR_INVALID_HANDLE;
  for (CUevent e : {start, end})
    if (e->mark.queue->done < e->mark.count) return CUDA_ERROR_NOT_READY;
  *milliseconds = 0.001f;  // the software device has no clock worth reading
  return CUDA_SUCCESS;
}
SOFTCUDA_API cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}
SOFTCUDA_API cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  Lock lock;
  if (CUresult r = ready()) return r;
  if (!softcuda::known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  Capture* capture = softcuda::capture_of(stream);
  if (event->capture) {
    if (!capture && stream && stream > CU_STREAM_PER_THREAD) {
      stream->capture = event->capture;
      capture = stream->capture.get();
    }
    if (!capture || stream->capture != event->capture) return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    auto& last = capture->last[stream];
    last.insert(last.end(), event->nodes.begin(), event->nodes.end());
    return CUDA_SUCCESS;
  }
  if (capture) {
    capture->valid = false;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (!event->mark.queue) return CUDA_SUCCESS;
  return driver().submit(stream, {}, {event->mark});
}
