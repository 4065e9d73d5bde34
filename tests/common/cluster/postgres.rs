//! How PostgreSQL is made and started.

use std::{path::Path, process::Command};

use super::process::{Account, program, run};

/// Who may be root's other self for it.
pub(super) const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// The superuser of the cluster.
pub(super) const ADMIN: &str = "postgres";

/// Makes a cluster in `data`. Whoever reaches it on this machine is trusted.
pub(super) fn make(account: &Account, data: &Path) {
    run(account
        .command(&program("initdb"))
        .args(["--username", ADMIN, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"])
        .args(["--no-sync", "--no-instructions", "--pgdata"])
        .arg(data));
}

/// A copy of the running cluster on `primary`, which follows it when started.
pub(super) fn copy(account: &Account, primary: u16, data: &Path) {
    run(account
        .command(&program("pg_basebackup"))
        .args(["--host", "127.0.0.1", "--username", ADMIN, "--no-password"])
        .args(["--port", &primary.to_string()])
        .args(["--checkpoint", "fast", "--wal-method", "stream", "--write-recovery-conf"])
        .args(["--no-sync", "--pgdata"])
        .arg(data));
}

/// The server.
pub(super) fn server(account: &Account, data: &Path, port: u16) -> Command {
    let mut command = account.command(&program("postgres"));
    command.arg("-D").arg(data);
    let sockets = format!("unix_socket_directories={}", data.display());
    let port = format!("port={port}");
    for setting in [
        port.as_str(),
        "listen_addresses=127.0.0.1",
        &sockets,
        // See the module: nothing committed is lost when the process is killed.
        "fsync=off",
        "max_connections=200",
        "shared_buffers=32MB",
        "autovacuum_naptime=10s",
    ] {
        command.args(["-c", setting]);
    }
    command
}
