// Drives the fuzz target without libFuzzer: every file as it is, then mutations until time is over.
//
// fuzz_session [--seconds N] [--seed S] [--last FILE] FILE|FOLDER...
// FILE of --last keeps the input being tried, and so the one that ended the process.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// Asking for too much memory is an error of the model, not of the library.
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1:max_allocation_size_mb=2048:detect_leaks=0";
}

namespace {

using Bytes = std::vector<uint8_t>;
using Random = std::mt19937_64;

constexpr unsigned kHang = 60;  // seconds after which one input counts as a hang

struct Settings {
  double seconds = 0;
  uint64_t seed = 1;
  std::string last = "last-input.onnx";
  std::vector<std::string> files;
};

bool varint(const Bytes& data, size_t& at, size_t end, uint64_t& value) {
  value = 0;
  for (int shift = 0; at < end && shift < 64; shift += 7) {
    const uint8_t byte = data[at++];
    value |= uint64_t{byte & 127U} << shift;
    if ((byte & 128) == 0) return true;
  }
  return false;
}

// Positions that are not within long runs of plain bytes (weights): where damage matters. False
// when [at, end) is no message.
bool structure(const Bytes& data, size_t at, size_t end, int depth, std::vector<size_t>& out) {
  constexpr size_t kLong = 96;
  while (at < end) {
    const size_t start = at;
    uint64_t tag = 0;
    uint64_t length = 0;
    if (!varint(data, at, end, tag) || (tag >> 3) == 0 || (tag >> 3) > 32) return false;
    const auto wire = tag & 7;
    if (wire == 0 && !varint(data, at, end, length)) return false;
    if (wire == 1 || wire == 5) at += wire == 1 ? 8 : 4;
    if (wire == 2 && !varint(data, at, end, length)) return false;
    if (wire == 3 || wire == 4 || wire > 5 || at > end) return false;
    for (size_t i = start; i < at; ++i) out.push_back(i);
    if (wire != 2) continue;
    if (length > end - at) return false;
    const size_t had = out.size();
    const bool message = depth < 12 && structure(data, at, at + length, depth + 1, out);
    if (!message) {
      out.resize(had);
      for (size_t i = 0; i < std::min<size_t>(length, kLong); ++i) out.push_back(at + i);
    }
    at += length;
  }
  return true;
}

Bytes mutate(const Bytes& from, const std::vector<size_t>& places, Random& random) {
  Bytes data = from;
  if (data.empty()) return data;
  const auto pick = [&](size_t count) { return static_cast<size_t>(random() % count); };
  const auto place = [&] {
    return places.empty() ? pick(data.size()) : places[pick(places.size())];
  };
  constexpr uint8_t special[] = {0, 1, 2, 7, 16, 127, 128, 129, 254, 255};
  const size_t changes = 1 + pick(4);
  for (size_t i = 0; i < changes && !data.empty(); ++i) {
    const size_t at = std::min(place(), data.size() - 1);
    switch (pick(8)) {
      case 0:
        data.resize(at);
        break;
      case 1:
        data.erase(data.begin() + static_cast<ptrdiff_t>(at));
        break;
      case 2:
        data.insert(data.begin() + static_cast<ptrdiff_t>(at), special[pick(std::size(special))]);
        break;
      case 3:
        data[at] = data[std::min(place(), data.size() - 1)];
        break;
      case 4:
        data[at] = special[pick(std::size(special))];
        break;
      case 5:
        data[at] = static_cast<uint8_t>(data[at] + (pick(2) == 0 ? 1 : 255));
        break;
      default:
        data[at] ^= static_cast<uint8_t>(1U << pick(8));
    }
  }
  return data;
}

void attempt(const Bytes& data, const Settings& settings) {
  std::ofstream(settings.last, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
  alarm(kHang);
  LLVMFuzzerTestOneInput(data.data(), data.size());
  alarm(0);
}

Settings parse(int argc, char** argv) {
  Settings out;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const std::string next = i + 1 < argc ? argv[i + 1] : "";
    if (word == "--seconds") {
      out.seconds = std::stod(next);
    } else if (word == "--seed") {
      out.seed = std::stoull(next);
    } else if (word == "--last") {
      out.last = next;
    } else if (std::filesystem::is_directory(word)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(word)) {
        if (entry.path().extension() == ".onnx") out.files.push_back(entry.path().string());
      }
      continue;
    } else {
      out.files.push_back(word);
      continue;
    }
    ++i;
  }
  return out;
}

struct Seed {
  Bytes data;
  std::vector<size_t> places;
};

}  // namespace

int main(int argc, char** argv) {
  const Settings settings = parse(argc, argv);
  std::vector<Seed> seeds;
  for (const std::string& name : settings.files) {
    std::ifstream file(name, std::ios::binary);
    Seed seed{{std::istreambuf_iterator<char>(file), {}}, {}};
    structure(seed.data, 0, seed.data.size(), 0, seed.places);
    attempt(seed.data, settings);
    seeds.push_back(std::move(seed));
  }
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(settings.seconds);
  Random random(settings.seed);
  int64_t tries = 0;
  for (; !seeds.empty() && Clock::now() < end; ++tries) {
    const Seed& seed = seeds[random() % seeds.size()];
    attempt(mutate(seed.data, seed.places, random), settings);
  }
  std::printf("%zu files, %lld mutations, no crash\n", seeds.size(), static_cast<long long>(tries));
  std::remove(settings.last.c_str());
  return 0;
}
