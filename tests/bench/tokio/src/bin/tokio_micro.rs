// SPDX-License-Identifier: BSD-2-Clause
// Tokio, on one thread.
use std::fs::File;
use std::future::Future;
use std::io::{Read, Seek, Write};
use std::mem::ManuallyDrop;
use std::os::unix::io::FromRawFd;
use std::pin::Pin;
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

const MINUTE: Duration = Duration::from_secs(60);

fn tell(name: &str, nanoseconds: f64) {
    println!("{name} {nanoseconds:.2} ns");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The same numbers as bench/workload.h.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(2685821657736338717) % limit
    }
}

fn random() -> Random {
    Random(88172645463325252)
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, into: *mut Timespec) -> i32;
    fn eventfd(initial: u32, flags: i32) -> i32;
}

fn processor_time() -> f64 {
    const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
    let mut t = Timespec { seconds: 0, nanoseconds: 0 };
    unsafe { clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.seconds as f64 * 1e9 + t.nanoseconds as f64
}

/// Lets ready tasks run, without waiting.
async fn turn() {
    tokio::task::yield_now().await
}

/// Polls a future once, so that its timer is set.
struct Begin<'a, F>(Pin<&'a mut F>);

impl<F: Future> Future for Begin<'_, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let _ = self.0.as_mut().poll(context);
        Poll::Ready(())
    }
}

async fn timer_reset(live: u64, operations: u64) {
    let mut timers = Vec::new();
    for _ in 0..live {
        timers.push(Box::pin(tokio::time::sleep(MINUTE)));
    }
    for t in &mut timers {
        Begin(t.as_mut()).await;
    }
    let mut random = random();
    for (reported, count) in [(false, operations / 10 + 1), (true, operations)] {
        let begun = Instant::now();
        for i in 0..count {
            let t = &mut timers[random.below(live) as usize];
            t.as_mut().reset(tokio::time::Instant::now() + MINUTE);
            if i % 64 == 63 {
                turn().await;
            }
        }
        if reported {
            tell("timer-reset", begun.elapsed().as_nanos() as f64 / count as f64);
        }
    }
}

async fn expire(count: u64) -> f64 {
    let mut random = random();
    let begun = processor_time();
    let mut all = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let delay = Duration::from_micros(random.below(1000000));
        all.push(tokio::spawn(tokio::time::sleep(delay)));
    }
    for t in all {
        t.await.unwrap();
    }
    (processor_time() - begun) / count as f64
}

#[inline(never)]
async fn child(n: u64) -> u64 {
    unsafe { std::ptr::read_volatile(&n) + 1 }
}

async fn calls(count: u64) {
    let mut n = 0;
    for _ in 0..count {
        n = child(n).await;
    }
    assert_eq!(n, count);
}

async fn spawns(count: u64) {
    let mut n = 0;
    for _ in 0..count {
        n = tokio::spawn(child(n)).await.unwrap();
    }
    assert_eq!(n, count);
}

async fn yields(tasks: u64, rounds: u64) -> f64 {
    let mut all = Vec::new();
    for _ in 0..tasks {
        all.push(tokio::spawn(async move {
            for _ in 0..rounds {
                tokio::task::yield_now().await;
            }
        }));
    }
    let begun = Instant::now();
    for t in all {
        t.await.unwrap();
    }
    begun.elapsed().as_nanos() as f64 / (tasks * rounds) as f64
}

async fn futures(count: u64) {
    for _ in 0..count {
        let (send, receive) = oneshot::channel();
        send.send(1).unwrap();
        receive.await.unwrap();
    }
}

async fn joins(count: u64) {
    for _ in 0..count {
        let _ = tokio::join!(child(1), child(2));
    }
}

async fn selects(count: u64) {
    for _ in 0..count {
        tokio::select! {
            biased;
            _ = std::future::pending::<()>() => unreachable!(),
            _ = child(1) => {}
        }
    }
}

/// Runs `work` as a task, because Tokio wakes the future of `block_on` itself by a detour.
fn complete<F: Future + Send + 'static>(runtime: &Runtime, work: F) -> F::Output
where
    F::Output: Send,
{
    runtime.block_on(async { tokio::spawn(work).await.unwrap() })
}

/// Prints the time of one operation, after a warm-up. `run(n)` performs n operations.
fn time_each<F>(name: &str, count: u64, run: impl Fn(u64) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = runtime();
    complete(&runtime, run(count / 10 + 1));
    let begun = Instant::now();
    complete(&runtime, run(count));
    tell(name, begun.elapsed().as_nanos() as f64 / count as f64);
}

/// Prints the time of one operation, which `run` measures itself.
fn tell_each<F>(name: &str, count: u64, run: impl Fn(u64) -> F)
where
    F: Future<Output = f64> + Send + 'static,
{
    let runtime = runtime();
    complete(&runtime, run(count / 10 + 1));
    tell(name, complete(&runtime, run(count)));
}

type Call = Box<dyn FnOnce() + Send>;

