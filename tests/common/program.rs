//! The demonstration server in a process of its own, started as a user starts it.

use std::{path::PathBuf, process::Stdio, sync::LazyLock};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A running server, killed when dropped.
pub(crate) struct Program {
    /// Where it listens: `http://127.0.0.1:…`.
    pub(crate) base: String,
    process: Child,
}

/// The example's program, built by the same cargo with the same flags as this test.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", "server"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "the server does not build");
    // target/debug/deps/capabilities-… -> target/debug/examples/server
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/server")
});

#[allow(dead_code, reason = "each suite uses a part of it")]
impl Program {
    /// Starts a server with these settings, on a free port, and waits until it listens.
    pub(crate) async fn start(settings: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut process = Command::new(&*PROGRAM)
            .env("PORT", "0")
            .envs(settings)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let base = loop {
            let line = lines.next_line().await.unwrap().expect("the server ended");
            if let Some(base) = line.strip_prefix("listening on ") {
                break base.to_owned();
            }
        };
        // It goes on writing, and must not block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { base, process }
    }

    /// `kill -STOP`, and waits until none of its threads runs: they do not stop all at once.
    pub(crate) fn stop(&self) {
        let tasks = format!("/proc/{}/task", self.signal("STOP"));
        let is_stopped = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The name, which comes before the state, may hold anything.
            status.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        };
        while !std::fs::read_dir(&tasks).unwrap().flatten().all(is_stopped) {
            std::thread::yield_now();
        }
    }

    /// `kill -CONT`
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// Sends it a signal. Returns its id.
    fn signal(&self, signal: &str) -> String {
        let id = self.process.id().expect("it is running").to_string();
        let sent = std::process::Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no {signal} for {id}");
        id
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }
}
