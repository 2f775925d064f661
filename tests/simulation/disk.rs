//! A disk that forgets: what was not flushed is lost, torn or kept at a power cut, as chance wills. Names are flushed
//! with their directory, content with its file, and a fuse lets the machine die between any two operations.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, ErrorKind, Read, Write};

use zkd::storage::disk::temporary_name;
use zkd::storage::{Dir, Disk};

type Name = (Dir, String);

#[derive(Clone, Default)]
struct Inode {
    /// What programs see.
    live: Vec<u8>,
    /// What a power cut leaves for sure.
    flushed: Vec<u8>,
}

/// A change of a directory that is not flushed yet.
enum Pending {
    Put(Name, usize),
    Remove(Name),
    Rename(Name, Name, usize),
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<Name, usize>,
    flushed_names: BTreeMap<Name, usize>,
    pending: Vec<Pending>,
    /// Operations until the machine dies.
    fuse: Option<u32>,
    dead: bool,
    full: bool,
}

/// One machine's disk.
#[derive(Default)]
pub(crate) struct SimDisk {
    state: RefCell<State>,
}

impl State {
    /// Counts an operation that changes something.
    fn step(&mut self) -> io::Result<()> {
        if let Some(fuse) = &mut self.fuse {
            if *fuse == 0 {
                self.dead = true;
                self.fuse = None;
            } else {
                *fuse -= 1;
            }
        }
        if self.dead { Err(io::Error::other("the machine has died")) } else { Ok(()) }
    }

    fn inode(&self, name: &Name) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no file {}", name.1)))
    }

    fn put(&mut self, name: Name, bytes: Vec<u8>) -> usize {
        let inode = self.inodes.len();
        self.inodes.push(Inode { live: bytes, flushed: Vec::new() });
        self.names.insert(name.clone(), inode);
        self.pending.push(Pending::Put(name, inode));
        inode
    }

    fn rename(&mut self, from: Name, to: Name) -> io::Result<()> {
        let inode = self.inode(&from)?;
        self.names.remove(&from);
        self.names.insert(to.clone(), inode);
        self.pending.push(Pending::Rename(from, to, inode));
        Ok(())
    }

    fn flush_names(&mut self, dir: Dir) {
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| pending.dir() == dir);
        self.pending = later;
        for pending in now {
            pending.apply(&mut self.flushed_names);
        }
    }
}

impl Pending {
    fn dir(&self) -> Dir {
        match self {
            Self::Put((dir, _), _) | Self::Remove((dir, _)) | Self::Rename((dir, _), _, _) => *dir,
        }
    }

    fn apply(self, names: &mut BTreeMap<Name, usize>) {
        match self {
            Self::Put(name, inode) => {
                names.insert(name, inode);
            }
            Self::Remove(name) => {
                names.remove(&name);
            }
            Self::Rename(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }
}

impl SimDisk {
    /// Lets the machine die after so many more operations.
    pub(crate) fn set_fuse(&self, operations: Option<u32>) {
        self.state.borrow_mut().fuse = operations;
    }

    /// Whether the fuse has blown.
    pub(crate) fn is_dead(&self) -> bool {
        self.state.borrow().dead
    }

    /// Whether there is no space.
    pub(crate) fn is_full(&self) -> bool {
        self.state.borrow().full
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.state.borrow_mut().full = full;
    }

    /// Begins a log file under its temporary name.
    pub(crate) fn create(&self, dir: Dir, name: &str) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.step()?;
        state.put((dir, name.to_owned()), Vec::new());
        Ok(())
    }

    /// Writes into a file at `offset`; with `padded` the file grows ahead.
    pub(crate) fn write_at(&self, dir: Dir, name: &str, offset: usize, bytes: &[u8], padded: bool) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.step()?;
        let inode = state.inode(&(dir, name.to_owned()))?;
        let live = &mut state.inodes[inode].live;
        let end = offset + bytes.len();
        let wanted = if padded { (end + PAD).div_ceil(PAD) * PAD } else { end };
        if live.len() < wanted {
            live.resize(wanted, 0);
        }
        live[offset..end].copy_from_slice(bytes);
        Ok(())
    }

    /// Gives a file another name.
    pub(crate) fn rename(&self, dir: Dir, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.step()?;
        state.rename((dir, from.to_owned()), (dir, to.to_owned()))
    }

    /// The process is gone. What it wrote is still there, as long as the machine runs.
    pub(crate) fn process_ended(&self) {
        let mut state = self.state.borrow_mut();
        (state.dead, state.fuse) = (false, None);
    }

    /// A flush has failed: what the file holds is not known.
    pub(crate) fn spoil(&self, dir: Dir, name: &str, random: &mut fastrand::Rng) {
        let mut state = self.state.borrow_mut();
        if let Ok(inode) = state.inode(&(dir, name.to_owned())) {
            let inode = &mut state.inodes[inode];
            inode.live = torn(inode, random);
        }
    }

