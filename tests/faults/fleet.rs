//! Three servers on one database, each with a proxy of its own in between.

use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

use reqwest::{Client, StatusCode};
use tempfile::TempDir;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use crate::{
    cluster::Cluster,
    program::Program,
    proxy::{Mode, Proxy},
};

pub(crate) const INSTANCES: usize = 3;

/// How long a server may go on with what it knows. Small, so that a fault need not last long.
pub(crate) const MAX_STALENESS: Duration = Duration::from_millis(750);

const POLL: Duration = Duration::from_millis(150);

/// How long a server may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Fleet {
    members: Vec<Member>,
    /// The keys, and without a database server the database.
    data: TempDir,
    client: Client,
}

struct Member {
    /// `None` if the database is a file.
    proxy: Option<Proxy>,
    url: Option<String>,
    program: Mutex<Program>,
    base: RwLock<String>,
}

impl Fleet {
    /// On the database of `cluster`, or on SQLite, where only a server can be at fault.
    pub(crate) async fn start(cluster: Option<&Cluster>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let client = Client::new();
        let mut members = Vec::new();
        // One after the other: the first makes the tables and the keys.
        for _ in 0..INSTANCES {
            let mut member = (None, None);
            if let Some(cluster) = cluster {
                let proxy = Proxy::to(cluster.port()).await;
                member = (Some(cluster.engine().url(proxy.port())), Some(proxy));
            }
            let (url, proxy) = member;
            let program = start(&data, url.as_deref(), &client).await;
            let base = RwLock::new(program.base.clone());
            members.push(Member { proxy, url, program: Mutex::new(program), base });
        }
        Self { members, data, client }
    }

    /// Where the server listens, now.
    pub(crate) fn base(&self, instance: usize) -> String {
        self.members[instance].base.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Switches the proxies of these servers.
    pub(crate) fn set(&self, instances: &[usize], mode: Mode) {
        for &instance in instances {
            if let Some(proxy) = &self.members[instance].proxy {
                proxy.set(mode);
            }
        }
    }

    /// How often the proxies have left notifications out.
    pub(crate) fn left_out(&self) -> usize {
        self.members.iter().flat_map(|member| &member.proxy).map(Proxy::left_out).sum()
    }

    /// `kill -9`.
    pub(crate) async fn kill(&self, instance: usize) {
        self.members[instance].program.lock().await.kill().await;
    }

    /// Starts a server that was killed, and waits until it is ready.
    pub(crate) async fn start_again(&self, instance: usize) {
        let member = &self.members[instance];
        let program = start(&self.data, member.url.as_deref(), &self.client).await;
        let base = program.base.clone();
        *member.program.lock().await = program;
        *member.base.write().unwrap_or_else(PoisonError::into_inner) = base;
    }
}

async fn start(data: &TempDir, url: Option<&str>, client: &Client) -> Program {
    let mut settings = vec![
        ("DATA_DIR", data.path().to_str().unwrap().to_owned()),
        ("POLL", POLL.as_secs_f64().to_string()),
        ("MAX_STALENESS", MAX_STALENESS.as_secs_f64().to_string()),
        // Nothing expires during the test.
        ("ACCESS_TTL", "7200".to_owned()),
        ("RUST_LOG", "warn".to_owned()),
    ];
    settings.extend(url.map(|url| ("DATABASE_URL", url.to_owned())));
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
    let program = Program::start(settings).await;
    let ready = async {
        let url = format!("{}/readyz", program.base);
        while !client.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(START_LIMIT, ready).await.expect("the server is not ready");
    program
}
