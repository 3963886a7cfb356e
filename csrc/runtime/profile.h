// The profiler: what each step took, written as Chrome-trace JSON.
#pragma once
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace tiercel {

class Profiler {
 public:
  using Clock = std::chrono::steady_clock;
  struct Event {
    std::string category;  // "Session" or "Node"
    std::string name;
    int64_t start_us;
    int64_t duration_us;
    std::vector<std::pair<std::string, std::string>> args;  // values are JSON texts
    int64_t thread = 0;                                     // set by add()
  };

  explicit Profiler(std::string prefix) : prefix_(std::move(prefix)), start_(Clock::now()) {}
  [[nodiscard]] int64_t now_us() const;
  [[nodiscard]] int64_t start_ns() const;
  void add(Event event);
  // Writes what was recorded to "<prefix><date>.json" and gives the path. Later events are dropped.
  std::string write();

 private:
  std::string prefix_;
  Clock::time_point start_;
  std::mutex mutex_;
  std::vector<Event> events_;
  std::string path_;
};

// A JSON string literal.
[[nodiscard]] std::string json_text(std::string_view text);

}  // namespace tiercel
