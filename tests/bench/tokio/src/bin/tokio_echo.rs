// SPDX-License-Identifier: BSD-2-Clause
// Tokio, after its example of an echo server, on one thread.
use std::process::exit;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixListener};

async fn echo<S>(mut stream: S, buffer: usize) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut data = vec![0; buffer];
    loop {
        let size = stream.read(&mut data).await?;
        if size == 0 {
            return Ok(());
        }
        stream.write_all(&data[..size]).await?;
    }
}

async fn serve(port: u16, buffer: usize) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = socket.listen(4096)?;
    println!("ready {}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move { echo(stream, buffer).await.ok() });
    }
}

async fn serve_unix(path: &str, buffer: usize) -> std::io::Result<()> {
    let listener = UnixListener::bind(path)?;
    println!("ready {path}");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move { echo(stream, buffer).await.ok() });
    }
}

async fn serve_at(address: &str, buffer: usize) -> std::io::Result<()> {
    if address.contains('/') {
        return serve_unix(address, buffer).await;
    }
    serve(address.parse().unwrap_or_else(|_| exit(64)), buffer).await
}

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let address = words.get(1).unwrap_or_else(|| {
        eprintln!("usage: {} PORT|PATH [BUFFER]", words[0]);
        exit(64)
    });
    let buffer = words.get(2).map_or(4096, |w| w.parse().unwrap_or_else(|_| exit(64)));
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(serve_at(address, buffer))
}
