//! Copies between the kernel and user memory. A fault brings the page in and the copy goes on; what cannot be reached is EFAULT.

use crate::abi::*;
use crate::world::World;
use crate::{Errno, KResult};

/// Longest path, with its zero byte.
pub(crate) const PATH_MAX: usize = 4096;

impl World {
    fn mm_id(&self, tid: u32) -> KResult<u32> {
        self.t(tid)?.mm.ok_or(Errno::EFAULT)
    }

    /// Reads user memory.
    pub(crate) fn copy_in(&mut self, tid: u32, va: u64, buf: &mut [u8]) -> KResult<()> {
        let n = self.copy_in_some(tid, va, buf)?;
        if n == buf.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Reads as much as can be reached.
    pub(crate) fn copy_in_some(&mut self, tid: u32, va: u64, buf: &mut [u8]) -> KResult<usize> {
        let mm = self.mm_id(tid)?;
        let mut done = 0;
        while done < buf.len() {
            let m = self.mms.get(&mm).ok_or(Errno::EFAULT)?;
            match m.space.read(va.wrapping_add(done as u64), &mut buf[done..]) {
                Ok(()) => return Ok(buf.len()),
                Err(f) => {
                    done += f.done;
                    if f.addr >= crate::mm::TASK_SIZE || self.fault_in(tid, f.addr, PROT_READ as u8).is_err()
                    {
                        return Ok(done);
                    }
                }
            }
        }
        Ok(done)
    }

    /// Writes user memory.
    pub(crate) fn copy_out(&mut self, tid: u32, va: u64, bytes: &[u8]) -> KResult<()> {
        let mm = self.mm_id(tid)?;
        let mut done = 0;
        while done < bytes.len() {
            let m = self.mms.get_mut(&mm).ok_or(Errno::EFAULT)?;
            match m.space.write(va.wrapping_add(done as u64), &bytes[done..]) {
                Ok(()) => return Ok(()),
                Err(f) => {
                    done += f.done;
                    if f.addr >= crate::mm::TASK_SIZE || self.fault_in(tid, f.addr, PROT_WRITE as u8).is_err()
                    {
                        return Err(Errno::EFAULT);
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn read_u32(&mut self, tid: u32, va: u64) -> KResult<u32> {
        let mut b = [0; 4];
        self.copy_in(tid, va, &mut b)?;
        Ok(u32::from_le_bytes(b))
    }

    pub(crate) fn read_u64(&mut self, tid: u32, va: u64) -> KResult<u64> {
        let mut b = [0; 8];
        self.copy_in(tid, va, &mut b)?;
        Ok(u64::from_le_bytes(b))
    }

    /// Reads a string that ends with a zero byte; `None` if it is longer than `max`.
    pub(crate) fn read_str(&mut self, tid: u32, va: u64, max: usize) -> KResult<Option<Vec<u8>>> {
        let mut out = Vec::new();
        let mut at = va;
        while out.len() < max {
            let n = ((PAGE - at % PAGE) as usize).min(max - out.len()).min(256);
            let mut b = [0u8; 256];
            let Some(b) = b.get_mut(..n) else { break };
            let got = self.copy_in_some(tid, at, b)?;
            if let Some(z) = b[..got].iter().position(|c| *c == 0) {
                out.extend_from_slice(&b[..z]);
                return Ok(Some(out));
            }
            if got < n {
                return Err(Errno::EFAULT);
            }
            out.extend_from_slice(b);
            at = at.wrapping_add(n as u64);
        }
        Ok(None)
    }

    /// Reads a path argument.
    pub(crate) fn read_path(&mut self, tid: u32, va: u64) -> KResult<Vec<u8>> {
        self.read_str(tid, va, PATH_MAX)?.ok_or(Errno::ENAMETOOLONG)
    }

    /// Reads an iovec array: (address, length) pairs. The total is cut at MAX_RW_COUNT.
    pub(crate) fn read_iovec(&mut self, tid: u32, va: u64, n: u64) -> KResult<Vec<(u64, usize)>> {
        if n > 1024 {
            return Err(Errno::EINVAL);
        }
        let mut b = vec![0u8; n as usize * 16];
        self.copy_in(tid, va, &mut b)?;
        let mut left = 0x7fff_f000usize;
        let mut v = Vec::with_capacity(n as usize);
        for e in b.chunks_exact(16) {
            let len = le64(e, 8);
            if (len as i64) < 0 {
                return Err(Errno::EINVAL);
            }
            let l = (len as usize).min(left);
            left -= l;
            v.push((le64(e, 0), l));
        }
        Ok(v)
    }
}