/// Runs the calls that other threads send, until all senders are gone. A channel, as in Tokio's
/// guide: a spawn from another thread would cost a system call each.
async fn run_calls(mut calls: mpsc::UnboundedReceiver<Call>) {
    while let Some(call) = calls.recv().await {
        call();
    }
}

fn post(count: u64) {
    static LEFT: AtomicU64 = AtomicU64::new(0);
    let runtime = runtime();
    for (reported, count) in [(false, count / 10 + 1), (true, count)] {
        let (send, receive) = mpsc::unbounded_channel::<Call>();
        let left = &LEFT;
        left.store(count, Relaxed);
        let other = std::thread::spawn(move || {
            let begun = Instant::now();
            for _ in 0..count {
                let call = move || left.store(left.load(Relaxed) - 1, Relaxed);
                send.send(Box::new(call)).ok().unwrap();
            }
            begun
        });
        complete(&runtime, run_calls(receive));
        let end = Instant::now();
        let begun = other.join().unwrap();
        assert_eq!(left.load(Relaxed), 0);
        if reported {
            tell("post", (end - begun).as_nanos() as f64 / count as f64);
        }
    }
}

fn wake(count: u64) {
    let runtime = runtime();
    let answer = unsafe { eventfd(0, 0) };
    let (send, receive) = mpsc::unbounded_channel::<Call>();
    let other = std::thread::spawn(move || {
        let mut from = unsafe { File::from_raw_fd(answer) };
        for (reported, count) in [(false, count / 10 + 1), (true, count)] {
            let begun = Instant::now();
            for _ in 0..count {
                let call = move || {
                    let mut to = ManuallyDrop::new(unsafe { File::from_raw_fd(answer) });
                    to.write_all(&1u64.to_ne_bytes()).unwrap();
                };
                send.send(Box::new(call)).ok().unwrap();
                from.read_exact(&mut [0; 8]).unwrap();
            }
            if reported {
                tell("wake", begun.elapsed().as_nanos() as f64 / count as f64);
            }
        }
    });
    complete(&runtime, run_calls(receive));
    other.join().unwrap();
}

const FILE_STEP: usize = 64 * 1024;

/// A file without a name in /tmp, as that of bench/scratch_file.h.
fn scratch_file(mib: u64) -> File {
    let path = format!("/tmp/eddy-bench-{}", std::process::id());
    let mut file =
        File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let step = vec![b'f'; FILE_STEP];
    for _ in 0..mib * 1024 * 1024 / FILE_STEP as u64 {
        file.write_all(&step).unwrap();
    }
    file.rewind().unwrap();
    file
}

/// Prints the processor time of one step, after a warm-up.
async fn file_steps(name: &str, mib: u64, steps: u64, writes: bool) {
    let mut file = tokio::fs::File::from_std(scratch_file(mib));
    let mut buffer = vec![b'f'; FILE_STEP];
    let mut left = mib * 1024 * 1024;
    for (reported, count) in [(false, steps / 10 + 1), (true, steps)] {
        let begun = processor_time();
        for _ in 0..count {
            if left == 0 {
                file.rewind().await.unwrap();
                left = mib * 1024 * 1024;
            }
            if writes {
                file.write_all(&buffer).await.unwrap();
            } else {
                file.read_exact(&mut buffer).await.unwrap();
            }
            left -= FILE_STEP as u64;
        }
        file.flush().await.unwrap();
        if reported {
            tell(name, (processor_time() - begun) / count as f64);
        }
    }
}

async fn sleeps(count: u64) {
    let mut all = Vec::with_capacity(count as usize);
    for _ in 0..count {
        all.push(tokio::spawn(tokio::time::sleep(60 * MINUTE)));
    }
    turn().await;
    println!("ready");
    for t in all {
        t.await.unwrap();
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let numbers: Vec<u64> =
        words.iter().skip(2).map(|w| w.parse().unwrap_or_else(|_| exit(64))).collect();
    match (words.get(1).map(String::as_str), numbers.as_slice()) {
        (Some("timer-reset"), &[live, operations]) => {
            runtime().block_on(timer_reset(live, operations))
        }
        (Some("timer-expire"), &[count]) => tell_each("timer-expire", count, expire),
        (Some("call"), &[count]) => time_each("call", count, calls),
        (Some("spawn"), &[count]) => time_each("spawn", count, spawns),
        (Some("yield"), &[tasks, rounds]) => tell_each("yield", rounds, move |r| yields(tasks, r)),
        (Some("post"), &[count]) => post(count),
        (Some("wake"), &[count]) => wake(count),
        (Some("future"), &[count]) => time_each("future", count, futures),
        (Some("join"), &[count]) => time_each("join", count, joins),
        (Some("select"), &[count]) => time_each("select", count, selects),
        (Some("file-read"), &[mib, steps]) => {
            complete(&runtime(), file_steps("file-read", mib, steps, false))
        }
        (Some("file-write"), &[mib, steps]) => {
            complete(&runtime(), file_steps("file-write", mib, steps, true))
        }
        (Some("sleep"), &[count]) => runtime().block_on(sleeps(count)),
        _ => exit(64),
    }
}
