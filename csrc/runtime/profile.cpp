// The profiler: what each step took, written as Chrome-trace JSON.
#include "runtime/profile.h"

#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <fstream>

#include "base/error.h"

namespace tiercel {

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof(code), "\\u%04x", c);
      out += code;
    } else {
      out += c;
    }
  }
  return out + '"';
}

int64_t Profiler::now_us() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start_).count();
}

int64_t Profiler::start_ns() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(start_.time_since_epoch()).count();
}

void Profiler::add(Event event) {
  event.thread = gettid();
  std::lock_guard lock(mutex_);
  if (path_.empty()) events_.push_back(std::move(event));
}

std::string Profiler::write() {
  std::lock_guard lock(mutex_);
  if (!path_.empty()) return path_;
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char date[32];
  std::strftime(date, sizeof(date), "%Y-%m-%d_%H-%M-%S", &local);
  path_ = prefix_ + date + ".json";
  std::ofstream file(path_);
  file << "[\n";
  for (size_t i = 0; i < events_.size(); ++i) {
    const Event& event = events_[i];
    file << "{\"cat\":" << json_text(event.category) << ",\"pid\":" << getpid()
         << ",\"tid\":" << event.thread << ",\"dur\":" << event.duration_us
         << ",\"ts\":" << event.start_us << ",\"ph\":\"X\",\"name\":" << json_text(event.name)
         << ",\"args\":{";
    for (size_t a = 0; a < event.args.size(); ++a) {
      file << (a == 0 ? "" : ",") << json_text(event.args[a].first) << ":" << event.args[a].second;
    }
    file << (i + 1 == events_.size() ? "}}\n" : "}},\n");
  }
  file << "]\n";
  file.close();
  if (!file) throw_error(ErrorKind::Fail, "cannot write the profile to ", path_);
  events_.clear();
  return path_;
}

}  // namespace tiercel
