#include "utf8.h"

#include <cstdio>
#include <cstring>

namespace elanus::codecs {
namespace {

/** pg_utf_mblen: by the first byte alone. */
size_t SequenceLength(uint8_t first) {
  if (first < 0x80) return 1;
  if ((first & 0xe0) == 0xc0) return 2;
  if ((first & 0xf0) == 0xe0) return 3;
  if ((first & 0xf8) == 0xf0) return 4;
  return 1;
}

/** pg_utf8_islegal for one multi-byte sequence that is there in full; only the first `have` bytes are looked at. */
bool Legal(const uint8_t* p, size_t length, size_t have) {
  const uint8_t a = p[0];
  if (length == 1 || a < 0xc2 || a > 0xf4) return false;
  if (have >= 2) {
    const uint8_t b = p[1];
    if ((b & 0xc0) != 0x80) return false;
    if (a == 0xe0 && b < 0xa0) return false;
    if (a == 0xed && b > 0x9f) return false;
    if (a == 0xf0 && b < 0x90) return false;
    if (a == 0xf4 && b > 0x8f) return false;
  }
  for (size_t i = 2; i < have; i++) {
    if ((p[i] & 0xc0) != 0x80) return false;
  }
  return true;
}

}  // namespace

size_t ValidUtf8Prefix(const uint8_t* data, size_t size) {
  size_t i = 0;
  while (i < size) {
    // Eight ASCII bytes at a time; a byte of 0 makes the subtraction borrow into its top bit.
    while (size - i >= 8) {
      uint64_t word;
      std::memcpy(&word, data + i, 8);
      if (((word | (word - 0x0101010101010101ull)) & 0x8080808080808080ull) != 0) break;
      i += 8;
    }
    if (i >= size) break;
    const uint8_t byte = data[i];
    if (byte < 0x80) {
      if (byte == 0) return i;
      i++;
      continue;
    }
    const size_t length = SequenceLength(byte);
    if (length > size - i || !Legal(data + i, length, length)) return i;
    i += length;
  }
  return size;
}

bool MayContinueUtf8(const uint8_t* data, size_t size) {
  if (size == 0 || data[0] < 0x80) return false;
  const size_t length = SequenceLength(data[0]);
  return length > size && Legal(data, length, size);
}

std::string InvalidUtf8Message(const uint8_t* data, size_t size) {
  std::string message = "invalid byte sequence for encoding \"UTF8\":";
  size_t length = size == 0 ? 0 : SequenceLength(data[0]);
  if (length > size) length = size;
  for (size_t i = 0; i < length; i++) {
    char text[8];
    std::snprintf(text, sizeof text, " 0x%02x", data[i]);
    message += text;
  }
  return message;
}

size_t CountCharacters(const uint8_t* data, size_t size) {
  size_t count = 0;
  for (size_t i = 0; i < size; i++) count += (data[i] & 0xc0) != 0x80;
  return count;
}

}  // namespace elanus::codecs
