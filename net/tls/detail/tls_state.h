// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// A `tls_stream` and its operations share a `tls_state`. The awaiter of a read is here, too.

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <eddy/future/as_result.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/task.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/counted.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/wait_list.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/callback_task.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/detail/write_observed.h>
#include <eddy/net/detail/write_observer.h>
#include <eddy/net/tls/tls_certificate.h>
#include <eddy/net/tls/tls_context.h>

struct bio_st;
struct ssl_session_st;
struct ssl_st;
struct x509_store_ctx_st;

namespace eddy::detail {

struct ssl_deleter {
  void operator()(ssl_st* ssl) const noexcept;
};

/// The bytes of a write that are not encrypted yet: one buffer or a list.
class plain_bytes {
public:
  plain_bytes(const_buffer one) noexcept : one_(one), left_(1) {}
  plain_bytes(std::span<const const_buffer> all) noexcept : list_(all.data()), left_(all.size()) {}

  [[nodiscard]] bool empty() noexcept {
    skip_empty();
    return left_ == 0;
  }
  /// The number of buffers of which bytes may be left.
  [[nodiscard]] std::size_t buffers() const noexcept { return left_; }
  /// The next bytes, at most `most`. Bytes of several buffers are copied into `together`, whose
  /// content lives until the next call, so that small buffers share a record.
  std::span<const std::byte> take(std::size_t most, std::vector<std::byte>& together);

private:
  [[nodiscard]] const const_buffer& first() const noexcept {
    return list_ == nullptr ? one_ : *list_;
  }
  void skip_empty() noexcept;
  std::span<const std::byte> take_of_first(std::size_t most) noexcept;

  const_buffer one_;
  const const_buffer* list_ = nullptr;  // null for one buffer
  std::size_t left_;                    // buffers
  std::size_t begun_ = 0;               // bytes taken of the first buffer
};

/// The state of a connection without its stream: OpenSSL's object, and encrypted bytes on their way
/// in and out. Its owner and its operations share it, so that an operation may find the connection
/// closed, but never destroyed.
///
/// OpenSSL reads from and writes to memory. The derived class moves these bytes from and to the
/// stream below, and knows its type. If the stream can be tried without waiting, as a socket can,
/// OpenSSL's reads and writes try it at once, which spares a copy in each direction. Memory then
/// holds only the flights of the handshake, and the bytes that the stream has no space for.
class tls_state : public counted<tls_state>, public write_observer {
public:
  virtual ~tls_state();

  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
  void check_thread() const noexcept { loop_.check_thread(); }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  void close() noexcept;

  /// Tells the observer of the pending write, whose bytes may leave by `flush_alone`.
  void bytes_moved() noexcept override {
    if (observer_ != nullptr) observer_->bytes_moved();
  }

  // The operations of the derived class:

  /// Reads from the stream until a read is decided.
  virtual task<> fill() = 0;
  /// Encrypts and writes all bytes, and tells `observer`, unless it is null, of each part that has
  /// moved. The task has a share of its own in this.
  virtual task<> send(counted_ptr<tls_state> own, plain_bytes bytes, write_observer* observer) = 0;
  /// Sends a close_notify, and ends the sending side of the stream. The task has a share of its own
  /// in this.
  virtual task<> send_end(counted_ptr<tls_state> own) = 0;

  // Reading:

  /// Aborts the program unless this is awaited on the connection's loop, with no other read.
  void expect_free_reader() const {
    if (event_loop::current() != &loop_ || reading) [[unlikely]]
      wrong_reader();
  }
  /// Takes decrypted bytes, the end or an error; nothing if more bytes are needed.
  std::optional<result<std::size_t>> take(mutable_buffer into) noexcept;
  /// Whether `take` would give a result. Takes nothing.
  [[nodiscard]] bool decided() noexcept;
  /// Whether the peer makes this end answer faster than it takes the answers. Then a read waits
  /// until they have left.
  [[nodiscard]] bool clogged() const noexcept { return output_.size() > most_output; }
  /// Throws the error that a read has met.
  [[noreturn, gnu::cold]] void throw_failure(std::error_code error, const char* doing) const;

  // The results of the handshake.

  [[nodiscard]] tls_version version() const noexcept;
  [[nodiscard]] std::string_view cipher() const noexcept;
  [[nodiscard]] std::string_view alpn() const noexcept;
  [[nodiscard]] std::string_view server_name() const noexcept;
  [[nodiscard]] bool resumed() const noexcept;
  [[nodiscard]] std::optional<tls_certificate> peer_certificate() const;

