// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/description_writers.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <eddy/loop/detail/text.h>

namespace eddy::detail {

namespace {

/// Returns the number of bytes of the first character of `text` in UTF-8 (RFC 3629); zero if the
/// bytes are not UTF-8.
std::size_t character_size(std::string_view text) noexcept {
  const auto at = [text](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  const std::size_t size = first < 0xc2   ? 0
                           : first < 0xe0 ? 2
                           : first < 0xf0 ? 3
                           : first < 0xf5 ? 4
                                          : 0;
  // No overlong form, no surrogate, and nothing beyond the last code point.
  const unsigned least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (size == 0 || at(1) < least || at(1) > most) return 0;
  for (std::size_t i = 2; i < size; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  return size;
}

/// A byte that is not UTF-8 becomes the character of its number.
void add_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const char c = text.front();
    const auto code = static_cast<unsigned char>(c);
    const std::size_t size = character_size(text);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20 || size == 0) {
      constexpr std::string_view hexadecimal = "0123456789abcdef";
      out += "\\u00";
      out += hexadecimal[code >> 4];
      out += hexadecimal[code & 15];
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  out += '"';
}

}  // namespace

void text_writer::write(const node& added) {
  out_.append(static_cast<std::size_t>(added.depth) * 2, ' ');
  if (added.line != 0) {
    add_text(out_, {visible(added.function), " at ", visible(added.file), ":", added.line, ": "});
  }
  const std::size_t indent = std::min(added.words.find_first_not_of(' '), added.words.size());
  add_text(out_, {visible(added.words.substr(indent)), "\n"});
}

void limit_writer::write(const node& added) {
  const std::size_t begin = text.size() + static_cast<std::size_t>(added.depth) * 2;
  text_.write(added);
  constexpr std::size_t most = 4096;
  if (line.size() > most) return;
  if (!line.empty()) line += added.depth > depth_before_ ? " > " : " | ";
  depth_before_ = added.depth;
  const std::string_view words = std::string_view(text).substr(begin, text.size() - begin - 1);
  for (const char c : words.substr(0, most + 1)) {
    if ((c == '>' || c == '|') && line.ends_with(' ')) line += '\\';  // it ends no node
    line += c;
  }
  if (line.size() > most) line.replace(most, std::string::npos, " ...");
}

void json_writer::write(const node& added) {
  if (added.depth <= open_) {
    close_to(added.depth);
    out_ += "},";
  } else if (open_ != 0) {
    out_ += ",\"below\":[";
  }
  open_ = added.depth;
  out_ += '{';
  if (added.line != 0) {
    out_ += "\"function\":";
    add_string(out_, added.function);
    out_ += ",\"file\":";
    add_string(out_, added.file);
    add_text(out_, {",\"line\":", added.line, ","});
  }
  out_ += "\"waits_for\":";
  add_string(out_, added.words);
}

void json_writer::close() {
  close_to(1);
  out_ += open_ == 0 ? "]" : "}]";
}

void json_writer::close_to(int depth) {
  for (; open_ > depth; --open_) out_ += "}]";
}

}  // namespace eddy::detail
