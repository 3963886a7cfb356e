// A file mapped into memory, read-only.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace tiercel {

class MappedFile {
 public:
  // Throws Error(NoSuchFile) when the file cannot be opened, Error(Fail) when it cannot be mapped.
  static std::shared_ptr<MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  // For bytes that will not be read soon: the memory of whole pages that lie in some mapped file is
  // given back, and is read from the file again when needed. Nothing for other memory.
  static void release(std::span<const std::byte> bytes);

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_;
  size_t size_;
};

}  // namespace tiercel