  /// Names the peer in messages.
  [[nodiscard, gnu::cold]] std::string peer_words() const;

  // Callbacks of OpenSSL.
  static int take_new_session(ssl_st* ssl, ssl_session_st* session) noexcept;
  static int note_certificate(int good, x509_store_ctx_st* of) noexcept;

  /// The number of records that this end sends under one key: AES-GCM is safe for 2^24.5 records
  /// (RFC 8446, section 5.5). A member, so that a test need not send so many.
  std::uint64_t records_per_key = std::uint64_t{1} << 23;

  bool reading = false;  // a read waits
  callback_task reader;
  callback_task writer;
  callback_task ender;

protected:
  /// Makes a client if `host` is not empty. An impossible host becomes the error of the handshake.
  /// Errors: `std::bad_alloc`.
  tls_state(event_loop& loop, std::shared_ptr<tls_settings> settings, std::string host,
            bool direct);

  /// Tries the stream; only if the state is direct.
  virtual std::optional<result<std::size_t>> try_read(std::span<std::byte> into) noexcept = 0;
  virtual std::optional<result<std::size_t>> try_write(
      std::span<const std::byte> bytes) noexcept = 0;
  virtual void close_stream() noexcept = 0;
  /// Names the peer of the stream below in messages. The words are taken while that stream is open,
  /// because a closed one may not be asked.
  void name_peer(std::string words) noexcept { peer_ = std::move(words); }
  /// Sends the bytes that wait, while no other operation does so. Ends itself by `flusher_.leave`.
  virtual task<> flush_alone() = 0;

  // The handshake:

  /// Goes on with the handshake. Returns whether it is over, with success or a failure.
  [[nodiscard]] bool shake_hands() noexcept;
  /// Whether the bytes that wait after the handshake are tickets of a server, for which a client
  /// does not wait.
  [[nodiscard]] bool only_tickets_wait() const noexcept;
  [[nodiscard]] std::error_code failure_code() const noexcept { return failure_; }
  /// Reads what has arrived, up to a limit: the kernel resets a connection that is closed with
  /// unread bytes, and the reset can overtake the alert.
  void discard_input() noexcept;
  /// The error of a handshake that failed by itself, or by an `error` of the stream below.
  [[nodiscard, gnu::cold]] failure handshake_failure(std::error_code error) const;

  // Encrypted bytes that arrive:

  /// The space for the next bytes of the stream. All earlier bytes are used up.
  [[nodiscard]] std::span<std::byte> space();
  /// Notes that `count` bytes have arrived; zero is the end of the stream.
  void received(std::size_t count) noexcept;

  /// Notes that bytes, the end or an error have arrived at a direct stream.
  void readable() noexcept { starved_ = false; }
  /// While it exists, a coroutine waits for a direct stream, which may not be read then.
  class readable_wait {
  public:
    explicit readable_wait(tls_state& of) noexcept : of_(of) { of_.waits_readable_ = true; }
    readable_wait(const readable_wait&) = delete;
    readable_wait& operator=(const readable_wait&) = delete;
    ~readable_wait() { of_.waits_readable_ = false; }

  private:
    tls_state& of_;
  };

  // Encrypted bytes that leave:

  /// Encrypts the next bytes, up to two records' worth, behind the bytes that wait.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  void encrypt(plain_bytes& bytes);
  /// Puts a close_notify behind the bytes that wait.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  void encrypt_end();
  [[nodiscard]] bool has_output() const noexcept { return !output_.empty(); }
  /// Has `flush_alone` send the bytes that wait, unless they are being sent.
  /// Errors: `std::bad_alloc`.
  void flush_later();
  /// The same, but if there is no memory, the next write sends the bytes.
  void try_flush_later() noexcept;
  [[nodiscard]] bool flushing() const noexcept { return flushing_; }
  /// Whether the bytes that wait will be sent: a `flush_right` exists, or `flush_alone` makes one.
  [[nodiscard]] bool will_flush() const noexcept { return flushing_ || flusher_.active(); }
  /// Throws an error if nothing can be sent any more.
  void expect_writable() const;
  void set_write_failure(std::exception_ptr error) noexcept { write_failure_ = std::move(error); }

