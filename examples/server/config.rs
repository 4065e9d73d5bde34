//! The settings, from the environment.

use std::{
    env::VarError,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use tower_revocation::store::OverLimit;

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    pub address: SocketAddr,
    pub data_dir: PathBuf,
    pub database_url: String,
    pub issuer: String,
    pub audience: String,
    pub access_ttl: Duration,
    pub idle_ttl: Duration,
    pub max_ttl: Duration,
    pub max_staleness: Duration,
    pub poll: Duration,
    /// How many buckets the copy of the revocations has; exact where it is not set.
    pub buckets: Option<u32>,
    /// How recent a login has to be for a transfer.
    pub recent_login: Duration,
    /// How many sessions a user may have, and what becomes of one login more.
    pub max_sessions: Option<(NonZeroU32, OverLimit)>,
}

impl Config {
    /// Reads the environment; what is not set has its default.
    pub fn from_env() -> Result<Self, String> {
        let max_staleness = seconds("MAX_STALENESS", Duration::from_secs(10))?;
        // Three polls have to fit into the bound.
        let poll = seconds("POLL", (max_staleness / 3).min(Duration::from_secs(1)))?;
        // Nothing lives for less than a second: tokens tell their times in whole ones.
        let at_least = |time: Duration| time.max(Duration::from_secs(1));
        let max_ttl = at_least(seconds("MAX_TTL", Duration::from_secs(60 * 86_400))?);
        let idle_ttl = seconds("IDLE_TTL", max_ttl.min(Duration::from_secs(5 * 86_400)))?;
        if idle_ttl > max_ttl {
            return Err(format!("IDLE_TTL is {idle_ttl:?}, which is over MAX_TTL, {max_ttl:?}"));
        }
        let idle_ttl = at_least(idle_ttl);
        // No token lives longer than its session, or than the time in which it can be refreshed.
        let access_ttl = seconds("ACCESS_TTL", Duration::from_secs(900))?.as_secs_f64().ceil();
        let access_ttl = Duration::from_secs(idle_ttl.as_secs().min(access_ttl as u64));
        let data_dir = PathBuf::from(text("DATA_DIR", "data")?);
        let database_url = match text("DATABASE_URL", "")? {
            url if url.is_empty() => sqlite_in(&data_dir)?,
            url => url,
        };
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, parsed("PORT")?.unwrap_or(3000))),
            data_dir,
            database_url,
            issuer: text("ISSUER", "http://127.0.0.1:3000")?,
            audience: text("AUDIENCE", "demo")?,
            access_ttl: at_least(access_ttl),
            idle_ttl,
            max_ttl,
            max_staleness,
            poll,
            buckets: parsed("BUCKETS")?,
            recent_login: at_least(seconds("RECENT_LOGIN", Duration::from_secs(5 * 60))?),
            max_sessions: parsed("MAX_SESSIONS")?
                .map(|most| Ok::<_, String>((most, over_limit()?)))
                .transpose()?,
        })
    }
}

/// The URL of the file that is the database where nobody names another.
pub fn sqlite_in(data_dir: &Path) -> Result<String, String> {
    let path = data_dir.join("server.db");
    let path = path.to_str().ok_or_else(|| format!("{path:?} is not Unicode"))?;
    Ok(format!("sqlite:{path}"))
}

/// What becomes of a login that is one too many.
fn over_limit() -> Result<OverLimit, String> {
    match text("OVER_LIMIT", "end")?.as_str() {
        "end" => Ok(OverLimit::EndOldest),
        "refuse" => Ok(OverLimit::RefuseLogin),
        other => Err(format!("OVER_LIMIT={other:?} is neither \"end\" nor \"refuse\"")),
    }
}

fn text(name: &str, default: &str) -> Result<String, String> {
    match std::env::var(name) {
        Ok(value) => Ok(value),
        Err(VarError::NotPresent) => Ok(default.to_owned()),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is not Unicode")),
    }
}

fn parsed<T: std::str::FromStr>(name: &str) -> Result<Option<T>, String> {
    match text(name, "")?.as_str() {
        "" => Ok(None),
        value => value.parse().map(Some).map_err(|_| format!("{name}={value:?} cannot be read")),
    }
}

/// Seconds, fractions allowed.
fn seconds(name: &str, default: Duration) -> Result<Duration, String> {
    match parsed(name)? {
        None => Ok(default),
        Some(value) => Duration::try_from_secs_f64(value)
            .map_err(|problem| format!("{name}={value}: {problem}")),
    }
}
