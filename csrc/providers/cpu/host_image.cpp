// ImageDecoder: files of images, read by the library that the program gives.
#include <mutex>
#include <utility>

#include "providers/cpu/host_call.h"
#include "providers/cpu/image_decoder.h"

namespace tiercel {
namespace {

struct DecoderSlot {
  std::mutex mutex;
  std::shared_ptr<const ImageDecoder> decoder;
};

DecoderSlot& decoder_slot() {
  static auto* made = new DecoderSlot;
  return *made;
}

std::shared_ptr<const ImageDecoder> current_decoder() {
  DecoderSlot& slot = decoder_slot();
  const std::lock_guard lock(slot.mutex);
  return slot.decoder;
}

std::optional<std::string> without_decoder(const Graph&, const Node&) {
  if (current_decoder()) return std::nullopt;
  return "no library that reads image files: install Pillow (pip install 'tiercel[image]')";
}

std::shared_ptr<const void> keep_decoder(const Graph&, const Node&) { return current_decoder(); }

void image_decoder(HostCall& call) {
  const auto& decode = *static_cast<const ImageDecoder*>(call.state);
  const Tensor& file = tensor(call, 0);
  if (file.rank() != 1) {
    host_fail(call, concat("encoded_stream has shape ", dims_text(file.dims()), "; expected [n]"));
  }
  const std::span<const uint8_t> bytes(file.data<uint8_t>(), static_cast<size_t>(file.size()));
  try {
    give(call, 0, decode(bytes, attribute<std::string>(call.node, "pixel_format", "RGB")));
  } catch (const Error& error) {
    host_fail(call, error.what());
  }
}

constexpr HostOp kImage[] = {
    {"", "ImageDecoder", image_decoder, "", keep_decoder, without_decoder},
};

}  // namespace

void set_image_decoder(ImageDecoder decoder) {
  DecoderSlot& slot = decoder_slot();
  const std::lock_guard lock(slot.mutex);
  slot.decoder = std::make_shared<const ImageDecoder>(std::move(decoder));
}

std::span<const HostOp> host_image_ops() { return kImage; }

}  // namespace tiercel