  /// Holds the right to give bytes to the stream, for one write of it.
  class flush_right {
  public:
    explicit flush_right(tls_state& of) noexcept : of_(of) {
      of_.flushing_ = true;
      std::swap(of_.output_, of_.sending_);
    }
    flush_right(const flush_right&) = delete;
    flush_right& operator=(const flush_right&) = delete;
    ~flush_right();

    [[nodiscard]] const_buffer bytes() const noexcept {
      return std::span<const std::byte>(of_.sending_);
    }
    /// All bytes are sent. Without this, an unknown part of them is, and nothing can follow.
    void done() noexcept { done_ = true; }

  private:
    tls_state& of_;
    bool done_ = false;
  };

  /// Marks a write, from its first byte to its last. A second one aborts the program.
  class write_right {
  public:
    write_right(tls_state& of, write_observer* observer);
    write_right(const write_right&) = delete;
    write_right& operator=(const write_right&) = delete;
    ~write_right();

    /// All bytes are sent. Without this, no later write may follow.
    void done() noexcept { done_ = true; }

  private:
    tls_state& of_;
    bool done_ = false;
  };

  /// Waits until a `flush_right` or a `write_right` has ended. The awaiter checks which.
  class right_wait final : public suspension {
  public:
    explicit right_wait(tls_state& of) noexcept : of_(of) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> by) noexcept {
      frame& waiter = by.promise();
      waiter.waits_for(*this);
      of_.rights_.add(node_, waiter, of_.loop_);
    }
    void await_resume() const noexcept {}
    void describe(description& to) const override;

  private:
    tls_state& of_;
    wait_node node_;
  };
  class right_end {
  public:
    explicit right_end(tls_state& of) noexcept : of_(of) {}
    right_wait operator co_await() && noexcept { return right_wait(of_); }

  private:
    tls_state& of_;
  };
  [[nodiscard]] right_end right_ended() noexcept { return right_end(*this); }

  /// Marks the sending side as ending: later writes fail.
  void begin_end() noexcept { ending_ = true; }
  [[nodiscard]] bool writing() const noexcept { return writing_; }
  [[nodiscard]] bool shutting_down() const noexcept { return shutting_down_; }
  /// Marks a shutdown. If it is cancelled, the next one takes its place.
  class end_right {
  public:
    explicit end_right(tls_state& of) noexcept : of_(of) { of_.shutting_down_ = true; }
    end_right(const end_right&) = delete;
    end_right& operator=(const end_right&) = delete;
    ~end_right() {
      of_.shutting_down_ = false;
      of_.rights_.wake_all();
    }

    /// Whether an earlier shutdown has sent the close_notify.
    [[nodiscard]] bool ended() const noexcept { return of_.output_over_; }
    /// After the close_notify nothing may be sent, not even an answer to the peer.
    void done() const noexcept {
      of_.output_over_ = true;
      of_.output_.clear();
      of_.rights_.wake_all();
    }

  private:
    tls_state& of_;
  };

  callback_task flusher_;

private:
  friend struct tls_bio;

  // About the size of four records: many times what answers to a peer need.
  static constexpr std::size_t most_output = std::size_t{64} * 1024;

  /// Notes why a call of OpenSSL did not succeed. Returns false if it only needs more bytes.
  bool ended_by(int returned) noexcept;
  [[gnu::cold]] void fail(std::error_code error, bool fatal, const char* reason) noexcept;
  [[gnu::cold]] void fail_by_error() noexcept;
  [[nodiscard, gnu::cold]] std::string doing(const char* what) const;
  [[gnu::cold]] void wrong_reader() const;
  /// Whether a callback of OpenSSL has met an error, which becomes the failure.
  bool broken() noexcept;
  void set_host();

  event_loop& loop_;
  std::shared_ptr<tls_settings> settings_;
  std::unique_ptr<ssl_st, ssl_deleter> ssl_;
  std::string host_;  // of a client; empty for a server
  std::string peer_;  // the words for the peer of the stream below

  std::unique_ptr<std::byte[]> input_;
  std::size_t input_begin_ = 0;
  std::size_t input_end_ = 0;
  std::vector<std::byte> output_;   // waits
  std::vector<std::byte> sending_;  // while the stream sends it
  std::vector<std::byte> together_;

