// Finds and maps external tensor data inside the model's folder.
#include "ir/external_data.h"

#include <charconv>
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"

namespace tiercel {

namespace {

namespace fs = std::filesystem;

struct Place {
  std::string location;
  int64_t offset = 0;
  int64_t length = -1;
};

int64_t number(const std::string& text, const std::string& tensor, const char* what) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw_error(ErrorKind::InvalidGraph, "tensor \"", tensor, "\": ", what,
                " of its external data is \"", text, "\"; expected a number of bytes");
  }
  return value;
}

// The file's real path; every way out of the folder is an error.
fs::path contained(const std::string& location, const std::string& folder,
                   const std::string& tensor) {
  const auto refuse = [&](const char* why) {
    throw_error(ErrorKind::InvalidGraph, "tensor \"", tensor, "\": external data \"", location,
                "\" ", why, "; it must be a file inside the model's folder");
  };
  const fs::path relative(location);
  if (location.empty()) refuse("has no location");
  if (folder.empty()) refuse("cannot be found for a model from memory without a folder");
  if (location.find('\0') != std::string::npos) refuse("has a name that no file can have");
  if (relative.is_absolute()) refuse("is an absolute path");
  for (const fs::path& part : relative) {
    if (part == "..") refuse("leads out of the folder");
  }
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  if (error) refuse("has no folder");
  const fs::path file = fs::canonical(root / relative, error);
  if (error) refuse("does not exist");
  const fs::path inside = file.lexically_relative(root);
  if (inside.empty() || *inside.begin() == "..") refuse("leads out of the folder by a link");
  return file;
}

}  // namespace

ExternalBytes external_bytes(const std::vector<std::pair<std::string, std::string>>& entries,
                             const std::string& folder, const std::string& tensor, int64_t expected,
                             const ExternalSources* sources) {
  Place place;
  for (const auto& [key, value] : entries) {
    if (key == "location") place.location = value;
    if (key == "offset") place.offset = number(value, tensor, "offset");
    if (key == "length") place.length = number(value, tensor, "length");
  }
  ExternalBytes file;
  const bool in_memory = sources != nullptr && sources->files.contains(place.location);
  if (in_memory) {
    file = sources->files.at(place.location);
  } else {
    const std::shared_ptr<MappedFile> mapped =
        MappedFile::open(contained(place.location, folder, tensor).string());
    file = {mapped->bytes(), mapped};
  }
  const auto size = static_cast<int64_t>(file.bytes.size());
  const int64_t length = place.length < 0 ? expected : place.length;
  if (place.offset > size || length > size - place.offset) {
    throw_error(ErrorKind::InvalidGraph, "tensor \"", tensor, "\": external data \"",
                place.location, "\" has ", size, " bytes; expected ", length, " from byte ",
                place.offset);
  }
  return {file.bytes.subspan(static_cast<size_t>(place.offset), static_cast<size_t>(length)),
          file.owner};
}

}  // namespace tiercel
