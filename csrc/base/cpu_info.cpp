// Asks the processor once which instruction sets it runs.
#include "base/cpu_info.h"

#include <cstdlib>
#include <vector>

#include "base/platform.h"

namespace tiercel {

namespace {

std::vector<std::string_view> detect() {
  const char* forced = std::getenv("TIERCEL_ISA");
  std::vector<std::string_view> found;
  bool allowed = forced == nullptr || *forced == '\0';
  for (std::string_view isa : kIsas) {
    allowed = allowed || isa == forced;
    if (allowed && cpu_has_isa(isa)) found.push_back(isa);
  }
  return found;
}

}  // namespace

std::span<const std::string_view> supported_isas() {
  static const std::vector<std::string_view> isas = detect();
  return isas;
}

int isa_rank(std::string_view isa) {
  int rank = 0;
  for (std::string_view known : supported_isas()) {
    if (known == isa) return rank;
    ++rank;
  }
  return -1;
}

}  // namespace tiercel
