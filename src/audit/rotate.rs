//! A file that begins anew when it is full: `audit.log`, then `audit.log.1` and so on, the oldest last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// An open file and the rules by which it is replaced.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    limit: Option<u64>,
    keep: usize,
    file: File,
    size: u64,
    /// Which file it is; none for a pipe or a terminal.
    id: Option<(u64, u64)>,
}

/// The files of an audit that are there, oldest first.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    while let Some(older) = Some(old(path, files.len())).filter(|older| older.exists()) {
        files.push(older);
    }
    files.reverse();
    files
}

// === impl RotatingFile ===

impl RotatingFile {
    /// Opens or creates it, for nobody else to read. A line that an end of the process cut off is taken away: it was
    /// not marked as printed, so it will be printed again.
    pub(super) fn open(path: &Path, limit: Option<u64>, keep: usize) -> io::Result<Self> {
        let file = append_to(path)?;
        if !file.metadata()?.is_file() {
            // A pipe or a terminal: nothing to mend, and nothing to put in its place.
            return Ok(Self { path: path.to_owned(), limit: None, keep, file, size: 0, id: None });
        }
        let size = end_of_lines(path)?;
        file.set_len(size)?;
        let id = Some(id(&file.metadata()?));
        Ok(Self { path: path.to_owned(), limit, keep, file, size, id })
    }

    /// Makes room for a line of this length, in the file that stands at the path now: one that somebody has moved away,
    /// as logrotate does, gets no more lines.
    pub(super) fn make_room(&mut self, length: u64) -> io::Result<()> {
        if self.was_moved() {
            self.sync()?;
            *self = Self::open(&self.path, self.limit, self.keep)?;
        }
        match self.limit {
            Some(limit) if self.size > 0 && self.size + length > limit => self.rotate(),
            _ => Ok(()),
        }
    }

    /// Everything written is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.file.sync_data() {
            // What cannot be synced, as a pipe.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            done => done,
        }
    }

    /// Repeatable: one that failed half way leaves a gap among the numbers, which the next one fills.
    fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        if self.path.exists() {
            self.shift()?;
        }
        *self = Self::open(&self.path, self.limit, self.keep)?;
        Ok(())
    }

    fn was_moved(&self) -> bool {
        let Some(own) = self.id else { return false };
        match fs::metadata(&self.path) {
            Ok(there) => id(&there) != own,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Makes the current file the first of the old ones; the last of them gives way where only so many are kept.
    fn shift(&self) -> io::Result<()> {
        let mut free = 1;
        while free != self.keep && self.old(free).exists() {
            free += 1;
        }
        for number in (1..free).rev() {
            fs::rename(self.old(number), self.old(number + 1))?;
        }
        fs::rename(&self.path, self.old(1))?;
        let mut surplus =
            (self.keep + 1..).map(|number| self.old(number)).take_while(|path| self.keep > 0 && path.exists());
        surplus.try_for_each(fs::remove_file)
    }

    fn old(&self, number: usize) -> PathBuf {
        old(&self.path, number)
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn old(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn id(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Where the last whole line ends.
fn end_of_lines(path: &Path) -> io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        io::Read::by_ref(&mut file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
