// Constants of a GPU in other forms, known by the host's bytes that they are made of.
#include "providers/cuda/kept.h"

#include <tuple>

#include "providers/cuda/launched.h"

namespace tiercel::cuda {

Derived::Derived(const std::shared_ptr<Device>& device, const Graph& graph, ValueId id,
                 std::string_view form) {
  const Tensor* source = constant_behind(graph, id);
  if (source == nullptr) return;
  using Key = std::tuple<const Device*, const void*, DType, Dims, std::string>;
  static std::mutex mutex;
  static std::map<Key, std::weak_ptr<Constant>> constants;
  const std::lock_guard lock(mutex);
  std::weak_ptr<Constant>& known =
      constants[{device.get(), source->raw(), source->dtype(), source->dims(), std::string(form)}];
  constant_ = known.lock();
  if (constant_) return;
  constant_ = std::make_shared<Constant>(device, source->buffer());
  known = constant_;
  std::erase_if(constants, [](const auto& entry) { return entry.second.expired(); });
}

}  // namespace tiercel::cuda