    /// The power is cut, and everything that was not flushed is lost.
    #[allow(dead_code, reason = "the scenarios' power cuts")]
    pub(crate) fn lose_unflushed(&self) {
        let mut state = self.state.borrow_mut();
        (state.dead, state.fuse) = (false, None);
        state.pending.clear();
        state.names = state.flushed_names.clone();
        state.inodes.iter_mut().for_each(|inode| inode.live.clone_from(&inode.flushed));
    }

    /// The power is cut.
    pub(crate) fn power_cut(&self, random: &mut fastrand::Rng) {
        let mut state = self.state.borrow_mut();
        (state.dead, state.fuse) = (false, None);
        let mut names = std::mem::take(&mut state.flushed_names);
        let keeps = random.u32(0..=100);
        for pending in std::mem::take(&mut state.pending) {
            // A file that is renamed must have come to be before.
            let possible = match &pending {
                Pending::Rename(..) | Pending::Put(..) => true,
                Pending::Remove(name) => names.contains_key(name),
            };
            if possible && random.u32(0..100) < keeps {
                pending.apply(&mut names);
            }
        }
        let kept: Vec<usize> = names.values().copied().collect();
        for inode in kept {
            let inode = &mut state.inodes[inode];
            if inode.live != inode.flushed {
                inode.live = torn(inode, random);
                inode.flushed.clone_from(&inode.live);
            }
        }
        state.names.clone_from(&names);
        state.flushed_names = names;
    }
}

/// What is left of a file that was being written: the old bytes up to somewhere, perhaps with a little rubbish.
fn torn(inode: &Inode, random: &mut fastrand::Rng) -> Vec<u8> {
    let same = inode.live.iter().zip(&inode.flushed).take_while(|(a, b)| a == b).count();
    let kept = match random.u32(0..4) {
        0 => same,
        1 => inode.live.len(),
        _ => random.usize(same..=inode.live.len()),
    };
    let mut bytes = inode.live[..kept].to_vec();
    if kept > same && kept < inode.live.len() && random.u32(0..4) == 0 {
        let from = same.max(kept.saturating_sub(16));
        bytes[from..].iter_mut().for_each(|byte| *byte = random.u8(..));
    }
    if inode.flushed.len() > bytes.len() {
        bytes.extend_from_slice(&inode.flushed[bytes.len()..]);
    } else if random.bool() {
        bytes.resize(inode.live.len(), 0);
    }
    bytes
}

/// The unit in which padded files grow, bytes.
const PAD: usize = 512;

impl Disk for SimDisk {
    fn names(&self, dir: Dir) -> io::Result<Vec<String>> {
        Ok(self.state.borrow().names.keys().filter(|(at, _)| *at == dir).map(|(_, name)| name.clone()).collect())
    }

    fn size(&self, dir: Dir, name: &str) -> io::Result<u64> {
        let state = self.state.borrow();
        Ok(state.inodes[state.inode(&(dir, name.to_owned()))?].live.len() as u64)
    }

    fn open(&self, dir: Dir, name: &str, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let state = self.state.borrow();
        let mut cursor = Cursor::new(state.inodes[state.inode(&(dir, name.to_owned()))?].live.clone());
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    }

    fn replace(&self, dir: Dir, name: &str, fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<u64> {
        let mut bytes = Vec::new();
        fill(&mut bytes)?;
        let size = bytes.len() as u64;
        let temporary = temporary_name(name);
        let inode = {
            let mut state = self.state.borrow_mut();
            state.step()?;
            if state.full && dir == Dir::Snapshots && size > EPOCH_FILE_BYTES {
                return Err(io::Error::new(ErrorKind::StorageFull, "no space"));
            }
            state.put((dir, temporary.clone()), bytes)
        };
        {
            let mut state = self.state.borrow_mut();
            state.step()?;
            let inode = &mut state.inodes[inode];
            inode.flushed.clone_from(&inode.live);
        }
        self.rename(dir, &temporary, name)?;
        self.sync_dir(dir)?;
        Ok(size)
    }

    fn remove(&self, dir: Dir, name: &str) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let name = (dir, name.to_owned());
        state.inode(&name)?;
        state.step()?;
        state.names.remove(&name);
        state.pending.push(Pending::Remove(name));
        Ok(())
    }

    fn truncate(&self, dir: Dir, name: &str, size: u64) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.step()?;
        let inode = state.inode(&(dir, name.to_owned()))?;
        let inode = &mut state.inodes[inode];
        inode.live.resize(usize::try_from(size).map_err(io::Error::other)?, 0);
        inode.flushed.clone_from(&inode.live);
        Ok(())
    }

    fn sync_file(&self, dir: Dir, name: &str) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.step()?;
        let inode = state.inode(&(dir, name.to_owned()))?;
        let inode = &mut state.inodes[inode];
        inode.flushed.clone_from(&inode.live);
        Ok(())
    }

    fn sync_dir(&self, dir: Dir) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.step()?;
        state.flush_names(dir);
        Ok(())
    }
}

/// Epoch files find room even on a full disk.
const EPOCH_FILE_BYTES: u64 = 16;
