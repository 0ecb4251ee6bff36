// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tls/detail/openssl.h>

#include <algorithm>
#include <cstddef>
#include <new>

#include <eddy/loop/detail/text.h>

namespace eddy::detail {

std::string reason_of(unsigned long error) {
  const char* const reason = ERR_reason_error_string(error);
  if (reason != nullptr) return reason;
  return text({"error ", error});
}

std::string words_of(const X509_NAME* name) {
  const openssl_ptr<BIO> out(BIO_new(BIO_s_mem()));
  if (!out) throw std::bad_alloc();
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  // A peer chooses the name, and it is to fit into a line of a log.
  constexpr long most = 256;
  std::string words(data, static_cast<std::size_t>(std::clamp(size, 0L, most)));
  if (size > most) words += "...";
  return visible(words);
}

}  // namespace eddy::detail
