//! The result files, put in place all at once.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{ceilings, columnar, figures, html, markdown, mechanisms, methods, provenance, tidy};
use crate::aggregate::Analysis;
use crate::results::SweepResults;

/// The result files could not be written; none of them was touched.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't write {path}: {source}; free space there or make it writable, or name another folder with --out"
)]
pub struct ReportError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Writes every result file into the folder `out`, which is made if need be.
///
/// The files are made complete in a hidden folder first and then renamed into
/// place, `report.html` last: a reader who sees it sees all of them. Files of an
/// earlier report that this one does not have are removed, other files in `out` are
/// left alone.
///
/// # Errors
/// If the folder can't be made or written to. Nothing half-written is left, and
/// what stood there before still stands.
pub fn write(a: &Analysis, results: &SweepResults, out: &Path) -> Result<(), ReportError> {
    let name = |path: &Path| {
        let path = path.to_owned();
        move |source| ReportError { path, source }
    };
    // The parent's empty path means the working directory.
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let exists = out.symlink_metadata().is_ok();
    // Inside a folder that exists: it may be a mount of its own, into which
    // nothing can be renamed from beside.
    let place = if exists { out } else { parent };
    if !exists {
        fs::create_dir_all(parent).map_err(name(out))?;
    }
    // A rename onto a folder would fail when others had been put in place.
    let contents = contents(a, results);
    for (file, _) in &contents {
        let target = out.join(file);
        if target.is_dir() {
            return Err(name(&target)(io::ErrorKind::IsADirectory.into()));
        }
    }
    let staging = tempfile::Builder::new()
        .prefix(".seedbed-")
        // Before the umask: as any folder that a person makes.
        .permissions(fs::Permissions::from_mode(0o777))
        .tempdir_in(place)
        .map_err(name(out))?;
    fs::create_dir(staging.path().join(FIGURES)).map_err(name(out))?;
    for (file, content) in &contents {
        let written = fill(&staging.path().join(file), |to| content(a, results, to));
        written.map_err(name(&out.join(file)))?;
    }
    if exists {
        let figures = out.join(FIGURES);
        fs::create_dir_all(&figures).map_err(name(&figures))?;
        remove_old_figures(&figures, &contents).map_err(name(&figures))?;
        remove_old_files(out, &contents).map_err(name(out))?;
        for (file, _) in &contents {
            let target = out.join(file);
            fs::rename(staging.path().join(file), &target).map_err(name(&target))?;
        }
        Ok(())
    } else {
        put_in_place(staging, out).map_err(name(out))
    }
}

/// Renames a finished folder; it is removed again if that fails.
fn put_in_place(staging: TempDir, out: &Path) -> io::Result<()> {
    fs::rename(staging.path(), out)?;
    // It is no longer there to be removed.
    let _ = staging.keep();
    Ok(())
}

