// Image files are read by a Python function: tiercel.images.decode.
#include "bindings/images.h"

#include "bindings/numpy_values.h"
#include "providers/cpu/image_decoder.h"

namespace py = pybind11;

namespace tiercel::bindings {
namespace {

// `decode(bytes, pixel_format)` returns a uint8 array.
Tensor call_decoder(PyObject* decode, std::span<const uint8_t> file, const std::string& format) {
  const py::gil_scoped_acquire gil;
  try {
    const py::bytes bytes(reinterpret_cast<const char*>(file.data()), file.size());
    const py::object image = py::handle(decode)(bytes, format);
    return *to_owning_value(image.ptr(), Type::tensor(DType::UInt8), "image").tensor();
  } catch (py::error_already_set& raised) {
    throw_error(ErrorKind::InvalidArgument, py::str(raised.value()).cast<std::string>());
  }
}

}  // namespace

void bind_images(py::module_& module) {
  module.def(
      "set_image_decoder",
      [](const py::object& decode) {
        PyObject* kept = py::object(decode).release().ptr();  // for as long as the process lives
        set_image_decoder([kept](std::span<const uint8_t> file, const std::string& format) {
          return call_decoder(kept, file, format);
        });
      },
      py::arg("decode"), "Reads image files in sessions made afterwards.");
}

}  // namespace tiercel::bindings
