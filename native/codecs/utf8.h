// UTF-8 as PostgreSQL checks it (wchar.c, pg_utf8_verifystr): no NUL, no overlong forms, no surrogates, at most U+10FFFF.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace elanus::codecs {

/** Length of the valid prefix; a sequence cut off at the end is not part of it. */
size_t ValidUtf8Prefix(const uint8_t* data, size_t size);
/** 'invalid byte sequence for encoding "UTF8": 0xc3 0x28' for what stands at `data`. */
std::string InvalidUtf8Message(const uint8_t* data, size_t size);
/** True when the bytes at `data`, all that are left, may be the beginning of a valid sequence. */
bool MayContinueUtf8(const uint8_t* data, size_t size);
size_t CountCharacters(const uint8_t* data, size_t size);

}  // namespace elanus::codecs