  std::error_code read_error_;  // of a direct stream, for the next read
  std::error_code failure_;
  std::string reason_;                // of the failure
  std::error_code certificate_code_;  // why a certificate does not hold
  std::string certificate_words_;
  std::exception_ptr write_failure_;  // of `flush_alone`, or of a direct stream
  wait_list rights_;
  write_observer* observer_ = nullptr;  // of the pending write
  std::uint64_t records_ = 0;           // since the last key update of this end
  int messages_ = 0;                    // without data, in a row
  const bool direct_;
  bool waits_readable_ = false;
  bool connected_ = false;
  bool input_over_ = false;  // the stream has ended
  bool starved_ = false;     // a read needs more bytes of the stream
  bool drained_ = true;      // the last read of a direct stream has taken all
  bool end_read_ = false;    // a close_notify has arrived
  bool fatal_ = false;       // OpenSSL's object can't be used any more
  bool out_of_memory_ = false;
  bool closed_ = false;
  bool flushing_ = false;
  bool writing_ = false;
  bool ending_ = false;
  bool shutting_down_ = false;
  bool output_over_ = false;
  bool lost_ = false;  // an unknown part of encrypted bytes was sent
  bool cut_ = false;   // a write ended before all its bytes were sent
};

using tls_share = counted_ptr<tls_state>;

/// The awaiter of a read.
///
/// If decrypted bytes are there, there is no coroutine and no suspension. Otherwise a child task
/// reads from the stream. The bytes are taken when the waiter resumes.
class [[nodiscard]] tls_read_wait final : public suspension {
public:
  using value = std::size_t;

  tls_read_wait(tls_share&& state, mutable_buffer into) noexcept
      : state_(std::move(state)), into_(into) {}
  ~tls_read_wait() {
    if (child_ != nullptr) frame::destroy(*std::exchange(child_, nullptr));
    if (waiting_) state_->reading = false;
  }

  [[nodiscard]] bool await_ready() {
    if (state_->closed()) return frame::may_go_on();
    state_->expect_free_reader();
    if (!frame::may_go_on() || state_->clogged()) return false;
    taken_ = state_->take(into_);
    return taken_.has_value();
  }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) {
    frame& waiter = by.promise();
    if (!state_->closed() && !frame::dropped()) {
      task<> more = state_->fill();
      child_ = &task_access::release(more).promise();
    }
    waiter.waits_for(*this);
    state_->reading = waiting_ = true;
    if (child_ != nullptr) return !child_->start(waiter) || waiter.stops_here();
    if (!frame::dropped()) state_->loop().ready(waiter);
    return true;
  }

  result<value> await_result();
  value await_resume();

  void describe(description& to) const override;
  [[nodiscard]] frame* child() const noexcept override { return child_; }
  void destroy_child() noexcept override { std::exchange(child_, nullptr)->end(); }

private:
  result<value> get();

  tls_share state_;
  mutable_buffer into_;
  std::optional<result<value>> taken_;
  task_promise<void>* child_ = nullptr;
  bool waiting_ = false;
};

/// A read that is not started yet, for `co_await`.
class [[nodiscard("this does nothing without co_await or a handler")]] tls_read {
public:
  tls_read(tls_share state, mutable_buffer into) noexcept : state_(std::move(state)), into_(into) {}

  tls_read_wait operator co_await() && noexcept {
    if (!state_) misuse("an operation was awaited twice, or after it was moved from");
    return tls_read_wait(std::move(state_), into_);
  }

private:
  tls_share state_;
  mutable_buffer into_;
};

/// The state with its stream.
template <byte_stream Stream>
class tls_over final : public tls_state {
public:
  tls_over(Stream&& over, std::shared_ptr<tls_settings> settings, std::string host)
      : tls_state(over.loop(), std::move(settings), std::move(host), direct),
        stream(std::move(over)) {
    name_peer(words_of_peer(stream));
  }
  ~tls_over() { flusher_.stop(); }

  /// Makes the handshake.
  template <class Secure>
  static task<reported<Secure>> connect(tls_share own) {
    auto& self = static_cast<tls_over&>(*own);
    for (;;) {
      const bool over = self.shake_hands();
      if (self.has_output() && !(over && self.only_tickets_wait())) {
        flush_right right(self);
        auto outgoing = write_out(self.stream, right.bytes());
        const result<void> sent = co_await as_result(std::move(outgoing));
        if (sent) {
          right.done();
        } else if (!self.failure_code()) {
          co_return std::unexpected(self.handshake_failure(sent.error()));
        }
      }
      if (over) break;
      if constexpr (direct) {
        const readable_wait waits(self);
        auto incoming = self.stream.wait_readable();
        const result<void> there = co_await as_result(std::move(incoming));
        if (!there) co_return std::unexpected(self.handshake_failure(there.error()));
        self.readable();
      } else {
        auto incoming = self.stream.read(self.space());
        const result<std::size_t> count = co_await as_result(std::move(incoming));
        if (!count) co_return std::unexpected(self.handshake_failure(count.error()));
        self.received(*count);
      }
    }
    if (self.failure_code()) {
      if constexpr (direct) self.discard_input();
      co_return std::unexpected(self.handshake_failure(self.failure_code()));
    }
    self.try_flush_later();
    co_return Secure(std::move(own));
  }

