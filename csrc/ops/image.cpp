// Images as files.
#include "ops/families.h"
#include "ops/op_def.h"

namespace tiercel {
namespace {

void image_decoder(InferContext& ctx) {
  const std::string format = ctx.attr_string("pixel_format", "RGB");
  if (format != "RGB" && format != "BGR" && format != "Grayscale") {
    ctx.fail(concat("pixel_format is \"", format, "\"; expected RGB, BGR or Grayscale"));
  }
  ctx.set(0, DType::UInt8, Shape{Dim(), Dim(), format == "Grayscale" ? 1 : 3});
}

}  // namespace

OpList image_ops() {
  return {
      {.name = "ImageDecoder",
       .since = 20,
       .inputs = {{"encoded_stream", "T1"}},
       .outputs = {{"image", "T2"}},
       .types = {{"T1", "uint8"}, {"T2", "uint8"}},
       .attributes = {{"pixel_format", AttrDef::String, false, std::string("RGB")}},
       .shape = image_decoder,
       .facts = kDataDependent},
  };
}

}  // namespace tiercel
