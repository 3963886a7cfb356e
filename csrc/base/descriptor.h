// A file's descriptor that is closed when done with.
#pragma once
#include <unistd.h>

namespace tiercel {

struct Descriptor {
  int number = -1;  // below 0: none is open
  explicit Descriptor(int opened) : number(opened) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

}  // namespace tiercel