  task<> fill() override {
    for (;;) {
      flush_later();
      while (clogged() && will_flush()) co_await right_ended();
      if (decided()) co_return;
      flush_later();  // the answers that `decided` has made
      expect_not_closed(stream);
      if constexpr (direct) {
        const readable_wait waits(*this);
        auto incoming = stream.wait_readable();
        co_await std::move(incoming);
        readable();
      } else {
        auto incoming = stream.read(space());
        const std::size_t count = co_await std::move(incoming);
        received(count);
      }
    }
  }

  task<> send(tls_share /*own*/, plain_bytes bytes, write_observer* observer) override {
    write_right right(*this, observer);
    loop().charge(bytes.buffers() * 64);  // as in `write_several`
    do {
      encrypt(bytes);
      while (has_output() || flushing()) {
        if (flushing()) {
          co_await right_ended();
        } else {
          expect_not_closed(stream);
          flush_right flush(*this);
          if (observer == nullptr) {
            auto outgoing = write_out(stream, flush.bytes());
            co_await std::move(outgoing);
          } else {
            task<> outgoing = write_observed(stream, flush.bytes(), *observer);
            co_await std::move(outgoing);
          }
          flush.done();
        }
        expect_writable();
      }
      if (observer != nullptr) observer->bytes_moved();
    } while (!bytes.empty());
    right.done();
  }

  task<> send_end(tls_share /*own*/) override {
    begin_end();
    while ((writing() || shutting_down()) && !closed()) co_await right_ended();
    const end_right right(*this);
    if (right.ended()) co_return;
    expect_writable();
    encrypt_end();
    while (has_output() || flushing()) {
      if (flushing()) {
        co_await right_ended();
      } else {
        expect_not_closed(stream);
        flush_right flush(*this);
        auto outgoing = write_out(stream, flush.bytes());
        co_await std::move(outgoing);
        flush.done();
      }
      expect_writable();
    }
    right.done();
    task<> ending = shut_down(stream);
    co_await std::move(ending);
  }

  Stream stream;

private:
  static constexpr bool direct =
      !flushable<Stream> && requires(Stream& s, std::span<std::byte> into, const_buffer out) {
        { s.wait_readable() } -> awaits_to<void>;
        { s.try_read(into) } -> std::same_as<std::optional<result<std::size_t>>>;
        { s.try_write(out) } -> std::same_as<std::optional<result<std::size_t>>>;
        { s.open() } -> std::same_as<bool>;
      };

  std::optional<result<std::size_t>> try_read(
      [[maybe_unused]] std::span<std::byte> into) noexcept override {
    if constexpr (direct) {
      if (stream.open()) return stream.try_read(into);
    }
    return std::unexpected(std::make_error_code(std::errc::operation_canceled));
  }
  std::optional<result<std::size_t>> try_write(
      [[maybe_unused]] std::span<const std::byte> bytes) noexcept override {
    if constexpr (direct) {
      if (stream.open()) return stream.try_write(bytes);
    }
    return std::unexpected(std::make_error_code(std::errc::operation_canceled));
  }

  void close_stream() noexcept override { stream.close(); }

  [[nodiscard]] static std::string words_of_peer([[maybe_unused]] const Stream& below) {
    if constexpr (requires { below.peer_address().to_string(); }) {
      try {
        return below.peer_address().to_string();
      } catch (const std::system_error&) {
        return "the peer";  // which the system does not know
      }
    } else {
      return "the peer";
    }
  }

  task<> flush_alone() override {
    try {
      while (has_output()) {
        expect_not_closed(stream);
        flush_right flush(*this);
        task<> outgoing = write_observed(stream, flush.bytes(), *this);
        co_await std::move(outgoing);
        flush.done();
      }
    } catch (...) {
      set_write_failure(std::current_exception());  // the next write throws it
    }
    flusher_.leave();
  }
};

}  // namespace eddy::detail
