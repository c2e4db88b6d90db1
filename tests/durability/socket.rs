//! A client's end of a connection, compressed or not (RFC 4978). Reading first gives out all that was inflated
//! already: a server that flushed has said everything, and waiting for more of it would never end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

pub struct Socket {
    stream: TcpStream,
    deflate: Option<Box<Deflate>>,
}

struct Deflate {
    deflater: Compress,
    inflater: Decompress,
    incoming: Vec<u8>,
}

impl Socket {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, deflate: None }
    }

    /// From here on everything is compressed; `came` are compressed octets that were read already.
    pub fn compress(&mut self, came: Vec<u8>) {
        let (deflater, inflater) = (Compress::new(Compression::fast(), false), Decompress::new(false));
        self.deflate = Some(Box::new(Deflate { deflater, inflater, incoming: came }));
    }

    /// Says that nothing more will be sent.
    pub fn hang_up(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(deflate) = &mut self.deflate else { return self.stream.read(buffer) };
        loop {
            let (read, written) = (deflate.inflater.total_in(), deflate.inflater.total_out());
            let status = deflate.inflater.decompress(&deflate.incoming, buffer, FlushDecompress::Sync);
            deflate.incoming.drain(..(deflate.inflater.total_in() - read) as usize);
            let written = (deflate.inflater.total_out() - written) as usize;
            if written > 0 {
                return Ok(written);
            }
            if status.map_err(io::Error::other)? == Status::StreamEnd {
                return Ok(0);
            }
            let mut piece = [0; 4096];
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                return Ok(0);
            }
            deflate.incoming.extend_from_slice(&piece[..count]);
        }
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Some(deflate) = &mut self.deflate else { return self.stream.write(octets) };
        let before = deflate.deflater.total_in();
        let mut packed = Vec::new();
        loop {
            packed.reserve(4096);
            let taken = (deflate.deflater.total_in() - before) as usize;
            deflate.deflater.compress_vec(&octets[taken..], &mut packed, FlushCompress::Sync)?;
            // The flush is whole once it left room.
            if deflate.deflater.total_in() - before == octets.len() as u64 && packed.len() < packed.capacity() {
                break;
            }
        }
        self.stream.write_all(&packed)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