/// Figures of an earlier report that this one does not have would be taken for
/// its own.
fn remove_old_figures(folder: &Path, contents: &[(String, Content)]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ours = contents.iter().any(|(file, _)| path.ends_with(file));
        if path.extension().is_some_and(|e| e == "svg") && !ours {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The same of the files that not every report has: those of this one would be
/// read beside an earlier verdict, or earlier numbers.
fn remove_old_files(out: &Path, contents: &[(String, Content)]) -> io::Result<()> {
    let all = FILES.iter().map(|f| f.0).chain([VERDICT]);
    for file in all.filter(|file| contents.iter().all(|c| c.0 != *file)) {
        let path = out.join(file);
        // A folder of that name is somebody else's.
        if path.symlink_metadata().is_ok_and(|m| !m.is_dir()) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Beyond so many metrics there is no `metrics.csv`: as text they would take
/// hundreds of MB, and what opens that opens Parquet.
const CSV_ROWS_MAX: usize = 1_000_000;

/// Every number as text.
const METRICS: &str = "metrics.csv";

/// The verdict, of sweeps that ask for one.
const VERDICT: &str = "verdict.json";

/// The folder of the figures.
const FIGURES: &str = "figures";

type Filling = fn(&Analysis, &SweepResults, &mut (dyn Write + Send)) -> io::Result<()>;
type Content = Box<dyn Fn(&Analysis, &SweepResults, &mut (dyn Write + Send)) -> io::Result<()>>;

/// The files in the order in which they appear, the page last.
fn contents(a: &Analysis, results: &SweepResults) -> Vec<(String, Content)> {
    let mut all: Vec<(String, Content)> = Vec::new();
    for (_, name, figure) in figures::all(a) {
        let content = move |_: &Analysis, _: &SweepResults, to: &mut (dyn Write + Send)| {
            to.write_all(figure.svg.as_bytes())?;
            to.write_all(b"\n")
        };
        all.push((format!("{FIGURES}/{name}.svg"), Box::new(content)));
    }
    if a.verdict.is_some() {
        let content: Filling = |a, _, to| {
            serde_json::to_writer_pretty(&mut *to, &a.verdict)?;
            to.write_all(b"\n")
        };
        all.push((VERDICT.to_owned(), Box::new(content)));
    }
    let rows: usize = results.runs.iter().map(|run| run.metrics.len()).sum();
    let small = |file: &str| file != METRICS || rows <= CSV_ROWS_MAX;
    let named = FILES
        .into_iter()
        .filter(|f| small(f.0))
        .map(|(file, content)| {
            let content: Content = Box::new(content);
            (file.to_owned(), content)
        });
    all.extend(named);
    all
}

/// The files that every report has.
const FILES: [(&str, Filling); 16] = [
    ("runs.csv", |a, r, to| {
        tidy::runs_table(r, a, to).map_err(io::Error::other)
    }),
    ("runs.parquet", |a, r, to| {
        columnar::runs_table(r, a, to).map_err(io::Error::other)
    }),
    (METRICS, |a, r, to| {
        tidy::metrics(r, a, to).map_err(io::Error::other)
    }),
    ("metrics.parquet", |a, r, to| {
        columnar::metrics(r, a, to).map_err(io::Error::other)
    }),
    ("mechanisms.csv", |a, r, to| {
        mechanisms::csv(r, a, to).map_err(io::Error::other)
    }),
    ("mechanisms.parquet", |a, r, to| {
        mechanisms::parquet(r, a, to).map_err(io::Error::other)
    }),
    ("inspections.csv", |a, r, to| {
        mechanisms::jobs(r, a, to).map_err(io::Error::other)
    }),
    ("map_similarity.csv", |a, r, to| {
        mechanisms::similarity(r, a, to).map_err(io::Error::other)
    }),
    ("noise_ceiling.csv", |a, r, to| {
        ceilings::csv(r, a, to).map_err(io::Error::other)
    }),
    ("cells.csv", |a, r, to| {
        tidy::cells(r, a, to).map_err(io::Error::other)
    }),
    ("comparisons.csv", |a, r, to| {
        tidy::comparisons(r, a, to).map_err(io::Error::other)
    }),
    ("learning_curves.csv", |a, r, to| {
        tidy::curves(r, a, to).map_err(io::Error::other)
    }),
    ("provenance.json", |_, r, to| {
        serde_json::to_writer_pretty(&mut *to, &provenance::json(r))?;
        to.write_all(b"\n")
    }),
    ("methods.txt", |a, r, to| {
        to.write_all(methods::methods(a, r).as_bytes())
    }),
    ("report.md", |a, r, to| {
        to.write_all(markdown::markdown(a, r).as_bytes())
    }),
    ("report.html", |a, r, to| {
        to.write_all(html::html(a, r).as_bytes())
    }),
];

/// Makes one file; a full disk may show only when the data are flushed.
fn fill(
    path: &Path,
    content: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    content(&mut file)?;
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()
}
