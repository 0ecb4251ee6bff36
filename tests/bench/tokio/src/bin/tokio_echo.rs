// SPDX-License-Identifier: BSD-2-Clause
// Tokio, after its example of an echo server, on one thread.
use std::process::exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

async fn echo(mut stream: TcpStream, buffer: usize) -> std::io::Result<()> {
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

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let number = |i: usize| words.get(i).map(|w| w.parse::<usize>().unwrap_or_else(|_| exit(64)));
    let port = number(1).unwrap_or_else(|| {
        eprintln!("usage: {} PORT [BUFFER]", words[0]);
        exit(64)
    });
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(serve(port as u16, number(2).unwrap_or(4096)))
}
