//! Programs, and the user without privileges that they run as.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Who runs the databases.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// This user.
    Own,
    /// Databases refuse to be run by root, which drops to this user and group.
    Other(u32, u32),
}

impl Account {
    /// The first of `names` that exists, if we are root.
    pub(super) fn unprivileged(names: &[&str]) -> Self {
        if id(&["-u"]) != Some(0) {
            return Self::Own;
        }
        let other = names.iter().find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)));
        let (user, group) = other.expect("root needs a user without privileges for the databases");
        Self::Other(user, group)
    }

    /// Makes this account the owner of `path`.
    pub(super) fn own(&self, path: &Path) {
        if let Self::Other(user, group) = *self {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// `program` run by this account. It is killed when the thread that starts it ends, whatever
    /// becomes of this process.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if let Self::Other(user, group) = self {
            command.args(["--reuid", &user.to_string(), "--regid", &group.to_string()]);
            command.arg("--clear-groups");
        }
        command.args(["--pdeathsig", "KILL"]).arg(program);
        // A folder that the account may enter.
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Where `program` is: in the `PATH`, or where Debian keeps it.
pub(super) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    // The newest version first.
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort_by_key(|folder| version_in(folder));
    folders.extend(versions.into_iter().rev());
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed"))
}

fn version_in(folder: &Path) -> u32 {
    let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// Runs `command` to its good end.
pub(super) fn run(command: &mut Command) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
}

/// `kill -9` for the process and those that it has started, and waits until it is gone.
pub(super) fn kill(process: &mut Child) {
    let children = children(process.id());
    // Not those first: PostgreSQL would take the end of one for a crash of its own, and recover.
    let _ = process.kill();
    let _ = process.wait();
    if !children.is_empty() {
        // Some have noticed and are gone.
        let _ = Command::new("kill").arg("-9").args(&children).stderr(Stdio::null()).status();
        while children.iter().any(|child| is_running(child)) {
            std::thread::yield_now();
        }
    }
}

fn children(process: u32) -> Vec<String> {
    let listed = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    listed.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Whether the process is there and no zombie.
fn is_running(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, which comes before the state, may hold anything.
    status.rsplit(')').next().is_some_and(|rest| !["Z", "X", ""].contains(&first(rest)))
}

fn first(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}
