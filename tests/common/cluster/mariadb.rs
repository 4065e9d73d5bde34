//! How MariaDB is made and started.

use std::{fs, path::Path, process::Command};

use super::process::{Account, program, run};

/// Who may be root's other self for it.
pub(super) const ACCOUNTS: [&str; 2] = ["mysql", "nobody"];

/// The database and the user of the tests, who has no password and comes from this machine.
const OURS: &str = "FLUSH PRIVILEGES;
CREATE DATABASE app;
CREATE USER app@'127.0.0.1';
GRANT ALL PRIVILEGES ON app.* TO app@'127.0.0.1';
CREATE USER admin@'127.0.0.1';
GRANT ALL PRIVILEGES ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;
";

/// Makes a cluster in `data`.
pub(super) fn make(account: &Account, data: &Path) {
    let ours = data.with_extension("sql");
    fs::write(&ours, OURS).unwrap();
    account.own(&ours);
    run(account
        .command(&program("mariadb-install-db"))
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .args(["--skip-name-resolve", "--innodb-flush-method=nosync"])
        .arg(format!("--extra-file={}", ours.display()))
        .arg(format!("--datadir={}", data.display())));
}

/// The server.
pub(super) fn server(account: &Account, data: &Path, port: u16) -> Command {
    let mut command = account.command(&program("mariadbd"));
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", data.join("socket").display()))
        .arg(format!("--pid-file={}", data.join("pid").display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"])
        // See the module: nothing committed is lost when the process is killed.
        .args(["--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync"])
        .args(["--innodb-buffer-pool-size=64M", "--max-connections=200"]);
    command
}
